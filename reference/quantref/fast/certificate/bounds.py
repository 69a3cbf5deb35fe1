"""How far an honest implementation may be from exact arithmetic (SPEC.md, section 8).

In NumPy, for certificates. `quantcheck.oracle.bounds` has the same formulas in Python floats, for
the vectors; a test holds them equal.

Symbols, columns in processing order: E errors e_j = r_j / U_jj with residuals r_j = w'_j − ŵ_j;
U upper with H⁻¹ = Uᵀ U, R = U⁻¹, M_kj = R_kj / R_jj unit upper, h the diagonal of H, x that of H⁻¹.

Each bound is the smaller of two: one that holds for every pattern of rounding errors (it grows with
n), and one that holds when rounding errors are independent with mean zero, up to a probability of
2·exp(−LIKELY² / 2) per code (it grows with √n; Higham and Mary, SIAM J. Sci. Comput. 41, 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantref.certificate import LIKELY, amplified, growth, norm_bound, steps_of
from quantref.inputs import Array


@dataclass(frozen=True)
class Bounds:
    """Bounds on an honest implementation's error, in processing order.  [CERT-060]

    Attributes
    ----------
    always : (n_out, n_in) array
        |error of w'_j| <= growth(steps, u) · always.
    likely : (n_out, n_in) array
        |error of w'_j| <= LIKELY · √steps · u · likely.
    inverse : (n_in, n_in) array
        |M⁻¹|, which carries errors of w' to partly compensated weights.
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

    def target(self, u: float) -> NDArray[np.float64]:
        """Return the bound (n_out, n_in) on the error of w' in arithmetic of unit roundoff u."""
        steps = steps_of(self.always.shape[1])
        bound, gamma = LIKELY * math.sqrt(steps) * u * self.likely, growth(steps, u)
        if not math.isfinite(gamma):
            return bound
        return np.minimum(gamma * self.always, bound)  # [CERT-060]

    def shifted(self, hessian_error: float) -> NDArray[np.float64]:
        """Return the bound (n_out, n_in) on the error of w' when |ΔH_ab| <= η √(h_a h_b).

        [CERT-070]
        """
        return amplified(hessian_error, self.spread) * self.shift

    def base(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the bound on partly compensated weights, given that on w'.  [CERT-060]"""
        return target @ self.inverse


@dataclass(frozen=True)
class FactorTerms:
    """What the bounds need of the factor, whatever the answer.  [CERT-060]

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
        unit = R / size  # |M|
        B2 = np.sqrt(U**2 @ root_h**2) / size * norm_bound(U * root_h)
        C2 = np.sqrt(root_chi**2 @ unit**2) * norm_bound(R * root_chi[:, None])
        reach = U @ root_h
        spread = float((reach**2).sum())
        return cls(R, U, size, root_h, root_chi, reach / size, root_chi @ unit, B2 + C2, spread)


def for_answer(residuals: Array, magnitudes: Array, terms: FactorTerms) -> Bounds:
    """Return the bounds of an answer, or of some of its rows.  [CERT-060]

    Parameters
    ----------
    residuals : (n_out, n_in) array
        w' - ŵ.
    magnitudes : (n_out, n_in) array
        |w| + |ŵ|: what each subtraction and each dequantized weight rounds relative to.
    terms : FactorTerms

    Examples
    --------
    >>> terms = FactorTerms.from_factor(np.eye(2), np.eye(2))
    >>> for_answer(np.array([[0.5, 0.25]]), np.zeros((1, 2)), terms).always
    array([[2. , 1.75]])
    """
    E = np.abs(residuals) * terms.size  # |e_j|
    unit = terms.R / terms.size  # |M|

    reach = E @ terms.U  # (n_out, n_in): no partial sum of the feedback exceeds it
    gradient = E @ terms.R.T
    always = (reach + magnitudes) @ unit
    shift = np.outer(reach @ terms.root_h, terms.B)
    always += shift + np.outer(gradient @ terms.root_chi, terms.C)

    squares = np.sqrt((E**2 @ terms.U**2 + magnitudes**2) @ unit**2)
    length = np.sqrt((E**2).sum(axis=1))  # (n_out,)
    likely = squares + np.outer(length, terms.likely)
    return Bounds(always, likely, terms.U * terms.size[:, None], shift, terms.spread)


def least_bound(length: Array, n_in: int, u: float) -> Array:
    """Return a bound from below on the bound from above: what w' may be off by at the least.

    It needs no product and no inverse: most answers are within it.  [CERT-060]

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
    steps = steps_of(n_in)
    return length * min(growth(steps, u), LIKELY * math.sqrt(steps) * u)
