"""GPTQ, fast: errors are applied late, as products of matrices. `quantref.gptq` is the plain form.

The plain form applies each column's error to all later columns at once. This moves the whole matrix
through memory for every column. The sum that reaches a column can be computed later:

    w'_j = w_j − Σ e_k U_kj = w_j + Σ (w_k − ŵ_k) M_kj        k < j, M = R / diag(R), R = U⁻¹

The right-hand side (SPEC.md, section 7, "The same without a root or an inverse") is a product with
the displacements w − ŵ of all earlier columns. So the columns are halved: the left half is solved,
its sum for the right half is one matrix product, and then the right half is solved. Each half is
solved in the same way. The levels are:

- From the whole matrix to column blocks, nearly all arithmetic is in products of large matrices.
  (The lazy batches of the paper are the case of halves of one block.)
- At a column block, groups get their parameters from base weights. These need the inverse of M
  within the block: base = w + y, where y M is the sum above.
- Inside a block, products of small matrices stay in the cache.
- A leaf of `LEAF` columns is solved one column at a time, which is a few percent of the work.

Rows are independent and are solved `WIDTH` at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from quantref.config import GPTQConfig
from quantref.fast.factor import unit_inverse
from quantref.fast.memory import spaced, tiles
from quantref.fast.problem import GPTQProblem, prepare_problem
from quantref.fast.threads import blas_threads, each
from quantref.gptq import BASE_RULES, BLOCK_SIZE, GPTQResult
from quantref.inputs import Array, require_count, require_rule
from quantref.rules import (
    DEFAULT_PROFILE,
    Group,
    Profile,
    carry_working_precision,
    original_weights,
    round_then_add,
)

LEAF = 8
WIDTH = 4096  # rows of the weights that are solved at a time
ROWS_PER_THREAD = 16384  # smallest number of rows for which threads of Python are faster


def gptq_quantize(
    weights: ArrayLike,
    hessian: ArrayLike,
    config: GPTQConfig,
    *,
    profile: Profile = DEFAULT_PROFILE,
    dtype: DTypeLike = np.float64,
    block_size: int = BLOCK_SIZE,
    workers: int = 1,
) -> GPTQResult:
    """Quantize a weight matrix by GPTQ; see `quantref.gptq.gptq_quantize`.

    Parameters
    ----------
    workers : int, default 1
        Threads that divide the work; more than one needs the extra `threads`. If each gets at least
        `ROWS_PER_THREAD` rows, they are threads of Python, each with BLAS on one thread. Otherwise
        they are threads of BLAS. Another number may change a code that is undecided in the working
        precision.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, W = rng.normal(size=(64, 8)), rng.normal(size=(2, 8)).astype(np.float32)
    >>> config = GPTQConfig(None, None, weight_bits=4, group_size=4)
    >>> result = gptq_quantize(W, 2 / 64 * X.T @ X, config)
    >>> result.codes.shape, result.scale.shape, result.g_idx
    ((2, 8), (2, 2), array([0, 0, 0, 0, 1, 1, 1, 1], dtype=int32))
    """
    count = require_count(workers, "workers", "GPTQ-110")
    problem = prepare_problem(
        weights,
        hessian,
        config,
        profile=profile,
        dtype=dtype,
        block_size=block_size,
        workers=count,
    )
    return quantize_problem(problem)


def quantize_problem(problem: GPTQProblem) -> GPTQResult:
    """Quantize the weights of a checked problem, with its number of threads.

    Examples
    --------
    >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1)
    >>> quantize_problem(prepare_problem(np.float32([[0.0, 3.0]]), np.eye(2), config)).codes
    array([[0, 3]], dtype=uint8)
    """
    _require_blockwise(problem.profile)
    codes = np.empty(problem.shape, np.uint8)
    (n_out, n_in), count = problem.shape, problem.workers
    together = not problem.config.per_channel  # rows that share their ranges
    threads = 1 if together or n_out < count * ROWS_PER_THREAD else count
    parts = _parts(n_out, threads, together=together)
    interpreter_lock = Lock() if threads > 1 else None

    def solve(rows: slice) -> tuple[list[Array], list[Array]]:
        solver = _Solver(problem, rows, codes[rows], interpreter_lock)
        solver.solve(0, n_in)
        solver.undo_order()
        return solver.scales, solver.zeros

    if count > 1:
        with blas_threads(count):
            _ = problem.M  # before threads start
    with blas_threads(1 if threads > 1 else count) if count > 1 else nullcontext():
        solved = each(solve, parts, threads)
    scales, zeros = zip(*solved, strict=True)
    return problem.result(codes, _joined(scales), _joined(zeros))


def _parts(n_out: int, threads: int, *, together: bool) -> list[slice]:
    """Divide rows among threads, and into parts that stay in the cache.

    `together`: all rows are one part.

    Examples
    --------
    >>> [part.stop for part in _parts(6000, 2, together=False)]
    [3000, 6000]
    >>> len(_parts(1500, 1, together=False)), len(_parts(50000, 1, together=False))
    (1, 13)
    """
    count = 1 if together else threads * -(-n_out // (threads * WIDTH))
    edges = [n_out * k // count for k in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def _joined(parts: Sequence[list[Array]]) -> list[Array]:
    """Join the parameters of every group from the parts of its rows."""
    return [np.concatenate(rows) for rows in zip(*parts, strict=True)]


def _require_blockwise(profile: Profile) -> None:
    """Refuse rules that need the column-by-column form.  [GPTQ-130]"""
    require_rule("base", profile.base, BASE_RULES)
    advice = " (else use gptq_textbook)"
    require_rule("carry", profile.carry, (carry_working_precision,), advice)


class _Solver:
    """Quantizes all columns of some rows.

    A row of `A` belongs to a column. It has first the sum of the earlier columns' contributions,
    then w', and at last the displacements w − ŵ.

    A leaf computes codes as steps q − z from the zero-point, because ŵ = s·(q − z). Adding z to all
    codes of a block at once costs less than adding it column by column.

    Parameters
    ----------
    problem : GPTQProblem
    rows : slice
    codes : (rows, n_in) uint8 array
        Output: filled block by block, then put into the original order.
    interpreter_lock : context manager or None
        A lock if other threads solve other rows. A thread holds it during the many short steps
        inside a block; otherwise threads would compete for the interpreter at every step. The
        other threads run their large products meanwhile.
    """

    def __init__(
        self,
        problem: GPTQProblem,
        rows: slice,
        codes: NDArray[np.uint8],
        interpreter_lock: AbstractContextManager[Any] | None,
    ) -> None:
        from scipy.linalg import blas

        profile = problem.profile
        self.problem, self.M, self.rows, self.codes = problem, problem.M, rows, codes
        self.alone = interpreter_lock is None
        self.interpreter_lock = interpreter_lock or nullcontext()
        self.own_code = None if profile.code is round_then_add else profile.code
        self.A = np.empty(codes.shape[::-1], problem.dtype)  # (n_in, rows)
        self.static = profile.base is original_weights  # [GPTQ-030]
        looks_back = any(group.start < group.first for group in problem.groups)
        self.rounded = np.empty_like(self.A) if looks_back else None  # w' of quantized columns
        self.size = min(problem.block_size, len(self.A))
        self.steps = np.empty((self.size, len(codes)), problem.dtype)  # q − z of a block
        self.value = np.empty(len(codes), problem.dtype)  # ŵ of a column
        self.product = self.steps if self.alone else np.empty_like(self.steps)
        self.groups = problem.column_group.tolist()
        self.scales: list[Array] = []
        self.zeros: list[Array] = []
        single = problem.dtype == np.float32
        self.gemm = blas.sgemm if single else blas.dgemm
        self.gemv = blas.sgemv if single else blas.dgemv
        self.trmm = blas.strmm if single else blas.dtrmm
        # A group that continues in the next block needs all errors of earlier blocks at its start.
        self.crossing = any(
            0 < group.first < group.end - 1
            and group.first // self.size < (group.end - 1) // self.size
            for group in problem.groups
        )

    def solve(self, lo: int, hi: int) -> None:
        """Quantize columns lo … hi − 1; their rows of `A` have the sum of all columns before lo."""
        while hi - lo > self.size:
            blocks = -(-(hi - lo) // self.size)
            middle = lo + self.size * (1 if self.crossing else blocks // 2)
            self.solve(lo, middle)
            self.feed(lo, middle, hi)
            lo = middle
        self.block(lo, hi)

    def undo_order(self) -> None:
        """Put the codes into the original order of columns."""
        if not self.problem.config.activation_order:
            return
        place = self.problem.prepared.place
        for rows in tiles(self.codes.shape):
            self.codes[rows] = self.codes[rows].take(place, axis=1)  # [GPTQ-080]

    def block(self, a: int, b: int) -> None:
        """Quantize a block of columns."""
        self.a, self.w = a, self.problem.columns(a, b, self.rows)

        # GROUP: all groups that start in this block
        for group, ends in self.ranges([g for g in self.problem.groups if a <= g.first < b]):
            scale, zero_point = self.problem.parameters(ends.T, group)
            self.scales.append(scale)  # [GPTQ-040]
            self.zeros.append(zero_point)  # [GPTQ-050]
        self.first = self.groups[a]
        self.s = [s.astype(self.A.dtype) for s in self.scales[self.first :]]
        self.z = [z.astype(self.A.dtype) for z in self.zeros[self.first :]]
        self.limits = [(-z, self.problem.maxq - z) for z in self.z]

        # CODE, ERROR, FEEDBACK
        if a:
            self.A[a:b] += self.w
        else:  # no column has contributed yet
            self.A[a:b] = self.w
        with self.interpreter_lock:
            self.halves(a, b)
        steps = self.steps[: b - a]
        for group, z in zip(self.problem.groups[self.first :], self.z, strict=False):
            steps[max(group.first - a, 0) : min(group.stop, b) - a] += z
        found = spaced(steps.shape, np.uint8)
        found[...] = steps
        self.codes[:, a:b] = found.T

    def ranges(self, groups: list[Group]) -> Iterator[tuple[Group, Array]]:
        """Yield groups that start in this block with their smallest and largest base weights.

        The second is of shape (2, rows).
        """
        if not groups:
            return
        ends = np.empty((len(groups), 2, len(self.codes)), self.A.dtype)
        ends[:, 0], ends[:, 1] = np.inf, -np.inf
        start, end = min(g.start for g in groups), max(g.end for g in groups)
        for c, base in self.base(start, end):
            for group, (lowest, highest) in zip(groups, ends, strict=True):
                part = base[max(group.start - c, 0) : max(group.end - c, 0)]
                if len(part):
                    np.minimum(lowest, part.min(axis=0), out=lowest)
                    np.maximum(highest, part.max(axis=0), out=highest)
        yield from zip(groups, ends, strict=True)

    def base(self, start: int, end: int) -> Iterator[tuple[int, Array]]:
        """Yield base weights of columns start … end − 1, piece by piece: first column, weights.

        They are w + y, where y M is the sum in `A`.
        """
        a, fed = self.a, self.a > 0 and not self.static
        inverse = unit_inverse(self.M[a:end, a:end]) if fed else None
        if start < a and self.rounded is not None:
            done = self.rounded[start:a]
            yield start, self.problem.columns(start, a, self.rows) if self.static else done
        for c in range(a, end, self.size):
            stop = min(c + self.size, end)
            weights = self.w[: stop - c] if c == a else self.problem.columns(c, stop, self.rows)
            if inverse is None:
                yield c, weights
                continue
            base = self.A[c:stop].copy()
            here = slice(c - a, stop - a)
            self.trmm(1.0, inverse[here, here], base.T, side=1, overwrite_b=1)
            base += weights
            if c > a:
                before, above = self.A[a:c], inverse[: c - a, here]
                self.gemm(1.0, before.T, above, beta=1.0, c=base.T, overwrite_c=1)
            yield c, base

    def halves(self, lo: int, hi: int) -> None:
        """Quantize columns of one block."""
        if hi - lo <= LEAF:
            self.leaf(lo, hi)
            return
        middle = (lo + hi) // 2
        self.halves(lo, middle)
        self.feed(lo, middle, hi)
        self.halves(middle, hi)

    def feed(self, lo: int, middle: int, hi: int) -> None:
        """Add the contributions of columns lo … middle − 1 to columns middle … hi − 1.

        BLAS adds them in the memory of `A`. With other threads, NumPy computes the large products,
        because it releases the interpreter and SciPy does not.
        """
        sums, done, M = self.A[middle:hi], self.A[lo:middle], self.M[lo:middle, middle:hi]
        inside = hi <= self.a + len(self.w)
        first = lo == 0 and not inside  # no column has contributed to these columns yet
        if self.alone or inside:
            beta = 0.0 if first else 1.0
            self.gemm(1.0, done.T, M, beta=beta, c=sums.T, overwrite_c=1)  # [GPTQ-060]
            return
        for c in range(0, len(sums), self.size):
            some, product = sums[c : c + self.size], self.product[: len(sums) - c]
            if first:
                np.matmul(M[:, c : c + self.size].T, done, out=some)
            else:
                some += np.matmul(M[:, c : c + self.size].T, done, out=product)

    def leaf(self, lo: int, hi: int) -> None:
        """Quantize a few columns one by one."""
        leaf, corner, value = self.A[lo:hi].T, self.M[lo:hi, lo:hi], self.value
        for i, v in enumerate(self.A[lo:hi]):
            j, k = lo + i - self.a, self.groups[lo + i] - self.first
            w, q, s = self.w[j], self.steps[j], self.s[k]
            if i:  # the contributions of earlier columns of this leaf
                self.gemv(1.0, leaf[:, :i], corner[:i, i], beta=1.0, y=v, overwrite_y=1)
            if self.rounded is not None:
                self.rounded[lo + i] = v
            self.code(v, s, k, q)
            np.multiply(q, s, out=value)
            np.subtract(w, value, out=v)  # [GPTQ-060]

    def code(self, w: Array, s: Array, k: int, out: Array) -> None:
        """Put q − z of a column of group `first` + k into `out`."""
        if self.own_code is not None:
            np.subtract(self.own_code(w, s, self.z[k], self.problem.maxq), self.z[k], out=out)
            return
        lowest, highest = self.limits[k]
        np.divide(w, s, out=out)
        np.rint(out, out=out)
        np.maximum(out, lowest, out=out)
        np.minimum(out, highest, out=out)  # [GPTQ-070]: clip(rint(w / s) + z, 0, maxq) − z
