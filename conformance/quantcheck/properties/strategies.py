"""Hypothesis strategies that draw corner cases on purpose.

Every number is computed from drawn integers by exact arithmetic (multiples of powers of two,
rounded once if a dtype needs it), so that a draw is the same on every machine. Each row has a kind,
since random noise seldom breaks quantizers, and rows of one sign, of ties or of zeros often do.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantcheck.corpus.draw import exact_list, floats
from quantcheck.oracle import exact
from quantcheck.wire.arrays import dtype_of
from quantref.inputs import Array

Draw = st.DrawFn
BITS = (2, 3, 4, 8)
ROW_KINDS = (
    "plain", "positive", "negative", "constant", "zero", "outlier", "ties", "near ties", "fine",
    "small", "large",
)  # fmt: skip
EXTREME_KINDS = ("subnormal", "tiny", "huge")


def grids(count: int, *, spread: int = 2000) -> st.SearchStrategy[NDArray[np.int64]]:
    """Draw integers in −spread … spread, (count,) int64; they shrink towards 0."""
    return st.binary(min_size=2 * count, max_size=2 * count).map(
        lambda data: np.frombuffer(data, ">i2").astype(np.int64) % (2 * spread + 1)
    ).map(lambda values: np.where(values > spread, values - (2 * spread + 1), values))  # fmt: skip


@st.composite
def rows(
    draw: Draw, *, length: int, bits: int = 4, kinds: Sequence[str] = ROW_KINDS
) -> NDArray[np.float32]:
    """Draw one row of weights, (length,) float32, of a drawn kind.

    Parameters
    ----------
    length : int
    bits : int
        Ties and near-ties are those of a code of this width, at a scale that is a power of two.
    kinds : sequence of str
        Among `ROW_KINDS` and `EXTREME_KINDS`.
    """
    kind = draw(st.sampled_from(kinds))
    grid = draw(grids(length))
    row = grid / 1024.0
    if kind in ("positive", "negative"):
        row = np.abs(row) + 0.25
        row = row if kind == "positive" else -row
    elif kind == "constant":
        row = np.full(length, row[0] or 0.75)
    elif kind == "zero":
        row = np.zeros(length)
    elif kind == "outlier":
        place = draw(st.integers(0, length - 1))
        row[place] = draw(st.sampled_from([1e6, -1e6]))
    elif kind in ("ties", "near ties"):
        row = draw(tied(grid=grid, bits=bits, near=kind == "near ties"))
    elif kind == "fine":
        row = row + draw(grids(length)) * 2.0**-24
    else:
        exponents = {"small": -20, "large": 20, "subnormal": -139, "tiny": -128, "huge": 110}
        row = row * 2.0 ** exponents.get(kind, 0)
    return row.astype(np.float32)


@st.composite
def tied(draw: Draw, *, grid: NDArray[np.int64], bits: int, near: bool) -> NDArray[np.float64]:
    """Draw exact ties of a power-of-two scale, or values at a chosen distance from them.

    The first two elements are the ends of a range of 2^bits − 1 steps, so that the row's scale is
    this power of two.
    """
    maxq = 2**bits - 1
    zero = draw(st.integers(0, maxq))
    scale = 2.0 ** draw(st.integers(-6, 6))
    row: NDArray[np.float64] = (grid % maxq + 0.5 - zero) * scale
    if near:
        distances = [2.0**-k for k in (2, 6, 10, 14, 18, 20)]
        steps = draw(st.lists(st.sampled_from(distances), min_size=len(grid), max_size=len(grid)))
        row = row + np.where(grid % 2 == 0, 1, -1) * np.array(steps) * scale
    if len(row) > 1:
        row[0], row[1] = -zero * scale, (maxq - zero) * scale
    return row


@st.composite
def matrices(
    draw: Draw,
    *,
    shapes: Sequence[tuple[int, int]],
    bits: int = 4,
    kinds: Sequence[str] = ROW_KINDS,
) -> NDArray[np.float32]:
    """Draw weights (n_out, n_in) float32; each row has its own kind."""
    n_out, n_in = draw(st.sampled_from(shapes))
    return np.stack([draw(rows(length=n_in, bits=bits, kinds=kinds)) for _ in range(n_out)])


def two_sided(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give columns alternating signs and no zeros, so that every range contains zero inside."""
    signs = np.where(np.arange(weights.shape[1]) % 2, 1, -1)
    return (np.maximum(np.abs(weights), np.float32(2.0**-24)) * signs).astype(np.float32)


def cast(array: Array, dtype: str) -> Array:
    """Round to a dtype of the vectors with saturation, so that no draw overflows."""
    most = 65504.0 if dtype == "float16" else 3.0e38
    return np.clip(array.astype(np.float64), -most, most).astype(dtype_of(dtype))


@st.composite
def token_arrays(draw: Draw, *, width: int, count: int | None = None) -> NDArray[np.float32]:
    """Draw activations (tokens, width) float32: correlated multiples of 1/8.

    Some columns may be dead, nearly dead, duplicated, of very different size, or of equal norm,
    which gives ties of the ordering metric.
    """
    count = draw(st.integers(1, 3 * width)) if count is None else count
    x = draw(grids(count * width, spread=16)).reshape(count, width) / 8.0
    special = draw(st.sampled_from(("none", "mixed", "sizes", "duplicated", "norms", "close")))
    if special == "mixed":
        x[:, 1:] += x[:, :-1] / 2
    elif special == "sizes":
        x *= 2.0 ** -draw(grids(width, spread=11)).astype(np.float64)
    elif special == "duplicated" and width > 1:
        x[:, width // 2] = x[:, 0]
    elif special == "norms":
        for j in range(1, width, 2):
            x[:, j] = np.roll(x[:, j - 1], 1)
    elif special == "close" and width > 1:
        x[:, 1] = x[:, 0] + x[:, 1] * 2.0 ** -draw(st.integers(3, 8))
    return x.astype(np.float32)


@st.composite
def hessians(
    draw: Draw, *, width: int, dead: bool = False, definite: bool = False
) -> NDArray[np.float64]:
    """Draw 2/N Σ x xᵀ of drawn tokens, (width, width) float64, exactly rounded once.

    Parameters
    ----------
    dead : bool
        Whether some columns are never active, and one nearly so.
    definite : bool
        Whether to increase the diagonal so that a factor exists without damping.
    """
    x = draw(token_arrays(width=width)).astype(np.float64)
    idle = ~x.any(axis=0)
    x[0, idle] = (np.flatnonzero(idle) + 1) / 8.0  # a column is dead only if `dead` is true
    if dead:
        places = draw(st.sets(st.integers(0, width - 1), min_size=1, max_size=max(1, width // 3)))
        x[:, sorted(places)] = 0
        if draw(st.booleans()):
            x[:, draw(st.integers(0, width - 1))] *= 2.0**-30
    H = exact.hessian_of(exact.fractions_of(exact_list(x)))
    if definite:
        largest = max([Fraction(1), *(H[j][j] for j in range(width))])
        for j in range(width):
            H[j][j] += largest / 2**12 if H[j][j] or not dead else 0
    return np.asarray(floats(H, "float64"))


def well_posed(hessian: Array, damping: float) -> bool:
    """Whether every pivot is clearly positive in single precision.  [HES-080]"""
    H = hessian.copy()
    idle = np.diagonal(H) == 0
    H[idle, idle] = 1.0
    H[np.diag_indices_from(H)] += damping * np.mean(np.diagonal(H))
    try:
        factor = np.linalg.cholesky(H)
    except np.linalg.LinAlgError:
        return False
    pivots = np.diagonal(factor) ** 2
    backwards = np.diagonal(np.linalg.cholesky(H[::-1, ::-1])) ** 2
    least = min((pivots / np.diagonal(H)).min(), (backwards / np.diagonal(H)[::-1]).min())
    return bool(least > 2.0**-16)
