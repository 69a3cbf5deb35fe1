"""Checks of tokens and of Hessians."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.errors import (
    EmptyArrayError,
    NotPositiveDefiniteError,
    NotSymmetricError,
    ShapeError,
)
from quantref.inputs.arrays import Array, require_float

ASYMMETRY = 2.0**-16  # |H_ij − H_ji| over √(H_ii H_jj): more is refused


def require_batch(batch: ArrayLike, n_in: int) -> Array:
    """Return a batch (..., n_in) of tokens, or raise.  [HES-090]"""
    x = require_float(batch, "batch", "HES-090")
    if x.ndim == 0 or x.shape[-1] != n_in:
        raise ShapeError(f"batch of shape (..., {n_in})", f"{x.shape}", "HES-090")
    if x.size == 0:
        raise EmptyArrayError("a batch with tokens", f"shape={x.shape}", "HES-090")
    return x


def require_n_in(batch: ArrayLike) -> int:
    """Return the number of features of a first batch, or raise.  [HES-090]"""
    shape = np.shape(batch)
    if not shape or shape[-1] == 0:
        raise ShapeError("batch of shape (..., n_in)", f"{shape}", "HES-090")
    return int(shape[-1])


def require_hessian(
    hessian: ArrayLike, requirement: str, n_in: int | None = None
) -> NDArray[np.float64]:
    """Return a square, finite, symmetric Hessian as a new float64 array, or raise.  [HES-090]"""
    h = require_square(hessian, requirement, n_in)
    H = h.astype(np.float64)
    require_diagonal(H, requirement)
    size = np.sqrt(np.diagonal(H))
    if (np.abs(H - H.T) > ASYMMETRY * size[:, None] * size).any():
        raise not_symmetric(H, requirement)
    require_dead_columns_zero(H, requirement)
    return H if (H == H.T).all() else np.asarray((H + H.T) / 2)


def require_square(hessian: ArrayLike, requirement: str, n_in: int | None) -> Array:
    """Return a square, finite Hessian as it is, or raise.  [HES-090]"""
    h = require_float(hessian, "hessian", requirement)
    if h.ndim != 2 or h.shape[0] != h.shape[1] or (n_in is not None and h.shape[0] != n_in):
        size = "(n_in, n_in)" if n_in is None else f"({n_in}, {n_in})"
        raise ShapeError(f"hessian of shape {size}", f"{h.shape}", requirement)
    if h.size == 0:
        raise EmptyArrayError("a hessian with elements", f"shape={h.shape}", requirement)
    return h


def require_diagonal(h: Array, requirement: str) -> None:
    """Raise unless the diagonal is >= 0.  [HES-090]"""
    diagonal = np.diagonal(h)
    if (diagonal < 0).any():
        j = int(np.argmin(diagonal))
        got = f"H[{j}, {j}]={float(diagonal[j]):.6g}"
        raise NotPositiveDefiniteError("a diagonal >= 0", got, requirement)


def not_symmetric(h: Array, requirement: str) -> NotSymmetricError:
    """Return the error that names the first pair of elements that differ by too much."""
    H, size = h.astype(np.float64), np.sqrt(np.diagonal(h).astype(np.float64))
    wrong = np.abs(H - H.T) > ASYMMETRY * size[:, None] * size
    i, j = (int(k) for k in np.argwhere(wrong)[0])
    got = f"H[{i}, {j}]={H[i, j]:.6g}, H[{j}, {i}]={H[j, i]:.6g}"
    return NotSymmetricError("a symmetric hessian", got, requirement)


def require_dead_columns_zero(h: Array, requirement: str) -> None:
    """Raise unless a column with H_jj = 0 is zero.  [HES-090]"""
    dead = np.diagonal(h) == 0
    if dead.any() and h[dead].any():
        i, j = (int(k) for k in np.argwhere(h * dead[:, None])[0])
        got = f"H[{i}, {i}]=0, H[{i}, {j}]={float(h[i, j]):.6g}"
        raise NotPositiveDefiniteError(
            "zeros in the row and column of a zero on the diagonal", got, requirement
        )


def not_positive_definite(L: Array, column: Array, n: int, damping: float) -> Exception:
    """Return the error that names damping and pivot.  [HES-080]

    Parameters
    ----------
    L : array whose first k rows and columns are the factor computed before the failure
    column : (k + 1,) array
        h_0k … h_kk of the reversed Hessian, where k is the first pivot that is not positive.
    n : int
        Columns of the Hessian.
    damping : float
    """
    from scipy.linalg import solve_triangular

    k = len(column) - 1
    row = solve_triangular(L[:k, :k], column[:k], lower=True) if k else np.zeros(0)
    pivot = float(column[k] - row @ row)  # h_kk − ‖L⁻¹ h‖²
    expected = f"hessian positive definite after damping {damping:g}"
    got = f"pivot {pivot:.6g} at column {n - 1 - k}; a larger damping helps"
    return NotPositiveDefiniteError(expected, got, "HES-080")
