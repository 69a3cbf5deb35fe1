"""Sizes: cases whose shapes are at the sizes from which kernels of real code take other paths.

Kernels work in tiles of rows, blocks of columns and vectors of bytes, and each of their seams is a
place for a bug: the last row of a tile, the element behind a full block, a last batch that is
shorter. So every run visits each size of `AROUND`, one less and one more, as rows and as columns.
Sizes are not drawn; the seed decides the numbers alone. Shapes are few, since some backends compile
for each of them, and expected values cost little: see `quantcheck.oracle.wide`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantcheck.properties import Law, Property, Sample
from quantcheck.wire.cases import Case
from quantcheck.wire.recipes import draws
from quantref.inputs import Array

AROUND = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
SIZES = tuple(dict.fromkeys(n + k for n in AROUND for k in (-1, 0, 1) if n + k))
# Each size once as rows and once as columns: small ones go with large ones.
WIDE = (
    (1, 4095), (2, 4096), (2, 4097), (7, 1025), (8, 1024), (9, 1023), (15, 513), (16, 512),
    (17, 511), (31, 257), (32, 256), (33, 255), (63, 129), (64, 128), (65, 127),
)  # fmt: skip
PAIRS: tuple[tuple[int, int], ...] = tuple(
    sorted({*WIDE, *((m, n) for n, m in WIDE)}, key=lambda s: (s[0] * s[1], s))
)
# The same sizes with fewer elements, in more shapes: one or two lines of the large sizes.
_SMALL = (
    *((1 + k % 2, n) for k, n in enumerate(n for n in SIZES if n > 129)),
    *zip((7, 8, 9, 15, 16, 17), (127, 128, 129, 63, 64, 65), strict=True),
    *((n, n) for n in (31, 32, 33)),
)
SLIM: tuple[tuple[int, int], ...] = tuple(
    sorted({*_SMALL, *((m, n) for n, m in _SMALL)}, key=lambda s: (s[0] * s[1], s))
)
SEEDS = 1000
Size = TypeVar("Size")


def upto(largest: int) -> tuple[int, ...]:
    """Return the sizes up to a largest one.

    Examples
    --------
    >>> upto(33)
    (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33)
    """
    return tuple(n for n in SIZES if n <= largest)


def integers(seed: int, place: int, shape: tuple[int, ...], most: int) -> NDArray[np.float64]:
    """Return integers in −most … most as floats; `place` tells the arrays of one case apart.

    Examples
    --------
    >>> integers(1, 0, (2, 3), 9).shape
    (2, 3)
    """
    flat = draws(1000 * seed + place, 0, (1, int(np.prod(shape))), most)
    return flat.astype(np.float64).reshape(shape)


def places(rows: int, columns: int) -> NDArray[np.intp]:
    """Return a column for each row: the last one in row 0, then others, the first one too.

    Examples
    --------
    >>> places(4, 3)
    array([2, 1, 0, 2])
    """
    return np.asarray((columns - 1 - np.arange(rows)) % columns)


def swept(
    identity: str,
    title: str,
    requirements: Sequence[str],
    sizes: Sequence[Size],
    make: Callable[[Size, int], Case | tuple[Case, ...]],
    holds: Law | None = None,
) -> Property:
    """Return the property of cases of given sizes, all of which every run asks.

    Parameters
    ----------
    identity, title : str
    requirements : sequence of str
    sizes : sequence
        Small ones first, so that the first failure is the smallest one.
    make : callable
        Returns the case, or the cases of a law, of a size and a seed.
    holds : callable, optional
        The law of several cases.
    """

    def sample(size: Size, seed: int) -> Sample:
        made = make(size, seed)
        cases = made if isinstance(made, tuple) else (made,)
        return Sample(
            tuple(
                replace(c, id=f"{identity}:{_digest(c)}", requirements=tuple(requirements))
                for c in cases
            ),
            holds,
        )

    def draw(_: Any) -> st.SearchStrategy[Sample]:
        return st.builds(sample, st.sampled_from(sizes), st.integers(0, SEEDS - 1))

    def sweep(seed: int) -> list[Callable[[], Sample]]:
        return [lambda size=size: sample(size, seed % SEEDS) for size in sizes]  # type: ignore[misc]

    return Property(identity, title, tuple(requirements), draw, len(sizes), sweep)


def _digest(case: Case) -> str:
    """Return a hash of a question: of the bytes of its arrays, since they are large."""
    found = hashlib.sha256(f"{case.operation} {sorted(case.parameters.items())}".encode())
    for name, given in case.inputs.items():
        for array in given if isinstance(given, list) else [given]:
            found.update(f"{name} {array.dtype} {array.shape}".encode())
            found.update(np.ascontiguousarray(array).view(np.uint8).data)
    return found.hexdigest()[:12]


def spread_over(x: Array, rows: int) -> Array:
    """Return values whose rows differ in size by powers of two, so that no row is like the next."""
    return np.asarray(x * 2.0 ** -(np.arange(rows) % 5)[:, None])
