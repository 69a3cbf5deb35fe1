"""Kernels of EinsumDense of every rank from two to four, contracted along all sets of axes."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

from quantcheck.corpus.lay.build import lay_gptq_case, lay_int8_case
from quantcheck.properties.sizes import integers
from quantcheck.wire.cases import Case
from quantref.affine import group_index
from quantref.packing import pack_codes

LETTERS, SIZES = "bcde", (2, 3, 4, 2)


class Kernel(NamedTuple):
    """The rank of a kernel, and the axes that are contracted."""

    rank: int
    contracted: tuple[int, ...]

    @property
    def equation(self) -> str:
        """The equation, with one axis of tokens.

        Examples
        --------
        >>> Kernel(3, (0, 2)).equation
        'abd,bcd->ac'
        """
        letters = LETTERS[: self.rank]
        inputs = "".join(letters[n] for n in self.contracted)
        outputs = "".join(c for c in letters if c not in inputs)
        return f"a{inputs},{letters}->a{outputs}"


KERNELS = tuple(
    Kernel(rank, axes)
    for rank in (2, 3, 4)
    for count in range(1, rank + 1)
    for axes in combinations(range(rank), count)
)
"""Small ones first. The last one of each rank has no kept axis, and so one scale."""


def int8_case(kernel: Kernel, seed: int) -> Case:
    """Return the case of an int8 EinsumDense with this kernel, two tokens, and no bias."""
    shape = SIZES[: kernel.rank]
    inputs = (2, *(shape[n] for n in kernel.contracted))
    x, weights = (
        (integers(seed, place, of, 511) / 128).astype(np.float32)
        for place, of in ((0, inputs), (1, shape))
    )
    title = f"EinsumDense {kernel.equation}, int8"
    return lay_int8_case("drawn", title, x, weights, None, equation=kernel.equation)


def packed_case(kernel: Kernel, seed: int) -> Case:
    """Return the case of an EinsumDense with a packed kernel of 4 bits, groups of four columns."""
    shape = SIZES[: kernel.rank]
    inputs = (2, *(shape[n] for n in kernel.contracted))
    n_in = int(np.prod(inputs[1:]))
    n_out, groups = int(np.prod(shape)) // n_in, -(-n_in // 4)
    x = (integers(seed, 0, inputs, 511) / 128).astype(np.float32)
    codes = (integers(seed, 1, (n_out, n_in), 1000) % 16).astype(np.uint8)
    scale = (np.abs(integers(seed, 2, (n_out, groups), 511)) + 1) / 4096
    zero_point = (integers(seed, 3, (n_out, groups), 1000) % 16).astype(np.uint8)
    return lay_gptq_case(
        "drawn", f"EinsumDense {kernel.equation} with a packed kernel", x, pack_codes(codes, 4, 0),
        scale.astype(np.float32), zero_point, group_index(n_in, 4), None,
        kernel_shape=shape, bits=4, group_size=4, equation=kernel.equation,
    )  # fmt: skip
