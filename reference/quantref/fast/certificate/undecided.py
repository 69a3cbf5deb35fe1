"""The share of undecided codes, by upper bounds that need no inverse where these are enough."""

from __future__ import annotations

from collections.abc import Callable
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

Bounds = Callable[[Array], tuple[Array, Array]]  # β and δ of rows

ONE_IN, ONE_OF_UPPER_IN = 40, 32  # bounds of one row in 40, or upper bounds of one in 32, at a time
FEWEST = 12  # rows at a time
PROBED = 16  # one row in 16 is looked at first
PROBES = 64  # random vectors that estimate a diagonal
LEAST_SHARE = 8  # a mean of 64 squares falls below 1/8 of its expectation: at most about 3·10⁻¹⁵


def undecided_share(evidence: Evidence, enough: float = 0.0) -> float:
    """Return the share of undecided codes, or a larger one that is at most `enough`.  [CERT-100]"""
    rows, u = evenly_spaced(len(evidence.codes)), evidence.roundoffs
    # Upper bounds of a few rows usually show whether they settle it.
    probe = np.arange(len(rows)) % PROBED == 0
    parts = [rows[probe], *_parts(evidence, rows[~probe], ONE_OF_UPPER_IN)]
    ways: list[tuple[list[Array], Bounds]] = [(parts, evidence.most_bounds_of)]
    # Solves bound a factor's errors by norms. That decides something where they hardly count.
    if u.factor <= U64 and not u.hessian:
        ways.insert(0, ([rows], partial(most_bounds_by_solves, evidence)))
    codes = len(rows) * len(evidence.U_jj)
    most = int(enough * codes)
    for parts, bounds in ways:
        found = _undecided(evidence, parts, bounds, most)
        if found <= most:
            return found / codes
    return _undecided(evidence, _parts(evidence, rows, ONE_IN), evidence.bounds_of, codes) / codes


def _parts(evidence: Evidence, rows: Array, one_in: int) -> list[Array]:
    """Divide rows, so that a part has at most one in `one_in` of all rows, or FEWEST."""
    count = max(len(evidence.codes) // one_in, FEWEST)
    return np.array_split(rows, -(-len(rows) // count)) if rows.size else []


def _undecided(evidence: Evidence, parts: list[Array], bounds: Bounds, most: int) -> int:
    """Return the number of codes that bounds leave undecided, counted up to `most` and a part."""
    found = 0
    for rows in parts:
        beta, delta = bounds(rows)
        scale, group = evidence.scale[rows], evidence.problem.column_group
        decided = 2 * delta / evidence.problem.maxq <= LOOSE_SCALE * scale
        found += int((~((beta <= scale[:, group] / 2) & decided[:, group])).sum())
        if found > most:
            break
    return found


def most_bounds_by_solves(evidence: Evidence, rows: Array) -> tuple[Array, Array]:
    """Return upper bounds of β and δ of some rows, which need no inverse."""
    largest = np.abs(evidence.problem.weights[rows]).max(axis=1).astype(np.float64)
    lengths = np.sqrt(np.square(evidence.errors_of(rows)).sum(axis=1))
    most = MostBounds(evidence.problem.R, evidence.factor.h, largest, lengths, evidence.roundoffs)
    beta, delta = most.codes(), np.zeros((len(rows), len(evidence.problem.groups)))
    for k in np.flatnonzero(evidence.compensated_groups):
        group = evidence.problem.groups[k]
        c = evidence.problem.errors_applied(group)
        delta[:, k] = group_bound(group, c, beta, most.base)
    return beta, delta


@dataclass(frozen=True, eq=False)
class MostBounds:
    """Upper bounds of β and δ of some rows, which need no inverse, for a Hessian without η.

    By Cauchy–Schwarz, A_k ≤ ‖E‖ √χ_k, G_k ≤ ‖E‖ √h_k and Θ(H)_kl ≤ (n_in + 1) h_k h_l. Diagonals of
    products of U are estimated with random vectors and solves.

    Attributes
    ----------
    R : (n_in, n_in) array
    h : (n_in,) array
        The diagonal of H.
    largest : (rows,) array
        Largest |w| of each row.
    length : (rows,) array
        ‖E‖₂ of each row.
    u : Roundoffs
    """

    R: NDArray[np.float64]
    h: Array
    largest: Array
    length: Array
    u: Roundoffs

    @cached_property
    def _chi(self) -> Array:
        """An upper bound of χ, the diagonal of H⁻¹ = Uᵀ U."""
        return _diagonal(_solve(self.R, self._signs, trans=True))

    @cached_property
    def _of_factor(self) -> float:
        """(n_in + 1) Σ_l χ_l h_l: what Σ_l G_l² Θ(H⁻¹)_lk is at most, ÷ χ_k ‖E‖²; so for V′."""
        return (len(self.R) + 1) * float(self._chi @ self.h)

    @cached_property
    def _of_gradients(self) -> Array:
        """Of each row of U, Σ_k V′_k U_jk² / ‖E‖²."""
        probes = np.sqrt(self.h)[:, None] * self._signs
        return self._of_factor * _diagonal(_solve(self.R, probes))  # U diag(h) Uᵀ

    @cached_property
    def _signs(self) -> Array:
        """Random vectors of −1 and 1, (n_in, PROBES)."""
        return 2.0 * np.random.default_rng(0).integers(0, 2, (len(self.R), PROBES)) - 1.0

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
        return np.stack([roundings, roundings * chi, self._of_factor * chi]) @ squares

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
