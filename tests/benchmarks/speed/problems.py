"""Inputs, the same in every process that makes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quantref import GPTQConfig

TOKENS = 2048
DEFAULT = GPTQConfig(None, None, weight_bits=4, group_size=128)


def weights(n_out: int, n_in: int) -> NDArray[np.float32]:
    """Return weights (n_out, n_in)."""
    return np.random.default_rng(1).standard_normal((n_out, n_in), dtype=np.float32)


def tokens(n_in: int) -> NDArray[np.float32]:
    """Return a batch of tokens (TOKENS, n_in), correlated, some features larger than others."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((TOKENS, n_in), dtype=np.float32)
    x += rng.standard_normal((TOKENS, 1), dtype=np.float32)
    return np.asarray(x * np.exp(rng.standard_normal(n_in, dtype=np.float32) / 2))


def hessian(n_in: int) -> NDArray[np.float64]:
    """Return a Hessian (n_in, n_in), positive definite also with fewer tokens than features."""
    x = tokens(n_in)
    h = (x.T @ x).astype(np.float64) * (2 / TOKENS)
    h += h.T.copy()
    h /= 2
    h[np.diag_indices(n_in)] += 0.1
    return h
