"""Hessian of the reconstruction error: sum, preparation, factor (SPEC.md, section 6).

Letters: x token, N number of tokens, H Hessian, λ damping (a fraction of the mean diagonal), R
upper triangular with H = R Rᵀ, U = R⁻¹ with H⁻¹ = Uᵀ U. The operation `hessian` of SPEC.md is
`accumulate_hessian` here, and `factor` is `require_hessian`, then `reversed_cholesky`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from quantref.errors import EmptyArrayError, ShapeError
from quantref.inputs import (
    Array,
    not_positive_definite,
    require_batch,
    require_bool,
    require_count,
    require_damping,
    require_hessian,
    require_n_in,
    require_working_precision,
)
from quantref.rules import DEFAULT_PROFILE, Profile


class HessianAccumulator:
    """Streaming sum of H = (2 / N) · Σ x xᵀ over N tokens of n_in features.

    Parameters
    ----------
    n_in : int >= 1
    profile : Profile
        Its rule `tokens` says what N counts.
    dtype : float64 (default) or float32
        Precision of the products of one batch. Batches are added in float64.

    Examples
    --------
    >>> total = HessianAccumulator(2)
    >>> total.update(np.float32([[1, 0], [1, 2]]))
    >>> total.update(np.float32([[[0, 0], [0, 2]]]))
    >>> total.tokens, total.hessian()
    (4, array([[1., 1.],
           [1., 4.]]))
    """

    def __init__(
        self, n_in: int, profile: Profile = DEFAULT_PROFILE, dtype: DTypeLike = np.float64
    ) -> None:
        self.n_in = require_count(n_in, "n_in", "HES-090")
        self.dtype = require_working_precision(dtype, "HES-090")
        self.profile = profile
        self.tokens = 0  # tokens added; 0 is refused
        self.count = 0  # N of the formula: the tokens, unless the profile counts otherwise
        self.sum = np.zeros((self.n_in, self.n_in))  # Σ x xᵀ

    def update(self, batch: ArrayLike) -> None:
        """Add the tokens of a batch (..., n_in); a refused batch changes nothing."""
        x = require_batch(batch, self.n_in)
        X = x.reshape(-1, self.n_in)  # (tokens, n_in)
        self.add(X)
        self.tokens += len(X)
        self.count += self.profile.tokens(x.shape)  # [HES-110]

    def add(self, X: Array) -> None:
        """Add XᵀX, the sum of x xᵀ over the rows of X (tokens, n_in)."""
        X = X.astype(self.dtype)
        self.sum += X.T @ X  # [HES-010] [HES-130]

    def merge(self, other: HessianAccumulator) -> None:
        """Add the tokens of another accumulator."""
        if other.n_in != self.n_in:
            raise ShapeError(f"n_in={self.n_in}", f"n_in={other.n_in}", "HES-090")
        self.sum += other.sum  # [HES-030]
        self.tokens += other.tokens
        self.count += other.count

    def hessian(self) -> NDArray[np.float64]:
        """Return H, (n_in, n_in), exactly symmetric."""
        if self.tokens == 0:
            raise EmptyArrayError("at least one token", "none", "HES-090")
        H = 2.0 / self.count * self.sum  # [HES-010]
        return np.asarray(np.tril(H) + np.tril(H, -1).T)  # [HES-100]


def accumulate_hessian(
    batches: Iterable[ArrayLike], profile: Profile = DEFAULT_PROFILE, dtype: DTypeLike = np.float64
) -> NDArray[np.float64]:
    """Return H = (2 / N) · Σ x xᵀ over the N tokens of all batches.  [HES-010]

    Parameters
    ----------
    batches : iterable of (..., n_in) float arrays
        Consumed once, one at a time; ranks and lengths may differ.
    profile, dtype
        See `HessianAccumulator`.

    Returns
    -------
    hessian : (n_in, n_in) float64 array

    Raises
    ------
    ShapeError, EmptyArrayError, DTypeError, NonFiniteError

    Examples
    --------
    >>> accumulate_hessian([np.float32([[1, 0]]), np.float32([[1, 2]])])
    array([[2., 2.],
           [2., 4.]])
    """
    # SUM
    total: HessianAccumulator | None = None
    for batch in batches:
        if total is None:
            total = HessianAccumulator(require_n_in(batch), profile, dtype)
        total.update(batch)
    if total is None:
        raise EmptyArrayError("at least one batch", "none", "HES-090")
    return total.hessian()


@dataclass(frozen=True)
class PreparedHessian:
    """A Hessian with what DEAD, ORDER and DAMPING give, columns in their original order."""

    hessian: NDArray[np.float64]  # after SYMMETRY, (n_in, n_in)
    diagonal: NDArray[np.float64]  # after DEAD and DAMPING, (n_in,)
    dead: NDArray[np.bool_]  # (n_in,)
    order: NDArray[np.int32]  # π, (n_in,): original index of the column that is quantized k-th
    added: float  # λ · mean(diag H), the number that DAMPING added to the diagonal

    @property
    def place(self) -> NDArray[np.intp]:
        """The inverse of π, (n_in,): the position of each original column."""
        return np.argsort(self.order)

    @property
    def damped(self) -> NDArray[np.float64]:
        """The damped Hessian in the original order."""
        H = self.hessian.copy()
        np.fill_diagonal(H, self.diagonal)
        return H

    def permuted(self) -> NDArray[np.float64]:
        """Return the damped Hessian in processing order."""
        # PERMUTE, of section 7
        return self.damped[np.ix_(self.order, self.order)]  # [GPTQ-020]


def prepare_hessian(
    hessian: ArrayLike,
    *,
    damping: float = 0.01,
    activation_order: bool = False,
    profile: Profile = DEFAULT_PROFILE,
) -> PreparedHessian:
    """Replace zeros of the diagonal, order the columns, damp (SPEC.md, section 6).

    Parameters
    ----------
    hessian : (n_in, n_in) float array, symmetric, diagonal >= 0
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
    >>> prepared.added, prepared.order, prepared.dead
    (1.0, array([2, 0, 1], dtype=int32), array([False,  True, False]))
    """
    # BAD INPUT, SYMMETRY: H is judged as it is given; then H ← (H + Hᵀ) / 2  [HES-090]
    fraction = require_damping(damping, "HES-090")
    ordered = require_bool(activation_order, "activation_order", "HES-090")
    H = require_hessian(hessian, "HES-090")
    return prepared_of(H, fraction, ordered, profile)


def prepared_of(
    H: NDArray[np.float64], damping: float, activation_order: bool, profile: Profile
) -> PreparedHessian:
    """Prepare a Hessian that is checked, and exactly symmetric."""
    # DEAD
    diagonal = np.diagonal(H).copy()
    dead = diagonal == 0
    diagonal[dead] = 1.0  # [HES-040]

    # DAMPING: the number, before ORDER, since a profile may sort the damped diagonal
    added = damping * float(np.mean(diagonal))  # [HES-050]

    # ORDER
    order = np.arange(len(H))
    if activation_order:
        order = profile.order(diagonal, diagonal + added)  # [HES-060]

    # DAMPING: the sum
    return PreparedHessian(H, diagonal + added, dead, order.astype(np.int32), added)


def reversed_cholesky(hessian: Array, *, damping: float = 0.0) -> NDArray[np.float64]:
    """Return R, upper triangular with positive diagonal, H = R Rᵀ.

    Raises NotPositiveDefiniteError, which names the damping fraction and the pivot.

    Examples
    --------
    >>> reversed_cholesky(np.array([[5.0, 2.0], [2.0, 4.0]]))
    array([[2., 1.],
           [0., 2.]])
    """
    from scipy.linalg.lapack import dpotrf

    # FACTOR: reverse rows and columns, factor, reverse back
    backwards = np.asarray(hessian, dtype=np.float64)[::-1, ::-1]
    L, failed_at = dpotrf(backwards, lower=1, clean=1)
    if failed_at > 0:
        k = failed_at - 1
        raise not_positive_definite(L, backwards[: k + 1, k], len(L), damping)  # [HES-080]
    return np.asarray(L[::-1, ::-1])  # [HES-070]


def upper_inverse(R: Array) -> NDArray[np.float64]:
    """Return U = R⁻¹, upper triangular, so that H⁻¹ = Uᵀ U.

    Examples
    --------
    >>> upper_inverse(np.array([[2.0, 1.0], [0.0, 2.0]]))
    array([[ 0.5 , -0.25],
           [ 0.  ,  0.5 ]])
    """
    from scipy.linalg.lapack import dtrtri

    U, _ = dtrtri(np.asfortranarray(R, dtype=np.float64), lower=0)
    return np.asarray(U)
