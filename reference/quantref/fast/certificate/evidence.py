"""Evidence of a certificate: the errors that an answer shows, and bounds where they are needed.

Columns are in processing order. Arrays have shape (n_out, n_in) and contiguous columns, so that
the columns of a group are one stretch of memory. Elementwise work goes through tiles that stay in
the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from quantref.checks import horizons
from quantref.fast.certificate.bounds import Factor, Roundoffs
from quantref.fast.certificate.errors import RoughErrors, times_upper
from quantref.fast.certificate.sums import (
    SignedSums,
    add_signed_rows,
    rows_of_sums,
)
from quantref.fast.certificate.tiles import FEWEST_ROWS, column_tiles, stretches
from quantref.fast.problem import GPTQProblem
from quantref.inputs import Array
from quantref.rules import Group, round_then_add

AT_ONCE = 256  # rows whose bounds are computed at once
BaseBound = Callable[[slice, int], Array]  # (rows, columns) of a column block from c on


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
class Evidence:
    """The input of all checks, in processing order; full arrays are made when they are used.

    Attributes
    ----------
    problem : GPTQProblem
    codes : (n_out, n_in) uint8 array
    scale, zero_point : (n_out, n_groups) float64 arrays, as the answer has them
    known : (n_out, n_in) float64 array, or RoughErrors
        E, with e_j = (w'_j − ŵ_j) / U_jj. From rough errors, E is computed when it is used.
    U_jj : (n_in,) float64 array
    sums : SignedSums
    roundoffs : Roundoffs
        Of the arithmetic that made the answer.
    factor : Factor
        What the bounds need of the Hessian's factor; most checks need nothing of it.
    """

    problem: GPTQProblem
    codes: NDArray[np.uint8]
    scale: NDArray[np.float64]
    zero_point: NDArray[np.float64]
    known: NDArray[np.float64] | RoughErrors
    U_jj: NDArray[np.float64]
    sums: SignedSums
    roundoffs: Roundoffs
    factor: Factor

    def values(self, rows: slice | Array, columns: slice) -> NDArray[np.float64]:
        """Return ŵ of some rows and columns, (columns, rows)."""
        return values_of(self.problem, self.codes, self.scale, self.zero_point, rows, columns)

    @cached_property
    def single(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scales and zero-points in float32."""
        return self.scale.astype(np.float32), self.zero_point.astype(np.float32)

    # ERRORS

    @property
    def rough(self) -> RoughErrors | None:
        """Residuals in float32, if they have been enough until now, and are not forgotten."""
        known = self.known
        if isinstance(known, RoughErrors) and known.residuals.size and not self._has_errors:
            return known
        return None

    @property
    def _has_errors(self) -> bool:
        """Whether E is there already."""
        return not isinstance(self.known, RoughErrors) or "E" in vars(self)

    def forget_residuals(self) -> None:
        """Free the memory of residuals in float32, which have settled what they can."""
        if isinstance(self.known, RoughErrors):
            none = np.empty((0, self.codes.shape[1]), np.float32)
            vars(self).update(known=replace(self.known, residuals=none))

    @cached_property
    def E(self) -> NDArray[np.float64]:
        """E, (n_out, n_in) in Fortran order."""
        known = self.known
        return self._errors_of(slice(None)) if isinstance(known, RoughErrors) else known

    def errors_of(self, rows: Array) -> NDArray[np.float64]:
        """Return E of some rows, (rows, n_in)."""
        if not self._has_errors and len(rows) <= len(self.codes) // 2:
            return self._errors_of(rows)
        return self.E[rows]

    def _errors_of(self, rows: slice | Array) -> NDArray[np.float64]:
        """Compute E of some rows, (rows, n_in) in Fortran order."""
        return times_upper(self._difference(rows, self.codes.shape[1]), self.problem.R)

    def most_lengths(self, rows: Array) -> NDArray[np.float64]:
        """Return upper bounds of ‖E‖₂ of some rows, (rows,)."""
        if isinstance(self.known, RoughErrors) and not self._has_errors:
            lengths: Array = self.known.row_length[rows]
            if np.isfinite(lengths).all():
                return lengths
        return np.asarray(np.sqrt(np.square(self.errors_of(rows)).sum(axis=1)))

    def _difference(self, rows: slice | Array, reached: int) -> NDArray[np.float64]:
        """Return W − Ŵ of some rows and the first columns, (rows, reached) in Fortran order."""
        difference, problem = self.values(rows, slice(0, reached)), self.problem
        every = isinstance(rows, slice)  # rows of the weights as they were given are contiguous
        weights = problem.weights.T[:reached] if every else problem.columns(0, reached, rows)
        np.subtract(weights, difference, out=difference)
        return difference.T

    def _residuals_of(self, row: Array, column: Array) -> NDArray[np.float64]:
        """Return residuals of single codes, (count,)."""
        if self._has_errors or len(row) > sum(self.codes.shape):
            return np.asarray(self.E[row, column] * self.U_jj[column])
        found, order = np.empty(len(row)), np.argsort(column, kind="stable")
        for start in range(0, len(row), FEWEST_ROWS):  # columns after the last one do not count
            few = order[start : start + FEWEST_ROWS]
            reached = int(column[few[-1]]) + 1
            R = self.problem.R[:reached, column[few]]
            found[few] = np.einsum("ij,ji->i", self._difference(row[few], reached), R)
        return found * self.U_jj[column]

    @cached_property
    def norms(self) -> NDArray[np.float64]:
        """‖E‖₂ of each row, (n_out,)."""
        squares = np.zeros(len(self.codes))
        for rows, columns in column_tiles(*self.codes.shape):
            part = self.E.T[columns, rows]
            squares[rows] += np.einsum("ji,ji->i", part, part)
        return np.sqrt(squares)

    @cached_property
    def signed_errors(self) -> NDArray[np.float64]:
        """Sums f of rows of E, (sums, n_in)."""
        if isinstance(self.known, RoughErrors):
            return self.known.signed
        sums = np.zeros(self.sums.d.T.shape)
        for rows, columns in column_tiles(*self.codes.shape):
            add_signed_rows(sums[columns], self.E.T[columns, rows], rows, self.sums)
        return sums.T

    @cached_property
    def displaced(self) -> NDArray[np.float64]:
        """Σ (w − ŵ)² over the rows of each sum, (sums, n_in)."""
        squares = np.zeros(self.sums.d.shape)
        for rows, columns in column_tiles(*self.codes.shape):
            part = self.problem.weights.T[columns, rows] - self.values(rows, columns)
            part *= part
            for k, first, stop in rows_of_sums(self.sums, rows):
                squares[k, columns] += part[:, first - rows.start : stop - rows.start].sum(axis=1)
        return squares

    # CODES

    @cached_property
    def violations(self) -> Violations:
        """Codes whose residual lies beyond half a step and points inwards."""
        rough, found, groups = self.rough, [], self.problem.column_group
        half = self.scale.T / 2
        for rows, columns in column_tiles(*self.codes.shape):
            if rough is None:
                size = np.abs(self.E.T[columns, rows])
                size *= self.U_jj[columns, None]
                limit = half[:, rows]
            else:  # the last factor is for rounding the limit to float32
                size = np.abs(rough.residuals.T[columns, rows])
                slack = rough.of_row[rows] * rough.of_column[columns].max()
                limit = ((half[:, rows] - slack) * (1 - 2.0**-20)).astype(np.float32)
            wide = np.flatnonzero(size > of_columns(limit, groups[columns]))
            j, i = np.divmod(wide, size.shape[1])
            row, column = i + rows.start, j + columns.start
            if rough is not None:  # a residual beyond its slack points where the rough one does
                code, upwards = self.codes[row, column], rough.residuals[row, column] > 0
                sure = size.ravel()[wide] > slack[i]
                outwards = np.where(upwards, code == self.problem.maxq, code == 0)
                row, column = row[~(sure & outwards)], column[~(sure & outwards)]
            found.append((row, column))
        row, column = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.lexsort((column, row))
        return self._inward(row[order], column[order])

    def _inward(self, row: Array, column: Array) -> Violations:
        """Select the codes whose residual lies beyond half a step and points inwards."""
        residual, code = self._residuals_of(row, column), self.codes[row, column]
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
        return self._ranges(self.E)

    def ranges_of(self, rows: Array) -> tuple[Array, Array]:
        """Return the ranges of some rows, (rows, n_groups) twice."""
        if self._has_errors or 2 * len(rows) > len(self.codes):
            return self.ranges[0][rows], self.ranges[1][rows]
        return self._ranges(self.errors_of(rows), rows)

    def _ranges(self, E: Array, rows: Array | None = None) -> tuple[Array, Array]:
        """Return the ranges of rows with these errors. `rows`: those of E; by default all."""
        lowest, highest = np.empty((2, len(E), len(self.problem.groups)))
        for k, group in enumerate(self.problem.groups):
            c = self.problem.errors_applied(group)
            # The part of U between c and the group's end is enough.
            U = self.factor.inverse_between(c, group.end) if c else None
            for few in stretches(len(E), group.end - min(c, group.start)):
                base = self._base(few if rows is None else rows[few], E[few].T, group, c, U)
                base.min(axis=0, out=lowest[few, k])
                base.max(axis=0, out=highest[few, k])
        if not self.problem.config.per_channel:
            lowest[:], highest[:] = lowest.min(axis=0), highest.max(axis=0)
        return lowest, highest

    def _base(self, rows: slice | Array, E: Array, group: Group, c: int, U: Array | None) -> Array:
        """Return base weights (columns, rows) of a group, given E (n_in, rows).

        U is that of the columns from c on. From column c on, base weights are
        W − E[:, :c] U[:c, j] = ŵ_j + E[:, c:] U[c:, j]. Before c they are w', the weights as they
        were rounded.
        """
        columns = slice(group.start, group.end)
        if U is None:
            return self.problem.weights.T[columns, rows]
        base = self.values(rows, columns)
        feedback = times_upper(E[c : group.end].copy().T, U).T
        done = max(c - group.start, 0)
        rounded = slice(group.start, group.start + done)
        base[:done] += E[rounded] * self.U_jj[rounded, None]
        base[done:] += feedback[max(group.start - c, 0) :]
        return base

    # BOUNDS

    def beta_of(self, rows: Array) -> NDArray[np.float64]:
        """Return β of some rows, (rows, n_in); for most of the rows, compute and keep all."""
        return self.bounds_of(rows)[0]

    def delta_of(self, rows: Array) -> NDArray[np.float64]:
        """Return δ of some rows, (rows, n_groups); of all rows where they share a range."""
        if not self.problem.config.per_channel:
            return self.delta[rows]
        return np.asarray(self.bounds_of(rows)[1])

    def bounds_of(self, rows: Array) -> tuple[Array, Array]:
        """Return β and δ of some rows, each row alone; for most of the rows, keep those of all."""
        most = 2 * len(rows) > len(self.codes)
        beta, delta = self._all_bounds if most else self._bounds(rows)
        return (beta[rows], delta[rows]) if most else (beta, delta)

    @cached_property
    def compensated_groups(self) -> NDArray[np.bool_]:
        """Which groups have base weights that carry errors of earlier columns, (n_groups,)."""
        groups = self.problem.groups
        return np.array([self.problem.errors_applied(group) > 0 for group in groups])

    def _bounds(self, rows: Array, *, at_most: bool = False) -> tuple[Array, Array]:
        """Return β (rows, n_in) and δ (rows, n_groups) of some rows, each row alone.  [CERT-090]

        `at_most`: return upper bounds, which need no matrix with n_in² variances.
        """
        if 2 * len(rows) > len(self.codes):
            _ = self.E  # all at once
        parts = np.array_split(rows, max(-(-len(rows) // AT_ONCE), 1))
        keep = len(parts) > 1
        found = [self._bounds_of_part(part, at_most=at_most, keep=keep) for part in parts]
        beta, delta = zip(*found, strict=True)
        return np.concatenate(beta), np.concatenate(delta)

    def _bounds_of_part(self, rows: Array, *, at_most: bool, keep: bool) -> tuple[Array, Array]:
        groups, factor, E = self.problem.groups, self.factor, self.errors_of(rows)
        E = np.ascontiguousarray(E)
        applied = np.array([self.problem.errors_applied(group) for group in groups])
        W, ends = self.problem.weights[rows].astype(np.float64), horizons(len(self.U_jj))
        values = self.values(rows, slice(0, len(self.U_jj))).T
        of_last = 3 * self.roundoffs.feedback * np.abs(values + E * self.U_jj)
        of_codes, delta = np.empty_like(of_last), np.zeros((len(rows), len(groups)))
        noises = factor.noises(W, E, self.roundoffs, at_most=at_most, keep=keep)
        for (start, stop), noise in zip(pairwise([0, *ends]), noises, strict=True):
            of_codes[:, start:stop] = factor.codes(noise, slice(start, stop))
            for k in np.flatnonzero((start < applied) & (applied <= stop)):
                base = partial(factor.base, noise)
                delta[:, k] = group_bound(groups[k], int(applied[k]), of_codes, base)
        return of_codes + of_last, delta

    def shared(self, error: Array) -> NDArray[np.float64]:
        """Return δ: 0 for original weights, and the largest of all rows if rows share a range."""
        error[:, ~self.compensated_groups] = 0.0
        if not self.problem.config.per_channel:
            error[:] = error.max(axis=0)
        return error

    def most_bounds_of(self, rows: Array) -> tuple[Array, Array]:
        """Return upper bounds of β and δ of some rows, which need no product."""
        return self._bounds(rows, at_most=True)

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
        half *= 4 * self.roundoffs.feedback
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
        return self._bounds(np.arange(len(self.codes)))

    @property
    def beta(self) -> NDArray[np.float64]:
        """β, (n_out, n_in)."""
        return np.asarray(self._all_bounds[0])

    @cached_property
    def delta(self) -> NDArray[np.float64]:
        """δ, (n_out, n_groups)."""
        return self.shared(self._all_bounds[1].copy())


def group_bound(group: Group, c: int, of_codes: Array, base: BaseBound) -> Array:
    """Return the bound on base weights of a group, (rows,).

    `of_codes`, `base`: that of codes, (rows, n_in), and of base weights from column c on.
    """
    done = slice(group.start, max(c, group.start))  # rounded already
    ends = [of_codes[:, done], base(slice(done.stop, group.end), c)]
    return np.asarray(np.concatenate(ends, axis=1).max(axis=1))


def values_of(
    problem: GPTQProblem,
    codes: Array,
    scale: Array,
    zero_point: Array,
    rows: slice | Array,
    columns: slice,
) -> Array:
    """Return s·(q − z) of some rows and columns, (columns, rows), in the dtype of s and z."""
    groups = problem.column_group[columns]
    few = codes.T[columns]  # `take` is faster than an index of two axes
    out = (few[:, rows] if isinstance(rows, slice) else few.take(rows, axis=1)).astype(scale.dtype)
    out -= of_columns(zero_point.T[:, rows], groups)
    out *= of_columns(scale.T[:, rows], groups)
    return out


def of_columns(parameters: Array, groups: Array) -> Array:
    """Return the parameters (groups, rows) of columns of these groups, which do not decrease.

    Columns of one group share a row of parameters, as NumPy broadcasts it.

    Examples
    --------
    >>> of_columns(np.array([[5], [7]]), np.array([0, 1, 1])).T, of_columns(np.eye(2), [1, 1])
    (array([[5, 7, 7]]), array([[0., 1.]]))
    """
    return np.asarray(parameters[groups if groups[0] < groups[-1] else groups[:1]])
