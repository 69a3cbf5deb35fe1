"""GPTQ, the fast form: `quantref.gptq` with one idea added, errors are applied late.

The textbook form applies each column's error to all later columns at once, a rank-one update that
moves the whole matrix through memory for every column. Here the columns are halved: the left half
is solved, all of its errors are applied to the right half in one matrix product, the right half is
solved; and each half likewise. What each level buys:

- whole matrix down to blocks: nearly all arithmetic is in products of large matrices, which run at
  the speed of the processor. (The lazy batches of the paper are the case of halves of one block.)
- blocks: where groups take their parameters, from weights with the errors of all earlier blocks.
- inside a block, down to leaves of `LEAF` columns: products of small matrices, still in the cache.
- leaves: the textbook, one column at a time, a few percent of the work.

Nothing else differs: each column receives the same sum of errors, in another order of addition.
Columns of weights are contiguous, and the errors of a column take the place of its weights.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from quantref.arrays import Array
from quantref.config import GPTQConfig, require_integer
from quantref.errors import ConfigError
from quantref.problem import GPTQProblem, GPTQResult, prepare_problem
from quantref.profile import DEFAULT_PROFILE, CodeRule, FeedbackDtype, GroupSource, Profile

LEAF = 8
WIDTH = 4096  # rows of the weights that a large product takes at a time


def gptq_quantize(
    weights: ArrayLike,
    hessian: ArrayLike,
    config: GPTQConfig,
    *,
    profile: Profile = DEFAULT_PROFILE,
    dtype: DTypeLike = np.float64,
    workers: int = 1,
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
    workers : int, default 1
        Threads among which the rows are divided, each with a copy of its rows; the result may
        differ where a code is undecided in the working precision. More than one needs the extra
        `threads`. Ignored where all rows share their ranges (per_channel is False).

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
    count = require_integer(workers, "workers", "GPTQ-110")
    if count < 1:
        raise ConfigError("workers >= 1", f"{count}", "GPTQ-110")
    problem = prepare_problem(weights, hessian, config, profile=profile, dtype=dtype)
    _require_blockwise(profile)
    n_out = len(problem.weights)
    codes = np.empty(problem.weights.shape, np.uint8)
    shares = 1 if not config.per_channel else min(count, n_out)  # rows that share ranges stay
    if shares == 1:
        solver = _Solver(problem, problem.weights.T, codes, alone=True)
        solver.solve(0, problem.weights.shape[1])
        return problem.result(codes, solver.scales, solver.zeros)
    return _by_threads(problem, codes, shares)


def _by_threads(problem: GPTQProblem, codes: NDArray[np.uint8], shares: int) -> GPTQResult:
    """Solve shares of the rows at the same time, each with one thread of BLAS."""
    from concurrent.futures import ThreadPoolExecutor

    from quantref.threads import single_threaded_blas

    n_out, n_in = problem.weights.shape
    _ = problem.rows  # factored with all threads of BLAS, before there are several of us
    edges = [n_out * k // shares for k in range(shares + 1)]
    solvers = [
        _Solver(problem, problem.weights.T[:, a:b].copy(), codes[a:b], alone=False)
        for a, b in pairwise(edges)
    ]
    with single_threaded_blas(), ThreadPoolExecutor(shares) as pool:
        for done in [pool.submit(solver.solve, 0, n_in) for solver in solvers]:
            done.result()
    groups = range(len(problem.groups))
    scales = [np.concatenate([solver.scales[k] for solver in solvers]) for k in groups]
    zeros = [np.concatenate([solver.zeros[k] for solver in solvers]) for k in groups]
    return problem.result(codes, scales, zeros)


def _require_blockwise(profile: Profile) -> None:
    """Refuse the two profile choices that need the column-by-column form.  [GPTQ-130]"""
    if profile.group_source is GroupSource.LIVE:
        expected = "group_source other than LIVE (use gptq_textbook)"
        raise ConfigError(expected, profile.group_source, "GPTQ-130")
    if profile.feedback_dtype is FeedbackDtype.STORAGE:
        expected = "feedback_dtype other than STORAGE (use gptq_textbook)"
        raise ConfigError(expected, profile.feedback_dtype, "GPTQ-130")


class _Solver:
    """Quantizes all columns of some rows.

    A leaf takes codes as steps q − z from the zero-point, which is what the error needs; adding z
    to all codes of a block at once costs less than doing it column by column.

    Parameters
    ----------
    problem : GPTQProblem
    W : (n_in, rows) contiguous array
        Columns in processing order; overwritten.
    codes : (rows, n_in) uint8 array
        Where codes go, in original order.
    alone : bool
        No other thread solves other rows.
    """

    def __init__(
        self, problem: GPTQProblem, W: Array, codes: NDArray[np.uint8], *, alone: bool
    ) -> None:
        from scipy.linalg import blas

        profile = problem.profile
        self.problem, self.W, self.U, self.codes = problem, W, problem.rows, codes
        self.alone = alone
        static = profile.group_source is GroupSource.STATIC
        self.source = W.T.copy() if static else W.T  # [GPTQ-030]
        looks_back = any(group.start < group.first for group in problem.groups)
        self.E = np.empty_like(W) if looks_back else W  # errors, where weights are done with
        self.size = min(profile.block_size, len(W))
        self.steps = np.empty((self.size, W.shape[1]), W.dtype)  # q − z of a block
        self.value = np.empty(W.shape[1], W.dtype)
        self.groups = problem.column_group.tolist()
        self.pivots = np.diagonal(problem.rows).copy()
        self.scales: list[Array] = []
        self.zeros: list[Array] = []
        self.single = W.dtype == np.float32
        self.gemm = blas.sgemm if self.single else blas.dgemm
        self.gemv = blas.sgemv if self.single else blas.dgemv
        # A group that goes on in the next block needs all errors of earlier blocks at its start.
        self.crossing = any(
            0 < group.first < group.end - 1
            and group.first // self.size < (group.end - 1) // self.size
            for group in problem.groups
        )

    def solve(self, lo: int, hi: int) -> None:
        """Quantize columns lo … hi − 1, whose earlier errors are all applied."""
        while hi - lo > self.size:
            blocks = -(-(hi - lo) // self.size)
            middle = lo + self.size * (1 if self.crossing else blocks // 2)
            self.solve(lo, middle)
            self.feed(lo, middle, hi)  # to later blocks
            lo = middle
        self.block(lo, hi)

    def block(self, a: int, b: int) -> None:
        """Quantize a block of columns."""
        # GROUP PARAMETERS: of all groups that start in this block
        for group in self.problem.groups:
            if a <= group.first < b:
                scale, zero_point = self.problem.parameters(self.source, group)
                self.scales.append(scale)  # [GPTQ-040]
                self.zeros.append(zero_point)  # [GPTQ-050]
        self.a, self.first = a, self.groups[a]
        self.s = [s.astype(self.W.dtype) for s in self.scales[self.first :]]
        self.z = [z.astype(self.W.dtype) for z in self.zeros[self.first :]]
        self.limits = [(-z, self.problem.maxq - z) for z in self.z]

        # CODES
        self.halves(a, b)
        steps = self.steps[: b - a]
        for group, z in zip(self.problem.groups[self.first :], self.z, strict=False):
            steps[max(group.first - a, 0) : min(group.stop, b) - a] += z
        order = self.problem.prepared.order[a:b]
        columns = order if self.problem.config.activation_order else slice(a, b)
        self.codes[:, columns] = steps.astype(np.uint8).T  # [GPTQ-080]: undo the permutation

    def halves(self, lo: int, hi: int) -> None:
        """Quantize columns of one block."""
        if hi - lo <= LEAF:
            self.leaf(lo, hi)
            return
        middle = (lo + hi) // 2
        self.halves(lo, middle)
        self.feed(lo, middle, hi)  # to the other half
        self.halves(middle, hi)

    def feed(self, lo: int, middle: int, hi: int) -> None:
        """Subtract the errors of columns lo … middle − 1 from columns middle … hi − 1.

        In the memory of the weights; but where there are other threads, large products are
        NumPy's, which lets them run meanwhile, as SciPy does not. One of both alone, because the
        threads of each one's BLAS keep a processor busy while they wait.
        """
        W, E, U = self.W[middle:hi], self.E[lo:middle], self.U[lo:middle, middle:hi]
        if self.alone or middle - lo <= self.size:
            self.gemm(-1.0, E.T, U, beta=1.0, c=W.T, overwrite_c=1)  # [GPTQ-060]
            return
        rows = np.ascontiguousarray(U.T)
        for start in range(0, W.shape[1], WIDTH):
            W[:, start : start + WIDTH] -= rows @ E[:, start : start + WIDTH]  # [GPTQ-060]

    def leaf(self, lo: int, hi: int) -> None:
        """Quantize a few columns one by one."""
        W, E, value = self.W, self.E, self.value
        for j in range(lo, hi):
            w, e, q, k = W[j], E[j], self.steps[j - self.a], self.groups[j] - self.first
            if j > lo:  # errors of this leaf
                self.gemv(-1.0, E[lo:j].T, self.U[lo:j, j], beta=1.0, y=w, overwrite_y=1)
            self.code(w, k, q)
            np.multiply(q, self.s[k], out=value)
            np.subtract(w, value, out=e)
            np.divide(e, self.pivots[j], out=e)  # [GPTQ-060]

    def code(self, w: Array, k: int, out: Array) -> None:
        """Put the codes of a column of group `first` + k, less its zero-point, into `out`."""
        zero_point, (lowest, highest) = self.z[k], self.limits[k]
        np.divide(w, self.s[k], out=out)
        if self.problem.profile.code_rule is CodeRule.ADD_THEN_ROUND:
            np.add(out, zero_point, out=out)
            np.rint(out, out=out)
            np.subtract(out, zero_point, out=out)
        else:
            np.rint(out, out=out)
        np.maximum(out, lowest, out=out)
        np.minimum(out, highest, out=out)  # [GPTQ-070]: clip(rint(w / s) + z, 0, maxq) − z
