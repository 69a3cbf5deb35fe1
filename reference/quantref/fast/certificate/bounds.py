"""Bounds on the error of a correct implementation, of some rows at a time (SPEC.md, section 8).

`quantref.certificate` has the plain form. Here the factor and its inverse are computed once, and
the matrices with n_in² variances in bands (`quantref.fast.certificate.noise`).
`quantcheck.oracle.bounds` has the same formulas in Python floats, for the vectors; tests hold all
three equal. Letters are those of the plain form.

Lower bounds settle most checks without the inverse U: see `quantref.fast.certificate.lower`. So do
upper bounds for the share of undecided codes: see `quantref.fast.certificate.undecided`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from quantref.certificate import LIKELY, U64, hessian_shift
from quantref.checks import horizons, require_hessian_error, require_roundoffs
from quantref.fast.certificate.noise import FactorNoise, Moves
from quantref.fast.hessian import permuted_rows
from quantref.fast.problem import GPTQProblem
from quantref.hessian import PreparedHessian, upper_inverse
from quantref.inputs import Array
from quantref.rules import rows_of_cholesky

FEW_COLUMNS = 256  # whose inverse is kept
AT_A_TIME = 64  # columns whose squares are in memory


@dataclass(frozen=True, eq=False)
class Roundoffs:
    """The precisions that a bound is for: u, u_f, and η of the Hessian."""

    feedback: float
    factor: float
    hessian: float = 0.0

    @classmethod
    def declared(
        cls, feedback: float, factor: float | None = None, hessian: float = 0.0
    ) -> Roundoffs:
        """Return the precisions, or raise; see `quantref.certificate.certify`."""
        return cls(*require_roundoffs(feedback, factor), require_hessian_error(hessian))

    @property
    def weights(self) -> float:
        """The factor of variances of the recurrence: (u² + 2⁻¹⁰⁶) / 3."""
        return (self.feedback**2 + U64**2) / 3

    @property
    def matrices(self) -> float:
        """The factor of variances of the Hessian's factor: (u_f² + 2⁻¹⁰⁶) / 3."""
        return (self.factor**2 + U64**2) / 3


@dataclass(frozen=True, eq=False)
class Noise:
    """Variances of errors of weights and of gradients, (rows, n_in), and the Hessian's error.

    They are those up to a horizon. See `quantref.certificate.rounding_noise` and `hessian_shift`.
    """

    of_weights: NDArray[np.float64]
    of_gradients: NDArray[np.float64]
    shift: tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class Factor:
    """A factor R, its inverse U, and variances of the errors of a computed factor.

    Vectors and U are computed when they are used, and kept. Answers with one Hessian may share
    them.

    Attributes
    ----------
    R : (n_in, n_in) float64 array
    prepared : PreparedHessian, optional
        The Hessian H = R Rᵀ, while it is sure not to change. Otherwise H is computed from R.
    shared : bool, default False
        Many answers share it; then the matrices with n_in² variances are kept. So they are where
        the bounds of many rows are asked for.
    """

    R: NDArray[np.float64]
    prepared: PreparedHessian | None = None
    shared: bool = False

    @classmethod
    def of(cls, problem: GPTQProblem) -> Factor:
        """Return the factor of a problem, with the Hessian; see `forget_hessian`."""
        is_product = problem.profile.rows is rows_of_cholesky  # H = R Rᵀ
        return cls(problem.R, problem.prepared if is_product else None)

    @cached_property
    def U(self) -> NDArray[np.float64]:
        """R⁻¹."""
        vars(self).pop("_inverses", None)  # it holds them
        return upper_inverse(self.R)

    def inverse_between(self, first: int, stop: int) -> NDArray[np.float64]:
        """Return a part of U, columns and rows from `first` to `stop`: the inverse of that of R."""
        if "U" in vars(self):
            return self.U[first:stop, first:stop]
        kept = self._inverses.get((first, stop))
        if kept is None:
            kept = upper_inverse(self.R[first:stop, first:stop])
            if stop - first <= FEW_COLUMNS:
                self._inverses[first, stop] = kept
        return kept

    @cached_property
    def _inverses(self) -> dict[tuple[int, int], NDArray[np.float64]]:
        return {}

    @cached_property
    def h(self) -> NDArray[np.float64]:
        """The diagonal of H."""
        return np.asarray(np.einsum("ij,ij->i", self.R, self.R))

    @cached_property
    def chi(self) -> NDArray[np.float64]:
        """χ, the diagonal of H⁻¹."""
        return np.asarray(np.einsum("ij,ij->j", self.U, self.U))

    @cached_property
    def of_hessian(self) -> FactorNoise:
        """Θ(H)."""
        return FactorNoise(self.h)

    def _columns_of_hessian(self, band: slice) -> Array:
        if self.prepared:
            return permuted_rows(self.prepared, band)[:, band.start :].T
        return np.asarray(self.R[band.start :, band.start :] @ self.R[band, band.start :].T)

    def forget_hessian(self) -> None:
        """Compute H from R from now on; a caller may change its Hessian."""
        vars(self).update(prepared=None)

    @cached_property
    def of_inverse(self) -> FactorNoise:
        """Θ(H⁻¹)."""
        return FactorNoise(self.chi)

    def _columns_of_inverse(self, band: slice) -> Array:
        above = self.U[: band.stop]
        return np.asarray(above[:, band.start :].T @ above[:, band])

    def noises(
        self, W: Array, E: Array, u: Roundoffs, *, at_most: bool = False, keep: bool = False
    ) -> Iterator[Noise]:
        """Yield the noise of some rows for each horizon.  [CERT-090]

        `at_most`: yield upper bounds, which are found sooner. `keep`: keep the matrices with n_in²
        variances for other rows.
        """
        moves, ends = Moves(E, self.R, self.U), horizons(len(self.R))
        shift = (np.zeros(len(E)), np.zeros(len(self.R)))
        if u.hessian:
            shift = hessian_shift(E, self.R, self.U, u.hessian)
        if at_most:
            for end in ends:
                A, G = moves.up_to(end)
                of_weights = u.matrices * self.of_inverse.most(G**2)
                of_weights += u.weights * _recurrence(W, A)
                yield Noise(of_weights, u.matrices * self.of_hessian.most(A**2), shift)
            return
        A, G = (np.empty((len(ends), *E.shape)) for _ in range(2))
        for k, end in enumerate(ends):
            A[k], G[k] = moves.up_to(end)
        keep = keep or self.shared
        of_weights = _spread(self.of_inverse, G, self._columns_of_inverse, keep=keep)
        of_weights *= u.matrices
        del G
        for k in range(len(ends)):
            of_weights[k] += u.weights * _recurrence(W, A[k])
        of_gradients = _spread(self.of_hessian, A, self._columns_of_hessian, keep=keep)
        of_gradients *= u.matrices
        yield from (Noise(*found, shift) for found in zip(of_weights, of_gradients, strict=True))

    def codes(self, noise: Noise, columns: slice) -> NDArray[np.float64]:
        """Return β of columns with the noise's horizon, (rows, columns).  [CERT-090]"""
        size, start = self.R.diagonal(), columns.start
        variance = np.empty((len(noise.of_weights), columns.stop - start))
        for first in range(start, columns.stop, AT_A_TIME):
            band = slice(first, min(first + AT_A_TIME, columns.stop))
            part = slice(first - start, band.stop - start)
            of_weights = noise.of_weights[:, : band.stop]
            variance[:, part] = of_weights @ _squared(self.R[: band.stop, band] / size[band])
            of_gradients = noise.of_gradients[:, band.start :]
            variance[:, part] += (
                of_gradients @ _squared(self.U[band, band.start :] / size[band, None]).T
            )
        by_hessian = np.outer(noise.shift[0], noise.shift[1][columns] / size[columns])
        return np.asarray(LIKELY * np.sqrt(variance) + by_hessian)

    def base(self, noise: Noise, columns: slice, c: int) -> NDArray[np.float64]:
        """Return the bound on base weights (rows, columns) of a column block from c on.

        The columns must not start before c. Many columns are taken in parts, for memory.
        """
        if columns.stop - columns.start > AT_A_TIME:
            middle = columns.start + AT_A_TIME
            parts = slice(columns.start, middle), slice(middle, columns.stop)
            return np.hstack([self.base(noise, part, c) for part in parts])
        t = self.U[c : columns.stop, columns]
        of_weights, of_gradients = noise.of_weights[:, : columns.stop], noise.of_gradients[:, c:]
        variance = of_weights @ _squared(self.R[: columns.stop, c : columns.stop] @ t)
        variance += of_gradients @ _squared(self.U[c : columns.stop, c:].T @ t)
        by_hessian = noise.shift[1][c : columns.stop] @ np.abs(t)
        return LIKELY * np.sqrt(variance) + np.outer(noise.shift[0], by_hessian)


def _squared(values: Array) -> Array:
    """Return the squares of an array that is not used again, in its memory."""
    return np.square(values, out=values)


def _spread(
    noise: FactorNoise, moved: Array, below: Callable[[slice], Array], *, keep: bool
) -> Array:
    """Return the variances that a factor's errors make of moves, which are overwritten."""
    squares = _squared(moved).reshape(-1, moved.shape[-1])
    return noise.spread(squares, below, keep=keep).reshape(moved.shape)


def _recurrence(W: Array, A: Array) -> Array:
    """Return (k + 4) (|w_k| + A_k)², (rows, n_in)."""
    return np.asarray((np.arange(W.shape[1]) + 4) * (np.abs(W) + A) ** 2)


def own_noise(column: Array, sizes: Array, u: Roundoffs) -> NDArray[np.float64]:
    """Return the variance of a weight's own roundings, the least part of the noise.  [CERT-090]

    `sizes`: |w| + |w − ŵ|, which is not more than |w| + A.
    """
    return np.asarray(u.weights * (column + 4) * sizes**2)


def deviations(variance: Array) -> NDArray[np.float64]:
    """Return the bound of a variance, a little smaller, so that rounding it changes no verdict."""
    return np.asarray((1 - 1e-9) * LIKELY * np.sqrt(variance))
