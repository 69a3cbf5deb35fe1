"""The rules that make arrays of integers, the same bytes in any language.  [VEC-080]"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantref.inputs import Array

LARGEST_SUM = 2**24  # every integer up to it is exact in binary32
LARGEST_SEED = 2**32
LARGEST_SHIFT = 16  # keeps every value far from overflow and from subnormals
BATCH = 2048  # tokens that are in memory at a time
Integers = NDArray[np.int64]


def words(seed: int, first: int, count: int) -> NDArray[np.uint64]:
    """Return the numbers first … first + count − 1 of SplitMix64, modulo 2^64.

    Examples
    --------
    >>> [hex(word) for word in words(0, 0, 2)]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    z = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    z = z * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def draws(seed: int, first: int, shape: tuple[int, int], most: int) -> Integers:
    """Return integers in −most … most, in C order, from word `first` on.

    Examples
    --------
    >>> draws(0, 0, (2, 3), 9)
    array([[-7, -4, -8],
           [ 0, -5,  0]])
    """
    high = words(seed, first, math.prod(shape)) >> np.uint64(33)
    return (high % np.uint64(2 * most + 1)).astype(np.int64).reshape(shape) - most


@dataclass(frozen=True)
class WeightsRule:
    """Weights: draws times 2^−shift; every `every`-th one is 2^outlier_shift times as large."""

    seed: int
    spread: int
    shift: int
    every: int
    outlier_shift: int

    def fault(self, shape: tuple[int, int]) -> str | None:  # noqa: ARG002 - weights have any shape
        """Return what the rule or the shape should be; None if both are right."""
        if not (0 <= self.seed <= LARGEST_SEED and self.every >= 1):
            return f"seed in 0 … {LARGEST_SEED}, and every from 1"
        if not 1 <= self.spread <= LARGEST_SUM:
            return f"spread in 1 … {LARGEST_SUM}"
        return _shift_fault(self.shift, self.outlier_shift)

    def make(self, shape: tuple[int, int]) -> Array:
        """Return the weights, float64."""
        w = draws(self.seed, 0, shape, self.spread) * 2.0**-self.shift
        w.reshape(-1)[self.every - 1 :: self.every] *= 2.0**self.outlier_shift
        return w


@dataclass(frozen=True)
class HessianRule:
    """The Hessian of tokens that are noise and `rank` factors that the columns share.

    A sum of products of two columns is an integer of at most 2^24 times a power of two, and so is
    each of its partial sums. So nothing rounds in binary32 or binary64, in any order of the sum.
    """

    seed: int
    tokens: int
    noise: int
    rank: int
    factor: int
    loading: int
    shift: int
    large: tuple[int, ...]
    large_shift: int
    dead: tuple[int, ...]

    def fault(self, shape: tuple[int, int]) -> str | None:
        """Return what the rule or the shape should be; None if both are right."""
        n_in = shape[1]
        if shape[0] != n_in:
            return "a square shape"
        if self.tokens < 1 or self.tokens & (self.tokens - 1):
            return "tokens a power of two"
        if not 0 <= self.seed <= LARGEST_SEED:
            return f"seed in 0 … {LARGEST_SEED}"
        if min(self.noise, self.rank, self.factor, self.loading) < 0:
            return "noise, rank, factor and loading from 0"
        if self.tokens * (self.noise + self.rank * self.factor * self.loading) ** 2 > LARGEST_SUM:
            return f"tokens · (noise + rank · factor · loading)² of at most {LARGEST_SUM}"
        if not all(0 <= j < n_in for j in (*self.large, *self.dead)):
            return f"columns in 0 … {n_in - 1}"
        return _shift_fault(self.shift, self.large_shift)

    def integers(self, n_in: int, first: int, count: int) -> Integers:
        """Return tokens as integers (count, n_in), before their powers of two."""
        x = draws(self.seed, first * n_in, (count, n_in), self.noise)
        factors = draws(self.seed + 1, first * self.rank, (count, self.rank), self.factor)
        loadings = draws(self.seed + 2, 0, (self.rank, n_in), self.loading)
        return np.asarray(x + factors @ loadings)

    def make(self, shape: tuple[int, int]) -> Array:
        """Return H = 2/N · Σ x xᵀ, float64 and exact; sums in binary32 take half the time."""
        n_in = shape[1]
        scale = np.full(n_in, 2.0**-self.shift)
        scale[list(self.large)] *= 2.0**self.large_shift
        scale[list(self.dead)] = 0.0
        H = np.zeros(shape, np.float32)
        for first in range(0, self.tokens, BATCH):
            x = self.integers(n_in, first, min(BATCH, self.tokens - first)) * scale
            single = x.astype(np.float32)
            H += single.T @ single
        return H.astype(np.float64) * (2.0 / self.tokens) + 0.0  # 0.0 turns −0 into 0


def _shift_fault(*shifts: int) -> str | None:
    inside = all(abs(shift) <= LARGEST_SHIFT for shift in shifts)
    return None if inside else f"shifts in {-LARGEST_SHIFT} … {LARGEST_SHIFT}"
