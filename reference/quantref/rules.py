"""The points on which quantizers of this family differ, one function for each choice.

The first function of each point is the rule of SPEC.md. A `Profile` chooses one function for each
point: its defaults are SPEC.md, and a named profile overrides the points that differ. Appendix A
of SPEC.md sets the profiles side by side, in the same words and in the same order.

Arrays broadcast, and no function changes its arguments. Letters: w weight, s scale, z zero-point,
lo and hi the ends of a range, U the factor with H⁻¹ = Uᵀ U.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.errors import ConfigError
from quantref.inputs import Array

Ends = tuple[Array, Array]


@dataclass(frozen=True)
class Group:
    """Columns first … stop − 1 share the parameters of the range of columns start … end − 1."""

    first: int
    stop: int
    start: int
    end: int


# RANGE: which interval do the parameters of a group cover?
def range_with_zero(lo: Array, hi: Array, symmetric: bool) -> Ends:
    """Widen the interval so that it includes 0."""
    return np.minimum(lo, 0.0), np.maximum(hi, 0.0)  # [AFF-010]


def raw_range(lo: Array, hi: Array, symmetric: bool) -> Ends:
    """Keep the smallest and the largest weight, without zero."""
    return lo, hi


def range_with_zero_if_asymmetric(lo: Array, hi: Array, symmetric: bool) -> Ends:
    """Widen the interval so that it includes 0, in asymmetric quantization alone."""
    return raw_range(lo, hi, symmetric) if symmetric else range_with_zero(lo, hi, symmetric)


# MIRROR: which interval does symmetric quantization cover?
def mirror_always(lo: Array, hi: Array) -> Ends:
    """Cover −m … m with m = max(|lo|, hi)."""
    m = np.maximum(np.abs(lo), hi)
    return -m, m  # [AFF-130] [AFF-140]


def mirror_where_negative(lo: Array, hi: Array) -> Ends:
    """Cover −m … m where lo < 0, and lo … m elsewhere."""
    m = np.maximum(np.abs(lo), hi)
    return np.where(lo < 0, -m, lo), m


# DEGENERATE: which interval gets a positive length?
def widen_zeros(lo: Array, hi: Array) -> Ends:
    """Replace lo = hi = 0 by −1 … 1."""
    empty = (lo == 0) & (hi == 0)
    return np.where(empty, -1.0, lo), np.where(empty, 1.0, hi)  # [AFF-020]


def widen_any_equal(lo: Array, hi: Array) -> Ends:
    """Replace lo = hi by lo − 1 … hi + 1."""
    empty = lo == hi
    return np.where(empty, lo - 1.0, lo), np.where(empty, hi + 1.0, hi)


# SCALE: how often is the scale rounded to float32?
def scale_rounded_once(lo: Array, hi: Array, maxq: int) -> NDArray[np.float32]:
    """Return f32((hi − lo) / maxq)."""
    return np.asarray(((hi - lo) / maxq).astype(np.float32))  # [AFF-150]


def scale_rounded_twice(lo: Array, hi: Array, maxq: int) -> NDArray[np.float32]:
    """Return f32(f32(hi − lo) / maxq)."""
    length = (hi - lo).astype(np.float32).astype(np.float64)
    return np.asarray((length / maxq).astype(np.float32))


# ZERO-POINT: what happens to a zero-point outside 0 … maxq?
def zero_point_clipped(lo: Array, s: Array, maxq: int) -> Array:
    """Return clip(rint(−lo / s), 0, maxq)."""
    return np.asarray(np.clip(np.rint(-lo / s), 0, maxq))  # [AFF-060]


def zero_point_wrapped(lo: Array, s: Array, maxq: int) -> Array:
    """Return rint(−lo / s) modulo 256, as a cast to uint8 gives it."""
    return np.asarray(np.mod(np.rint(-lo / s), 256))


# CODE: is the zero-point added before or after rounding?
def round_then_add(w: Array, s: Array, z: Array, maxq: int) -> Array:
    """Return clip(rint(w / s) + z, 0, maxq)."""
    return np.asarray(np.clip(np.rint(w / s) + z, 0, maxq))  # [AFF-070]


def add_then_round(w: Array, s: Array, z: Array, maxq: int) -> Array:
    """Return clip(rint(w / s + z), 0, maxq)."""
    return np.asarray(np.clip(np.rint(w / s + z), 0, maxq))


# GROUPS: how often does a group get parameters?
def groups_once(n_in: int, size: int, block_size: int) -> list[Group]:
    """Give a group its parameters at its first column; the last group may be shorter."""
    edges = [*range(0, n_in, size), n_in]
    return [Group(a, b, a, b) for a, b in pairwise(edges)]  # [AFF-180]


def groups_per_block(n_in: int, size: int, block_size: int) -> list[Group]:
    """Give a group new parameters also at every column block that starts in it."""
    groups = []
    for run in groups_once(n_in, size, block_size):
        blocks = [b for b in range(0, run.end, block_size) if b > run.start]
        edges = [run.start, *blocks, run.end]
        groups += [Group(a, b, run.start, run.end) for a, b in pairwise(edges)]
    return groups


# RAGGED: how is the range of a shorter last group taken?
def ragged_kept(lo: Array, hi: Array) -> Ends:
    """Take the range of the group's own columns."""
    return lo, hi  # [AFF-180]


def ragged_padded(lo: Array, hi: Array) -> Ends:
    """Pad the group with zeros before its range is taken."""
    return np.minimum(lo, 0.0), np.maximum(hi, 0.0)


# BASE: from which weights is the range of a group taken?
def errors_of_earlier_blocks(original: Array, compensated: Array) -> Array:
    """Take the weights with the errors of all earlier column blocks."""
    return compensated  # [GPTQ-030]


def original_weights(original: Array, compensated: Array) -> Array:
    """Take the weights before any error was carried (static groups of the original code)."""
    return original


# ORDER: by which diagonal are columns sorted?
def order_stable(diagonal: Array, damped: Array) -> NDArray[np.intp]:
    """Sort the diagonal in descending order, ties by ascending index."""
    return np.asarray(np.argsort(-diagonal, kind="stable"))  # [HES-060]


def order_damped_float32(diagonal: Array, damped: Array) -> NDArray[np.intp]:
    """Sort the damped diagonal, rounded to float32, in the same way."""
    return np.asarray(np.argsort(-damped.astype(np.float32), kind="stable"))


# DEAD: what becomes of the weights of columns with H_jj = 0?
def dead_zeroed(weights: Array, dead: Array) -> Array:
    """Set the weights of dead columns to 0 before ranges are taken."""
    return np.asarray(np.where(dead, weights.dtype.type(0), weights))  # [GPTQ-010]


def dead_kept(weights: Array, dead: Array) -> Array:
    """Keep the weights of dead columns."""
    return weights


# TOKENS: what does N count in H = (2 / N) · Σ x xᵀ?
def count_tokens(shape: tuple[int, ...]) -> int:
    """Count the tokens of a batch: all axes but the last."""
    return int(np.prod(shape[:-1]))  # [HES-110] [HES-120]


def count_sequences(shape: tuple[int, ...]) -> int:
    """Count the sequences of a batch: its first axis."""
    return shape[0] if len(shape) > 1 else 1


# ROWS: along which rows is the error of a column carried to the later columns?
def rows_of_cholesky(U: Array) -> Array:
    """Carry errors along the rows of U."""
    return U  # [GPTQ-060]


def rows_of_inverse(U: Array) -> Array:
    """Carry errors along the rows of H⁻¹ = Uᵀ U."""
    return np.asarray(np.triu(U.T @ U))


# CARRY: in which precision are compensated weights kept?
def carry_working_precision(w: Array, storage: np.dtype) -> Array:
    """Keep the working precision, at least float32."""
    return w  # [GPTQ-100]


def carry_storage_precision(w: Array, storage: np.dtype) -> Array:
    """Round to the dtype of the weights."""
    return np.asarray(w.astype(storage).astype(w.dtype))


# G_IDX: what is the group index of a column?
def g_idx_int32(column_group: Array, size: int) -> Array:
    """Return the number of the group, int32."""
    return np.asarray(column_group.astype(np.int32))  # [GPTQ-090]


def g_idx_fractional(column_group: Array, size: int) -> Array:
    """Return k / g for the column at position k, float32."""
    return np.asarray((np.arange(len(column_group)) / size).astype(np.float32))


@dataclass(frozen=True)
class Profile:
    """One rule for every point; the defaults are SPEC.md.

    Each field but the name is a function of this module, or one with the same arguments and result.

    Examples
    --------
    >>> from quantref.profiles import KERAS_PROFILE
    >>> same = Profile().rules().items() & KERAS_PROFILE.rules().items()
    >>> sorted(name for name, rule in same)
    ['base', 'carry', 'tokens']
    """

    name: str = "SPEC.md"
    range: Callable[[Array, Array, bool], Ends] = range_with_zero
    mirror: Callable[[Array, Array], Ends] = mirror_always
    degenerate: Callable[[Array, Array], Ends] = widen_zeros
    scale: Callable[[Array, Array, int], NDArray[np.float32]] = scale_rounded_once
    zero_point: Callable[[Array, Array, int], Array] = zero_point_clipped
    code: Callable[[Array, Array, Array, int], Array] = round_then_add
    groups: Callable[[int, int, int], list[Group]] = groups_once
    ragged: Callable[[Array, Array], Ends] = ragged_kept
    base: Callable[[Array, Array], Array] = errors_of_earlier_blocks
    order: Callable[[Array, Array], NDArray[np.intp]] = order_stable
    dead: Callable[[Array, Array], Array] = dead_zeroed
    tokens: Callable[[tuple[int, ...]], int] = count_tokens
    rows: Callable[[Array], Array] = rows_of_cholesky
    carry: Callable[[Array, np.dtype], Array] = carry_working_precision
    g_idx: Callable[[Array, int], Array] = g_idx_int32

    def __post_init__(self) -> None:
        for name, rule in self.rules().items():
            if not callable(rule):
                raise ConfigError(f"rule {name} to be a function", f"{rule!r}", "GPTQ-130")

    def rules(self) -> dict[str, Any]:
        """Return the function of every point, in the order of appendix A."""
        return {field.name: getattr(self, field.name) for field in fields(self)[1:]}


DEFAULT_PROFILE = Profile()
