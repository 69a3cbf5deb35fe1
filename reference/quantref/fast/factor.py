"""Factors of the prepared Hessian, fast: H = R Rᵀ, U = R⁻¹, M = R / diag(R).

Rows and columns are reversed, factored into L Lᵀ, and reversed back: R is L backwards. LAPACK works
in place, and no matrix is copied to be transposed. `quantref.hessian` has the plain forms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from quantref.fast.hessian import bands, permuted
from quantref.fast.threads import each
from quantref.hessian import PreparedHessian
from quantref.inputs import Array, not_positive_definite

STRETCH = 2**15  # numbers that are reversed at a time, so that they stay in the cache
TALL = 512  # rows of a matrix that are scaled at a time, so that they stay in the cache


def lower_factor(
    prepared: PreparedHessian, damping: float, workers: int = 1
) -> NDArray[np.float64]:
    """Return L with L Lᵀ = the reversed Hessian; elements above the diagonal have no meaning.

    See `quantref.hessian.reversed_cholesky`. `workers`: threads.  [HES-070]
    """
    from scipy.linalg.lapack import dpotrf

    backwards = permuted(prepared, backwards=True, workers=workers)
    diagonal = np.diagonal(backwards).copy()
    lower, failed_at = dpotrf(backwards.T, lower=1, clean=0, overwrite_a=1)
    if failed_at > 0:
        k = failed_at - 1
        column = np.append(lower[:k, k], diagonal[k])  # LAPACK left the upper triangle unchanged
        raise not_positive_definite(lower, column, len(lower), damping)  # [HES-080]
    return np.asarray(lower)


def factor_hessian(prepared: PreparedHessian, damping: float) -> NDArray[np.float64]:
    """Return R of the damped Hessian in processing order.  [HES-070]

    Examples
    --------
    >>> from quantref import prepare_hessian
    >>> factor_hessian(prepare_hessian(np.array([[5.0, 2.0], [2.0, 4.0]]), damping=0), 0.0)
    array([[2., 1.],
           [0., 2.]])
    """
    return _reversed_lower(lower_factor(prepared, damping))


def inverse_factor(prepared: PreparedHessian, damping: float, dtype: DTypeLike) -> Array:
    """Return U = R⁻¹ in a dtype: R is L backwards, so U is L⁻¹ backwards."""
    from scipy.linalg.lapack import dtrtri

    inverse, _ = dtrtri(lower_factor(prepared, damping), lower=1, overwrite_c=1)  # [GPTQ-060]
    return _reversed_lower(inverse, dtype)


def unit_factor(
    prepared: PreparedHessian, damping: float, dtype: DTypeLike, workers: int = 1
) -> Array:
    """Return M = R / diag(R), unit upper triangular, in a dtype; R is not stored."""
    lower = lower_factor(prepared, damping, workers)
    return unit_upper(lower[::-1, ::-1], dtype, workers)


def unit_upper(factor: Array, dtype: DTypeLike = np.float64, workers: int = 1) -> Array:
    """Return the upper triangle, each column divided by its diagonal; in Fortran order.

    Examples
    --------
    >>> unit_upper(np.array([[2.0, 1.0], [9.0, 2.0]]))
    array([[1. , 0.5],
           [0. , 1. ]])
    """
    unit = np.zeros(factor.shape, dtype, order="F")
    size = np.diagonal(factor)

    def divide(band: slice) -> None:
        for top in range(0, band.stop, TALL):
            rows = slice(top, min(top + TALL, band.stop))
            unit[rows, band] = factor[rows, band] / size[band]
        unit[band, band] = np.triu(unit[band, band])

    each(divide, bands(len(unit)), workers)
    return unit


def unit_inverse(unit: Array) -> Array:
    """Return the inverse of a unit upper triangular matrix, in its dtype.

    Examples
    --------
    >>> unit_inverse(np.array([[1.0, 0.5], [0.0, 1.0]]))
    array([[ 1. , -0.5],
           [ 0. ,  1. ]])
    """
    from scipy.linalg.lapack import dtrtri

    inverse, _ = dtrtri(np.asfortranarray(unit, dtype=np.float64), lower=0, unitdiag=1)
    return np.asarray(inverse.astype(unit.dtype, copy=False))


def _reversed_lower(lower: Array, dtype: DTypeLike = np.float64) -> Array:
    """Return the lower triangle with rows and columns reversed, in Fortran order.

    In the same dtype, it is made in the memory of `lower`: that is reversed from end to end.

    Examples
    --------
    >>> _reversed_lower(np.array([[1.0, 9.0], [2.0, 3.0]], order="F"))
    array([[3., 2.],
           [0., 1.]])
    """
    if lower.dtype == dtype:
        _reverse(lower.ravel("K"))  # LAPACK returns one stretch of memory
        upper = lower
    else:
        upper, backwards = np.zeros(lower.shape, dtype, order="F"), lower[::-1, ::-1]
        for band in bands(len(upper)):
            upper[: band.stop, band] = backwards[: band.stop, band]
    for band in bands(len(upper)):
        upper[band.stop :, band] = 0.0
        upper[band, band] = np.triu(upper[band, band])
    return upper


def _reverse(values: Array) -> None:
    """Reverse a vector in place, in stretches that stay in the cache.

    Examples
    --------
    >>> a = np.arange(5)
    >>> _reverse(a)
    >>> a
    array([4, 3, 2, 1, 0])
    """
    size = len(values)
    for start in range(0, size // 2, STRETCH):
        stop = min(start + STRETCH, size // 2)
        front, back = values[start:stop], values[size - stop : size - start]
        front[:], back[:] = back[::-1].copy(), front[::-1].copy()
