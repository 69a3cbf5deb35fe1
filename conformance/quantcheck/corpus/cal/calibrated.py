"""Cases of section CAL: the codes that calibration gives one layer of any kind.

The layer's inputs are rows of a table that the question says. No codes are expected: the
certificate judges those of the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from quantcheck.corpus.draw import dyadic
from quantcheck.corpus.lay.build import named_sizes
from quantcheck.corpus.lay.options import Options
from quantcheck.wire.calibrated import matrix_of, table_of, tokens_of
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import build
from quantcheck.wire.policies import CALLED_TWICE, IN_BLOCK
from quantref.affine import group_index
from quantref.equations import parse_equation, require_sizes
from quantref.inputs import Array
from quantref.layers import DENSE

CORE = ("CAL-140", "CAL-090", "CAL-100", "CAL-110")
MADE = {"dataset": "list of arrays", "tokenizer": "object", "structure": "given"}
SMALL = {"num_samples": 4, "sequence_length": 8, "hessian_damping": 1 / 64}


def calibrated_case(
    identity: str,
    title: str,
    x: Array,
    kernel: Array,
    *requirements: str,
    config: dict[str, Any],
    options: Options,
    equation: str | None = None,
) -> Case:
    """Return the case of a layer whose codes are read after calibration.

    Parameters
    ----------
    x : array
        The inputs that the layer gets, in the shape of its equation; each row once.
    kernel : array
    config : dict
        The description of a GPTQConfig.
    options : Options
        Where the layer stands, and how its model is calibrated.
    equation : str, optional
        That of an EinsumDense; without it the layer is a Dense.
    """
    parsed = parse_equation(equation or DENSE, x.ndim)
    n_out, n_in = matrix_of(kernel, parsed).shape
    given = build(config)
    shape = (given.num_samples, given.sequence_length)
    groups = int(group_index(n_in, given.group_size).max()) + 1
    forms = {
        "windows": ("int32", shape),
        "codes": ("uint8", (n_out, n_in)),
        "scale": ("float32", (n_out, groups)),
        "zero_point": ("uint8", (n_out, groups)),
        "g_idx": ("int32", (n_in,)),
    }
    parameters: dict[str, Any] = {"config": config, **options.parameters()}
    if equation is not None:
        sizes = require_sizes(parsed, x.shape, kernel.shape)
        outputs = tuple(sizes[letter] for letter in parsed.outputs)
        parameters |= {"equation": equation, "output_shape": named_sizes(equation, outputs)}
    operation = "dense_calibrated" if equation is None else "einsum_dense_calibrated"
    return Case(
        identity, "cal", title, operation, requirements, parameters, {"x": x, "kernel": kernel},
        {"forms": {name: {"dtype": d, "shape": list(s)} for name, (d, s) in forms.items()}},
        {"dataset_tokens": tokens_of(len(table_of(x)), *shape).ravel()},
    )  # fmt: skip


def _drawn(seed: int, *shape: int) -> Array:
    return dyadic(seed, shape, 250, 6).astype(np.float32)


def cal_calibrated_cases() -> Iterator[Case]:
    """Yield the cases of layers whose codes are read."""
    for name, title, changes, place in (
        ("plain", "Dense in a block", {}, IN_BLOCK),
        ("groups-order", "Dense in a block, groups, activation order",
         {"group_size": 4, "activation_order": True}, IN_BLOCK),
        ("twice", "Dense, called twice in its block", {"weight_bits": 8}, CALLED_TWICE),
    ):  # fmt: skip
        yield calibrated_case(
            f"cal-dense-{name}", title, _drawn(760, 16, 10), _drawn(761, 10, 5), *CORE,
            config={"class": "GPTQConfig", "arguments": SMALL | changes},
            options=Options(place=place, calibrated_with=MADE),
        )  # fmt: skip
    for name, equation, x, kernel in (
        ("two-outputs", "abc,cde->abde", (8, 3, 6), (6, 2, 4)),
        ("two-inputs", "abcd,cde->abe", (8, 3, 2, 4), (2, 4, 5)),
    ):
        yield calibrated_case(
            f"cal-einsum-{name}", f"EinsumDense {equation} in a block, groups",
            _drawn(762, *x), _drawn(763, *kernel), *CORE,
            config={"class": "GPTQConfig", "arguments": SMALL | {"group_size": 4}},
            options=Options(place=IN_BLOCK, calibrated_with=MADE), equation=equation,
        )  # fmt: skip
