"""Rounding half to even, and saturating casts to integer dtypes (SPEC.md, section 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from quantref.inputs import Array, require_float, require_integer_dtype


def round_half_even(x: ArrayLike) -> Array:
    """Round to the nearest integer, ties to the even one.  [RND-010]

    Parameters
    ----------
    x : (...) float array

    Returns
    -------
    values : (...) array of the same dtype

    Raises
    ------
    DTypeError, NonFiniteError

    Examples
    --------
    >>> round_half_even([-2.5, -0.5, 0.5, 1.5, 2.5])
    array([-2., -0.,  0.,  2.,  2.])
    """
    array = require_float(x, "x", "RND-030")  # [RND-030]

    # ROUND
    return np.rint(array)  # [RND-010] [RND-040]


def saturating_cast(x: ArrayLike, dtype: DTypeLike) -> Array:
    """Round and cast to an integer dtype; values beyond a bound become that bound.  [RND-020]

    Parameters
    ----------
    x : (...) float array
    dtype : an integer dtype

    Returns
    -------
    codes : (...) array of dtype `dtype`

    Raises
    ------
    DTypeError, NonFiniteError

    Examples
    --------
    >>> saturating_cast([-1e9, -0.5, 1.5, 300.0], "int8")
    array([-128,    0,    2,  127], dtype=int8)
    """
    array = require_float(x, "x", "RND-030")
    target = require_integer_dtype(dtype, "RND-030")

    # SATURATE
    bounds, rounded = np.iinfo(target), np.rint(array.astype(np.float64))
    # The upper bound of a 64-bit dtype is no float64: compare first, then cast the values between.
    above = rounded >= float(bounds.max)
    below = rounded <= float(bounds.min)
    inside = np.where(above | below, 0.0, rounded).astype(target)
    codes = np.where(above, bounds.max, np.where(below, bounds.min, inside))  # [RND-020]
    return codes.astype(target)
