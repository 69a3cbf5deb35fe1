"""Bounds on the error of a correct implementation, of some rows at a time (SPEC.md, section 8).

`quantref.certificate` has the plain form. Here what depends on the factor alone is computed once,
and the matrices with n_in² variances in bands. `quantcheck.oracle.bounds` has the same formulas in
Python floats, for the vectors; tests hold all three equal. Letters are those of the plain form.

Lower bounds settle most answers without the inverse U: see `quantref.fast.certificate.lower`. So do
upper bounds for the share of undecided codes: see `quantref.fast.certificate.undecided`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from quantref.certificate import LIKELY, STOP, U64, hessian_shift
from quantref.checks import require_hessian_error, require_roundoffs
from quantref.fast.hessian import bands
from quantref.hessian import upper_inverse
from quantref.inputs import Array

MOVED = 2**15  # weights whose displacements and gradients are in the cache
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

    They are computed when they are used, and kept. Answers with one Hessian may share them.
    """

    R: NDArray[np.float64]

    @cached_property
    def U(self) -> NDArray[np.float64]:
        """R⁻¹."""
        return upper_inverse(self.R)

    @cached_property
    def h(self) -> NDArray[np.float64]:
        """The diagonal of H."""
        return np.asarray(np.einsum("ij,ij->i", self.R, self.R))

    @cached_property
    def chi(self) -> NDArray[np.float64]:
        """χ, the diagonal of H⁻¹."""
        return np.asarray(np.einsum("ij,ij->j", self.U, self.U))

    @cached_property
    def of_hessian(self) -> NDArray[np.float32]:
        """Θ(H)_kl / (h_k h_l) in single precision, which is enough for variances."""
        R = self.R
        return _factor_noise(lambda b: R[: b.stop, b.start :] @ R[b, b.start :].T, self.h)

    @cached_property
    def of_inverse(self) -> NDArray[np.float32]:
        """Θ(H⁻¹)_kl / (χ_k χ_l)."""
        U = self.U
        return _factor_noise(lambda b: U[: b.stop, : b.stop].T @ U[: b.stop, b], self.chi)

    def noise(
        self, W: Array, E: Array, u: Roundoffs, horizon: int, *, at_most: bool = False
    ) -> Noise:
        """Return the noise of some rows, or an upper bound that is found sooner.  [CERT-090]"""
        A, G = _largest_moves(E[:, :horizon], self.R, self.U)
        recurrence = (np.arange(len(self.R)) + 4) * (np.abs(W) + A) ** 2
        largest = len(self.R) + 1.0
        of_inverse = _spread(G**2, largest if at_most else self.of_inverse, self.chi)
        of_weights = u.weights * recurrence + u.matrices * of_inverse
        of_hessian = _spread(A**2, largest if at_most else self.of_hessian, self.h)
        of_gradients = u.matrices * of_hessian
        shift = (np.zeros(len(E)), np.zeros(len(self.R)))
        if u.hessian:
            shift = hessian_shift(E, self.R, self.U, u.hessian)
        return Noise(of_weights, of_gradients, shift)

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


def _largest_moves(E: Array, R: Array, U: Array) -> tuple[Array, Array]:
    """Return what `quantref.certificate.largest_moves` does, (rows, n_in) each.

    Some rows at a time stay in the cache, and only weights that an error reaches are moved.
    """
    A, G = np.zeros((2, len(E), len(R)))
    count = max(MOVED // len(R), 1)
    for first in range(0, len(E), count):
        rows = slice(first, first + count)
        displacement, gradient = np.zeros((2, *A[rows].shape))
        for start in range(0, E.shape[1], STOP):
            done = slice(start, min(start + STOP, E.shape[1]))
            errors = E[rows, done]
            for moved, largest, matrix, reached in (
                (displacement, A, U[done, start:], slice(start, None)),  # U[j, k] = 0 for j > k
                (gradient, G, R[: done.stop, done].T, slice(done.stop)),  # R[k, j] = 0 for j < k
            ):
                moved[:, reached] += errors @ matrix
                np.maximum(
                    largest[rows, reached], np.abs(moved[:, reached]), out=largest[rows, reached]
                )
    return A, G


def _factor_noise(product: Callable[[slice], Array], diagonal: Array) -> NDArray[np.float32]:
    """Return `quantref.certificate.factor_noise` of a matrix, divided by its diagonal twice.

    The elements are in 1 … n_in + 1. `product`: returns the columns of a band above its end.
    """
    n_in, size = len(diagonal), np.sqrt(diagonal)
    noise = np.empty((n_in, n_in), np.float32)
    for band in bands(n_in):
        columns = product(band) / np.outer(size[: band.stop], size[band])
        noise[: band.stop, band] = n_in * columns**2 + 1
        noise[band, : band.start] = noise[: band.start, band].T
    return noise


def _spread(squares: Array, noise: Array | float, diagonal: Array) -> NDArray[np.float64]:
    """Return squares · factor_noise, (rows, n_in); `noise` may be the largest of its elements."""
    scaled = squares * diagonal
    if isinstance(noise, float):
        return np.outer(scaled.sum(axis=1) * noise, diagonal)
    return np.asarray(scaled @ noise * diagonal)


def own_noise(column: Array, sizes: Array, u: Roundoffs) -> NDArray[np.float64]:
    """Return the variance of a weight's own roundings, the least part of the noise.  [CERT-090]

    `sizes`: |w| + |w − ŵ|, which is not more than |w| + A.
    """
    return np.asarray(u.weights * (column + 4) * sizes**2)


def deviations(variance: Array) -> NDArray[np.float64]:
    """Return the bound of a variance, a little smaller, so that rounding it changes no verdict."""
    return np.asarray((1 - 1e-9) * LIKELY * np.sqrt(variance))
