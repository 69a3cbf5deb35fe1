"""Affine quantization: scale and zero-point from a range, codes and back (SPEC.md, section 3).

Letters: w weight, s scale, z zero-point, q code; maxq = 2^bits − 1 is the largest code.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.inputs import (
    Array,
    require_affine_bits,
    require_affine_codes,
    require_bool,
    require_finite_float32,
    require_finite_scale,
    require_group_size,
    require_parameters,
    require_weights,
    require_zero_points,
)
from quantref.rules import DEFAULT_PROFILE, Group, Profile, round_then_add

SMALLEST_SCALE = float(np.finfo(np.float32).smallest_normal)  # 2^-126


def group_layout(
    n_in: int, group_size: int, profile: Profile = DEFAULT_PROFILE, block_size: int = 128
) -> list[Group]:
    """Split n_in columns into groups of `group_size`; -1: one group.  [AFF-180]

    Examples
    --------
    >>> [(g.first, g.stop) for g in group_layout(10, 4)]
    [(0, 4), (4, 8), (8, 10)]
    """
    size = require_group_size(group_size, "AFF-110")
    size = n_in if size == -1 else min(size, n_in)
    return profile.groups(n_in, size, block_size)  # [AFF-180]


def group_index(n_in: int, group_size: int) -> NDArray[np.int32]:
    """Return the group of every column, (n_in,) int32: ⌊j / g⌋, or 0 for one group.  [AFF-100]

    Examples
    --------
    >>> group_index(5, 2)
    array([0, 0, 1, 1, 2], dtype=int32)
    """
    groups = group_layout(n_in, group_size)
    lengths = [g.stop - g.first for g in groups]
    return np.repeat(np.arange(len(groups), dtype=np.int32), lengths)  # [AFF-100]


def range_parameters(
    lo: Array, hi: Array, *, bits: int, symmetric: bool, profile: Profile = DEFAULT_PROFILE
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return scale (...) and zero-point (...) of ranges, given their ends.

    `lo`, `hi`: smallest and largest weight of each range, (...) arrays. Raises OverflowRangeError
    where (hi − lo) / maxq exceeds the largest float32.

    Examples
    --------
    >>> range_parameters(np.float64([-1.0]), np.float64([2.0]), bits=2, symmetric=False)
    (array([1.], dtype=float32), array([1], dtype=uint8))
    """
    maxq = 2**bits - 1
    lo, hi = np.asarray(lo, np.float64), np.asarray(hi, np.float64)

    # RANGE
    lo, hi = profile.range(lo, hi, symmetric)  # [AFF-010]
    if symmetric:
        lo, hi = profile.mirror(lo, hi)  # [AFF-130]

    # DEGENERATE
    lo, hi = profile.degenerate(lo, hi)  # [AFF-020]

    # SCALE
    with np.errstate(over="ignore"):
        scale = profile.scale(lo, hi, maxq)  # [AFF-150]
        length = hi - lo
    require_finite_scale(scale, length, maxq)  # [AFF-110]
    scale = np.maximum(scale, np.float32(SMALLEST_SCALE))  # [AFF-050]

    # ZERO-POINT
    if symmetric:
        zero_point = np.full(scale.shape, 2 ** (bits - 1))  # [AFF-130]
    else:
        zero_point = profile.zero_point(lo, scale.astype(np.float64), maxq)  # [AFF-060]
    return scale, zero_point.astype(np.uint8)


def affine_parameters(
    weights: ArrayLike,
    *,
    bits: int,
    symmetric: bool = False,
    per_channel: bool = True,
    group_size: int = -1,
    profile: Profile = DEFAULT_PROFILE,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return scale and zero-point of every row and group.  [AFF-180]

    Parameters
    ----------
    weights : (n_out, n_in) float array
    bits : int in 2 … 8
    symmetric : bool
    per_channel : bool
        False: all rows share the range of their group.
    group_size : int >= 1, or -1
        Columns of a group; -1: all of them.
    profile : Profile

    Returns
    -------
    scale, zero_point : (n_out, n_groups) float32 and uint8 arrays

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
    # BAD INPUT  [AFF-110]
    bits = require_affine_bits(bits)
    symmetric = require_bool(symmetric, "symmetric", "AFF-110")
    per_channel = require_bool(per_channel, "per_channel", "AFF-110")
    w = require_weights(weights, "AFF-110").astype(np.float64)

    # RANGE to ZERO-POINT of every group
    groups = group_layout(w.shape[1], group_size, profile)
    of_group = partial(
        group_parameters, bits=bits, symmetric=symmetric, per_channel=per_channel, profile=profile
    )
    whole = groups[0].end  # columns of a group that is not ragged
    pairs = [of_group(w[:, g.start : g.end], ragged=g.end - g.start < whole) for g in groups]
    scale, zero_point = zip(*pairs, strict=True)
    return np.stack(scale, axis=1), np.stack(zero_point, axis=1)


def group_parameters(
    w: Array,
    *,
    bits: int,
    symmetric: bool,
    per_channel: bool,
    ragged: bool = False,
    profile: Profile = DEFAULT_PROFILE,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return scale (n_out,) and zero-point (n_out,) of a group with weights w (n_out, columns).

    `ragged`: the group is the last one, and shorter than the others.
    """
    lo, hi = w.min(axis=1), w.max(axis=1)
    if ragged:
        lo, hi = profile.ragged(lo, hi)  # [AFF-180]
    if not per_channel:
        lo, hi = np.full_like(lo, lo.min()), np.full_like(hi, hi.max())  # [AFF-180] [AFF-190]
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
    g_idx : (n_in,) integer array, the group of each column
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
    # BAD INPUT  [AFF-110]
    bits = require_affine_bits(bits)
    w = require_weights(weights, "AFF-110")
    s, z, g = require_parameters((w.shape[0], w.shape[1]), scale, zero_point, g_idx)
    maxq = 2**bits - 1
    require_zero_points(z, maxq)

    # CODE
    s, z = s.astype(np.float64)[:, g], z.astype(np.float64)[:, g]  # (n_out, n_in)
    return round_then_add(w.astype(np.float64), s, z, maxq).astype(np.uint8)  # [AFF-070]


def affine_dequantize(
    codes: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, g_idx: ArrayLike
) -> NDArray[np.float32]:
    """Return scale · (codes − zero_point), rounded once to float32.  [AFF-160]

    Parameters
    ----------
    codes : (n_out, n_in) integer array
    scale, zero_point, g_idx
        As in `affine_quantize`; codes and zero-points may be any integers.

    Returns
    -------
    weights : (n_out, n_in) float32 array

    Examples
    --------
    >>> affine_dequantize(np.uint8([[0, 3]]), np.float32([[0.5]]), np.uint8([[1]]),
    ...                   np.int32([0, 0]))
    array([[-0.5,  1. ]], dtype=float32)
    """
    # BAD INPUT  [AFF-110]
    q = require_affine_codes(codes)
    s, z, g = require_parameters((q.shape[0], q.shape[1]), scale, zero_point, g_idx)

    # BACK
    wide = np.int64 if max(q.itemsize, z.itemsize) < 8 else object  # q − z is exact
    steps = (q.astype(wide) - z.astype(wide)[:, g]).astype(np.float64)  # (n_out, n_in)
    return require_finite_float32(s.astype(np.float64)[:, g] * steps)  # [AFF-160] [AFF-170]
