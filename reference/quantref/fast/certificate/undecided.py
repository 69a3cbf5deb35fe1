"""The share of undecided codes, by upper bounds that need no inverse where these are enough."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from quantref.certificate import LIKELY, U64
from quantref.checks import LOOSE_SCALE, evenly_spaced
from quantref.fast.certificate.bounds import Roundoffs
from quantref.fast.certificate.evidence import Evidence, group_bound
from quantref.fast.hessian import bands
from quantref.hessian import upper_inverse
from quantref.inputs import Array

PROBES = 64  # random vectors that estimate a diagonal
LEAST_SHARE = 8  # a mean of 64 squares falls below 1/8 of its expectation: at most about 3·10⁻¹⁵
LARGEST_OF_SOLVES = 512  # columns


def undecided_share(evidence: Evidence, enough: float = 0.0) -> float:
    """Return the share of undecided codes, or a larger one that is at most `enough`.  [CERT-100]"""
    rows, u_f = evenly_spaced(len(evidence.codes)), evidence.roundoffs.factor
    ways = [evidence.most_bounds_of, evidence.bounds_of]
    # Solves bound gradients by ‖E‖. In larger matrices that decides nothing, unless the factor is
    # so precise that gradients hardly count.
    few = len(evidence.U_jj) <= LARGEST_OF_SOLVES or u_f <= U64
    if few and not evidence.roundoffs.hessian:
        ways.insert(0, partial(most_bounds_by_solves, evidence))
    for bounds in ways:
        share = _share(evidence, rows, *bounds(rows))
        if share <= enough:
            break
    return share


def _share(evidence: Evidence, rows: Array, beta: Array, delta: Array) -> float:
    """Return the share of codes that these bounds leave undecided."""
    scale, group = evidence.scale[rows], evidence.problem.column_group
    decided = 2 * delta / evidence.problem.maxq <= LOOSE_SCALE * scale
    return float((~((beta <= scale[:, group] / 2) & decided[:, group])).mean())


def most_bounds_by_solves(evidence: Evidence, rows: Array) -> tuple[Array, Array]:
    """Return upper bounds of β and δ of some rows, which need no inverse."""
    largest = np.abs(evidence.problem.weights[rows]).max(axis=1).astype(np.float64)
    lengths = np.sqrt(np.square(evidence.errors_of(rows)).sum(axis=1))
    most = MostBounds(evidence.problem.R, largest, lengths, evidence.roundoffs)
    beta, delta = most.codes(), np.zeros((len(rows), len(evidence.problem.groups)))
    for k in np.flatnonzero(evidence.compensated_groups):
        group = evidence.problem.groups[k]
        c = evidence.problem.errors_applied(group)
        delta[:, k] = group_bound(group, c, beta, most.base)
    return beta, delta


@dataclass(frozen=True, eq=False)
class MostBounds:
    """Upper bounds of β and δ of some rows, which need no inverse, for a Hessian without η.

    By Cauchy–Schwarz, A_k ≤ ‖E‖ √χ_k and G_k ≤ ‖E‖ √h_k. Diagonals of products of H, H⁻¹, U and
    diagonal matrices are estimated with random vectors and solves.

    Attributes
    ----------
    R : (n_in, n_in) array
    largest : (rows,) array
        Largest |w| of each row.
    length : (rows,) array
        ‖E‖₂ of each row.
    u : Roundoffs
    """

    R: NDArray[np.float64]
    largest: Array
    length: Array
    u: Roundoffs

    @cached_property
    def _h(self) -> Array:
        return np.asarray((self.R**2).sum(axis=1))

    @cached_property
    def _chi(self) -> Array:
        """An upper bound of χ, the diagonal of H⁻¹ = Uᵀ U."""
        return _diagonal(_solve(self.R, self._signs(np.ones(len(self.R))), trans=True))

    @cached_property
    def _of_weights(self) -> Array:
        """Σ_l G_l² Θ(H⁻¹)_lk / ‖E‖², in which H⁻¹ diag(h) H⁻¹ is."""
        probes = _solve(self.R, _solve(self.R, self._signs(self._h)), trans=True)
        by_diagonals = self._chi * float(self._chi @ self._h)
        return np.asarray(by_diagonals + len(self.R) * _diagonal(probes))

    @cached_property
    def _of_gradients(self) -> Array:
        """Of each row of U, Σ_k V′_k U_jk² / ‖E‖²."""
        R, h, chi = self.R, self._h, self._chi
        variances = h * float(chi @ h)
        variances += len(R) * _diagonal(R @ (R.T @ self._signs(chi)))  # H diag(χ) H
        return _diagonal(_solve(R, self._signs(variances)))  # U diag(variances) Uᵀ

    def _signs(self, squares: Array) -> Array:
        """Return random vectors with these squares, (n_in, PROBES)."""
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (len(self.R), PROBES))
        return np.asarray(np.sqrt(squares)[:, None] * signs)

    def codes(self) -> NDArray[np.float64]:
        """Return an upper bound of β, (rows, n_in)."""
        size, spread = self.R.diagonal(), np.empty((3, len(self.R)))
        for band in bands(len(size)):
            squares = (self.R[: band.stop, band] / size[band]) ** 2
            spread[:, band] = self._weights(squares)
        of_gradients = self._of_gradients / size**2
        compensated = self.largest[:, None] + np.outer(self.length, np.sqrt(self._chi))  # ≥ |w′|
        return np.asarray(self._bound(spread, of_gradients) + 3 * self.u.feedback * compensated)

    def base(self, columns: slice, c: int) -> NDArray[np.float64]:
        """Return an upper bound on base weights (rows, columns) of a column block from c on.

        The columns must not start before c. With t_m of the codes m, t = Σ_m (U_mj / U_mm) t_m. So
        the part of the gradients, which is a norm of t, is at most the sum of those of codes.
        """
        U = upper_inverse(self.R[c : columns.stop, c : columns.stop])
        t = U[:, columns.start - c :]
        squares = (self.R[: columns.stop, c : columns.stop] @ t) ** 2
        of_gradients = (np.sqrt(self._of_gradients[c : columns.stop]) @ np.abs(t)) ** 2
        return self._bound(self._weights(squares), of_gradients)

    def _weights(self, squares: Array) -> Array:
        """Return what (R t)² makes of the variances of weights, (3, columns)."""
        rows = len(squares)
        roundings, chi = np.arange(rows) + 4.0, self._chi[:rows]
        return np.stack([roundings, roundings * chi, self._of_weights[:rows]]) @ squares

    def _bound(self, spread: Array, of_gradients: Array) -> NDArray[np.float64]:
        recurrence = np.outer(self.largest**2, spread[0]) + np.outer(self.length**2, spread[1])
        by_factor = np.outer(self.length**2, spread[2] + of_gradients)
        variance = 2 * self.u.weights * recurrence + self.u.matrices * by_factor  # (a+b)² ≤ 2a²+2b²
        return np.asarray(LIKELY * np.sqrt(variance))


def _solve(R: Array, vectors: Array, *, trans: bool = False) -> Array:
    """Return U · vectors, or Uᵀ · vectors."""
    from scipy.linalg import solve_triangular

    return np.asarray(solve_triangular(R, vectors, trans="T" if trans else "N", check_finite=False))


def _diagonal(products: Array) -> Array:
    """Return an upper bound of the diagonal of P Pᵀ, given products of P with random signs."""
    return np.asarray(LEAST_SHARE * np.square(products).mean(axis=1))
