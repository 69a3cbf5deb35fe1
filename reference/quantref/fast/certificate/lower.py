"""Lower bounds of β and δ, which settle most answers without an inverse (SPEC.md, section 8)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quantref.fast.certificate.bounds import deviations, own_noise
from quantref.fast.certificate.evidence import Evidence
from quantref.fast.certificate.tiles import FEWEST_ROWS, stretches
from quantref.inputs import Array


def sizes(evidence: Evidence, row: Array, column: Array) -> NDArray[np.float64]:
    """Return |w| + |w − ŵ| of single weights, (count,)."""
    group = evidence.problem.column_group[column]
    scale, zero_point = evidence.scale[row, group], evidence.zero_point[row, group]
    w = evidence.problem.weights[row, column].astype(np.float64)
    return np.asarray(np.abs(w) + np.abs(w - scale * (evidence.codes[row, column] - zero_point)))


def least_beta(evidence: Evidence, row: Array, column: Array) -> NDArray[np.float64]:
    """Return a lower bound of β of single codes, (count,), from their own roundings."""
    return deviations(own_noise(column, sizes(evidence, row, column), evidence.roundoffs))


def nearer_beta(evidence: Evidence, row: Array, column: Array) -> NDArray[np.float64]:
    """Return a larger lower bound of β, (count,), from all roundings of the recurrence."""
    bound, R, size = np.empty(len(row)), evidence.problem.R, 1 / evidence.U_jj
    for start in range(0, len(row), FEWEST_ROWS):
        few = slice(start, start + FEWEST_ROWS)
        M = R[:, column[few]] / size[column[few]]
        variance = np.einsum("ij,ji->i", _recurrence(evidence, row[few], len(R)), M**2)
        bound[few] = deviations(variance)
    return bound


def _recurrence(evidence: Evidence, rows: Array, reached: int) -> NDArray[np.float64]:
    """Return a lower bound of the noise of some rows, (rows, n_in), given the columns rounded."""
    columns = np.arange(evidence.codes.shape[1])
    size = np.abs(evidence.problem.weights[rows].astype(np.float64))
    size[:, :reached] = sizes(evidence, rows[:, None], columns[:reached])
    return own_noise(columns, size, evidence.roundoffs)


def least_base(evidence: Evidence) -> NDArray[np.float64]:
    """Return a lower bound of δ, (n_out, n_groups), from roundings of the weight alone."""
    least, W = np.zeros_like(evidence.scale), evidence.problem.weights
    for k, group in enumerate(evidence.problem.groups):
        if evidence.compensated_groups[k]:
            columns = slice(group.start, group.end)
            for rows in stretches(len(W), group.end - group.start):
                part = W.T[columns, rows]
                least[rows, k] = np.maximum(part.max(axis=0), -part.min(axis=0))
            least[:, k] = own_noise(np.array(group.start), least[:, k], evidence.roundoffs)
    return evidence.shared(deviations(least))


def nearer_base(evidence: Evidence, unsettled: Array) -> NDArray[np.float64]:
    """Return a larger lower bound of δ where it is asked for, (n_out, n_groups).

    It has all roundings of the recurrence.
    """
    delta = least_base(evidence)
    for k in np.flatnonzero(unsettled.any(axis=0) & evidence.compensated_groups):
        group, rows = evidence.problem.groups[k], np.flatnonzero(unsettled[:, k])
        c = evidence.problem.errors_applied(group)
        columns = slice(max(group.start, c), group.end)
        U = evidence.factor.inverse_between(c, group.end)
        moved = evidence.problem.R[: group.end, c : group.end] @ U[:, columns.start - c :]
        for start in range(0, len(rows), 4 * FEWEST_ROWS):
            few = rows[start : start + 4 * FEWEST_ROWS]
            variance = _recurrence(evidence, few, c)[:, : group.end] @ moved**2
            delta[few, k] = deviations(variance).max(axis=1)
    return evidence.shared(delta)
