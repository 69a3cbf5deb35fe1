"""The checks of a certificate, on evidence gathered from an answer (SPEC.md, section 8).

Lower bounds of β and δ settle most rows at once. The bounds themselves are computed for the other
rows only. The distance of a check from its bound, and its message, are computed when they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from quantref.certificate import (
    LEAST_BOUND,
    U64,
    expected_parameters,
    growth,
    has_scale_of_zeros,
    judge_parameters,
)
from quantref.checks import (
    Check,
    code_message,
    identity_check,
    loss_figures,
    parameter_figures,
    places_beyond,
)
from quantref.fast.certificate.evidence import Evidence
from quantref.inputs import Array


class Figures(NamedTuple):
    """The figures of a check's worst place; see `Check`."""

    observed: float
    worst: tuple[int, ...]
    message: str


class LazyCheck(Check):
    """A check whose observed, worst and message are computed when one of them is used.

    Parameters
    ----------
    name, requirement, passed, places
        See `Check`. The bound is 1.
    figures : callable
        Returns observed, worst and message.
    """

    def __init__(
        self,
        name: str,
        requirement: str,
        *,
        passed: bool,
        figures: Callable[[], Figures],
        places: tuple[tuple[int, int], ...] = (),
    ) -> None:
        known = {"name": name, "requirement": requirement, "passed": passed, "places": places}
        vars(self).update(known, bound=1.0, _figures=figures)

    def __getattr__(self, name: str) -> Any:
        if name not in Figures._fields:
            raise AttributeError(name)
        vars(self).update(self._figures()._asdict())
        return vars(self)[name]


def check_residuals(evidence: Evidence, columns: int | None = None) -> list[Check]:
    """Check |r| <= s / 2, and that the residual of clipped codes points outwards.

    `columns`: the number of columns to check, in processing order; by default all.
    """
    count = evidence.codes.shape[1] if columns is None else columns
    return [
        _residual_check(evidence, "half step", "CERT-010", count, clipped=False),  # [CERT-010]
        _residual_check(evidence, "clipped codes", "CERT-020", count, clipped=True),  # [CERT-020]
    ]


def _residual_check(
    evidence: Evidence, name: str, requirement: str, columns: int, *, clipped: bool
) -> Check:
    """Return the check of the codes that are clipped, or of those that are not."""
    found = evidence.summary.violations
    judged = (found.clipped == clipped) & (found.column < columns)
    row, column, excess = found.row[judged], found.column[judged], found.excess[judged]
    unsettled = ~(excess < evidence.least_over_U_jj[row] * evidence.U_jj[column])
    rows, place = np.unique(row[unsettled], return_inverse=True)
    passed = True
    if rows.size:
        bound = evidence.beta_of(rows)[place, column[unsettled]]
        passed = bool((excess[unsettled] / bound <= 1).all())

    def figures() -> Figures:
        ratio = excess / evidence.beta[row, column]
        return _residual_figures(evidence, (row, column, ratio), columns, clipped=clipped)

    return LazyCheck(name, requirement, passed=passed, figures=figures)


def _residual_figures(
    evidence: Evidence, violations: tuple[Array, Array, Array], columns: int, *, clipped: bool
) -> Figures:
    """Return the figures of the worst code; `violations`: row, column and observed / bound."""
    row, column, ratio = violations
    seen = evidence.codes[:, :columns]
    mask = ((seen == 0) | (seen == evidence.problem.maxq)) == clipped
    total = int(mask.sum())
    off = int((ratio > 1).sum())
    i, k, worst = 0, 0, 0.0
    if ratio.size:
        n = int(np.argmax(ratio))
        i, k, worst = int(row[n]), int(column[n]), float(ratio[n])
    elif total:
        i, k = (int(x) for x in np.unravel_index(int(np.argmax(mask)), mask.shape))
    place = (i, int(evidence.problem.prepared.order[k]))
    if not total:
        return Figures(worst, place, code_message(off, total, place, 0, 0.0, 0.0))
    steps = evidence.residuals[i, k] / evidence.column_scale[i, k]
    allowed = evidence.beta[i, k] / evidence.column_scale[i, k]
    message = code_message(off, total, place, int(evidence.codes[i, k]), steps, allowed)
    return Figures(worst, place, message)


def check_parameters(evidence: Evidence) -> list[Check]:
    """Recompute scale and zero-point of every group from its base weights.  [CERT-030]"""
    expected = expected_parameters(evidence.problem, *evidence.ranges)
    delta = evidence.least_base
    judged = _judge_parameters(evidence, expected, delta)
    rows = np.flatnonzero(_unsettled(evidence, judged, delta))
    if rows.size:
        delta = delta.copy()
        delta[rows] = evidence.delta_of(rows)
        judged = _judge_parameters(evidence, expected, delta)
    return [
        LazyCheck(
            name,
            "CERT-030",
            passed=bool((ratio <= 1).all()),
            figures=partial(_parameter_figures, evidence, expected, k),
            places=places_beyond(ratio),
        )
        for k, (name, (ratio, _)) in enumerate(zip(("scale", "zero-point"), judged, strict=True))
    ]


def _judge_parameters(
    evidence: Evidence, expected: tuple[Array, Array], delta: Array
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    got = evidence.scale, evidence.zero_point
    return judge_parameters(evidence.problem, evidence.ranges, expected, got, delta, evidence.u)


def _unsettled(
    evidence: Evidence, judged: tuple[tuple[Array, Array], tuple[Array, Array]], delta: Array
) -> Array:
    """Return in which rows a δ larger than this one could change a verdict, (n_out,)."""
    (scale_ratio, _), (zero_ratio, _) = judged
    lowest, highest = evidence.ranges
    zeros = has_scale_of_zeros(evidence.problem, evidence.scale)
    zeros &= np.maximum(-lowest, highest) > delta  # the base weights may all be zero
    unsettled = ~(scale_ratio <= 1) | ~(zero_ratio <= 1) | zeros
    unsettled &= evidence.compensated_groups
    shared = not evidence.problem.config.per_channel and unsettled.any()
    return np.asarray(unsettled.any(axis=1) | shared)


def _parameter_figures(evidence: Evidence, expected: tuple[Array, Array], which: int) -> Figures:
    """Return the figures of scales (0) or zero-points (1)."""
    ratio, wanted = _judge_parameters(evidence, expected, evidence.delta)[which]
    got = (evidence.scale, evidence.zero_point)[which]
    return Figures(*parameter_figures(ratio, wanted, got)[:3])


def check_loss(evidence: Evidence) -> list[Check]:
    """Check tr((W − Ŵ) H (W − Ŵ)ᵀ) = ‖E‖², and the bound of Babai's nearest plane."""
    return [_identity_check(evidence), _bound_check(evidence)]


def _identity_check(evidence: Evidence) -> Check:
    """Check d H dᵀ = ‖d R‖² for sums d of rows, d R from the errors themselves.  [CERT-080]"""
    sums = evidence.sums
    starts = [rows.start for rows in sums.rows]
    size = np.add.reduceat(sums.absolute, starts) ** 2
    size += np.add.reduceat(evidence.summary.norms, starts) ** 2
    roundings = [4 * evidence.E.shape[1] + 2 * (rows.stop - rows.start) + 6 for rows in sums.rows]
    allowed = np.array([growth(k, U64) for k in roundings]) * size + LEAST_BOUND
    return identity_check(sums.rows, sums.loss, evidence.summary.squares, allowed)


def _bound_check(evidence: Evidence) -> Check:
    """Check ‖E‖² <= Σ c_j row by row.  [CERT-050]

    Where no residual of a code between the clips exceeds half a step, no term exceeds its c_j.
    """
    violations = evidence.summary.violations
    rows = np.unique(violations.row[~violations.clipped])
    squares = (evidence.E[rows] ** 2).sum(axis=1)
    rows = rows[~(squares <= _terms(evidence, rows, np.zeros(1)).sum(axis=1))]
    passed = not rows.size or bool((_loss_ratio(evidence, rows)[0] <= 1).all())
    return LazyCheck(
        "loss bound", "CERT-050", passed=passed, figures=partial(_bound_figures, evidence)
    )


def _bound_figures(evidence: Evidence) -> Figures:
    """Return the figures of the row nearest to its bound."""
    ratio, squares, allowed = _loss_ratio(evidence, np.arange(len(evidence.codes)))
    return Figures(*loss_figures(ratio, squares, allowed))


def _loss_ratio(evidence: Evidence, rows: Array) -> tuple[Array, Array, Array]:
    """Return loss / bound, loss and bound of some rows."""
    squares = (evidence.E[rows] ** 2).sum(axis=1)
    allowed = _terms(evidence, rows, evidence.beta_of(rows)).sum(axis=1)
    ratio = np.divide(squares, allowed, out=np.zeros_like(squares), where=allowed > 0)
    return ratio, squares, allowed


def loss_terms(evidence: Evidence) -> Array:
    """Return c_j, and e_j² where the code is 0 or maxq, (n_out, n_in).  [CERT-050]"""
    return _terms(evidence, np.arange(len(evidence.codes)), evidence.beta)


def _terms(evidence: Evidence, rows: Array, beta: Array) -> Array:
    """Return the terms of some rows, given their β."""
    half = evidence.scale[rows][:, evidence.problem.column_group] / 2
    box = ((half + beta) / evidence.U_jj) ** 2
    clipped = (evidence.codes[rows] == 0) | (evidence.codes[rows] == evidence.problem.maxq)
    return np.asarray(np.where(clipped, evidence.E[rows] ** 2, box))
