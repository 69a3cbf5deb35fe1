"""Bounds on a correct implementation's distance from the exact answer (SPEC.md, section 8).

These are the formulas of the certificate in Python floats, computed from the exact factor, so that
every machine gives the same bytes. A test compares them with the certificate's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count, takewhile
from operator import mul

import numpy as np
from numpy.typing import NDArray

from quantcheck.oracle.exact import ExactGPTQ

ULP32 = 2.0**-23
LIKELY = 8.0
STOP = 16
HORIZON = 128
Floats = list[list[float]]


def growth(k: float, u: float) -> float:
    """Return γ(k, u) = k · u / (1 − k · u), which bounds k accumulated roundings.

    Examples
    --------
    >>> growth(10, 2.0**-24) < 6e-7
    True
    """
    product = k * u
    return product / (1 - product) if product < 1 else math.inf


@dataclass(frozen=True)
class Variances:
    """Variances in units of u² / 3, (n_out, n_in) lists.

    Attributes
    ----------
    recurrence
        (j + 4) (|w| + A)².
    by_gradients, by_displacements
        G² Θ(H⁻¹) and A² Θ(H).
    """

    recurrence: Floats
    by_gradients: Floats
    by_displacements: Floats


@dataclass(frozen=True)
class Bounds:
    """What the bounds on errors of a correct implementation are made of.  [CERT-090]

    Columns are in processing order.

    Attributes
    ----------
    variances : dict of Variances
        By horizon.
    targets : (n_out, n_in) lists
        |w′|.
    R, U : (n_in, n_in) lists
        The factor of the Hessian and its inverse.
    """

    variances: dict[int, Variances]
    targets: Floats
    R: Floats
    U: Floats

    def target(self, u: float, u_f: float | None = None) -> NDArray[np.float64]:
        """Return β (n_out, n_in), the bound on the error of w' for unit roundoffs u and u_f."""
        n = len(self.R)
        alone = [[u_jj if k == j else 0.0 for k in range(n)] for j, u_jj in self._diagonal()]
        by_noise = self._bound(alone, range(1, n + 1), u, u if u_f is None else u_f)
        return by_noise + 3 * u * np.array(self.targets)  # [CERT-090]

    def base(
        self, u: float, columns: range, c: int, u_f: float | None = None
    ) -> NDArray[np.float64]:
        """Return the bound (n_out, columns) on base weights of a group whose block starts at c."""
        taken = [[row[k] if j >= c else 0.0 for j, row in enumerate(self.U)] for k in columns]
        return self._bound(taken, [c] * len(columns), u, u if u_f is None else u_f)

    def _diagonal(self) -> Iterable[tuple[int, float]]:
        return enumerate(row[j] for j, row in enumerate(self.U))

    def _bound(
        self, taken: Floats, reached: Iterable[int], u: float, u_f: float
    ) -> NDArray[np.float64]:
        """Return the bound (n_out, columns) of columns of U, after so many columns each."""
        bound = []
        for x, n in zip(taken, reached, strict=True):
            V = self.variances[min(h for h in self.variances if h >= n)]
            of_rows = zip(V.recurrence, V.by_gradients, V.by_displacements, strict=True)
            moved = [_dot(row, x) ** 2 for row in self.R]
            gradients = [_dot(row, x) ** 2 for row in zip(*self.U, strict=True)]
            column = []
            for weights, N, displacements in of_rows:
                noise = [u**2 / 3 * a + u_f**2 / 3 * b for a, b in zip(weights, N, strict=True)]
                of_gradients = [u_f**2 / 3 * b for b in displacements]
                variance = _dot(noise, moved) + _dot(of_gradients, gradients)
                column.append(LIKELY * math.sqrt(variance))
            bound.append(column)
        return np.array(bound).T


def for_exact(answer: ExactGPTQ) -> Bounds:
    """Return the bounds for an exact answer, computed in Python floats."""
    unit = answer.factor.floats
    size = [math.sqrt(float(p)) for p in answer.factor.pivots]
    R = [[m * size[j] for j, m in enumerate(row)] for row in unit]
    U = [[m / size[k] for m in row] for k, row in enumerate(_unit_inverse(unit))]
    columns = [list(column) for column in zip(*U, strict=True)]
    H = [[float(h) for h in row] for row in answer.hessian]
    X = [[_dot(a, b) for b in columns] for a in columns]
    of_hessian, of_inverse = _factor_noise(H), _factor_noise(X)
    variances = {n: Variances([], [], []) for n in horizons(len(H))}
    for n, V in variances.items():
        for weights, residuals in zip(answer.weights, answer.residuals, strict=True):
            E = [float(r) * s for r, s in zip(residuals[:n], size[:n], strict=True)]
            A, G = _largest(E, columns), _largest(E, R)
            sizes = [abs(float(w)) + a for w, a in zip(weights, A, strict=True)]
            V.recurrence.append([(j + 4) * a**2 for j, a in enumerate(sizes)])
            V.by_gradients.append([_dot(_squares(G), row) for row in of_inverse])
            V.by_displacements.append([_dot(_squares(A), row) for row in of_hessian])
    targets = [[abs(float(t)) for t in row] for row in answer.targets]
    return Bounds(variances, targets, R, U)


def horizons(n_in: int) -> list[int]:
    """Return after how many columns displacements and gradients may be looked at last.

    Examples
    --------
    >>> horizons(160), horizons(128)
    ([128, 160], [128])
    """
    powers = takewhile(lambda n: n < n_in, (HORIZON << k for k in count()))
    return [*powers, n_in]


def _largest(E: list[float], rows: Floats) -> list[float]:
    """Return the largest |Σ e_m row_m| over the first columns m, at every stop, for each row."""
    n = len(E)
    stops = [*range(STOP, n, STOP), n]
    return [max(abs(_dot(E[:stop], row[:stop])) for stop in stops) for row in rows]


def _factor_noise(H: Floats) -> Floats:
    """Return n H² + h hᵀ, element by element."""
    n = len(H)
    return [[n * x**2 + row[k] * H[j][j] for j, x in enumerate(row)] for k, row in enumerate(H)]


def _dot(a: Iterable[float], b: Iterable[float]) -> float:
    """Return the inner product with a correctly rounded sum, the same on every machine."""
    return math.fsum(map(mul, a, b))


def _squares(values: Iterable[float]) -> list[float]:
    """Return the squares as a list."""
    return [value * value for value in values]


def _unit_inverse(upper: Floats) -> Floats:
    """Return the inverse of a unit upper triangular matrix."""
    n = len(upper)
    inverse = [[1.0 if j == k else 0.0 for j in range(n)] for k in range(n)]
    for k in reversed(range(n)):
        for j in range(k + 1, n):
            inverse[k][j] = -math.fsum(upper[k][i] * inverse[i][j] for i in range(k + 1, j + 1))
    return inverse
