"""Rounding half to even, and saturating casts to integer dtypes (SPEC.md, section 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from quantref.arrays import Array, tiles
from quantref.errors import DTypeError, NonFiniteError

FLOAT_NAMES = ("float16", "bfloat16", "float32", "float64")


def is_float(dtype: np.dtype) -> bool:
    """Tell whether `dtype` is one of float16, bfloat16, float32 and float64.

    Examples
    --------
    >>> is_float(np.dtype(np.float16)), is_float(np.dtype(np.int8))
    (True, False)
    """
    return dtype.name in FLOAT_NAMES


def require_float(x: ArrayLike, name: str, requirement: str) -> Array:
    """Return `x` as an array if it holds finite floats, without copying or casting it.

    Parameters
    ----------
    x : array_like
        Any shape; float16, bfloat16, float32 or float64. A bare Python float is float64.
    name, requirement : str
        Argument name and requirement id for the message.

    Raises
    ------
    DTypeError
        The dtype is not one of the four.
    NonFiniteError
        NaN or infinity among the elements; the message gives the first index.

    Examples
    --------
    >>> require_float([1.0, 2.0], "x", "ABS-100")
    array([1., 2.])
    """
    array = require_float_dtype(x, name, requirement)
    if not all(np.isfinite(array[tile]).all() for tile in tiles(array.shape)):
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        got = f"{name}{list(index)}={float(array[index])}"
        raise NonFiniteError(f"finite {name}", got, requirement)
    return array


def require_float_dtype(x: ArrayLike, name: str, requirement: str) -> Array:
    """Return `x` as an array of one of the four dtypes, whatever its elements are."""
    array = np.asarray(x)
    if not is_float(array.dtype):
        got = f"{name} with dtype={array.dtype.name}, shape={array.shape}"
        raise DTypeError(f"{name} of dtype {', '.join(FLOAT_NAMES)}", got, requirement)
    return array


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
        `x` is not an array of finite floats.

    Examples
    --------
    >>> round_half_even([-2.5, -0.5, 0.5, 1.5, 2.5])
    array([-2., -0.,  0.,  2.,  2.])
    """
    array = require_float(x, "x", "RND-030")  # [RND-030]
    return np.rint(array)  # [RND-010]


def saturating_cast(x: ArrayLike, dtype: DTypeLike) -> Array:
    """Cast to an integer dtype; what does not fit becomes the nearest bound.  [RND-020]

    Parameters
    ----------
    x : (...) float array
        Rounded half to even before the cast.
    dtype : an integer dtype

    Returns
    -------
    codes : (...) array of dtype `dtype`

    Raises
    ------
    DTypeError, NonFiniteError
        `x` is not an array of finite floats, or `dtype` is not an integer dtype.

    Examples
    --------
    >>> saturating_cast([-1e9, -0.5, 1.5, 300.0], "int8")
    array([-128,    0,    2,  127], dtype=int8)
    """
    array = require_float(x, "x", "RND-030")
    try:
        target = np.dtype(dtype)
    except TypeError:
        raise DTypeError("an integer dtype", f"dtype={dtype!r}", "RND-030") from None
    if target.kind not in "iu":
        raise DTypeError("an integer dtype", f"dtype={target.name}", "RND-030")
    bounds = np.iinfo(target)
    rounded = np.rint(array.astype(np.float64))
    # The upper bound of a 64-bit dtype is no float64: compare first, then cast what fits.
    above = rounded >= float(bounds.max)
    below = rounded <= float(bounds.min)
    inside = np.where(above | below, 0.0, rounded).astype(target)
    return np.where(above, bounds.max, np.where(below, bounds.min, inside)).astype(
        target
    )  # [RND-020]
