"""The single checks of a certificate, on evidence gathered from an answer (SPEC.md, section 8).

Whether a check passes is decided at once: by what is allowed at the least, and by the bounds
themselves for those rows alone where that does not do. How near a check is to its bound, and what
its message says, is worked out when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from quantref.affine import group_parameters
from quantref.bounds import ULP32, growth
from quantref.errors import AnswerError
from quantref.evidence import U64, Answer, Evidence
from quantref.inputs import Array
from quantref.problem import GPTQProblem
from quantref.profile import ZeroPointRule


class Figures(NamedTuple):
    """What a check says of its worst place; see `Check`."""

    worst: tuple[int, ...]
    observed: float
    message: str


@dataclass(frozen=True)
class Check:
    """One check of a certificate.

    Attributes
    ----------
    name : str
    requirement : str
    passed : bool
    bound : float
        Passed exactly if observed <= bound.
    figures : callable
        Gives worst, observed and message.
    places : tuple of (row, group)
        All wrong scales or zero-points.
    worst : tuple of int
        (row, column) in the original order, (row, group), or ().
    observed : float
    message : str
        What was expected and what came, at the worst place.
    """

    name: str
    requirement: str
    passed: bool
    bound: float
    figures: Callable[[], Figures] = field(repr=False, compare=False)
    places: tuple[tuple[int, int], ...] = ()

    @cached_property
    def _figures(self) -> Figures:
        return self.figures()

    @property
    def worst(self) -> tuple[int, ...]:
        """See `Check`."""
        return self._figures.worst

    @property
    def observed(self) -> float:
        """See `Check`."""
        return self._figures.observed

    @property
    def message(self) -> str:
        """See `Check`."""
        return self._figures.message


def check_g_idx(problem: GPTQProblem, answer: Answer) -> Check:
    """Check the group of every column.  [GPTQ-090]"""
    n_in = problem.weights.shape[1]
    g_idx = np.asarray(answer.g_idx)
    if g_idx.shape != (n_in,):
        raise AnswerError(f"g_idx of shape ({n_in},)", f"{g_idx.shape}", "GPTQ-090")
    expected = np.empty(n_in)
    expected[problem.prepared.order] = problem.group_index()
    wrong = np.flatnonzero(g_idx != expected)
    j = int(wrong[0]) if wrong.size else 0
    message = f"{wrong.size} of {n_in} columns in the wrong group"
    if wrong.size:
        message += f"; column {j}: expected {expected[j]:g}, got {float(g_idx[j]):g}"
    figures = Figures((j,), float(wrong.size), message)
    return Check("group index", "GPTQ-090", not wrong.size, 0.0, lambda: figures)


def check_residuals(v: Evidence, columns: int | None = None) -> list[Check]:
    """Check |w' − ŵ| <= s / 2, and that the residual of clipped codes points outwards.

    `columns`: how many columns to look at, in processing order; by default all.
    """
    count = v.codes.shape[1] if columns is None else columns
    return [
        _residual_check(v, "half step", "CERT-010", count, clipped=False),  # [CERT-010]
        _residual_check(v, "clipped codes", "CERT-020", count, clipped=True),  # [CERT-020]
    ]


def _residual_check(
    v: Evidence, name: str, requirement: str, columns: int, *, clipped: bool
) -> Check:
    """Return the check of the codes that are clipped, or of those that are not."""
    beyond = v.survey.beyond
    mine = (beyond.clipped == clipped) & (beyond.column < columns)
    row, column, excess = beyond.row[mine], beyond.column[mine], beyond.excess[mine]
    far = ~(excess < v.least[row] * v.pivots[column])
    rows, place = np.unique(row[far], return_inverse=True)
    passed = True
    if rows.size:
        passed = bool((excess[far] / v.allowed(rows)[place, column[far]] <= 1).all())

    def figures() -> Figures:
        ratio = excess / v.target_bound[row, column]
        return _residual_figures(v, (row, column, ratio), columns, clipped=clipped)

    return Check(name, requirement, passed, 1.0, figures)


def _residual_figures(
    v: Evidence, beyond: tuple[Array, Array, Array], columns: int, *, clipped: bool
) -> Figures:
    """Return the figures of the worst code; `beyond`: row, column and observed / bound."""
    row, column, ratio = beyond
    seen = v.codes[:, :columns]
    mask = ((seen == 0) | (seen == v.problem.maxq)) == clipped
    total = int(mask.sum())
    message = f"{int((ratio > 1).sum())} of {total} codes off"
    i, k, worst = 0, 0, 0.0
    if ratio.size:
        n = int(np.argmax(ratio))
        i, k, worst = int(row[n]), int(column[n]), float(ratio[n])
    elif total:
        i, k = (int(x) for x in np.unravel_index(int(np.argmax(mask)), mask.shape))
    original = int(v.problem.prepared.order[k])
    if total:
        step = v.residuals[i, k] / v.column_scale[i, k]
        allowed = v.target_bound[i, k] / v.column_scale[i, k]
        message += (
            f"; code [{i}, {original}]={int(v.codes[i, k])}: w' lies {step:+.4f} steps "
            f"from it, allowed ±0.5 within {allowed:.2g}"
        )
    return Figures((i, original), worst, message)


def check_parameters(v: Evidence) -> list[Check]:
    """Recompute scale and zero-point of every group from its base weights.  [CERT-030]"""
    expected = _expected_parameters(v)
    error = v.least_base
    (*ratios, far) = _parameter_ratios(v, expected, error)
    shared = not v.problem.config.per_channel and far.any()
    rows = np.flatnonzero(far.any(axis=1) | shared)
    if rows.size:
        error = error.copy()
        error[rows] = v.base_allowed(rows)
        (*ratios, _) = _parameter_ratios(v, expected, error)
    return [
        Check(
            name,
            "CERT-030",
            bool((ratio <= 1).all()),
            1.0,
            partial(_parameter_figures, v, expected, k),
            tuple((int(i), int(j)) for i, j in np.argwhere(ratio > 1)),
        )
        for k, (name, ratio) in enumerate(zip(("scale", "zero-point"), ratios, strict=True))
    ]


def _expected_parameters(v: Evidence) -> tuple[Array, Array]:
    """Return scale and zero-point of every group's base weights, (n_out, n_groups) twice."""
    problem, (lowest, highest) = v.problem, v.ranges
    s, z = np.empty_like(v.scale), np.empty_like(v.scale)
    for k, group in enumerate(problem.groups):
        s[:, k], z[:, k] = group_parameters(
            np.stack([lowest[:, k], highest[:, k]]).T,
            bits=problem.config.weight_bits,
            symmetric=problem.config.symmetric,
            per_channel=problem.config.per_channel,
            padded=group.end - group.start < problem.groups[0].end,
            profile=problem.profile,
        )
    return s, z


def _parameter_ratios(
    v: Evidence, expected: tuple[Array, Array], error: Array
) -> tuple[Array, Array, Array]:
    """Return observed / bound of scales and zero-points when base weights are off by `error`.

    Returns
    -------
    scale_ratio, zero_ratio : (n_out, n_groups) arrays
    open : (n_out, n_groups) bool array
        A larger error could change the verdict.
    """
    (s, z), (lowest, highest) = expected, v.ranges
    allowed = 2 * error / v.problem.maxq + 2 * ULP32 * s
    size = np.maximum(-lowest, highest)
    tiny = size <= error  # all-zero up to rounding: either is admissible
    degenerate = np.abs(v.scale * v.problem.maxq - 2.0) <= 4 * ULP32
    scale_ratio = np.where(tiny & degenerate, 0.0, np.abs(v.scale - s) / allowed)
    zero_ratio = _zero_ratio(v, error, z, tiny & degenerate)
    within = (scale_ratio <= 1) & (zero_ratio <= 1) & (tiny | ~degenerate)
    return scale_ratio, zero_ratio, ~within & v.fed


def _zero_ratio(v: Evidence, error: Array, z: Array, zeros: Array) -> Array:
    """Return |z − (−lo / s)| beyond half a code, over its bound.  [CERT-030]

    `zeros`: where the answer takes what is all-zero up to rounding for zeros.
    """
    problem, s, (lowest, highest) = v.problem, v.scale, v.ranges
    if problem.config.symmetric:
        return np.where(v.zero_point == z, 0.0, np.inf)
    low = np.minimum(lowest, 0.0)
    if not problem.config.per_channel:
        low[:] = low.min(axis=0)
    low = np.where(zeros, -1.0, low)
    degenerate = (low == 0) & (z > 0) & (lowest == 0) & (highest == 0)
    position = np.where(degenerate, 1.0, -low) / s
    if problem.profile.zero_point_rule is ZeroPointRule.CLIPPED:
        position = np.clip(position, 0, problem.maxq)
    allowed = error / s + np.abs(position) * (3 * v.u + 2 * ULP32) + 1e-300
    over = np.abs(v.zero_point - position) - 0.5
    by_profile = v.zero_point == z  # the profile's own rule, ranges it may choose included
    return np.where(by_profile, 0.0, np.maximum(over, 0.0) / allowed)


def _parameter_figures(v: Evidence, expected: tuple[Array, Array], which: int) -> Figures:
    """Return the figures of scales (0) or zero-points (1)."""
    ratio = _parameter_ratios(v, expected, v.base_bound)[which]
    got = (v.scale, v.zero_point)[which]
    i, k = (int(x) for x in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    worst = float(ratio[i, k])
    far = f", off by {worst:.3g} of the bound" if 0 < worst < 1e9 else ""
    message = (
        f"{int((ratio > 1).sum())} of {ratio.size} off; row {i}, group {k}: "
        f"expected {expected[which][i, k]:.9g}, got {got[i, k]:.9g}{far}"
    )
    return Figures((i, k), worst, message)


def check_loss(v: Evidence) -> list[Check]:
    """Check tr((W − Ŵ) H (W − Ŵ)ᵀ) = ‖E‖², and the bound of Babai's nearest plane."""
    return [_identity_check(v), _bound_check(v)]


def _identity_check(v: Evidence) -> Check:
    """Check d H dᵀ = ‖d R‖² for sums d of rows, d R from the errors themselves.  [CERT-080]"""
    sums, loss, squares = v.sums, v.sums.loss, v.survey.squares
    starts = np.arange(len(loss)) * sums.size
    size = np.add.reduceat(sums.absolute, starts) ** 2
    size += np.add.reduceat(v.survey.length, starts) ** 2
    steps = 4 * v.E.shape[1] + 2 * sums.size + 6
    ratio = np.abs(loss - squares) / (growth(steps, U64) * size + 1e-300)
    k = int(np.argmax(ratio))
    i, last = k * sums.size, min((k + 1) * sums.size, len(v.codes)) - 1
    where = f"row {i}" if i == last else f"rows {i} to {last}, added up with signs"
    message = f"{where}: tr = {loss[k]:.9g}, sum of squared errors = {squares[k]:.9g}"
    figures = Figures((i,), float(ratio[k]), message)
    return Check("loss identity", "CERT-080", figures.observed <= 1, 1.0, lambda: figures)


def _bound_check(v: Evidence) -> Check:
    """Check ‖E‖² <= Σ c_j row by row.  [CERT-050]

    Where no residual of a code between the clips exceeds half a step, no term exceeds its c_j.
    """
    rows = np.unique(v.survey.beyond.row[~v.survey.beyond.clipped])
    squares = (v.E[rows] ** 2).sum(axis=1)
    rows = rows[~(squares <= _terms(v, rows, np.zeros(1)).sum(axis=1))]
    passed = not rows.size or bool((_loss_ratio(v, rows)[0] <= 1).all())
    return Check("loss bound", "CERT-050", passed, 1.0, partial(_bound_figures, v))


def _bound_figures(v: Evidence) -> Figures:
    """Return the figures of the row nearest to its bound."""
    ratio, squares, allowed = _loss_ratio(v, np.arange(len(v.codes)))
    i = int(np.argmax(ratio))
    message = f"row {i}: loss {squares[i]:.6g}, bound {allowed[i]:.6g}"
    return Figures((i,), float(ratio[i]), message)


def _loss_ratio(v: Evidence, rows: Array) -> tuple[Array, Array, Array]:
    """Return loss / bound, loss and bound of some rows."""
    squares = (v.E[rows] ** 2).sum(axis=1)
    allowed = _terms(v, rows, v.allowed(rows)).sum(axis=1)
    ratio = np.divide(squares, allowed, out=np.zeros_like(squares), where=allowed > 0)
    return ratio, squares, allowed


def loss_terms(v: Evidence) -> Array:
    """Return ((s_j / 2 + β_j) / U_jj)² per code, the actual e_j² at 0 and maxq.  [CERT-050]"""
    return _terms(v, np.arange(len(v.codes)), v.target_bound)


def _terms(v: Evidence, rows: Array, target: Array) -> Array:
    """Return the same for some rows and their β."""
    half = v.scale[rows][:, v.problem.column_group] / 2
    box = ((half + target) / v.pivots) ** 2
    clipped = (v.codes[rows] == 0) | (v.codes[rows] == v.problem.maxq)
    return np.asarray(np.where(clipped, v.E[rows] ** 2, box))
