"""Affine quantization: scale and zero-point from a range, codes and back (SPEC.md, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.errors import (
    CodeRangeError,
    DTypeError,
    OverflowRangeError,
    ShapeError,
)
from quantref.inputs import (
    Array,
    require_affine_bits,
    require_bool,
    require_group_size,
    require_parameters,
    require_weights,
)
from quantref.profile import (
    DEFAULT_PROFILE,
    CodeRule,
    DegenerateRule,
    Profile,
    RaggedGroup,
    RangeRule,
    ScaleRounding,
    SymmetricRule,
    WholeGroup,
    ZeroPointRule,
)

SMALLEST_SCALE = float(np.finfo(np.float32).smallest_normal)  # 2^-126
LARGEST_SCALE = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Group:
    """Columns first … stop − 1 share the parameters of the range of columns `start` … `end` − 1."""

    first: int
    stop: int
    start: int
    end: int


def group_layout(n_in: int, group_size: int, profile: Profile = DEFAULT_PROFILE) -> list[Group]:
    """Split n_in columns into groups of `group_size`; -1: one group.  [AFF-090]

    Examples
    --------
    >>> [(g.first, g.stop) for g in group_layout(10, 4)]
    [(0, 4), (4, 8), (8, 10)]
    """
    size = require_group_size(group_size, "AFF-110")
    size = n_in if size == -1 else min(size, n_in)
    if profile.ragged is RaggedGroup.REFUSED and n_in % size:
        expected = f"group_size that divides n_in={n_in} (profile {profile.name})"
        raise ShapeError(expected, f"group_size={size}", "AFF-110")
    groups = []
    for start in range(0, n_in, size):
        end = min(start + size, n_in)  # [AFF-090]: a ragged last group is shorter
        firsts = [start]
        if profile.whole_group is WholeGroup.PER_BLOCK:
            firsts += [b for b in range(0, end, profile.block_size) if b > start]
        for first, stop in zip(firsts, [*firsts[1:], end], strict=True):
            groups.append(Group(first, stop, start, end))
    return groups


def group_index(n_in: int, group_size: int) -> NDArray[np.int32]:
    """Return the group of every column: floor(j / group_size).  [AFF-100]

    Parameters
    ----------
    n_in : int
    group_size : int >= 1, or -1 for one group

    Returns
    -------
    g_idx : (n_in,) int32 array

    Examples
    --------
    >>> group_index(5, 2)
    array([0, 0, 1, 1, 2], dtype=int32)
    """
    groups = group_layout(n_in, group_size)
    lengths = [g.stop - g.first for g in groups]
    return np.repeat(np.arange(len(groups), dtype=np.int32), lengths)  # [AFF-100]


def range_parameters(
    lo: Array,
    hi: Array,
    *,
    bits: int,
    symmetric: bool,
    profile: Profile = DEFAULT_PROFILE,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return scale and zero-point of ranges from smallest to largest weight.

    Parameters
    ----------
    lo, hi : (...) float arrays
        Smallest and largest weight of each range, lo <= hi.
    bits : int in 2 … 8
    symmetric : bool
    profile : Profile

    Returns
    -------
    scale : (...) float32 array, at least 2^-126
    zero_point : (...) uint8 array in 0 … 2^bits − 1

    Raises
    ------
    OverflowRangeError
        (hi − lo) / maxq exceeds the largest float32.

    Examples
    --------
    >>> range_parameters(np.float64([-1.0]), np.float64([2.0]), bits=2, symmetric=False)
    (array([1.], dtype=float32), array([1], dtype=uint8))
    """
    maxq = 2**bits - 1
    lo, hi = np.asarray(lo, np.float64), np.asarray(hi, np.float64)

    # RANGE
    if profile.range_rule is RangeRule.INCLUDES_ZERO:
        lo, hi = np.minimum(lo, 0.0), np.maximum(hi, 0.0)  # [AFF-010]
    if symmetric:
        m = np.maximum(np.abs(lo), hi)  # [AFF-030]
        mirror = profile.symmetric_rule is SymmetricRule.ALWAYS
        lo, hi = np.where(mirror | (lo < 0), -m, lo), m

    # DEGENERATE
    if profile.degenerate is DegenerateRule.ZERO_ONLY:
        empty = (lo == 0) & (hi == 0)  # [AFF-020]
        lo, hi = np.where(empty, -1.0, lo), np.where(empty, 1.0, hi)
    elif profile.degenerate is DegenerateRule.ANY_EQUAL:
        empty = lo == hi
        lo, hi = np.where(empty, lo - 1.0, lo), np.where(empty, hi + 1.0, hi)

    # SCALE
    with np.errstate(over="ignore"):
        length = hi - lo
        if profile.scale_rounding is ScaleRounding.TWICE:
            length = length.astype(np.float32).astype(np.float64)
        scale = (length / maxq).astype(np.float32)  # [AFF-040]
    if not np.isfinite(scale).all():
        expected = f"(hi - lo) / {maxq} <= {LARGEST_SCALE:.6g}"
        raise OverflowRangeError(expected, f"hi - lo = {float(length.max()):.6g}", "AFF-110")
    floor = 1e-8 if profile.degenerate is DegenerateRule.SCALE_FLOOR else SMALLEST_SCALE
    scale = np.maximum(scale, np.float32(floor))  # [AFF-050]

    # ZERO-POINT
    if symmetric:
        zero_point = np.full(scale.shape, float(2 ** (bits - 1)))  # [AFF-030]
    else:
        zero_point = np.rint(-lo / scale.astype(np.float64))  # [AFF-060]
    if profile.zero_point_rule is ZeroPointRule.CLIPPED:
        zero_point = np.clip(zero_point, 0, maxq)  # [AFF-060]
    else:
        zero_point = np.mod(zero_point, 256)
    return scale, zero_point.astype(np.uint8)


def codes_of(
    w: Array,
    scale: Array,
    zero_point: Array,
    *,
    maxq: int,
    profile: Profile = DEFAULT_PROFILE,
) -> Array:
    """Return clip(rint(w / s) + z, 0, maxq) as floats; all arguments broadcast.  [AFF-070]

    Examples
    --------
    >>> codes_of(np.float64([0.5, 1.5, 9.0]), np.float64(1.0), np.float64(1.0), maxq=3)
    array([1., 3., 3.])
    """
    if profile.code_rule is CodeRule.ADD_THEN_ROUND:
        return np.asarray(np.clip(np.rint(w / scale + zero_point), 0, maxq))
    return np.asarray(np.clip(np.rint(w / scale) + zero_point, 0, maxq))  # [AFF-070]


def affine_parameters(
    weights: ArrayLike,
    *,
    bits: int,
    symmetric: bool = False,
    per_channel: bool = True,
    group_size: int = -1,
    profile: Profile = DEFAULT_PROFILE,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return scale and zero-point per row and group.  [AFF-090]

    Parameters
    ----------
    weights : (n_out, n_in) float array
    bits : int in 2 … 8
    symmetric : bool, default False
    per_channel : bool, default True
        False: all rows share the range of their group (with group size -1: one range in all).
    group_size : int >= 1, or -1, default -1
        Columns per group; the last group may be shorter.
    profile : Profile

    Returns
    -------
    scale : (n_out, n_groups) float32 array
    zero_point : (n_out, n_groups) uint8 array

    Raises
    ------
    ShapeError, EmptyArrayError, DTypeError, NonFiniteError, BitsError, ConfigError,
    OverflowRangeError

    Examples
    --------
    >>> affine_parameters(np.float32([[0.0, 3.0], [-1.0, 0.5]]), bits=2)
    (array([[1. ],
           [0.5]], dtype=float32), array([[0],
           [2]], dtype=uint8))
    """
    bits = require_affine_bits(bits)
    symmetric = require_bool(symmetric, "symmetric", "AFF-110")
    per_channel = require_bool(per_channel, "per_channel", "AFF-110")
    w = require_weights(weights, "AFF-110").astype(np.float64)
    groups = group_layout(w.shape[1], group_size, profile)
    pieces = [
        group_parameters(
            w[:, g.start : g.end],
            bits=bits,
            symmetric=symmetric,
            per_channel=per_channel,
            padded=g.end - g.start < groups[0].end,
            profile=profile,
        )
        for g in groups
    ]
    scale, zero_point = zip(*pieces, strict=True)
    return np.stack(scale, axis=1), np.stack(zero_point, axis=1)


def group_parameters(
    w: Array,
    *,
    bits: int,
    symmetric: bool,
    per_channel: bool,
    padded: bool = False,
    profile: Profile = DEFAULT_PROFILE,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return scale (n_out,) and zero-point (n_out,) of one group's columns w (n_out, columns).

    `padded` says that the group is the short last one; it matters to profiles that pad with zeros.
    """
    lo, hi = w.min(axis=1), w.max(axis=1)
    if padded and profile.ragged is RaggedGroup.ZERO_PADDED:
        lo, hi = np.minimum(lo, 0.0), np.maximum(hi, 0.0)
    if not per_channel:
        lo, hi = np.full_like(lo, lo.min()), np.full_like(hi, hi.max())  # [AFF-090]
    return range_parameters(lo, hi, bits=bits, symmetric=symmetric, profile=profile)


def affine_quantize(
    weights: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, g_idx: ArrayLike, *, bits: int
) -> NDArray[np.uint8]:
    """Return the codes of weights for given parameters.  [AFF-070]

    Parameters
    ----------
    weights : (n_out, n_in) float array
    scale : (n_out, n_groups) float array, positive
    zero_point : (n_out, n_groups) integer array in 0 … 2^bits − 1
    g_idx : (n_in,) integer array
        Group of each column.
    bits : int in 2 … 8

    Returns
    -------
    codes : (n_out, n_in) uint8 array

    Examples
    --------
    >>> affine_quantize(np.float32([[0.5, 1.5]]), np.float32([[1]]), np.uint8([[1]]),
    ...                 np.int32([0, 0]), bits=2)
    array([[1, 3]], dtype=uint8)
    """
    bits = require_affine_bits(bits)
    w = require_weights(weights, "AFF-110")
    s, z, g = require_parameters((w.shape[0], w.shape[1]), scale, zero_point, g_idx)
    maxq = 2**bits - 1
    if z.size and not 0 <= int(z.min()) <= int(z.max()) <= maxq:
        got = f"zero_point in [{int(z.min())}, {int(z.max())}]"
        raise CodeRangeError(f"zero_point in [0, {maxq}]", got, "AFF-110")
    s, z = s.astype(np.float64)[:, g], z.astype(np.float64)[:, g]  # (n_out, n_in)
    return codes_of(w.astype(np.float64), s, z, maxq=maxq).astype(np.uint8)


def affine_dequantize(
    codes: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, g_idx: ArrayLike
) -> NDArray[np.float32]:
    """Return scale · (codes − zero_point), rounded once to float32.  [AFF-080]

    Parameters
    ----------
    codes : (n_out, n_in) integer array
    scale : (n_out, n_groups) float array, positive
    zero_point : (n_out, n_groups) integer array
    g_idx : (n_in,) integer array

    Returns
    -------
    weights : (n_out, n_in) float32 array

    Examples
    --------
    >>> affine_dequantize(np.uint8([[0, 3]]), np.float32([[0.5]]), np.uint8([[1]]),
    ...                   np.int32([0, 0]))
    array([[-0.5,  1. ]], dtype=float32)
    """
    q = np.asarray(codes)
    if q.dtype.kind not in "iu":
        raise DTypeError("integer codes", f"codes with dtype={q.dtype.name}", "AFF-110")
    if q.ndim != 2:
        raise ShapeError("codes of shape (n_out, n_in)", f"shape={q.shape}", "AFF-110")
    s, z, g = require_parameters((q.shape[0], q.shape[1]), scale, zero_point, g_idx)
    difference = q.astype(np.float64) - z.astype(np.float64)[:, g]  # (n_out, n_in)
    values = s.astype(np.float64)[:, g] * difference
    largest = float(np.abs(values).max(initial=0.0))
    if largest > LARGEST_SCALE:
        raise OverflowRangeError(f"|s·(q - z)| <= {LARGEST_SCALE:.6g}", f"{largest:.6g}", "AFF-110")
    return values.astype(np.float32)  # [AFF-080]
