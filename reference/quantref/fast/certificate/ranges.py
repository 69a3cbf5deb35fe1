"""Ranges of base weights in float32, which settle the parameters of most groups."""

from __future__ import annotations

import numpy as np

from quantref.certificate import LIKELY, U32
from quantref.fast.certificate.errors import LEAST_DISPLACED, RoughErrors, times_upper
from quantref.fast.certificate.evidence import Evidence, values_of
from quantref.fast.certificate.sums import add_signed_rows
from quantref.fast.certificate.tiles import stretches
from quantref.inputs import Array
from quantref.rules import Group


def rough_ranges(evidence: Evidence) -> tuple[Array, Array, Array]:
    """Return ranges, and how far they may be from those that E gives, (n_out, n_groups) each.

    Without errors in float32, return those that E gives.
    """
    if evidence.rough is None:
        return *evidence.ranges, np.zeros(evidence.scale.shape)
    lowest, highest = np.empty((2, *evidence.scale.shape))
    deviation, longest = np.zeros((2, lowest.shape[1]))
    for k, group in enumerate(evidence.problem.groups):
        if evidence.compensated_groups[k]:
            found = lowest[:, k], highest[:, k]
            deviation[k], longest[k] = _base_weights(evidence, evidence.rough, group, found)
        else:
            for rows in stretches(len(lowest), group.end - group.start):
                original = evidence.problem.weights.T[group.start : group.end, rows]
                lowest[rows, k], highest[rows, k] = original.min(axis=0), original.max(axis=0)
    slack = np.outer(evidence.rough.of_row, LIKELY * np.sqrt(2 * deviation.max()) * longest)
    z, s = evidence.zero_point, evidence.scale
    values = s * np.maximum(z, np.abs(evidence.problem.maxq - z))  # at least |ŵ|
    roundings = U32 * (2 * values + np.maximum(-lowest, highest))
    # Where ŵ = w, base weights are numbers of float32, and nothing is added to them.
    rounded = (evidence.rough.of_row > 0)[:, None] | (evidence.single[0] != s)
    slack += np.where(rounded & evidence.compensated_groups, roundings, 0)
    return lowest, highest, slack


def _base_weights(
    evidence: Evidence, rough: RoughErrors, group: Group, found: tuple[Array, Array]
) -> tuple[float, float]:
    """Find the range of a group's base weights; and return the mean square of deviations, ÷ length.

    As in `quantref.fast.certificate.errors`, deviations are measured in signed sums of rows, here
    of the feedback E[:, c:] U[c:, j]. They are taken to be proportional to a column's length. The
    second number returned is the largest length of a column.
    """
    problem, c = evidence.problem, evidence.problem.errors_applied(group)
    columns, reached = slice(group.start, group.end), slice(c, group.end)
    U = evidence.factor.inverse_between(c, group.end)
    of_residuals = U / evidence.U_jj[reached, None]
    single = of_residuals.astype(np.float32)
    sums = np.zeros((group.end - c, len(evidence.sums.rows)))
    for rows in stretches(len(evidence.codes), group.end - c):
        feedback = times_upper(rough.residuals.T[reached, rows].copy().T, single).T
        add_signed_rows(sums, feedback, rows, evidence.sums)
        base = values_of(problem, evidence.codes, *evidence.single, rows, columns)
        base += feedback[group.start - c :]
        found[0][rows], found[1][rows] = base.min(axis=0), base.max(axis=0)
    sums -= (rough.signed[:, reached] @ U).T
    length = np.sqrt(rough.of_column[reached] ** 2 @ of_residuals**2)
    length = np.maximum(length, 2.0**-200)  # nothing deviates where nothing was rounded
    mean = np.square(sums / length[:, None]).sum(axis=1).mean()
    return mean * len(rough.length) / max(rough.displaced, LEAST_DISPLACED), length.max()
