"""Hessian of the reconstruction error: sum, dead columns, damping, order (SPEC.md, section 6).

Matrices of n_in × n_in numbers are what is large here: each is made once, filled in place by BLAS,
and none is copied in order to be transposed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from quantref.errors import (
    ConfigError,
    DTypeError,
    EmptyArrayError,
    NotPositiveDefiniteError,
    NotSymmetricError,
    ShapeError,
)
from quantref.fast.threads import each
from quantref.inputs import Array, require_bool, require_damping, require_float, require_integer
from quantref.profile import DEFAULT_PROFILE, OrderRule, Profile, TokenCount

ASYMMETRY = 2.0**-16
BATCH = 2**22  # elements of a batch whose products are taken at a time, at most …
TOKENS = 2048  # … or so many tokens, where they need no copy
SIDE = 128  # of the square tiles in which a matrix meets its transpose


class HessianAccumulator:
    """Streaming sum of H = (2 / N) sum of x xᵀ over N tokens.

    Parameters
    ----------
    n_in : int >= 1
        Features of a token.
    profile : Profile
        Its `token_count` says what N counts.
    dtype : float64 (default) or float32
        In which products of tokens are taken, batch by batch; they are summed in float64.

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
        self.n_in = n_in = require_integer(n_in, "n_in", "HES-090")
        if n_in < 1:
            raise ConfigError("n_in >= 1", f"{n_in}", "HES-090")
        self.tokens = 0
        self._profile = profile
        self._dtype = np.dtype(dtype)
        if self._dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise DTypeError("dtype float32 or float64", self._dtype.name, "HES-090")
        self._count = 0
        self._sum = np.zeros((n_in, n_in), order="F")  # its lower triangle
        self._products: Array | None = None  # those in float32 of one batch, lower triangle

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
        tokens = x.reshape(-1, self.n_in)
        rows = max(BATCH // self.n_in, TOKENS if tokens.dtype == self._dtype else 1)
        for start in range(0, len(tokens), rows):
            part = tokens[start : start + rows].astype(self._dtype, copy=False)  # [HES-020]
            self._add_products(part.T)
        self.tokens += len(tokens)
        by_sequence = self._profile.token_count is TokenCount.SEQUENCES
        self._count += x.shape[0] if by_sequence and x.ndim > 1 else len(tokens)

    def _add_products(self, columns: Array) -> None:
        """Add columns · columnsᵀ, the lower triangle, in place.  [HES-010]"""
        from scipy.linalg.blas import dsyrk, ssyrk

        if self._dtype == np.float64:
            self._sum = dsyrk(1.0, columns, beta=1.0, c=self._sum, lower=1, overwrite_c=1)
            return
        c = self._products
        c = np.zeros(self._sum.shape, np.float32, order="F") if c is None else c
        self._products = c = ssyrk(1.0, columns, c=c, lower=1, overwrite_c=1)  # beta=0: replaced
        for band in bands(self.n_in):
            self._sum[band.start :, band] += c[band.start :, band]

    def merge(self, other: HessianAccumulator) -> None:
        """Add what another accumulator has seen.  [HES-030]"""
        if other.n_in != self.n_in:
            raise ShapeError(f"n_in={self.n_in}", f"n_in={other.n_in}", "HES-090")
        self._sum += other._sum
        self.tokens += other.tokens
        self._count += other._count

    def hessian(self) -> NDArray[np.float64]:
        """Return (2 / N) · sum, (n_in, n_in), exactly symmetric.  [HES-010]"""
        return self._mean(np.empty_like(self._sum))

    def finish(self) -> NDArray[np.float64]:
        """Return the Hessian in the memory of the sum, and begin anew, with no tokens."""
        mean = self._mean(self._sum)
        self._sum = np.zeros_like(mean, order="F")
        self.tokens = self._count = 0
        return mean

    def _mean(self, out: Array) -> NDArray[np.float64]:
        """Return (2 / N) · sum in `out`, which may be the sum itself."""
        if self.tokens == 0:
            raise EmptyArrayError("at least one token", "none", "HES-090")
        np.multiply(self._sum, 2.0 / self._count, out=out)  # [HES-010]
        return mirrored(out)  # [HES-100]


def accumulate_hessian(
    batches: Iterable[ArrayLike],
    profile: Profile = DEFAULT_PROFILE,
    dtype: DTypeLike = np.float64,
) -> NDArray[np.float64]:
    """Return the Hessian of all tokens of all batches.  [HES-010]

    Parameters
    ----------
    batches : iterable of (..., n_in) float arrays
        Consumed once, one at a time; ranks and lengths may differ.
    profile : Profile
    dtype : float64 (default) or float32
        See `HessianAccumulator`.

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
            total = HessianAccumulator(shape[-1], profile, dtype)
        total.update(batch)
    if total is None:
        raise EmptyArrayError("at least one batch", "none", "HES-090")
    return total.finish()


@dataclass(frozen=True)
class PreparedHessian:
    """A Hessian with its dead columns mended, damped, and the order of its columns.

    Attributes
    ----------
    hessian : (n_in, n_in) float64 array, original order
        Exactly symmetric.
    diagonal : (n_in,) float64 array, original order
        Mended and damped.
    dead : (n_in,) bool array
    order : (n_in,) int32 array
        Original index of the column that is quantized k-th.
    damping : float
        What was added to the diagonal.
    """

    hessian: NDArray[np.float64]
    diagonal: NDArray[np.float64]
    dead: NDArray[np.bool_]
    order: NDArray[np.int32]
    damping: float

    @property
    def damped(self) -> NDArray[np.float64]:
        """The Hessian with the mended and damped diagonal, in the original order."""
        return self._arranged(np.arange(len(self.order)))

    def permuted(self, *, backwards: bool = False, workers: int = 1) -> NDArray[np.float64]:
        """Return the damped Hessian with rows and columns in processing order.  [GPTQ-020]

        `backwards`: last column first. `workers`: threads.
        """
        return self._arranged(self.order[::-1] if backwards else self.order, workers)

    def _arranged(self, order: Array, workers: int = 1) -> NDArray[np.float64]:
        """Return a new matrix with these rows and columns."""
        h, n = self.hessian, len(order)
        arranged = np.empty((n, n))
        forwards = np.arange(n)
        view = h if (order == forwards).all() else None
        if (order == forwards[::-1]).all():
            view = h[::-1, ::-1]

        def arrange(rows: slice) -> None:
            arranged[rows] = h[order[rows]].take(order, axis=1) if view is None else view[rows]

        each(arrange, bands(n), workers)
        np.fill_diagonal(arranged, self.diagonal[order])
        return arranged


def require_hessian(
    hessian: ArrayLike,
    requirement: str,
    n_in: int | None = None,
    *,
    copy: bool = True,
    workers: int = 1,
) -> Array:
    """Return a square, finite, symmetric Hessian as float64, or raise.  [HES-090]

    Without `copy`, what is float64, contiguous and exactly symmetric is returned as it is.
    `workers`: threads.
    """
    h = require_float(hessian, "hessian", requirement)
    if h.ndim != 2 or h.shape[0] != h.shape[1] or (n_in is not None and h.shape[0] != n_in):
        size = "(n_in, n_in)" if n_in is None else f"({n_in}, {n_in})"
        raise ShapeError(f"hessian of shape {size}", f"{h.shape}", requirement)
    if h.size == 0:
        raise EmptyArrayError("a hessian with elements", f"shape={h.shape}", requirement)
    diagonal = np.diagonal(h).astype(np.float64)
    if (diagonal < 0).any():
        j = int(np.argmin(diagonal))
        got = f"H[{j}, {j}]={diagonal[j]:.6g}"
        raise NotPositiveDefiniteError("a diagonal >= 0", got, requirement)
    exactly = _require_symmetric(h, np.sqrt(diagonal), requirement, workers)
    dead = diagonal == 0
    if dead.any() and h[dead].any():
        i, j = (int(k) for k in np.argwhere(h * dead[:, None])[0])
        got = f"H[{i}, {i}]=0, H[{i}, {j}]={h[i, j]:.6g}"
        raise NotPositiveDefiniteError("zeros beside a zero on the diagonal", got, requirement)
    if not exactly:
        h = h.astype(np.float64)
        return (h + h.T) / 2
    rows = np.ascontiguousarray(h.T if h.flags.f_contiguous else h, dtype=np.float64)
    return rows.copy() if copy and np.may_share_memory(rows, h) else rows


def _require_symmetric(h: Array, size: Array, requirement: str, workers: int) -> bool:
    """Return whether |h_ij − h_ji| is zero, or raise where it exceeds a share of the sizes."""

    def compare(rows: slice) -> tuple[bool, bool]:
        """Return whether a band equals its transpose, and whether it does within the share."""
        exactly = True
        for start in range(0, rows.stop, SIDE):
            columns = slice(start, min(start + SIDE, rows.stop))
            one, other = h[rows, columns], h[columns, rows].T
            if (one == other).all():
                continue
            exactly = False
            difference = np.abs(one.astype(np.float64) - other.astype(np.float64))
            if (difference > ASYMMETRY * size[rows, None] * size[columns]).any():
                return False, False
        return exactly, True

    found = each(compare, bands(len(h)), workers)
    if all(within for _, within in found):
        return all(exactly for exactly, _ in found)
    full = h.astype(np.float64)
    wrong = np.abs(full - full.T) > ASYMMETRY * size[:, None] * size
    i, j = (int(k) for k in np.argwhere(wrong)[0])
    got = f"H[{i}, {j}]={full[i, j]:.6g}, H[{j}, {i}]={full[j, i]:.6g}"
    raise NotSymmetricError("a symmetric hessian", got, requirement)


def bands(n: int) -> list[slice]:
    """Return the indices 0 … n − 1 in slices of SIDE.

    Examples
    --------
    >>> bands(130)
    [slice(0, 128, None), slice(128, 130, None)]
    """
    return [slice(start, min(start + SIDE, n)) for start in range(0, n, SIDE)]


def _square_tiles(n: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of the tiles on and below the diagonal of an (n, n) matrix."""
    for i in range(0, n, SIDE):
        for j in range(0, i + 1, SIDE):
            yield slice(i, min(i + SIDE, n)), slice(j, min(j + SIDE, n))


def mirrored(lower: Array) -> NDArray[np.float64]:
    """Return the symmetric matrix with the lower triangle of `lower`, in the same memory.

    Examples
    --------
    >>> mirrored(np.array([[1.0, 0.0], [2.0, 3.0]]))
    array([[1., 2.],
           [2., 3.]])
    """
    for rows, columns in _square_tiles(len(lower)):
        tile = lower[rows, columns]
        if rows == columns:
            tile[:] = np.tril(tile) + np.tril(tile, -1).T
        else:
            lower[columns, rows] = tile.T
    return lower


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
    return prepared_hessian(h, damping=fraction, activation_order=ordered, profile=profile)


def prepared_hessian(
    h: NDArray[np.float64], *, damping: float, activation_order: bool, profile: Profile
) -> PreparedHessian:
    """Do what `prepare_hessian` does with a Hessian and settings that are checked."""
    # DEAD COLUMNS
    diagonal = np.diagonal(h).copy()
    dead = diagonal == 0
    diagonal[dead] = 1.0  # [HES-040]

    # DAMPING
    added = damping * float(np.mean(diagonal))  # [HES-050]

    # ORDER
    order = np.arange(len(h))
    if activation_order:
        order = activation_order_of(diagonal, added, profile)  # [HES-060]
    return PreparedHessian(h, diagonal + added, dead, order.astype(np.int32), added)


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


def reversed_both(h: Array) -> NDArray[np.float64]:
    """Return a new matrix with rows and columns in reversed order: its memory read backwards.

    Examples
    --------
    >>> reversed_both(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[4., 3.],
           [2., 1.]])
    """
    backwards = np.ascontiguousarray(h, dtype=np.float64).reshape(-1)[::-1]
    return backwards.copy().reshape(h.shape)
