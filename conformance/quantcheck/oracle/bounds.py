"""Bounds on a correct implementation's distance from the exact answer (SPEC.md, section 8).

These are the formulas of the certificate in Python floats, computed from the exact factor, so that
every machine gives the same bytes. A test compares them with the certificate's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantcheck.oracle.exact import ExactGPTQ

ULP32 = 2.0**-23
LIKELY = 8.0


def growth(k: float, u: float) -> float:
    """Return γ(k, u) = k · u / (1 − k · u), which bounds k accumulated roundings.

    Examples
    --------
    >>> growth(10, 2.0**-24) < 6e-7
    True
    """
    product = k * u
    return product / (1 - product) if product < 1 else math.inf


def roundings_of(n: int) -> int:
    """Return the number of roundings that a factor and a recurrence of n columns accumulate.

    Examples
    --------
    >>> roundings_of(16)
    56
    """
    return 3 * n + 8


@dataclass(frozen=True)
class Bounds:
    """Bounds on a correct implementation's errors, in processing order.  [CERT-060]

    Attributes
    ----------
    always : (n_out, n_in) array
        |error of w'_j| <= growth(roundings, u) · always.
    likely : (n_out, n_in) array
        |error of w'_j| <= LIKELY · √roundings · u · likely.
    inverse : (n_in, n_in) array
        |M⁻¹|, which maps errors of w' to errors of partly compensated weights.
    """

    always: NDArray[np.float64]
    likely: NDArray[np.float64]
    inverse: NDArray[np.float64]

    def target(self, u: float) -> NDArray[np.float64]:
        """Return β (n_out, n_in), the bound on the error of w' for unit roundoff u."""
        roundings = roundings_of(self.always.shape[1])
        likely, gamma = LIKELY * math.sqrt(roundings) * u * self.likely, growth(roundings, u)
        if math.isinf(gamma):  # 0 · ∞ is no number
            return likely
        return np.minimum(gamma * self.always, likely)  # [CERT-060]

    def base(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the bound on partly compensated weights from the bound on w'.  [CERT-060]"""
        return target @ self.inverse


def for_exact(answer: ExactGPTQ) -> Bounds:
    """Return the bounds for an exact answer, computed in Python floats."""
    n = len(answer.order)
    unit = [[0.0] * k + [1.0] + [float(answer.factor.unit(k, j)) for j in range(k + 1, n)]
            for k in range(n)]  # fmt: skip
    inverse = _unit_inverse(unit)
    size = [math.sqrt(float(p)) for p in answer.factor.pivots]
    M = [[abs(m) for m in row] for row in unit]
    R = [[m * size[j] for j, m in enumerate(row)] for row in M]
    U = [[abs(m) / size[k] for m in inverse[k]] for k in range(n)]
    root_h = [math.sqrt(float(answer.hessian[j][j])) for j in range(n)]
    root_x = [math.sqrt(math.fsum(row[j] ** 2 for row in U)) for j in range(n)]

    B = [_dot(U[j], root_h) / size[j] for j in range(n)]
    C = [_dot(root_x, [row[j] for row in M]) for j in range(n)]
    norm_h = _norm_of([[u * r for u, r in zip(row, root_h, strict=True)] for row in U])
    norm_x = _norm_of([[r * root_x[k] for r in R[k]] for k in range(n)])
    B2 = [math.sqrt(_dot(_squares(U[j]), _squares(root_h))) / size[j] * norm_h for j in range(n)]
    C2 = [
        math.sqrt(_dot(_squares(root_x), _squares(row[j] for row in M))) * norm_x for j in range(n)
    ]
    always, likely = [], []
    for residuals, sizes in zip(answer.residuals, _magnitudes(answer), strict=True):
        E = [abs(float(r)) * s for r, s in zip(residuals, size, strict=True)]
        reach = [_dot(E, [row[a] for row in U]) for a in range(n)]
        reach2 = [_dot(_squares(E), _squares(row[a] for row in U)) for a in range(n)]
        A = _dot(reach, root_h)
        G = _dot([_dot(E, R[a]) for a in range(n)], root_x)
        length = math.sqrt(math.fsum(_squares(E)))
        columns = [[row[j] for row in M] for j in range(n)]
        sums = [a + b for a, b in zip(reach, sizes, strict=True)]
        sums2 = [a + b for a, b in zip(reach2, _squares(sizes), strict=True)]
        always.append([_dot(sums, columns[j]) + A * B[j] + G * C[j] for j in range(n)])
        likely.append(
            [
                math.sqrt(_dot(sums2, _squares(columns[j]))) + length * (B2[j] + C2[j])
                for j in range(n)
            ]
        )
    return Bounds(np.array(always), np.array(likely), np.abs(np.array(inverse)))


def _magnitudes(answer: ExactGPTQ) -> list[list[float]]:
    """Return |w| + |ŵ|."""
    sizes = []
    for weights, targets, residuals in zip(
        answer.weights, answer.targets, answer.residuals, strict=True
    ):
        values = [t - r for t, r in zip(targets, residuals, strict=True)]
        sizes.append([float(abs(w) + abs(v)) for w, v in zip(weights, values, strict=True)])
    return sizes


def _dot(a: list[float], b: list[float]) -> float:
    """Return the inner product with a correctly rounded sum, the same on every machine."""
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def _squares(values: Iterable[float]) -> list[float]:
    """Return the squares as a list."""
    return [value * value for value in values]


def _norm_of(absolute: list[list[float]]) -> float:
    """Return the bound on the spectral norm that `norm_bound` of the certificate returns."""
    columns = max(math.fsum(row[j] for row in absolute) for j in range(len(absolute)))
    return math.sqrt(columns * max(math.fsum(row) for row in absolute))


def _unit_inverse(upper: list[list[float]]) -> list[list[float]]:
    """Return the inverse of a unit upper triangular matrix."""
    n = len(upper)
    inverse = [[1.0 if j == k else 0.0 for j in range(n)] for k in range(n)]
    for k in reversed(range(n)):
        for j in range(k + 1, n):
            inverse[k][j] = -math.fsum(upper[k][i] * inverse[i][j] for i in range(k + 1, j + 1))
    return inverse
