"""Factor of the prepared Hessian: H = R Rᵀ, H⁻¹ = Uᵀ U, U = R⁻¹ (SPEC.md, sections 6 and 7).

One Cholesky factorization suffices: rows and columns are reversed, factored, and reversed back.
Its unit form, H = M D Mᵀ with M_kj = R_kj / R_jj, is what the fast form needs, and no inverse.
Matrices are filled in place by BLAS and LAPACK, and none is copied in order to be transposed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from quantref.errors import NotPositiveDefiniteError
from quantref.fast.threads import each
from quantref.hessian import PreparedHessian, bands, reversed_both
from quantref.inputs import Array
from quantref.profile import DEFAULT_PROFILE, NotPositiveDefinite, Profile

TALL = 512  # rows of a matrix that are scaled at a time, within the cache


def reversed_cholesky(hessian: Array, *, damping: float = 0.0) -> NDArray[np.float64]:
    """Return R, upper triangular with positive diagonal, H = R Rᵀ.  [HES-070]

    Rows and columns are reversed, factored by Cholesky, and reversed back.

    Parameters
    ----------
    hessian : (n, n) float64 array, symmetric positive definite
    damping : float
        The fraction that was applied, for the message.

    Raises
    ------
    NotPositiveDefiniteError
        Names the damping and the smallest pivot reached.

    Examples
    --------
    >>> R = reversed_cholesky(np.array([[5.0, 2.0], [2.0, 4.0]]))
    >>> R
    array([[2., 1.],
           [0., 2.]])
    """
    return _reversed_lower(_lower_factor(reversed_both(hessian), damping))


def _lower_factor(backwards: Array, damping: float) -> NDArray[np.float64]:
    """Return L with L Lᵀ = `backwards`, in its memory; above the diagonal all stays.  [HES-070]"""
    from scipy.linalg.lapack import dpotrf

    diagonal = np.diagonal(backwards).copy()
    lower, info = dpotrf(backwards.T, lower=1, clean=0, overwrite_a=1)
    if info > 0:
        pivot = _failed_pivot(diagonal, lower, info - 1)
        column = len(diagonal) - info
        expected = f"hessian positive definite after damping {damping:g}"
        got = f"pivot {pivot:.6g} at column {column}; a larger damping helps"
        raise NotPositiveDefiniteError(expected, got, "HES-080")
    return np.asarray(lower)


def _failed_pivot(diagonal: Array, lower: Array, k: int) -> float:
    """Return the pivot h_kk − ‖L⁻¹ h‖² at which the factorization stopped.  [HES-080]"""
    from scipy.linalg import solve_triangular

    if k == 0:
        return float(diagonal[0])
    row = solve_triangular(lower[:k, :k], lower[:k, k], lower=True)
    return float(diagonal[k] - row @ row)


def upper_inverse(factor: Array) -> NDArray[np.float64]:
    """Return U = R⁻¹, upper triangular, so that H⁻¹ = Uᵀ U.  [GPTQ-060]

    Examples
    --------
    >>> upper_inverse(np.array([[2.0, 1.0], [0.0, 2.0]]))
    array([[ 0.5 , -0.25],
           [ 0.  ,  0.5 ]])
    """
    from scipy.linalg.lapack import dtrtri

    inverse, _ = dtrtri(np.asfortranarray(factor, dtype=np.float64), lower=0)
    return np.asarray(inverse)


def factor_hessian(
    prepared: PreparedHessian, *, fraction: float, profile: Profile = DEFAULT_PROFILE
) -> NDArray[np.float64]:
    """Return R of the damped Hessian in processing order, by the profile's rule.  [HES-070]

    Raises
    ------
    NotPositiveDefiniteError
        Under the default rule, when the damped Hessian has no factor.
    """
    try:
        lower = _lower_factor(prepared.permuted(backwards=True), fraction)
    except NotPositiveDefiniteError as error:
        return _factor_instead(error, prepared, fraction, profile)
    return _reversed_lower(lower)


def _factor_instead(
    error: NotPositiveDefiniteError, prepared: PreparedHessian, fraction: float, profile: Profile
) -> NDArray[np.float64]:
    """Return what other profiles take for R where there is none."""
    if profile.not_positive_definite is NotPositiveDefinite.ERROR:
        raise error  # [HES-080] [GPTQ-120]
    if profile.not_positive_definite is NotPositiveDefinite.IDENTITY:
        return np.eye(len(prepared.order))
    h = prepared.permuted()
    mean = float(np.mean(np.diagonal(h)))
    growing = max(fraction, 1e-6)
    while growing < 1e6:
        growing *= 10
        try:
            return reversed_cholesky(h + growing * mean * np.eye(len(h)), damping=growing)
        except NotPositiveDefiniteError:
            continue
    raise NotPositiveDefiniteError("a hessian that damping can mend", "none did", "HES-080")


def inverse_factor(
    prepared: PreparedHessian, *, fraction: float, profile: Profile, dtype: DTypeLike
) -> Array:
    """Return U = R⁻¹ in a dtype: `upper_inverse` of `factor_hessian`, with R nowhere.

    As R is L backwards, U is L⁻¹ backwards, which takes the place of L.
    """
    from scipy.linalg.lapack import dtrtri

    try:
        lower = _lower_factor(prepared.permuted(backwards=True), fraction)
    except NotPositiveDefiniteError as error:
        return upper_inverse(_factor_instead(error, prepared, fraction, profile)).astype(dtype)
    inverse, _ = dtrtri(lower, lower=1, overwrite_c=1)  # [GPTQ-060]
    return _reversed_lower(inverse, dtype)


def unit_factor(
    prepared: PreparedHessian,
    *,
    fraction: float,
    profile: Profile,
    dtype: DTypeLike,
    workers: int = 1,
) -> Array:
    """Return M = R / diag(R), unit upper triangular, H = M D Mᵀ, in a dtype.  [HES-070]

    `unit_upper` of `factor_hessian`, with R nowhere: it is L backwards. `workers`: threads.
    """
    try:
        lower = _lower_factor(prepared.permuted(backwards=True, workers=workers), fraction)
    except NotPositiveDefiniteError as error:
        return unit_upper(_factor_instead(error, prepared, fraction, profile), dtype)
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
    """Return the lower triangle back to front: upper triangular, in Fortran order.

    Examples
    --------
    >>> _reversed_lower(np.array([[1.0, 9.0], [2.0, 3.0]]))
    array([[3., 2.],
           [0., 1.]])
    """
    backwards = lower[::-1, ::-1]
    upper = np.zeros(lower.shape, dtype, order="F")
    for band in bands(len(upper)):
        upper[: band.stop, band] = backwards[: band.stop, band]
        upper[band, band] = np.triu(upper[band, band])
    return upper
