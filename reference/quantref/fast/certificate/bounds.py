"""Bounds on the error of a correct implementation, of some rows at a time (SPEC.md, section 8).

`quantref.certificate.error_bound` is the plain form. Here the terms of the factor are computed once
and used for all rows. `quantcheck.oracle.bounds` has the same formulas in Python floats, for the
vectors; a test holds them equal. Letters are those of `quantref.certificate`.

Each bound is the smaller of two. `always` holds for every pattern of rounding errors and grows with
n. `likely` holds for independent rounding errors of mean zero, except with a probability of
2·exp(−LIKELY² / 2) per code, and grows with √n (Higham and Mary, SIAM J. Sci. Comput. 41, 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantref.certificate import LIKELY, amplified, growth, norm_bound, roundings_of
from quantref.inputs import Array


@dataclass(frozen=True)
class Bounds:
    """Bounds on the error of a correct implementation, in processing order.  [CERT-060]

    Attributes
    ----------
    always : (n_out, n_in) array
        |error of w'_j| <= growth(roundings, u) · always.
    likely : (n_out, n_in) array
        |error of w'_j| <= LIKELY · √roundings · u · likely.
    inverse : (n_in, n_in) array
        |M⁻¹|, which carries errors of w' to base weights.
    shift : (n_out, n_in) array
        A·B_j: error of w'_j per unit of a relative error of the Hessian.
    spread : float
        ‖|U| √h‖²: relative errors of the Hessian must stay below its inverse.
    """

    always: NDArray[np.float64]
    likely: NDArray[np.float64]
    inverse: NDArray[np.float64]
    shift: NDArray[np.float64]
    spread: float

    def rho(self, u: float) -> NDArray[np.float64]:
        """Return ρ(u), (n_out, n_in), the bound on the error of w' in arithmetic of roundoff u."""
        roundings = roundings_of(self.always.shape[1])
        bound, gamma = LIKELY * math.sqrt(roundings) * u * self.likely, growth(roundings, u)
        if not math.isfinite(gamma):
            return bound
        return np.minimum(gamma * self.always, bound)  # [CERT-060]

    def shifted(self, hessian_error: float) -> NDArray[np.float64]:
        """Return the bound (n_out, n_in) on the error of w' when |ΔH_kl| <= η √(h_k h_l).

        [CERT-070]
        """
        return amplified(hessian_error, self.spread) * self.shift

    def carried(self, rho: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the bound on base weights, (n_out, n_in), given that on w'.  [CERT-060]"""
        return rho @ self.inverse


@dataclass(frozen=True)
class FactorTerms:
    """The terms of the bounds that depend on the factor and not on the answer.  [CERT-060]

    Attributes
    ----------
    R, U : (n_in, n_in) arrays
        |R| and |U|, element by element.
    size : (n_in,) array
        R_jj.
    root_h, root_chi : (n_in,) arrays
    B, C : (n_in,) arrays
    likely : (n_in,) array
        B′ + C′.
    spread : float
        See `Bounds`.
    """

    R: NDArray[np.float64]
    U: NDArray[np.float64]
    size: NDArray[np.float64]
    root_h: NDArray[np.float64]
    root_chi: NDArray[np.float64]
    B: NDArray[np.float64]
    C: NDArray[np.float64]
    likely: NDArray[np.float64]
    spread: float

    @classmethod
    def from_factor(cls, R: Array, U: Array) -> FactorTerms:
        """Return the terms of a factor R and its inverse U."""
        size, R, U = np.diagonal(R).copy(), np.abs(R), np.abs(U)
        root_h = np.sqrt((R * R).sum(axis=1))
        root_chi = np.sqrt((U * U).sum(axis=0))
        M = R / size  # |M|
        B2 = np.sqrt(U**2 @ root_h**2) / size * norm_bound(U * root_h)
        C2 = np.sqrt(root_chi**2 @ M**2) * norm_bound(R * root_chi[:, None])
        reach = U @ root_h
        spread = float((reach**2).sum())
        return cls(R, U, size, root_h, root_chi, reach / size, root_chi @ M, B2 + C2, spread)


def for_answer(residuals: Array, magnitudes: Array, terms: FactorTerms) -> Bounds:
    """Return the bounds of an answer, or of some of its rows.  [CERT-060]

    Parameters
    ----------
    residuals : (n_out, n_in) array
        r.
    magnitudes : (n_out, n_in) array
        |W| + |Ŵ|.
    terms : FactorTerms

    Examples
    --------
    >>> terms = FactorTerms.from_factor(np.eye(2), np.eye(2))
    >>> for_answer(np.array([[0.5, 0.25]]), np.zeros((1, 2)), terms).always
    array([[2. , 1.75]])
    """
    E = np.abs(residuals) * terms.size  # |e_j|
    M = terms.R / terms.size  # |M|

    reach = E @ terms.U  # (n_out, n_in): no partial sum of the feedback exceeds it
    gradient = E @ terms.R.T
    always = (reach + magnitudes) @ M
    shift = np.outer(reach @ terms.root_h, terms.B)
    always += shift + np.outer(gradient @ terms.root_chi, terms.C)

    squares = np.sqrt((E**2 @ terms.U**2 + magnitudes**2) @ M**2)
    length = np.sqrt((E**2).sum(axis=1))  # (n_out,)
    likely = squares + np.outer(length, terms.likely)
    return Bounds(always, likely, terms.U * terms.size[:, None], shift, terms.spread)


def least_bound(length: Array, n_in: int, u: float) -> Array:
    """Return a lower bound of ρ_j / U_jj, which needs no product and no inverse.  [CERT-060]

    Most answers are within it, and are then certified without ρ itself.

    Parameters
    ----------
    length : (n_out,) array
        ‖E‖₂ of each row.
    n_in : int
    u : float

    Returns
    -------
    least : (n_out,) array
        ρ_j(u) >= least · U_jj, with a factor of two to spare for the rounding of ρ_j itself.

    Examples
    --------
    >>> (least_bound(np.array([1.0]), 2, 2.0**-53) * 2.0**53).round(3)
    array([14.])
    """
    roundings = roundings_of(n_in)
    return length * min(growth(roundings, u), LIKELY * math.sqrt(roundings) * u)
