"""Evidence of a certificate: the errors that an answer shows, and bounds where they are needed.

Columns are in processing order. Arrays have shape (n_out, n_in) and contiguous columns, so that
the columns of a group are one stretch of memory. Elementwise work goes through tiles that stay in
the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from quantref.certificate import U64, amplified, signed_sums
from quantref.checks import Answer, require_answer
from quantref.fast.certificate.bounds import FactorTerms, for_answer, least_bound
from quantref.fast.memory import transpose
from quantref.fast.problem import GPTQProblem
from quantref.hessian import upper_inverse
from quantref.inputs import Array
from quantref.rules import Group, round_then_add

ELEMENTS, COLUMNS = 2**16, 128  # largest size of a tile
FEWEST_ROWS = 64  # of a tile


@dataclass(frozen=True, eq=False)
class Violations:
    """Codes whose residual lies beyond half a step and points inwards, row by row.

    Attributes
    ----------
    row, column : (count,) integer arrays
        Column in processing order.
    excess : (count,) float64 array, > 0
    clipped : (count,) bool array
        The code is 0 or maxq.
    """

    row: Array
    column: Array
    excess: Array
    clipped: Array


@dataclass(frozen=True, eq=False)
class SignedSums:
    """Signed sums of rows of W − Ŵ, for CERT-080.

    Attributes
    ----------
    rows : tuple of slice
        The rows of each sum.
    signs : (n_out,) array of −1 and 1
    loss : (sums,) float64 array
        d H dᵀ of each sum d.
    absolute : (n_out,) float64 array
        Σ_k |W − Ŵ|_k √h_k of each row.
    """

    rows: tuple[slice, ...]
    signs: Array
    loss: Array
    absolute: Array


@dataclass(frozen=True, eq=False)
class ErrorSummary:
    """Results of one pass over E.

    Attributes
    ----------
    norms : (n_out,) float64 array
        ‖E‖₂ of each row.
    squares : (sums,) float64 array
        ‖e‖² of each sum e of rows of E.
    violations : Violations
    """

    norms: Array
    squares: Array
    violations: Violations


@dataclass(frozen=True, eq=False)
class Evidence:
    """The input of all checks, in processing order; full arrays are made when they are used.

    Attributes
    ----------
    problem : GPTQProblem
    codes : (n_out, n_in) uint8 array
    scale, zero_point : (n_out, n_groups) float64 arrays, as the answer has them
    E : (n_out, n_in) float64 array
        e_j = (w'_j − ŵ_j) / U_jj.
    U_jj : (n_in,) float64 array
    sums : SignedSums
    u : float
        Unit roundoff of the arithmetic that made the answer.
    hessian_error : float
    """

    problem: GPTQProblem
    codes: NDArray[np.uint8]
    scale: NDArray[np.float64]
    zero_point: NDArray[np.float64]
    E: NDArray[np.float64]
    U_jj: NDArray[np.float64]
    sums: SignedSums
    u: float
    hessian_error: float

    def values(self, rows: slice | Array, columns: slice) -> NDArray[np.float64]:
        """Return ŵ of some rows and columns, (columns, rows)."""
        return _values(self.problem, self.codes, self.scale, self.zero_point, rows, columns)

    # CODES

    @cached_property
    def summary(self) -> ErrorSummary:
        """Norms, signed sums and violations, by one pass over E."""
        squares = np.zeros(len(self.codes))
        sums = np.zeros((self.E.shape[1], len(self.sums.loss)))
        found, half, groups = [], self.scale.T / 2, self.problem.column_group
        for rows, columns in column_tiles(*self.codes.shape):
            part = self.E.T[columns, rows]
            _add_signed_rows(sums[columns], part, rows, self.sums)
            squares[rows] += np.einsum("ji,ji->i", part, part)
            size = np.abs(part)
            size *= self.U_jj[columns, None]
            wide = np.flatnonzero(size > half[:, rows][groups[columns]])
            j, i = np.divmod(wide, size.shape[1])
            found.append((i + rows.start, j + columns.start))
        row, column = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.lexsort((column, row))
        violations = self._inward(row[order], column[order])
        return ErrorSummary(np.sqrt(squares), (sums**2).sum(axis=0), violations)

    def _inward(self, row: Array, column: Array) -> Violations:
        """Select the codes whose residual lies beyond half a step and points inwards."""
        residual, code = self.E[row, column] * self.U_jj[column], self.codes[row, column]
        lowest, highest = code == 0, code == self.problem.maxq
        half = self.scale[row, self.problem.column_group[column]] / 2
        # From a clipped code, a residual of any size may point outwards.
        above = np.where(highest, -np.inf, residual - half)
        below = np.where(lowest, -np.inf, -residual - half)
        excess = np.maximum(above, below)
        kept = excess > 0
        return Violations(row[kept], column[kept], excess[kept], (lowest | highest)[kept])

    # BASE WEIGHTS

    @cached_property
    def ranges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Smallest and largest base weight of each group, (n_out, n_groups) twice.  [CERT-030]

        They are those of all rows if rows share a range.
        """
        lowest, highest = np.empty_like(self.scale), np.empty_like(self.scale)
        for k, group in enumerate(self.problem.groups):
            c = self.problem.errors_applied(group)
            # The part of U between c and the group's end is enough.
            U = upper_inverse(self.problem.R[c : group.end, c : group.end]) if c else None
            for rows in stretches(len(self.scale), group.end - min(c, group.start)):
                base = self._base(rows, group, c, U)
                base.min(axis=0, out=lowest[rows, k])
                base.max(axis=0, out=highest[rows, k])
        if not self.problem.config.per_channel:
            lowest[:], highest[:] = lowest.min(axis=0), highest.max(axis=0)
        return lowest, highest

    def _base(self, rows: slice, group: Group, c: int, U: Array | None) -> Array:
        """Return base weights (columns, rows) of a group; U is that of the columns from c on.

        From column c on they are W − E[:, :c] U[:c, j] = ŵ_j + E[:, c:] U[c:, j]. Before c they
        are w', the weights as they were rounded.
        """
        columns = slice(group.start, group.end)
        if U is None:
            return self.problem.weights.T[columns, rows]
        base, E = self.values(rows, columns), self.E.T
        feedback = times_upper(E[c : group.end, rows].T.copy(order="F"), U).T
        done = max(c - group.start, 0)
        rounded = slice(group.start, group.start + done)
        base[:done] += E[rounded, rows] * self.U_jj[rounded, None]
        base[done:] += feedback[max(group.start - c, 0) :]
        return base

    # BOUNDS

    @cached_property
    def terms(self) -> FactorTerms:
        """The terms of the factor in all bounds; U is made here and nowhere else."""
        return FactorTerms.from_factor(self.problem.R, upper_inverse(self.problem.R))

    @cached_property
    def least_over_U_jj(self) -> NDArray[np.float64]:
        """A lower bound of β_j / U_jj in each row, (n_out,).  [CERT-060]"""
        return least_bound(self.summary.norms, self.E.shape[1], self.u)

    def beta_of(self, rows: Array) -> NDArray[np.float64]:
        """Return β of some rows, (rows, n_in); for most of the rows, compute and keep all."""
        most = 2 * len(rows) > len(self.codes)
        return np.asarray(self.beta[rows] if most else self._bounds(rows)[0])

    def delta_of(self, rows: Array) -> NDArray[np.float64]:
        """Return δ of some rows, (rows, n_groups); for most of the rows, compute and keep all."""
        most = 2 * len(rows) > len(self.codes)
        return np.asarray(self.delta[rows] if most else self._bounds(rows)[1])

    @cached_property
    def least_base(self) -> NDArray[np.float64]:
        """A lower bound of δ, (n_out, n_groups).  [CERT-060]"""
        largest = [self.U_jj[g.start : g.end].max() for g in self.problem.groups]
        return self._shared(np.outer(self.least_over_U_jj, largest))

    @cached_property
    def compensated_groups(self) -> NDArray[np.bool_]:
        """Which groups have base weights that carry errors of earlier columns, (n_groups,)."""
        groups = self.problem.groups
        return np.array([self.problem.errors_applied(group) > 0 for group in groups])

    def _bounds(self, rows: slice | Array) -> tuple[Array, Array]:
        """Return β (rows, n_in) and δ (rows, n_groups) of some rows.  [CERT-060]"""
        values = self.values(rows, slice(0, self.E.shape[1])).T
        residuals = self.E[rows] * self.U_jj
        magnitudes = np.abs(self.problem.weights[rows]) + np.abs(values)
        bounds = for_answer(residuals, magnitudes, self.terms)
        rho = bounds.rho(self.u) + bounds.rho(U64)  # of the answer, and of this computation
        rho += bounds.shifted(self.hessian_error)  # [CERT-070]
        base = bounds.carried(rho)
        ends = [base[:, g.start : g.end].max(axis=1) for g in self.problem.groups]
        compensated = np.abs(values + residuals)  # |w'|
        return rho + 3 * self.u * compensated, self._shared(np.stack(ends, axis=1))

    def _shared(self, error: Array) -> NDArray[np.float64]:
        """Return δ: 0 for original weights, and the largest of all rows if rows share a range."""
        error[:, ~self.compensated_groups] = 0.0
        if not self.problem.config.per_channel:
            error[:] = error.max(axis=0)
        return error

    # FULL ARRAYS

    @cached_property
    def column_scale(self) -> NDArray[np.float64]:
        """s_j, (n_out, n_in)."""
        return np.asarray(self.scale[:, self.problem.column_group])

    @cached_property
    def residuals(self) -> NDArray[np.float64]:
        """Residuals r = w' − ŵ, (n_out, n_in)."""
        return np.asarray(self.E * self.U_jj)

    @cached_property
    def plain_codes(self) -> Array:
        """Codes of plain rounding of W with the answer's scales and zero-points."""
        z = self.zero_point[:, self.problem.column_group]
        return round_then_add(self.problem.weights, self.column_scale, z, self.problem.maxq)

    @property
    def clipped(self) -> NDArray[np.bool_]:
        """Which codes are 0 or maxq, (n_out, n_in)."""
        return np.asarray((self.codes == 0) | (self.codes == self.problem.maxq))

    @property
    def plain_loss(self) -> float:
        """Loss of plain rounding with the answer's scales and zero-points."""
        z = self.zero_point[:, self.problem.column_group]
        difference = self.problem.weights - self.column_scale * (self.plain_codes - z)
        return float(np.square(difference @ self.problem.R).sum())

    @property
    def residual_steps(self) -> NDArray[np.float64]:
        """r_j / s_j, (n_out, n_in), columns in the original order."""
        place = self.problem.prepared.place
        return np.asarray((self.residuals / self.column_scale)[:, place])

    def unlike_plain(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Return where plain rounding gives another code in a tile, (columns, rows).

        See `quantref.checks.unlike_plain_rounding`. The rounding of w / s counts, because the
        largest weight of a symmetric group lies next to a tie.
        """
        problem, codes = self.problem, self.codes.T[columns, rows]
        groups = problem.column_group[columns]
        steps = problem.weights.T[columns, rows] / self.scale.T[:, rows][groups]
        half = np.abs(steps)
        half *= 4 * self.u
        half += 0.5
        steps += self.zero_point.T[:, rows][groups]
        steps -= codes
        unlike = (steps > half) & (codes < problem.maxq)
        unlike |= (steps < -half) & (codes > 0)
        unlike[problem.prepared.dead[problem.prepared.order[columns]]] = False
        return np.asarray(unlike)

    @cached_property
    def is_plain_rounding(self) -> bool:
        """Whether the codes are those of plain rounding."""
        return not any(self.unlike_plain(*tile).any() for tile in column_tiles(*self.codes.shape))

    @cached_property
    def _all_bounds(self) -> tuple[Array, Array]:
        return self._bounds(slice(None))

    @property
    def beta(self) -> NDArray[np.float64]:
        """β, (n_out, n_in)."""
        return np.asarray(self._all_bounds[0])

    @property
    def delta(self) -> NDArray[np.float64]:
        """δ, (n_out, n_groups)."""
        return np.asarray(self._all_bounds[1])


def gather(problem: GPTQProblem, answer: Answer, u: float, hessian_error: float = 0.0) -> Evidence:
    """Check an answer, and recover the errors from it.  [CERT-010]

    Raises
    ------
    AnswerError
    ConfigError
        The Hessian error is too large.  [CERT-070]
    """
    given, scale, zero_point = require_answer(problem, answer)
    codes = _in_processing_order(problem, given)
    scale, zero_point = np.asfortranarray(scale), np.asfortranarray(zero_point)
    difference = np.empty(codes.shape, order="F")  # W − Ŵ
    absolute, root_h = np.zeros(len(codes)), np.sqrt(_diagonal(problem))
    rows_of_sums, signs = zip(*signed_sums(len(codes)), strict=True)
    d = np.zeros((codes.shape[1], len(rows_of_sums)))
    sums = SignedSums(rows_of_sums, np.concatenate(signs), np.empty(len(rows_of_sums)), absolute)
    for rows, columns in column_tiles(*codes.shape):
        part = difference.T[columns, rows]
        values = _values(problem, codes, scale, zero_point, rows, columns)
        np.subtract(problem.weights.T[columns, rows], values, out=part)
        _add_signed_rows(d[columns], part, rows, sums)
        absolute[rows] += root_h[columns] @ np.abs(part, out=values)
    sums.loss[:] = _quadratic(problem, d.T)
    E = times_upper(difference, problem.R)  # [CERT-010]
    U_jj = 1.0 / np.diagonal(problem.R)
    evidence = Evidence(problem, codes, scale, zero_point, E, U_jj, sums, u, hessian_error)
    if hessian_error:
        amplified(hessian_error, evidence.terms.spread)
    return evidence


def _in_processing_order(problem: GPTQProblem, given: Array) -> NDArray[np.uint8]:
    """Return codes (n_out, n_in) with contiguous columns."""
    n_out, n_in = given.shape
    codes, order = np.empty((n_in, n_out), np.uint8), problem.prepared.order
    transpose(given, codes, order if problem.config.activation_order else slice(0, n_in))
    return codes.T


def _values(
    problem: GPTQProblem,
    codes: Array,
    scale: Array,
    zero_point: Array,
    rows: slice | Array,
    columns: slice,
) -> NDArray[np.float64]:
    """Return s·(q − z) of some rows and columns, (columns, rows)."""
    groups = problem.column_group[columns]
    out = codes.T[columns, rows].astype(np.float64)
    out -= zero_point.T[:, rows][groups]
    out *= scale.T[:, rows][groups]
    return out


def _add_signed_rows(out: Array, tile: Array, rows: slice, sums: SignedSums) -> None:
    """Add the rows of a tile (columns, rows) to the sums (columns, sums) that they are in."""
    for k, of_sum in enumerate(sums.rows):
        first, stop = max(of_sum.start, rows.start), min(of_sum.stop, rows.stop)
        if first < stop:
            out[:, k] += tile[:, first - rows.start : stop - rows.start] @ sums.signs[first:stop]


def _diagonal(problem: GPTQProblem) -> NDArray[np.float64]:
    """Return h, the diagonal of the damped Hessian in processing order."""
    return np.asarray(problem.prepared.diagonal[problem.prepared.order])


def _quadratic(problem: GPTQProblem, d: Array) -> NDArray[np.float64]:
    """Return d H dᵀ for every row d, in processing order, with the damped Hessian."""
    prepared, original = problem.prepared, np.empty_like(d)
    original[:, prepared.order] = d
    added = prepared.diagonal - np.diagonal(prepared.hessian)
    loss = (original @ prepared.hessian * original).sum(axis=1) + original**2 @ added
    return np.asarray(loss)


def times_upper(matrix: Array, upper: Array) -> NDArray[np.float64]:
    """Return matrix · upper in the memory of `matrix`, which is in Fortran order."""
    from scipy.linalg.blas import dtrmm

    stored = (
        {"a": upper, "lower": 0, "trans_a": 0}
        if upper.flags.f_contiguous
        else {"a": np.ascontiguousarray(upper).T, "lower": 1, "trans_a": 1}
    )
    return np.asarray(dtrmm(1.0, b=matrix, side=1, overwrite_b=1, **stored))


def column_tiles(n_out: int, n_in: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of tiles that stay in the cache.

    Examples
    --------
    >>> list(column_tiles(3, 5))
    [(slice(0, 3, None), slice(0, 5, None))]
    >>> [(rows.stop, columns.stop) for rows, columns in column_tiles(600, 130)]
    [(512, 128), (600, 128), (600, 130)]
    """
    for start in range(0, n_in, COLUMNS):
        columns = slice(start, min(start + COLUMNS, n_in))
        for rows in stretches(n_out, columns.stop - start):
            yield rows, columns


def stretches(n_out: int, columns: int) -> Iterator[slice]:
    """Yield stretches of rows: `columns` columns of a stretch stay in the cache.

    Examples
    --------
    >>> list(stretches(600, 128))
    [slice(0, 512, None), slice(512, 600, None)]
    """
    step = max(ELEMENTS // columns, FEWEST_ROWS)
    for start in range(0, n_out, step):
        yield slice(start, min(start + step, n_out))
