"""Factors of the inverse Hessian as other libraries and other orders of summation compute them."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from quantcheck.targets.variants.arithmetic import Array
from quantcheck.targets.variants.gptq import InverseFactor


def by_libraries() -> dict[str, InverseFactor]:
    """Return the factors of the frameworks that are installed, by name."""
    made = {"PyTorch, inverse first": ("torch", by_torch), "JAX, reversed": ("jax", by_jax)}
    return {name: factor for name, (module, factor) in made.items() if find_spec(module)}


def by_torch(hessian: Array) -> Array:
    """Return U as in the original code, by PyTorch."""
    import torch

    lower = torch.linalg.cholesky(torch.from_numpy(np.ascontiguousarray(hessian)))
    return np.asarray(torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True))


def by_jax(hessian: Array) -> Array:
    """Return U from the Cholesky factor of the reversed Hessian, by JAX."""
    import jax

    lower = jax.numpy.linalg.cholesky(hessian[::-1, ::-1])
    eye = jax.numpy.eye(len(hessian), dtype=hessian.dtype)
    inverse = jax.scipy.linalg.solve_triangular(lower, eye, lower=True)
    return np.asarray(inverse, dtype=hessian.dtype)[::-1, ::-1]


def by_explicit_inverse(hessian: Array) -> Array:
    """Return the Cholesky factor of an inverse by LU."""
    inverse = np.linalg.inv(hessian)
    return np.ascontiguousarray(np.linalg.cholesky((inverse + inverse.T) / 2).T)


def by_sequential_sums(hessian: Array) -> Array:
    """Return U of a reversed Cholesky factor whose sums add one product after the other."""
    A = hessian[::-1, ::-1]
    L, sums = np.zeros_like(A), np.zeros_like(A)
    for k in range(len(A)):
        column = A[k:, k] - sums[k:, k]
        if not column[0] > 0:
            raise np.linalg.LinAlgError
        L[k:, k] = column / np.sqrt(column[0])
        sums[k + 1 :, k + 1 :] += np.outer(L[k + 1 :, k], L[k + 1 :, k])
    inverse, sums = np.zeros_like(A), np.zeros_like(A)
    one = np.eye(len(A), dtype=A.dtype)
    for k in range(len(A)):
        inverse[k, : k + 1] = (one[k, : k + 1] - sums[k, : k + 1]) / L[k, k]
        sums[k + 1 :, : k + 1] += np.outer(L[k + 1 :, k], inverse[k, : k + 1])
    return np.ascontiguousarray(inverse[::-1, ::-1])
