"""Hessian of the layer's reconstruction error, and its factor (SPEC.md, section 6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.arrays import Array
from quantref.config import require_bool, require_integer, require_number
from quantref.errors import (
    ConfigError,
    EmptyArrayError,
    NotPositiveDefiniteError,
    NotSymmetricError,
    ShapeError,
)
from quantref.profile import DEFAULT_PROFILE, NotPositiveDefinite, OrderRule, Profile, TokenCount
from quantref.rounding import require_float

ASYMMETRY = 2.0**-16


class HessianAccumulator:
    """Streaming sum of H = (2 / N) sum of x xᵀ over N tokens.

    Parameters
    ----------
    n_in : int >= 1
        Features of a token.
    profile : Profile
        Its `token_count` says what N counts.

    Examples
    --------
    >>> total = HessianAccumulator(2)
    >>> total.update(np.float32([[1, 0], [1, 2]]))
    >>> total.update(np.float32([[[0, 0], [0, 2]]]))
    >>> total.tokens, total.hessian()
    (4, array([[1., 1.],
           [1., 4.]]))
    """

    def __init__(self, n_in: int, profile: Profile = DEFAULT_PROFILE) -> None:
        self.n_in = n_in = require_integer(n_in, "n_in", "HES-090")
        if n_in < 1:
            raise ConfigError("n_in >= 1", f"{n_in}", "HES-090")
        self.tokens = 0
        self._profile = profile
        self._count = 0
        self._sum = np.zeros((n_in, n_in))

    def update(self, batch: ArrayLike) -> None:
        """Add the tokens of a batch.

        Parameters
        ----------
        batch : (..., n_in) float array
            All leading axes count tokens. Refused batches change nothing.
        """
        x = require_float(batch, "batch", "HES-090")
        if x.ndim == 0 or x.shape[-1] != self.n_in:
            raise ShapeError(f"batch of shape (..., {self.n_in})", f"{x.shape}", "HES-090")
        if x.size == 0:
            raise EmptyArrayError("a batch with tokens", f"shape={x.shape}", "HES-090")
        tokens = x.reshape(-1, self.n_in).astype(np.float64)  # [HES-020]
        self._sum += tokens.T @ tokens  # [HES-010]
        self.tokens += len(tokens)
        by_sequence = self._profile.token_count is TokenCount.SEQUENCES
        self._count += x.shape[0] if by_sequence and x.ndim > 1 else len(tokens)

    def merge(self, other: HessianAccumulator) -> None:
        """Add what another accumulator has seen.  [HES-030]"""
        if other.n_in != self.n_in:
            raise ShapeError(f"n_in={self.n_in}", f"n_in={other.n_in}", "HES-090")
        self._sum += other._sum
        self.tokens += other.tokens
        self._count += other._count

    def hessian(self) -> NDArray[np.float64]:
        """Return (2 / N) · sum, (n_in, n_in), exactly symmetric.  [HES-010]"""
        if self.tokens == 0:
            raise EmptyArrayError("at least one token", "none", "HES-090")
        mean = self._sum * (2.0 / self._count)
        return (mean + mean.T) / 2  # [HES-010] [HES-100]


def accumulate_hessian(
    batches: Iterable[ArrayLike], profile: Profile = DEFAULT_PROFILE
) -> NDArray[np.float64]:
    """Return the Hessian of all tokens of all batches.  [HES-010]

    Parameters
    ----------
    batches : iterable of (..., n_in) float arrays
        Consumed once, one at a time; ranks and lengths may differ.
    profile : Profile

    Returns
    -------
    hessian : (n_in, n_in) float64 array
        (2 / N) · sum over N tokens of x xᵀ.

    Raises
    ------
    ShapeError, EmptyArrayError, DTypeError, NonFiniteError

    Examples
    --------
    >>> accumulate_hessian([np.float32([[1, 0]]), np.float32([[1, 2]])])
    array([[2., 2.],
           [2., 4.]])
    """
    total: HessianAccumulator | None = None
    for batch in batches:
        if total is None:
            shape = np.shape(batch)
            if not shape or shape[-1] == 0:
                raise ShapeError("batch of shape (..., n_in)", f"{shape}", "HES-090")
            total = HessianAccumulator(shape[-1], profile)
        total.update(batch)
    if total is None:
        raise EmptyArrayError("at least one batch", "none", "HES-090")
    return total.hessian()


@dataclass(frozen=True)
class PreparedHessian:
    """A Hessian with its dead columns mended, damped, and the order of its columns.

    Attributes
    ----------
    damped : (n_in, n_in) float64 array, original order
    dead : (n_in,) bool array
    order : (n_in,) int32 array
        Original index of the column that is quantized k-th.
    damping : float
        What was added to the diagonal.
    """

    damped: NDArray[np.float64]
    dead: NDArray[np.bool_]
    order: NDArray[np.int32]
    damping: float

    def permuted(self) -> NDArray[np.float64]:
        """Return the damped Hessian with rows and columns in processing order.  [GPTQ-020]"""
        return self.damped[np.ix_(self.order, self.order)]


def require_hessian(hessian: ArrayLike, requirement: str, n_in: int | None = None) -> Array:
    """Return a square, finite, symmetric Hessian as float64, or raise.  [HES-090]"""
    h = require_float(hessian, "hessian", requirement)
    if h.ndim != 2 or h.shape[0] != h.shape[1] or (n_in is not None and h.shape[0] != n_in):
        size = "(n_in, n_in)" if n_in is None else f"({n_in}, {n_in})"
        raise ShapeError(f"hessian of shape {size}", f"{h.shape}", requirement)
    if h.size == 0:
        raise EmptyArrayError("a hessian with elements", f"shape={h.shape}", requirement)
    h = h.astype(np.float64)
    diagonal = np.diagonal(h)
    if (diagonal < 0).any():
        j = int(np.argmin(diagonal))
        got = f"H[{j}, {j}]={diagonal[j]:.6g}"
        raise NotPositiveDefiniteError("a diagonal >= 0", got, requirement)
    size = np.sqrt(diagonal)
    allowed = ASYMMETRY * size[:, None] * size[None, :]
    wrong = np.abs(h - h.T) > allowed
    if wrong.any():
        i, j = (int(k) for k in np.argwhere(wrong)[0])
        got = f"H[{i}, {j}]={h[i, j]:.6g}, H[{j}, {i}]={h[j, i]:.6g}"
        raise NotSymmetricError("a symmetric hessian", got, requirement)
    dead = diagonal == 0
    if h[dead].any():
        i, j = (int(k) for k in np.argwhere(h * dead[:, None])[0])
        got = f"H[{i}, {i}]=0, H[{i}, {j}]={h[i, j]:.6g}"
        raise NotPositiveDefiniteError("zeros beside a zero on the diagonal", got, requirement)
    return (h + h.T) / 2


def require_damping(damping: float, requirement: str) -> float:
    """Return the damping fraction in [0, 1], or raise.  [HES-090]"""
    value = require_number(damping, "damping", requirement)
    if not 0 <= value <= 1:
        raise ConfigError("damping in [0, 1]", f"{value}", requirement)
    return value


def prepare_hessian(
    hessian: ArrayLike,
    *,
    damping: float = 0.01,
    activation_order: bool = False,
    profile: Profile = DEFAULT_PROFILE,
) -> PreparedHessian:
    """Mend dead columns, order the columns, damp the diagonal.

    Parameters
    ----------
    hessian : (n_in, n_in) float array
        Symmetric, diagonal >= 0.
    damping : float in [0, 1], default 0.01
        Fraction of the mean diagonal.
    activation_order : bool, default False
    profile : Profile

    Returns
    -------
    PreparedHessian

    Raises
    ------
    ShapeError, EmptyArrayError, DTypeError, NonFiniteError, NotSymmetricError,
    NotPositiveDefiniteError, ConfigError

    Examples
    --------
    >>> prepared = prepare_hessian(np.diag([1.0, 0.0, 4.0]), damping=0.5, activation_order=True)
    >>> prepared.damping, prepared.order, prepared.dead
    (1.0, array([2, 0, 1], dtype=int32), array([False,  True, False]))
    """
    fraction = require_damping(damping, "HES-090")
    ordered = require_bool(activation_order, "activation_order", "HES-090")
    h = require_hessian(hessian, "HES-090")

    # DEAD COLUMNS
    dead = np.diagonal(h) == 0
    h[dead, dead] = 1.0  # [HES-040]

    # DAMPING
    diagonal = np.diagonal(h).copy()
    added = fraction * float(np.mean(diagonal))  # [HES-050]
    h[np.diag_indices_from(h)] += added

    # ORDER
    order = np.arange(len(h))
    if ordered:
        order = activation_order_of(diagonal, added, profile)  # [HES-060]
    return PreparedHessian(h, dead, order.astype(np.int32), added)


def activation_order_of(diagonal: Array, damping: float, profile: Profile) -> NDArray[np.intp]:
    """Return the columns in descending order of the diagonal.  [HES-060]

    Examples
    --------
    >>> activation_order_of(np.array([1.0, 3.0, 1.0, 3.0]), 0.0, DEFAULT_PROFILE)
    array([1, 3, 0, 2])
    """
    if profile.order_rule is OrderRule.TIES_DESCENDING:
        return np.lexsort((-np.arange(len(diagonal)), -diagonal))
    if profile.order_rule is OrderRule.DAMPED_FLOAT32:
        diagonal = (diagonal + damping).astype(np.float32)
    return np.argsort(-diagonal, kind="stable")  # [HES-060]


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
    from scipy.linalg.lapack import dpotrf

    backwards = np.asfortranarray(hessian[::-1, ::-1], dtype=np.float64)
    factor, info = dpotrf(backwards, lower=1, clean=1)  # [HES-070]
    if info > 0:
        pivot = _failed_pivot(backwards, factor, info - 1)
        column = len(hessian) - info
        expected = f"hessian positive definite after damping {damping:g}"
        got = f"pivot {pivot:.6g} at column {column}; a larger damping helps"
        raise NotPositiveDefiniteError(expected, got, "HES-080")
    return np.ascontiguousarray(factor[::-1, ::-1])


def _failed_pivot(h: Array, factor: Array, k: int) -> float:
    """Return the pivot h_kk − ‖L⁻¹ h‖² at which the factorization of `h` stopped.  [HES-080]"""
    from scipy.linalg import solve_triangular

    if k == 0:
        return float(h[0, 0])
    row = solve_triangular(factor[:k, :k], h[:k, k], lower=True)
    return float(h[k, k] - row @ row)


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
    return np.triu(inverse)


def factor_hessian(
    prepared: PreparedHessian, *, fraction: float, profile: Profile = DEFAULT_PROFILE
) -> NDArray[np.float64]:
    """Return R of the damped Hessian in processing order, by the profile's rule.  [HES-070]

    Raises
    ------
    NotPositiveDefiniteError
        Under the default rule, when the damped Hessian has no factor.
    """
    h = prepared.permuted()
    try:
        return reversed_cholesky(h, damping=fraction)
    except NotPositiveDefiniteError:
        if profile.not_positive_definite is NotPositiveDefinite.ERROR:
            raise  # [HES-080] [GPTQ-120]
        if profile.not_positive_definite is NotPositiveDefinite.IDENTITY:
            return np.eye(len(h))
    mean = float(np.mean(np.diagonal(h)))
    growing = max(fraction, 1e-6)
    while growing < 1e6:
        growing *= 10
        try:
            return reversed_cholesky(h + growing * mean * np.eye(len(h)), damping=growing)
        except NotPositiveDefiniteError:
            continue
    raise NotPositiveDefiniteError("a hessian that damping can mend", "none did", "HES-080")
