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
    LIKELY,
    U32,
    U64,
    expected_parameters,
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
from quantref.fast.certificate.lower import least_base, least_beta, nearer_base, nearer_beta
from quantref.fast.certificate.ranges import rough_ranges
from quantref.fast.certificate.sums import quadratic_variance
from quantref.fast.hessian import bands
from quantref.inputs import Array

Judged = tuple[tuple[Array, Array], tuple[Array, Array]]  # ratio and expected: scales, zero-points
MORE = 1 + 2.0**-20  # the rounding of an upper bound
FEW = 4  # codes per row and column, up to which single codes are looked at


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
    found = evidence.violations
    judged = (found.clipped == clipped) & (found.column < columns)
    row, column, excess = found.row[judged], found.column[judged], found.excess[judged]
    passed = _within_beta(evidence, row, column, excess)

    def figures() -> Figures:
        rows, place = np.unique(row, return_inverse=True)
        ratio = excess / evidence.beta_of(rows)[place, column] if rows.size else excess
        return _residual_figures(evidence, (row, column, ratio), columns, clipped=clipped)

    return LazyCheck(name, requirement, passed=passed, figures=figures)


def _within_beta(evidence: Evidence, row: Array, column: Array, excess: Array) -> bool:
    """Tell whether no code's excess is beyond β; bounds of β that are found sooner settle most."""
    unsettled = np.flatnonzero(excess > least_beta(evidence, row, column))
    if not unsettled.size:
        return True
    if unsettled.size <= FEW * sum(evidence.codes.shape):
        nearer = nearer_beta(evidence, row[unsettled], column[unsettled])
        unsettled = unsettled[excess[unsettled] > nearer]
    if not unsettled.size:
        return True
    worst = int(np.argmax(excess))
    most = evidence.most_bounds_of(row[worst : worst + 1])[0][0, column[worst]]
    if excess[worst] > MORE * most:
        return False
    rows, place = np.unique(row[unsettled], return_inverse=True)
    bound = evidence.beta_of(rows)[place, column[unsettled]]
    return bool((excess[unsettled] / bound <= 1).all())


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
    allowed = evidence.beta_of(np.array([i]))[0, k] / evidence.column_scale[i, k]
    message = code_message(off, total, place, int(evidence.codes[i, k]), steps, allowed)
    return Figures(worst, place, message)


def check_parameters(evidence: Evidence) -> list[Check]:
    """Recompute scale and zero-point of every group from its base weights.  [CERT-030]"""
    lowest, highest, slack = rough_ranges(evidence)
    # What rough ranges may move a scale by: its rounding to binary32 counts too.
    slack += (slack > 0) * evidence.scale * (evidence.problem.maxq * U32)
    delta = least_base(evidence)
    judged, unsettled = _judged(evidence, (lowest, highest), delta, slack)
    if unsettled.any():
        delta = nearer_base(evidence, unsettled)
        judged, unsettled = _judged(evidence, (lowest, highest), delta, slack)
    rows = np.flatnonzero((unsettled & (slack > 0)).any(axis=1))
    if rows.size:
        lowest[rows], highest[rows] = evidence.ranges_of(rows)
        slack[rows] = 0
        judged, unsettled = _judged(evidence, (lowest, highest), delta, slack)
    rows = np.flatnonzero(unsettled.any(axis=1))
    if rows.size:
        delta = delta.copy()
        delta[rows] = evidence.delta_of(rows)
        judged, _ = _judged(evidence, (lowest, highest), delta, slack)
    return [
        LazyCheck(
            name,
            "CERT-030",
            passed=bool((ratio <= 1).all()),
            figures=partial(_parameter_figures, evidence, k),
            places=places_beyond(ratio),
        )
        for k, (name, (ratio, _)) in enumerate(zip(("scale", "zero-point"), judged, strict=True))
    ]


def _judge_parameters(evidence: Evidence, ranges: tuple[Array, Array], delta: Array) -> Judged:
    expected = expected_parameters(evidence.problem, *ranges)
    got, u = (evidence.scale, evidence.zero_point), evidence.roundoffs.feedback
    return judge_parameters(evidence.problem, ranges, expected, got, delta, u)


def judge_evidence(evidence: Evidence) -> Judged:
    """Return (ratio, expected) of scales and of zero-points, each (n_out, n_groups).  [CERT-030]"""
    return _judge_parameters(evidence, evidence.ranges, evidence.delta)


def _judged(
    evidence: Evidence, ranges: tuple[Array, Array], delta: Array, slack: Array
) -> tuple[Judged, Array]:
    """Judge ranges that may be off by `slack`; and return where more could change a verdict.

    Exact ranges, or a δ larger than this one, could do so; (n_out, n_groups).
    """
    (scale_ratio, _), (zero_ratio, _) = found = _judge_parameters(
        evidence, ranges, np.maximum(delta - slack, 0)
    )
    size = np.maximum(-ranges[0], ranges[1])
    zeros = has_scale_of_zeros(evidence.problem, evidence.scale)
    zeros &= size > delta - slack  # the base weights may all be zero
    unsettled = ~(scale_ratio <= 1) | ~(zero_ratio <= 1) | zeros
    unsettled |= (slack > 0) & ((delta <= slack) | (size <= 2 * slack))
    unsettled &= evidence.compensated_groups
    if not evidence.problem.config.per_channel:
        unsettled[:] = unsettled.any(axis=0)
    return found, np.asarray(unsettled)


def _parameter_figures(evidence: Evidence, which: int) -> Figures:
    """Return the figures of scales (0) or zero-points (1)."""
    ratio, wanted = judge_evidence(evidence)[which]
    got = (evidence.scale, evidence.zero_point)[which]
    return Figures(*parameter_figures(ratio, wanted, got)[:3])


def check_loss(evidence: Evidence) -> list[Check]:
    """Check tr((W − Ŵ) H (W − Ŵ)ᵀ) = ‖E‖², and the bound of Babai's nearest plane."""
    return [_identity_check(evidence), _bound_check(evidence)]


def _identity_check(evidence: Evidence) -> Check:
    """Check d H dᵀ = ‖f‖² for sums d of rows, and f of the errors themselves.  [CERT-110]

    One term of the variance of rounding settles nearly all: the rest is computed when it is used.
    """
    sums, squares = evidence.sums, (evidence.signed_errors**2).sum(axis=1)
    distance = np.abs(sums.loss - squares)
    least = _allowed_loss(evidence.codes.shape[1] * squares**2)
    passed = bool((distance <= least).all() or (distance <= _allowed(evidence, squares)).all())

    def figures() -> Figures:
        check = identity_check(sums.rows, sums.loss, squares, _allowed(evidence, squares))
        return Figures(check.observed, check.worst, check.message)

    return LazyCheck("loss identity", "CERT-110", passed=passed, figures=figures)


def _allowed(evidence: Evidence, squares: Array) -> Array:
    """Return what d H dᵀ and ‖f‖² may differ by, (sums,).  [CERT-110]"""
    sums, f = evidence.sums, evidence.signed_errors.T
    of_errors = np.zeros(len(sums.rows))
    for band in bands(len(f)):
        R = evidence.problem.R[: band.stop, band]
        part = f[band].T ** 2
        of_errors += ((evidence.displaced[:, : band.stop] @ R**2 + part) * part).sum(axis=1)
    roundings = np.array([len(f) + rows.stop - rows.start for rows in sums.rows])
    variance = quadratic_variance(evidence.problem, sums.d)
    variance += 4 * roundings * of_errors + len(f) * squares**2
    return _allowed_loss(variance)


def _allowed_loss(variance: Array) -> Array:
    """Return what a loss may be off by; its variance is in units of u² / 3."""
    return np.asarray(LIKELY * np.sqrt(variance * (U64**2 / 3)) + LEAST_BOUND)


def _bound_check(evidence: Evidence) -> Check:
    """Check ‖E‖² <= Σ B_j row by row.  [CERT-050]

    Where no residual of a code between the clips exceeds half a step, no term exceeds its B_j.
    """
    violations = evidence.violations
    rows = np.unique(violations.row[~violations.clipped])
    squares = (evidence.errors_of(rows) ** 2).sum(axis=1)
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
    squares = (evidence.errors_of(rows) ** 2).sum(axis=1)
    allowed = _terms(evidence, rows, evidence.beta_of(rows)).sum(axis=1)
    ratio = np.divide(squares, allowed, out=np.zeros_like(squares), where=allowed > 0)
    return ratio, squares, allowed


def loss_terms(evidence: Evidence) -> Array:
    """Return B_j, which is e_j² where the code is 0 or maxq, (n_out, n_in).  [CERT-050]"""
    return _terms(evidence, np.arange(len(evidence.codes)), evidence.beta)


def _terms(evidence: Evidence, rows: Array, beta: Array) -> Array:
    """Return the terms of some rows, given their β."""
    half = evidence.scale[rows][:, evidence.problem.column_group] / 2
    box = ((half + beta) / evidence.U_jj) ** 2
    clipped = (evidence.codes[rows] == 0) | (evidence.codes[rows] == evidence.problem.maxq)
    return np.asarray(np.where(clipped, evidence.errors_of(rows) ** 2, box))


def failing_rows(evidence: Evidence) -> Array:
    """Return which rows fail CERT-010 to CERT-030 or CERT-050, (n_out,); computes every bound."""
    found = evidence.violations
    beyond = ~(found.excess <= evidence.beta[found.row, found.column])
    failed = np.zeros(len(evidence.codes), bool)
    failed[found.row[beyond]] = True
    for ratio, _ in judge_evidence(evidence):
        failed |= (~(ratio <= 1)).any(axis=1)
    return failed | ~(_loss_ratio(evidence, np.arange(len(failed)))[0] <= 1)
