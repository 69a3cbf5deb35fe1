"""The Hessian, fast: BLAS adds products in place, to one triangle.

Checks and permutations go through tiles that stay in the cache, and a matrix is copied only if it
has to be. `quantref.hessian` has the plain forms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from quantref import hessian as plain
from quantref.errors import EmptyArrayError
from quantref.fast.threads import each
from quantref.hessian import PreparedHessian
from quantref.inputs import (
    ASYMMETRY,
    Array,
    not_symmetric,
    require_bool,
    require_damping,
    require_dead_columns_zero,
    require_diagonal,
    require_n_in,
    require_square,
)
from quantref.rules import DEFAULT_PROFILE, Profile

PIECE_ELEMENTS = 2**22  # largest number of elements of a batch that are multiplied at a time …
PIECE_TOKENS = 2048  # … or this number of tokens, if they need no copy
SIDE = 128  # of the square tiles in which a matrix is compared with its transpose


class HessianAccumulator(plain.HessianAccumulator):
    """Streaming sum; see `quantref.hessian.HessianAccumulator`. `sum` has the lower triangle only.

    Examples
    --------
    >>> total = HessianAccumulator(2)
    >>> total.update(np.float32([[1, 0], [1, 2]]))
    >>> total.finish()
    array([[2., 2.],
           [2., 4.]])
    """

    def __init__(
        self, n_in: int, profile: Profile = DEFAULT_PROFILE, dtype: DTypeLike = np.float64
    ) -> None:
        super().__init__(n_in, profile, dtype)
        self.sum = np.zeros((self.n_in, self.n_in), order="F")
        self._products: Array | None = None  # of one batch in float32, lower triangle

    def add(self, X: Array) -> None:
        """Add XᵀX to the sum, in place."""
        rows = max(PIECE_ELEMENTS // self.n_in, PIECE_TOKENS if X.dtype == self.dtype else 1)
        for start in range(0, len(X), rows):
            part = X[start : start + rows].astype(self.dtype, copy=False)
            self._add_products(part.T)

    def _add_products(self, columns: Array) -> None:
        """Add columns · columnsᵀ, the lower triangle, in place.  [HES-010]"""
        from scipy.linalg.blas import dsyrk, ssyrk

        if self.dtype == np.float64:
            self.sum = dsyrk(1.0, columns, beta=1.0, c=self.sum, lower=1, overwrite_c=1)
            return
        c = self._products
        c = np.zeros(self.sum.shape, np.float32, order="F") if c is None else c
        self._products = c = ssyrk(1.0, columns, c=c, lower=1, overwrite_c=1)  # beta=0: replaced
        for band in bands(self.n_in):
            self.sum[band.start :, band] += c[band.start :, band]

    def hessian(self) -> NDArray[np.float64]:
        """Return (2 / N) · Σ x xᵀ, (n_in, n_in), exactly symmetric."""
        return self._mean(np.empty_like(self.sum))

    def finish(self) -> NDArray[np.float64]:
        """Return the Hessian in the memory of the sum; the accumulator is empty afterwards."""
        mean = self._mean(self.sum)
        self.sum = np.zeros_like(mean, order="F")
        self.tokens = self.count = 0
        return mean

    def _mean(self, out: Array) -> NDArray[np.float64]:
        """Return (2 / N) · sum in `out`, which may be the sum itself."""
        if self.tokens == 0:
            raise EmptyArrayError("at least one token", "none", "HES-090")
        np.multiply(self.sum, 2.0 / self.count, out=out)
        return mirrored(out)


def accumulate_hessian(
    batches: Iterable[ArrayLike],
    profile: Profile = DEFAULT_PROFILE,
    dtype: DTypeLike = np.float64,
) -> NDArray[np.float64]:
    """Return what `quantref.hessian.accumulate_hessian` returns.

    Examples
    --------
    >>> accumulate_hessian([np.float32([[1, 0]]), np.float32([[1, 2]])])
    array([[2., 2.],
           [2., 4.]])
    """
    total: HessianAccumulator | None = None
    for batch in batches:
        if total is None:
            total = HessianAccumulator(require_n_in(batch), profile, dtype)
        total.update(batch)
    if total is None:
        raise EmptyArrayError("at least one batch", "none", "HES-090")
    return total.finish()


def prepare_hessian(
    hessian: ArrayLike,
    *,
    damping: float = 0.01,
    activation_order: bool = False,
    profile: Profile = DEFAULT_PROFILE,
) -> PreparedHessian:
    """Return what `quantref.hessian.prepare_hessian` returns.

    Examples
    --------
    >>> prepare_hessian(np.diag([1.0, 0.0, 4.0]), damping=0.5).added
    1.0
    """
    fraction = require_damping(damping, "HES-090")
    ordered = require_bool(activation_order, "activation_order", "HES-090")
    H = require_hessian(hessian, "HES-090")
    H = H.copy() if np.may_share_memory(H, hessian) else H
    return plain.prepared_of(H, fraction, ordered, profile)


def permuted(
    prepared: PreparedHessian, *, backwards: bool = False, workers: int = 1
) -> NDArray[np.float64]:
    """Return the damped Hessian with rows and columns in processing order.  [GPTQ-020]

    See `quantref.hessian.PreparedHessian.permuted`. `backwards`: last column first. `workers`:
    threads.
    """
    n = len(prepared.order)
    arranged = np.empty((n, n))

    def arrange(rows: slice) -> None:
        permuted_rows(prepared, rows, backwards=backwards, out=arranged[rows])

    each(arrange, bands(n), workers)
    return arranged


def permuted_rows(
    prepared: PreparedHessian, rows: slice, *, backwards: bool = False, out: Array | None = None
) -> NDArray[np.float64]:
    """Return some rows of what `permuted` returns, (rows, n_in), in `out` or in new memory.

    Examples
    --------
    >>> permuted_rows(prepare_hessian(np.diag([1.0, 3.0]), damping=0.5), slice(1, 2))
    array([[0., 4.]])
    """
    order = prepared.order[::-1] if backwards else prepared.order
    n = len(order)
    h, forwards = prepared.hessian, np.arange(n)
    arranged = np.empty((len(order[rows]), n)) if out is None else out
    if (order == forwards).all():
        arranged[:] = h[rows]
    elif (order == forwards[::-1]).all():
        arranged[:] = h[::-1, ::-1][rows]
    else:
        arranged[:] = h[order[rows]].take(order, axis=1)
    arranged[np.arange(len(arranged)), forwards[rows]] = prepared.diagonal[order[rows]]
    return arranged


def require_hessian(
    hessian: ArrayLike, requirement: str, n_in: int | None = None, *, workers: int = 1
) -> Array:
    """Return what `quantref.inputs.require_hessian` returns, without a copy if none is needed.

    `workers`: threads.  [HES-090]
    """
    h = require_square(hessian, requirement, n_in)
    require_diagonal(h, requirement)
    size = np.sqrt(np.diagonal(h).astype(np.float64))
    exactly = _require_symmetric(h, size, requirement, workers)
    require_dead_columns_zero(h, requirement)
    if not exactly:
        h = h.astype(np.float64)
        return np.asarray((h + h.T) / 2)
    return np.ascontiguousarray(h.T if h.flags.f_contiguous else h, dtype=np.float64)


def _require_symmetric(h: Array, size: Array, requirement: str, workers: int) -> bool:
    """Return whether h equals its transpose, or raise if |h_ij − h_ji| is above the limit."""

    def compare(rows: slice) -> tuple[bool, bool]:
        """Return whether a band equals its transpose, and whether it does within the limit."""
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
    raise not_symmetric(h, requirement)


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
