"""Weights that are carried from column to column, given the codes of an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantcheck.deviations.causes.cause import Asked
from quantcheck.wire.configs import gptq_config
from quantref.gptq import prepare_problem
from quantref.inputs import Array


@dataclass(frozen=True)
class Walk:
    """How weights are carried from column to column.

    Attributes
    ----------
    stored : callable
        Takes weights to which an error was added; returns them as they are stored.
    allowed : callable
        The error of w/s + z, from (column, weights, s, z).
    parameters : callable, optional
        Which rows of (group, first column, weights of the group) have the right parameters.
    """

    asked: Asked
    profile: Any
    stored: Callable[[Array], Array]
    allowed: Callable[[int, Array, Array, Array], Array]
    parameters: Callable[[int, int, Array], Array] | None = None

    def follows(self, codes: Array, column_group: Array, scale: Array, zero: Array) -> bool:
        """Tell whether codes (in processing order) and parameters follow from each other."""
        case, given = self.asked.case, self.asked.case.parameters
        problem = prepare_problem(
            case.inputs["weights"].astype(np.float32), case.inputs["hessian"],
            gptq_config(given), profile=self.profile, block_size=given["block_size"],
        )  # fmt: skip
        live = np.ones(len(codes), bool)
        seen = carried = self.stored(problem.weights)
        for j, k in enumerate(column_group):
            if j % given["block_size"] == 0 or "live_groups" in self.asked.rules:
                seen = carried.copy()  # what the ranges of groups are taken of
            s, z = scale[:, k], zero[:, k]
            if self.parameters is not None and (j == 0 or k != column_group[j - 1]):
                right = self.parameters(k, j, seen[:, column_group == k])
                if not (right | ~live).all():
                    return False
            live &= (s > 0) & np.isfinite(s)
            column, q = carried[:, j], codes[:, j].astype(np.float64)
            t = column / s + z
            right = np.abs(q - np.clip(t, 0, problem.maxq)) <= 0.5 + self.allowed(j, column, s, z)
            if not (right | ~live).all():
                return False
            value = s * (q - z)
            if case.inputs["weights"].dtype.kind != "i":
                live &= np.isfinite(self.stored(value))
            error = np.where(live, (column - value) / problem.U[j, j], 0.0)
            rest = carried[:, j + 1 :] - error[:, None] * problem.U[j, j + 1 :]
            carried[:, j + 1 :] = self.stored(rest)
            live &= np.isfinite(carried).all(axis=1)
            carried[~live] = 0.0
        return True
