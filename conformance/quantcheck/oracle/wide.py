"""Exact forms for large arrays: NumPy, where float64 holds every number that decides a result.

`exact` is the same in fractions, which is too slow for arrays of thousands of elements. Here inputs
have at most 24 significant bits, as float32, float16 and bfloat16 have. So a product of two of them
is exact in float64. A quotient is rounded there, by 2⁻⁵³ of it, and margins that are smaller than
2⁻⁴⁰ of it are exact or are not used. Tests compare both forms.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.oracle import exact

Array = NDArray[Any]
Floats = NDArray[np.float64]
NEAR = 2.0**-20  # of a position: fractions decide what is nearer to a tie
LIMIT = 2**53  # integers up to it are exact in float64


@cache
def _multiplier(largest: float, hi: int, epsilon: float) -> float:
    """Return SCALE of section 4, binary32, for the largest magnitude of a slice."""
    return float(exact.nearest_float(hi / (Fraction(largest) + Fraction(epsilon))))


def abs_max(
    x: Array, axis: int | None, lo: int, hi: int, epsilon: float
) -> tuple[NDArray[np.float32], Floats, Floats]:
    """Return scale, codes and margins of section 4 for values of at most 24 significant bits.

    Examples
    --------
    >>> abs_max(np.float32([[-63.5, 0.25]]), -1, -127, 127, 1e-7)
    (array([[2.]], dtype=float32), array([[-127.,    0.]]), array([[0.5, 0. ]]))
    """
    values = x.astype(np.float64)
    largest = np.abs(values).max(axis=axis, keepdims=True)
    found = [_multiplier(m, hi, epsilon) for m in largest.ravel().tolist()]
    scale = np.array(found).reshape(largest.shape)
    codes, margins = codes_and_margins(values * scale, np.zeros(()), lo, hi)
    return scale.astype(np.float32), codes, margins


def codes_and_margins(t: Floats, z: Array, lo: int, hi: int) -> tuple[Floats, Floats]:
    """Return clip(rint(t) + z, lo, hi), and the distance of t + z to the nearest change of code.

    Examples
    --------
    >>> codes_and_margins(np.array([2.5, 40.0]), np.zeros(2), 0, 15)
    (array([ 2., 15.]), array([ 0. , 25.5]))
    """
    codes = np.clip(np.rint(t) + z, lo, hi)
    below = np.clip(np.floor(t + z), lo, hi - 1)
    return codes, np.abs(t - (below - z) - 0.5)


def affine_ranges(
    lo: Floats, hi: Floats, *, bits: int, symmetric: bool
) -> tuple[NDArray[np.float32], NDArray[np.int64], Floats]:
    """Return SCALE and ZERO-POINT of section 3, and the zero-points' margins, of many ranges.

    `lo` and `hi` are the ends before RANGE, of the same shape; their differences have to be exact
    in float64. A quotient that is rounded to float64 is on the same side of a tie of binary32 as
    the exact one, unless it is that tie; then, and next to ties of zero-points, fractions decide.

    Examples
    --------
    >>> affine_ranges(np.array([-1.0]), np.array([2.0]), bits=2, symmetric=False)
    (array([1.], dtype=float32), array([1]), array([0.5]))
    """
    maxq = 2**bits - 1
    below, above = np.minimum(lo, 0.0), np.maximum(hi, 0.0)
    if symmetric:
        above = np.maximum(-below, above)
        below = -above
    quotient = (above - below) / maxq
    scale = quotient.astype(np.float32)
    significand = np.frexp(quotient)[0] * 2.0**25
    tie = (significand == np.rint(significand)) & (significand % 2 == 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        position = -below / scale.astype(np.float64)
    zero, margin = codes_and_margins(position, np.zeros(()), 0, maxq)
    doubtful = tie | ~(quotient >= 2.0**-126) | ~(margin > NEAR * position)
    for index in np.argwhere(doubtful | symmetric).tolist():
        at = tuple(index)
        s, z, m = exact.affine_range(
            Fraction(float(lo[at])), Fraction(float(hi[at])), bits=bits, symmetric=symmetric
        )
        scale[at], zero[at], margin[at] = float(s), z, float(m)
    return scale, zero.astype(np.int64), margin


def pack(codes: Array, bits: int, axis: int) -> Array:
    """Return the packed bytes of codes, section 5, in their dtype.

    Examples
    --------
    >>> pack(np.int8([1, -2, 3]), 4, 0)
    array([-31,   3], dtype=int8)
    """
    if bits in (3, 8):
        return codes.copy()
    per_byte = 8 // bits
    lines = np.moveaxis(codes.astype(np.int64) % 2**bits, axis, -1)
    count = -(-lines.shape[-1] // per_byte)
    fields = np.zeros((*lines.shape[:-1], count * per_byte), np.int64)
    fields[..., : lines.shape[-1]] = lines
    weights = 2 ** (bits * np.arange(per_byte))
    packed = (fields.reshape(*lines.shape[:-1], count, per_byte) * weights).sum(axis=-1)
    wrapped = packed.astype(np.uint8).view(codes.dtype)
    return np.ascontiguousarray(np.moveaxis(wrapped, -1, axis))


def hessian_of(tokens: Floats, step: float) -> Floats:
    """Return (2 / N) · Σ x xᵀ of tokens that are integers times a power of two, rounded once.

    Examples
    --------
    >>> hessian_of(np.array([[1.0, 0.0], [1.0, 2.0]]), 1.0)
    array([[2., 2.],
           [2., 4.]])
    """
    whole = tokens / step
    total = whole.T @ whole
    assert np.abs(total).max(initial=0.0) < LIMIT  # noqa: S101 - a fault of the suite itself
    return np.asarray(2.0 * total / len(tokens) * step**2)
