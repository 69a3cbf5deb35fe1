"""Large problems: Hessians of a size and a condition number, and weights in ten draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.config import GPTQConfig
from quantref.fast.certificate.bounds import Factor
from quantref.fast.problem import GPTQProblem, prepare_problem
from quantref.inputs import Array

DRAWS, ROWS = 10, 8  # each draw has so many rows
BLOCK_SIZE = 128
KINDS = ("rotated", "scaled", "mean")


@dataclass(frozen=True, eq=False)
class Large:
    """One Hessian, weights of all draws, and settings.

    Attributes
    ----------
    kind : str
        "rotated": eigenvalues are spread evenly over a logarithmic scale, in a random basis.
        "scaled": the tokens' values are independent, of sizes that are spread over such a scale.
        "mean": values have a large mean and few directions in common, as activations have.
    n_in : int
    condition : float
        Of the damped Hessian, where the kind allows to choose it.
    group_size : int
    special : dict, optional
        "activation_order": True, or "dead": number of dead columns.
    """

    kind: str
    n_in: int
    condition: float
    group_size: int
    bits: int = 4
    special: Mapping[str, int] = field(default_factory=dict)

    def about(self) -> dict[str, Any]:
        """Return what names the problem, as plain JSON."""
        names = ("kind", "n_in", "condition", "group_size")
        return {name: getattr(self, name) for name in names}

    @property
    def block_size(self) -> int:
        """128, or a quarter of fewer columns, so that there are several column blocks."""
        return BLOCK_SIZE if self.n_in > BLOCK_SIZE else max(self.n_in // 4, 1)

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """W, (DRAWS · ROWS, n_in)."""
        rng = np.random.default_rng([self.n_in, 1])
        return (0.05 * rng.standard_normal((DRAWS * ROWS, self.n_in))).astype(np.float32)

    @property
    def damped(self) -> NDArray[np.float64]:
        """The damped Hessian, (n_in, n_in)."""
        return _damped(self.kind, self.n_in, self.condition)

    @property
    def damping(self) -> float:
        """λ: at most 0.01, and so small that the Hessian without it stays positive definite."""
        return _damping(self.kind, self.n_in, self.condition)

    @cached_property
    def hessian(self) -> NDArray[np.float64]:
        """The Hessian without damping."""
        mean = float(np.mean(self.damped.diagonal())) / (1 + self.damping)
        H = self.damped - self.damping * mean * np.eye(self.n_in)
        dead = np.linspace(0, self.n_in - 1, self.special.get("dead", 0)).astype(int)
        H[dead] = H[:, dead] = 0
        return np.asarray(H)

    @cached_property
    def config(self) -> GPTQConfig:
        """The settings."""
        return GPTQConfig(
            None,
            None,
            weight_bits=self.bits,
            group_size=self.group_size,
            hessian_damping=self.damping,
            activation_order="activation_order" in self.special,
        )

    @cached_property
    def problem(self) -> GPTQProblem:
        """The problem of all rows."""
        return prepare_problem(self.weights, self.hessian, self.config, block_size=self.block_size)

    @cached_property
    def factor(self) -> Factor:
        """The factor that all certificates share."""
        return Factor(self.problem.R, shared=True)


@lru_cache(maxsize=1)  # problems with other groups share it
def _damped(kind: str, n: int, condition: float) -> NDArray[np.float64]:
    rng = np.random.default_rng([n, 2])
    spread = np.logspace(0, -np.log10(condition), n)
    if kind == "rotated":
        Q = _basis(n, rng)
        H = (Q * spread) @ Q.T
    elif kind == "scaled":
        tokens = rng.standard_normal((2 * n, n)) * np.sqrt(rng.permutation(spread))
        H = tokens.T @ tokens / n
    else:
        common = rng.standard_normal((2 * n, max(n // 16, 2)))
        tokens = common @ rng.standard_normal((common.shape[1], n)) / np.sqrt(len(common.T))
        tokens += 0.3 * rng.standard_normal(tokens.shape)
        tokens += 3 * np.abs(rng.standard_normal(n))
        H = tokens.T @ tokens / n
        H += np.eye(n) * np.trace(H) / condition
    damped = np.asarray((H + H.T) / 2)
    damped.flags.writeable = False
    return damped


@lru_cache(maxsize=1)
def _damping(kind: str, n: int, condition: float) -> float:
    damped = _damped(kind, n, condition)
    least = float(np.linalg.eigvalsh(damped)[0])
    return min(0.01, least / 2 / float(np.mean(damped.diagonal())))


def _basis(n: int, rng: np.random.Generator) -> Array:
    """Return a random orthogonal matrix, by two cosine transforms with random signs."""
    from scipy.fft import dct

    Q = np.eye(n)
    for _ in range(2):
        Q = dct(Q * rng.choice([-1.0, 1.0], n), norm="ortho", axis=1)[:, rng.permutation(n)]
    return np.asarray(Q)
