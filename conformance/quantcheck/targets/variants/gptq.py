"""GPTQ in forms of other implementations: the same result by other orders of arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantcheck.targets.variants.arithmetic import Arithmetic, Array
from quantref.affine import group_layout
from quantref.rules import Group

Form = Callable[["Job"], Array]
InverseFactor = Callable[[Array], Array]


def by_reversal(hessian: Array) -> Array:
    """Return U from the Cholesky factor of the reversed Hessian."""
    from scipy.linalg import cholesky, solve_triangular

    upper = cholesky(hessian[::-1, ::-1], lower=True)[::-1, ::-1]
    identity = np.eye(len(hessian), dtype=hessian.dtype)
    return np.triu(solve_triangular(upper, identity, lower=False))


def by_inverse(hessian: Array) -> Array:
    """Return U as in the original code: the inverse of H, then its Cholesky factor."""
    from scipy.linalg import cho_solve, cholesky

    lower = cholesky(hessian, lower=True)
    inverse = cho_solve((lower, True), np.eye(len(hessian), dtype=hessian.dtype))
    return np.asarray(cholesky((inverse + inverse.T) / 2, lower=False))


def by_numpy(hessian: Array) -> Array:
    """Return U by NumPy's Cholesky factor and general solver."""
    upper = np.linalg.cholesky(hessian[::-1, ::-1])[::-1, ::-1]
    return np.triu(np.linalg.inv(upper)).astype(hessian.dtype)


class Job:
    """One problem in the working dtype, columns in processing order."""

    def __init__(
        self,
        arithmetic: Arithmetic,
        inverse_factor: InverseFactor,
        inputs: dict[str, Array],
        settings: dict[str, Any],
    ) -> None:
        prepared = arithmetic.prepare(
            inputs["hessian"], settings["damping"], ordered=settings["activation_order"]
        )
        self.arithmetic, self.settings, self.order = arithmetic, settings, prepared["order"]
        self.block, self.most = settings["block_size"], 2 ** settings["bits"] - 1
        w = inputs["weights"].astype(arithmetic.dtype)
        w[:, prepared["dead"] == 1] = 0
        self.W = w[:, self.order]
        self.H = prepared["damped"][np.ix_(self.order, self.order)]
        try:
            self.U = inverse_factor(self.H)
        except np.linalg.LinAlgError:  # nearly singular in the working dtype
            self.U = inverse_factor(self.H.astype(np.float64)).astype(arithmetic.dtype)
        self.groups = group_layout(self.W.shape[1], settings["group_size"])
        self.starts: dict[int, Group] = {group.first: group for group in self.groups}
        self.scales: list[Array] = []
        self.zeros: list[Array] = []
        self.Q = np.zeros_like(self.W)

    def begin(self, j: int, base: Array) -> None:
        """Compute the parameters of a group that starts at column j."""
        if j in self.starts:
            group = self.starts[j]
            s, z = self.arithmetic.group(base[:, group.start : group.end], self.settings)
            self.scales.append(s)
            self.zeros.append(z)

    def column(self, j: int, w: Array) -> Array:
        """Quantize column j, and return its residual w − ŵ."""
        s, z = self.scales[-1].astype(w.dtype), self.zeros[-1].astype(w.dtype)
        self.Q[:, j] = self.arithmetic.codes(w, s, z, self.most)
        return self.arithmetic.residual(w, s, self.Q[:, j] - z)

    def answer(self) -> dict[str, Array]:
        """Return the result in the original order."""
        place = np.argsort(self.order)
        lengths = [group.stop - group.first for group in self.groups]
        g_idx = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        return {
            "codes": self.Q[:, place].astype(np.uint8),
            "scale": np.stack(self.scales, axis=1),
            "zero_point": np.stack(self.zeros, axis=1),
            "g_idx": g_idx[place],
        }


def textbook(job: Job) -> None:
    """Feed each error back to all later columns at once."""
    W, U = job.W.copy(), job.U
    base = W
    for j in range(W.shape[1]):
        if j % job.block == 0:
            base = W.copy()
        job.begin(j, base)
        e = job.arithmetic.ratio(job.column(j, W[:, j]), U[j, j])
        W[:, j + 1 :] -= np.outer(e, U[j, j + 1 :])


def lazy(job: Job) -> None:
    """Feed errors back to the rest of the block at once, and to later blocks in one product."""
    W, U = job.W.copy(), job.U
    n_in = W.shape[1]
    for a in range(0, n_in, job.block):
        b = min(a + job.block, n_in)
        base, E = W.copy(), np.zeros_like(W[:, a:b])
        for j in range(a, b):
            job.begin(j, base)
            E[:, j - a] = job.arithmetic.ratio(job.column(j, W[:, j]), U[j, j])
            W[:, j + 1 : b] -= np.outer(E[:, j - a], U[j, j + 1 : b])
        W[:, b:] -= E @ U[a:b, b:]


def tiled(job: Job) -> None:
    """Feed errors back like `textbook`, 64 rows at a time, the last ones alone."""
    W, U = job.W.copy(), job.U
    base = W
    for j in range(W.shape[1]):
        if j % job.block == 0:
            base = W.copy()
        job.begin(j, base)
        e = job.arithmetic.ratio(job.column(j, W[:, j]), U[j, j])
        for start in range(0, len(W), 64):
            rows = slice(start, start + 64)
            W[rows, j + 1 :] -= np.outer(e[rows], U[j, j + 1 :])


def gathered(job: Job) -> None:
    """Add all earlier errors of a block to a column in one product, just before it is rounded."""
    W, U = job.W.copy(), job.U
    n_in = W.shape[1]
    E = np.zeros_like(W)
    for a in range(0, n_in, job.block):
        b = min(a + job.block, n_in)
        W[:, a:] = job.W[:, a:] - E[:, :a] @ U[:a, a:]
        for j in range(a, b):
            job.begin(j, W)
            w = W[:, j] - E[:, a:j] @ U[a:j, j]
            E[:, j] = job.arithmetic.ratio(job.column(j, w), U[j, j])


def ldl_feedback(job: Job) -> None:
    """Feed residuals back along M of H = M D Mᵀ; only base weights of later blocks need M⁻¹."""
    from scipy.linalg import solve_triangular

    n_in = job.W.shape[1]
    R = np.linalg.cholesky(job.H[::-1, ::-1].astype(np.float64))[::-1, ::-1]
    M = (R / np.diagonal(R)).astype(job.W.dtype)
    difference = np.zeros_like(job.W)  # w − ŵ
    base = job.W
    for j in range(n_in):
        if j % job.block == 0 and j:
            carried = difference[:, :j] @ M[:j, j:]
            y = solve_triangular(M[j:, j:], carried.T, lower=False, trans="T").T
            base = np.concatenate([job.W[:, :j], job.W[:, j:] + y], axis=1)
        job.begin(j, base)
        job.column(j, job.W[:, j] + difference[:, :j] @ M[:j, j])
        s, z = job.scales[-1].astype(M.dtype), job.zeros[-1].astype(M.dtype)
        difference[:, j] = job.arithmetic.residual(job.W[:, j], s, job.Q[:, j] - z)
