"""What a certificate rests on: errors recovered from an answer, and bounds as they are needed.

Arrays are stored with the n_in columns, in processing order, as their first axis, so that the
columns of a group are one stretch of memory; attributes show them as (n_out, n_in) all the same.
Elementwise work goes through tiles that stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quantref.affine import Group, codes_of
from quantref.bounds import FactorTerms, amplified, for_answer, least_target
from quantref.errors import AnswerError
from quantref.factor import upper_inverse
from quantref.fast.memory import transpose
from quantref.inputs import Array
from quantref.problem import GPTQProblem
from quantref.profile import GroupSource, NotPositiveDefinite

U32, U64 = 2.0**-24, 2.0**-53
ELEMENTS, COLUMNS, FEWEST = 2**16, 128, 64  # of a tile: at most, at most; its rows at least
SUMS = 8  # of rows, at most, for which the loss is computed twice


class Answer(Protocol):
    """What a certificate needs: `GPTQResult` has it, and so has any object with these fields."""

    @property
    def codes(self) -> Array:
        """See `GPTQResult`."""
        ...

    @property
    def scale(self) -> Array:
        """See `GPTQResult`."""
        ...

    @property
    def zero_point(self) -> Array:
        """See `GPTQResult`."""
        ...

    @property
    def g_idx(self) -> Array:
        """See `GPTQResult`."""
        ...


@dataclass(frozen=True, eq=False)
class Beyond:
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
class Sums:
    """Sums of as many rows of W − Ŵ each, with fixed signs, for CERT-080.

    Attributes
    ----------
    size : int
        Rows of a sum; the last one may have fewer.
    signs : (n_out,) array of −1 and 1
    loss : (sums,) float64 array
        d H dᵀ of each sum d.
    absolute : (n_out,) float64 array
        Σ_a |W − Ŵ|_a √h_a of each row.
    """

    size: int
    signs: Array
    loss: Array
    absolute: Array


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over E tells.

    Attributes
    ----------
    length : (n_out,) float64 array
        ‖E‖₂ of each row.
    squares : (sums,) float64 array
        ‖e‖² of each sum e of rows of E.
    beyond : Beyond
    """

    length: Array
    squares: Array
    beyond: Beyond


@dataclass(frozen=True, eq=False)
class Evidence:
    """What all checks read, in processing order; full arrays are made when somebody asks for them.

    Attributes
    ----------
    problem : GPTQProblem
    codes : (n_out, n_in) uint8 array
    scale, zero_point : (n_out, n_groups) float64 arrays, as the answer has them
    E : (n_out, n_in) float64 array
        e_j = (w'_j − ŵ_j) / U_jj.
    sums : Sums
    u : float
        Unit roundoff of the arithmetic that made the answer.
    hessian_error : float
    """

    problem: GPTQProblem
    codes: NDArray[np.uint8]
    scale: NDArray[np.float64]
    zero_point: NDArray[np.float64]
    E: NDArray[np.float64]
    sums: Sums
    u: float
    hessian_error: float

    @cached_property
    def pivots(self) -> NDArray[np.float64]:
        """U_jj, (n_in,)."""
        return np.asarray(1.0 / np.diagonal(self.problem.factor))

    def values(self, rows: slice | Array, columns: slice) -> NDArray[np.float64]:
        """Return ŵ of some rows and columns, (columns, rows)."""
        return _values(self.problem, self.codes, self.scale, self.zero_point, rows, columns)

    # CODES

    @cached_property
    def survey(self) -> Survey:
        """What one pass over E tells."""
        squares = np.zeros(len(self.codes))
        sums = np.zeros((self.E.shape[1], len(self.sums.loss)))
        found, half, groups = [], self.scale.T / 2, self.problem.column_group
        for rows, columns in tiles(*self.codes.shape):
            part = self.E.T[columns, rows]
            _add_up(sums[columns], part, rows, self.sums.signs, self.sums.size)
            squares[rows] += np.einsum("ji,ji->i", part, part)
            size = np.abs(part)
            size *= self.pivots[columns, None]
            wide = np.flatnonzero(size > half[:, rows][groups[columns]])
            j, i = np.divmod(wide, size.shape[1])
            found.append((i + rows.start, j + columns.start))
        row, column = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.lexsort((column, row))
        beyond = self._inward(row[order], column[order])
        return Survey(np.sqrt(squares), (sums**2).sum(axis=0), beyond)

    def _inward(self, row: Array, column: Array) -> Beyond:
        """Return those of some codes whose residual lies beyond half a step and points inwards."""
        residual, code = self.E[row, column] * self.pivots[column], self.codes[row, column]
        lowest, highest = code == 0, code == self.problem.maxq
        half = self.scale[row, self.problem.column_group[column]] / 2
        # A residual may point outwards from a clipped code, whatever its size.
        above = np.where(highest, -np.inf, residual - half)
        below = np.where(lowest, -np.inf, -residual - half)
        excess = np.maximum(above, below)
        kept = excess > 0
        return Beyond(row[kept], column[kept], excess[kept], (lowest | highest)[kept])

    # BASE WEIGHTS

    def applied(self, group: Group) -> int:
        """Return how many columns' errors are in the weights that a group's range is of."""
        profile = self.problem.profile
        return {
            GroupSource.EARLIER_BLOCKS: group.first - group.first % profile.block_size,
            GroupSource.LIVE: group.first,
            GroupSource.STATIC: 0,
        }[profile.group_source]

    @cached_property
    def ranges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Smallest and largest base weight of each group, (n_out, n_groups) twice.  [CERT-030]"""
        lowest, highest = np.empty_like(self.scale), np.empty_like(self.scale)
        for k, group in enumerate(self.problem.groups):
            a = self.applied(group)
            # Of U, what lies between a and the group's end: no product with anything before.
            U = upper_inverse(self.problem.factor[a : group.end, a : group.end]) if a else None
            for rows in stretches(len(self.scale), group.end - min(a, group.start)):
                base = self._base(rows, group, a, U)
                base.min(axis=0, out=lowest[rows, k])
                base.max(axis=0, out=highest[rows, k])
        return lowest, highest

    def _base(self, rows: slice, group: Group, a: int, U: Array | None) -> Array:
        """Return base weights (columns, rows) after the errors of `a` columns; U is that from a on.

        W − E[:, :a] U[:a, j] = ŵ_j + E[:, a:] U[a:, j] from a on; before it, as it was rounded: w'.
        """
        columns = slice(group.start, group.end)
        if U is None:
            return self.problem.weights.T[columns, rows]
        base, E = self.values(rows, columns), self.E.T
        fed = times_upper(E[a : group.end, rows].T.copy(order="F"), U).T
        done = max(a - group.start, 0)
        part = slice(group.start, group.start + done)
        base[:done] += E[part, rows] * self.pivots[part, None]
        base[done:] += fed[max(group.start - a, 0) :]
        return base

    # BOUNDS

    @cached_property
    def terms(self) -> FactorTerms:
        """What all bounds need of the factor: the only place where U itself is made."""
        return FactorTerms.of(self.problem.factor, upper_inverse(self.problem.factor))

    @cached_property
    def least(self) -> NDArray[np.float64]:
        """Bound from below on the bounds β and δ of each row, over U_jj.  [CERT-060]"""
        return least_target(self.survey.length, self.E.shape[1], self.u)

    def allowed(self, rows: Array) -> NDArray[np.float64]:
        """Return β of some rows, (rows, n_in); of all, to be kept, where that is most of them."""
        most = 2 * len(rows) > len(self.codes)
        return np.asarray(self.target_bound[rows] if most else self._bounds(rows)[0])

    def base_allowed(self, rows: Array) -> NDArray[np.float64]:
        """Return δ of some rows, (rows, n_groups); of all where they share a range."""
        most = 2 * len(rows) > len(self.codes)
        return np.asarray(self.base_bound[rows] if most else self._bounds(rows)[1])

    @cached_property
    def least_base(self) -> NDArray[np.float64]:
        """What δ is at the least, (n_out, n_groups).  [CERT-060]"""
        largest = [self.pivots[g.start : g.end].max() for g in self.problem.groups]
        return self._shared(np.outer(self.least, largest))

    @cached_property
    def fed(self) -> NDArray[np.bool_]:
        """Which groups have base weights that errors of earlier columns were fed back to."""
        return np.array([self.applied(group) > 0 for group in self.problem.groups])

    def _bounds(self, rows: slice | Array) -> tuple[Array, Array]:
        """Return β (rows, n_in) and δ (rows, n_groups) of some rows.  [CERT-060]"""
        values = self.values(rows, slice(0, self.E.shape[1])).T
        residuals = self.E[rows] * self.pivots
        magnitudes = np.abs(self.problem.weights[rows]) + np.abs(values)
        bounds = for_answer(residuals, magnitudes, self.terms)
        target = bounds.target(self.u) + bounds.target(U64)  # theirs and ours
        target += bounds.shifted(self.hessian_error)  # [CERT-070]
        base = bounds.base(target)
        ends = [base[:, g.start : g.end].max(axis=1) for g in self.problem.groups]
        compensated = np.abs(values + residuals)  # |w'|
        return target + 3 * self.u * compensated, self._shared(np.stack(ends, axis=1))

    def _shared(self, error: Array) -> NDArray[np.float64]:
        """Return δ: 0 for original weights, the largest of all rows where they share a range."""
        error[:, ~self.fed] = 0.0
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
        """The distances w' − ŵ, (n_out, n_in)."""
        return np.asarray(self.E * self.pivots)

    @cached_property
    def plain_codes(self) -> Array:
        """Codes of the weights themselves, nothing fed back, with the answer's parameters."""
        z = self.zero_point[:, self.problem.column_group]
        return codes_of(self.problem.weights, self.column_scale, z, maxq=self.problem.maxq)

    def unlike_plain(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Tell which codes plain rounding does not give, of some rows and columns, (columns, rows).

        That is |w / s + z − q| > 1/2, towards a code that there is, beyond the rounding of the
        answer's arithmetic: the largest weight of a symmetric group lies beside a tie. Columns
        that calibration never saw tell nothing: plain rounding knows no calibration.
        """
        problem, codes = self.problem, self.codes.T[columns, rows]
        groups = problem.column_group[columns]
        steps = problem.weights.T[columns, rows] / self.scale.T[:, rows][groups]
        beyond = np.abs(steps)
        beyond *= 4 * self.u
        beyond += 0.5
        steps += self.zero_point.T[:, rows][groups]
        steps -= codes
        unlike = (steps > beyond) & (codes < problem.maxq)
        unlike |= (steps < -beyond) & (codes > 0)
        unlike[problem.prepared.dead[problem.prepared.order[columns]]] = False
        return np.asarray(unlike)

    @cached_property
    def is_plain_rounding(self) -> bool:
        """Whether the codes are those of plain rounding."""
        return not any(self.unlike_plain(*tile).any() for tile in tiles(*self.codes.shape))

    @cached_property
    def _all_bounds(self) -> tuple[Array, Array]:
        return self._bounds(slice(None))

    @property
    def target_bound(self) -> NDArray[np.float64]:
        """β, (n_out, n_in)."""
        return np.asarray(self._all_bounds[0])

    @property
    def base_bound(self) -> NDArray[np.float64]:
        """δ, (n_out, n_groups)."""
        return np.asarray(self._all_bounds[1])


def gather(problem: GPTQProblem, answer: Answer, u: float, hessian_error: float = 0.0) -> Evidence:
    """Check shapes and kinds of the answer, and recover what its codes imply.  [CERT-010]

    Raises
    ------
    AnswerError
    ConfigError
        A Hessian error with which nothing can be certified.  [CERT-070]
    """
    codes, scale, zero_point = _require_answer(problem, answer)
    difference = np.empty(codes.shape, order="F")  # W − Ŵ
    absolute, root_h = np.zeros(len(codes)), np.sqrt(_diagonal(problem))
    size, signs = -(-len(codes) // SUMS), np.random.default_rng(0).choice([-1.0, 1.0], len(codes))
    d = np.zeros((codes.shape[1], -(-len(codes) // size)))
    for rows, columns in tiles(*codes.shape):
        part = difference.T[columns, rows]
        values = _values(problem, codes, scale, zero_point, rows, columns)
        np.subtract(problem.weights.T[columns, rows], values, out=part)
        _add_up(d[columns], part, rows, signs, size)
        absolute[rows] += root_h[columns] @ np.abs(part, out=values)
    sums = Sums(size, signs, _quadratic(problem, d.T), absolute)
    E = times_upper(difference, problem.factor)  # [CERT-010]
    evidence = Evidence(problem, codes, scale, zero_point, E, sums, u, hessian_error)
    if hessian_error:
        amplified(hessian_error, evidence.terms.spread)
    return evidence


def _require_answer(problem: GPTQProblem, answer: Answer) -> tuple[Array, Array, Array]:
    """Return codes in processing order, scales and zero-points, or raise."""
    n_out, n_in = problem.weights.shape
    n_groups = len(problem.groups)
    wanted = {"codes": (n_out, n_in), "scale": (n_out, n_groups), "zero_point": (n_out, n_groups)}
    arrays = {name: np.asarray(getattr(answer, name)) for name in wanted}
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise AnswerError(f"{name} of shape {shape}", f"{arrays[name].shape}", "GPTQ-080")
    for name in ("codes", "zero_point"):
        array = arrays[name]
        if array.dtype.kind not in "iu":
            raise AnswerError(f"integer {name}", f"dtype={array.dtype.name}", "GPTQ-080")
    for name, most in (("codes", problem.maxq), ("zero_point", 255)):
        if not 0 <= int(arrays[name].min()) <= int(arrays[name].max()) <= most:
            got = f"[{int(arrays[name].min())}, {int(arrays[name].max())}]"
            raise AnswerError(f"{name} in [0, {most}]", got, "GPTQ-080")
    scale = arrays["scale"].astype(np.float64, order="F")
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise AnswerError("scales finite and positive", f"min={float(scale.min())!r}", "GPTQ-080")
    codes, order = np.empty((n_in, n_out), np.uint8), problem.prepared.order
    ordered = problem.config.activation_order
    transpose(arrays["codes"], codes, order if ordered else slice(0, n_in))
    return codes.T, scale, arrays["zero_point"].astype(np.float64, order="F")


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


def _add_up(sums: Array, tile: Array, rows: slice, signs: Array, size: int) -> None:
    """Add the rows of a tile (columns, rows) to the sums (columns, sums) that they are in."""
    for k in range(rows.start // size, -(-rows.stop // size)):
        first, stop = max(k * size, rows.start), min((k + 1) * size, rows.stop)
        sums[:, k] += tile[:, first - rows.start : stop - rows.start] @ signs[first:stop]


def _diagonal(problem: GPTQProblem) -> NDArray[np.float64]:
    """Return h, the diagonal of the damped Hessian in processing order."""
    if problem.profile.not_positive_definite is NotPositiveDefinite.ERROR:
        return np.asarray(problem.prepared.diagonal[problem.prepared.order])
    return np.asarray(np.einsum("ab,ab->a", problem.factor, problem.factor))


def _quadratic(problem: GPTQProblem, d: Array) -> NDArray[np.float64]:
    """Return d H dᵀ for every row d, in processing order, with the damped Hessian."""
    if problem.profile.not_positive_definite is NotPositiveDefinite.ERROR:
        original = np.empty_like(d)
        original[:, problem.prepared.order] = d
        prepared = problem.prepared
        added = prepared.diagonal - np.diagonal(prepared.hessian)
        loss = (original @ prepared.hessian * original).sum(axis=1) + original**2 @ added
        return np.asarray(loss)
    return np.asarray(((d @ problem.factor) ** 2).sum(axis=1))


def times_upper(matrix: Array, upper: Array) -> NDArray[np.float64]:
    """Return matrix · upper in the memory of `matrix`, which is in Fortran order."""
    from scipy.linalg.blas import dtrmm

    stored = (
        {"a": upper, "lower": 0, "trans_a": 0}
        if upper.flags.f_contiguous
        else {"a": np.ascontiguousarray(upper).T, "lower": 1, "trans_a": 1}
    )
    return np.asarray(dtrmm(1.0, b=matrix, side=1, overwrite_b=1, **stored))


def tiles(n_out: int, n_in: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of tiles that stay in the cache.

    Examples
    --------
    >>> list(tiles(3, 5))
    [(slice(0, 3, None), slice(0, 5, None))]
    >>> [(rows.stop, columns.stop) for rows, columns in tiles(600, 130)]
    [(512, 128), (600, 128), (600, 130)]
    """
    for start in range(0, n_in, COLUMNS):
        columns = slice(start, min(start + COLUMNS, n_in))
        for rows in stretches(n_out, columns.stop - start):
            yield rows, columns


def stretches(n_out: int, columns: int) -> Iterator[slice]:
    """Yield rows in stretches of which so many columns stay in the cache.

    Examples
    --------
    >>> list(stretches(600, 128))
    [slice(0, 512, None), slice(512, 600, None)]
    """
    step = max(ELEMENTS // columns, FEWEST)
    for start in range(0, n_out, step):
        yield slice(start, min(start + step, n_out))
