"""GPTQ, the fast form: `quantref.gptq` with one idea added, errors are applied late.

The textbook form applies each column's error to all later columns at once, a rank-one update that
moves the whole matrix through memory for every column. Here an error waits until a whole range of
columns has its errors, and then all of them are applied in one matrix product:

- across blocks, W[:, b:] -= E[:, a:b] U[a:b, b:] once per block (the lazy batch of the paper);
- inside a block, the range is halved, the left half solved, its errors applied to the right half
  in one product, the right half solved: all but the leaves of `LEAF` columns is matrix products.

Nothing else differs: each column receives the same sum of errors, in another order of addition.
Rows of the transposed weights are contiguous, so that a column is one stretch of memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from quantref.arrays import Array
from quantref.config import GPTQConfig
from quantref.errors import ConfigError
from quantref.problem import GPTQProblem, GPTQResult, prepare_problem
from quantref.profile import DEFAULT_PROFILE, CodeRule, FeedbackDtype, GroupSource, Profile

LEAF = 8


def gptq_quantize(
    weights: ArrayLike,
    hessian: ArrayLike,
    config: GPTQConfig,
    *,
    profile: Profile = DEFAULT_PROFILE,
    dtype: DTypeLike = np.float64,
) -> GPTQResult:
    """Quantize a weight matrix by GPTQ.

    Parameters
    ----------
    weights : (n_out, n_in) float array
        Finite; float16, bfloat16, float32 or float64.
    hessian : (n_in, n_in) float array
        Symmetric, positive semidefinite; see `quantref.accumulate_hessian`.
    config : GPTQConfig
        Its weight_bits, group_size, per_channel, symmetric, activation_order and
        hessian_damping act here.
    profile : Profile
        Semantics; the default is normative.
    dtype : float64 (default) or float32
        Working precision of the feedback. The factor is computed in float64 either way.

    Returns
    -------
    GPTQResult

    Raises
    ------
    ShapeError, EmptyArrayError, DTypeError, NonFiniteError, ConfigError
        Before any work.
    NotSymmetricError, NotPositiveDefiniteError
        The latter names damping and pivot.
    OverflowRangeError
        A scale does not fit float32.

    References
    ----------
    arXiv 2210.17323, algorithm 1; SPEC.md, section 7.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, W = rng.normal(size=(64, 8)), rng.normal(size=(2, 8)).astype(np.float32)
    >>> config = GPTQConfig(None, None, weight_bits=4, group_size=4)
    >>> result = gptq_quantize(W, 2 / 64 * X.T @ X, config)
    >>> result.codes.shape, result.scale.shape, result.g_idx
    ((2, 8), (2, 2), array([0, 0, 0, 0, 1, 1, 1, 1], dtype=int32))
    """
    problem = prepare_problem(weights, hessian, config, profile=profile, dtype=dtype)
    _require_blockwise(profile)
    n_out, n_in = problem.weights.shape
    static = profile.group_source is GroupSource.STATIC
    W = problem.weights.T.copy() if static else problem.weights.T  # (n_in, n_out), ours alone
    U, order = problem.rows, problem.prepared.order
    ordered = config.activation_order
    codes = np.empty((n_out, n_in), np.uint8)
    block = _Block(problem, W, min(profile.block_size, n_in))
    scales, zeros = [], []

    for a in range(0, n_in, profile.block_size):
        b = min(a + profile.block_size, n_in)

        # GROUP PARAMETERS: of all groups that start in this block
        source = problem.weights if static else W.T  # [GPTQ-030]
        started = [group for group in problem.groups if a <= group.first < b]
        for group in started:
            scale, zero_point = problem.parameters(source, group)  # [GPTQ-040] [GPTQ-050]
            scales.append(scale)
            zeros.append(zero_point)

        # BLOCK
        block.start(a, scales, zeros)
        block.solve(a, b)
        columns = order[a:b] if ordered else slice(a, b)
        codes[:, columns] = block.codes(b)  # [GPTQ-080]: undo the permutation

        # FEEDBACK: all later blocks, one product
        subtract_product(W[b:], U[a:b, b:], block.E[: b - a])  # [GPTQ-060]

    return problem.result(codes, scales, zeros)


def _require_blockwise(profile: Profile) -> None:
    """Refuse the two profile choices that need the column-by-column form.  [GPTQ-130]"""
    if profile.group_source is GroupSource.LIVE:
        expected = "group_source other than LIVE (use gptq_textbook)"
        raise ConfigError(expected, profile.group_source, "GPTQ-130")
    if profile.feedback_dtype is FeedbackDtype.STORAGE:
        expected = "feedback_dtype other than STORAGE (use gptq_textbook)"
        raise ConfigError(expected, profile.feedback_dtype, "GPTQ-130")


def subtract_product(W: Array, U: Array, E: Array) -> None:
    """Subtract Uᵀ E from W, in the memory of W.

    Parameters
    ----------
    W : (m, n_out) contiguous float array
    U : (k, m) array of the same dtype
    E : (k, n_out) contiguous array of the same dtype
    """
    from scipy.linalg.blas import dgemm, sgemm

    if not len(W):
        return
    gemm = dgemm if W.dtype == np.float64 else sgemm
    gemm(-1.0, E.T, U, beta=1.0, c=W.T, overwrite_c=1)  # columns are what BLAS calls rows


class _Block:
    """A block of columns: solved by halving, leaves as in the textbook.

    A leaf takes codes as steps q − z from the zero-point, which is what the error needs; adding z
    to all codes of a block at once costs less than doing it column by column.
    """

    def __init__(self, problem: GPTQProblem, W: Array, size: int) -> None:
        from scipy.linalg.blas import dgemv, sgemv

        self.problem, self.W, self.U = problem, W, problem.rows
        self.E = np.empty((size, W.shape[1]), W.dtype)  # errors
        self.steps = np.empty_like(self.E)  # q − z
        self.groups = problem.column_group.tolist()
        self.pivots = np.diagonal(problem.rows).copy()
        self.gemv = dgemv if W.dtype == np.float64 else sgemv

    def start(self, a: int, scales: list[Array], zeros: list[Array]) -> None:
        """Go to the block of columns from `a` on."""
        self.a, self.first = a, self.groups[a]
        self.scales = [s.astype(self.W.dtype) for s in scales[self.first :]]
        self.zeros = [z.astype(self.W.dtype) for z in zeros[self.first :]]
        self.limits = [(-z, self.problem.maxq - z) for z in self.zeros]

    def solve(self, lo: int, hi: int) -> None:
        """Quantize columns lo … hi − 1, whose earlier errors are all applied."""
        if hi - lo <= LEAF:
            self.leaf(lo, hi)
            return
        middle = (lo + hi) // 2
        self.solve(lo, middle)
        errors = self.E[lo - self.a : middle - self.a]  # (left columns, n_out)
        subtract_product(self.W[middle:hi], self.U[lo:middle, middle:hi], errors)  # [GPTQ-060]
        self.solve(middle, hi)

    def leaf(self, lo: int, hi: int) -> None:
        """Quantize a few columns one by one."""
        a, E = self.a, self.E
        for j in range(lo, hi):
            w, e, q, k = self.W[j], E[j - a], self.steps[j - a], self.groups[j] - self.first
            if j > lo:  # errors of this leaf
                self.gemv(-1.0, E[lo - a : j - a].T, self.U[lo:j, j], beta=1.0, y=w, overwrite_y=1)
            self.code(w, k, q)
            np.multiply(q, self.scales[k], out=e)
            np.subtract(w, e, out=e)
            np.divide(e, self.pivots[j], out=e)  # [GPTQ-060]

    def code(self, w: Array, k: int, out: Array) -> None:
        """Put the codes of a column of group `first` + k, less its zero-point, into `out`."""
        scale, zero_point, (lowest, highest) = self.scales[k], self.zeros[k], self.limits[k]
        np.divide(w, scale, out=out)
        if self.problem.profile.code_rule is CodeRule.ADD_THEN_ROUND:
            np.add(out, zero_point, out=out)
            np.rint(out, out=out)
            np.subtract(out, zero_point, out=out)
        else:
            np.rint(out, out=out)
        np.maximum(out, lowest, out=out)
        np.minimum(out, highest, out=out)  # [GPTQ-070]: clip(rint(w / s) + z, 0, maxq) − z

    def codes(self, b: int) -> NDArray[np.uint8]:
        """Return the codes (n_out, columns) of the block, which ends at column b."""
        groups = np.array(self.groups[self.a : b]) - self.first
        for k in range(groups[-1] + 1):
            self.steps[: b - self.a][groups == k] += self.zeros[k]
        return self.steps[: b - self.a].astype(np.uint8).T
