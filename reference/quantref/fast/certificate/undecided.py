"""The share of undecided codes, by upper bounds that need no inverse where these are enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from quantref.certificate import LIKELY, U64
from quantref.checks import LOOSE_SCALE, evenly_spaced
from quantref.fast.certificate.bounds import Factor, Roundoffs
from quantref.fast.certificate.errors import times_upper
from quantref.fast.certificate.evidence import Evidence, group_bound
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
    lengths = evidence.most_lengths(rows)
    most = MostBounds(evidence.factor, largest, lengths, evidence.roundoffs)
    beta, delta = most.codes(), np.zeros((len(rows), len(evidence.problem.groups)))
    for k in np.flatnonzero(evidence.compensated_groups):
        group = evidence.problem.groups[k]
        c = evidence.problem.errors_applied(group)
        delta[:, k] = group_bound(group, c, beta, most.base)
    return beta, delta


@dataclass(frozen=True, eq=False)
class MostBounds:
    """Upper bounds of β and δ of some rows, which need no inverse, for a Hessian without η.

    By Cauchy–Schwarz, A_k ≤ ‖E‖ √χ_k, G_k ≤ ‖E‖ √h_k and Θ(H)_kl ≤ (n_in + 1) h_k h_l; and
    Σ_k h_k U_jk² ≤ max h · Σ χ. The diagonal χ of H⁻¹ = Uᵀ U is estimated with random vectors.

    Attributes
    ----------
    factor : Factor
        Its inverse is not asked for.
    largest : (rows,) array
        Largest |w| of each row.
    length : (rows,) array
        ‖E‖₂ of each row, or more.
    u : Roundoffs
    """

    factor: Factor
    largest: Array
    length: Array
    u: Roundoffs

    @cached_property
    def _chi(self) -> Array:
        """An upper bound of χ."""
        R = self.factor.R
        signs = 2.0 * np.random.default_rng(0).integers(0, 2, (len(R), PROBES), dtype=np.int8) - 1
        return np.asarray(LEAST_SHARE * np.square(_transposed_solve(R, signs)).mean(axis=1))

    @cached_property
    def _of_factor(self) -> float:
        """(n_in + 1) Σ_l χ_l h_l: what Σ_l G_l² Θ(H⁻¹)_lk is at most, ÷ χ_k ‖E‖²; so for V′."""
        return (len(self.factor.R) + 1) * float(self._chi @ self.factor.h)

    @cached_property
    def _of_gradients(self) -> float:
        """Of each row of U, Σ_k V′_k U_jk² / ‖E‖²."""
        return self._of_factor * float(self.factor.h.max() * self._chi.sum())

    @cached_property
    def _of_weights(self) -> Array:
        """What roundings, and roundings of moves, make of (R t)_k², (2, n_in)."""
        roundings = np.arange(len(self.factor.R)) + 4.0
        return np.stack([roundings, roundings * self._chi])

    def codes(self) -> NDArray[np.float64]:
        """Return an upper bound of β, (rows, n_in)."""
        R, size = self.factor.R, self.factor.R.diagonal()
        most = np.maximum.accumulate(self._of_weights, axis=1)  # of the rows of R that are not 0
        spread = most * (np.einsum("ij,ij->j", R, R) / size**2)
        compensated = self.largest[:, None] + np.outer(self.length, np.sqrt(self._chi))  # ≥ |w′|
        of_last = 3 * self.u.feedback * compensated
        return np.asarray(self._bound(spread, self._of_gradients / size**2) + of_last)

    def base(self, columns: slice, c: int) -> NDArray[np.float64]:
        """Return an upper bound on base weights (rows, columns) of a column block from c on.

        The columns must not start before c. With t_m of the codes m, t = Σ_m (U_mj / U_mm) t_m. So
        the part of the gradients, which is a norm of t, is at most the sum of those of codes.
        """
        U, own = self.factor.inverse_between(c, columns.stop), slice(columns.start - c, None)
        of_gradients = self._of_gradients * np.abs(U[:, own]).sum(axis=0) ** 2
        moved = times_upper(self.factor.R[:c, c : columns.stop].copy(order="F"), U)[:, own]
        spread = self._of_weights[:, :c] @ np.square(moved)
        spread += self._of_weights[:, columns]  # from c on, R U is 1
        return self._bound(spread, of_gradients)

    def _bound(self, spread: Array, of_gradients: Array) -> NDArray[np.float64]:
        recurrence = np.outer(self.largest**2, spread[0]) + np.outer(self.length**2, spread[1])
        # Σ_k χ_k (R t)_k² is at most a quarter of Σ_k (k + 4) χ_k (R t)_k².
        by_factor = np.outer(self.length**2, self._of_factor * spread[1] / 4 + of_gradients)
        variance = 2 * self.u.weights * recurrence + self.u.matrices * by_factor  # (a+b)² ≤ 2a²+2b²
        return np.asarray(LIKELY * np.sqrt(variance))


def _transposed_solve(R: Array, vectors: Array) -> Array:
    """Return Uᵀ · vectors."""
    from scipy.linalg import solve_triangular

    return np.asarray(solve_triangular(R, vectors, trans="T", check_finite=False))
