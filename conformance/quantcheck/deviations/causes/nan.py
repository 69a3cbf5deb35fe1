"""Causes about NaN that a backend's reductions leave out, so that no scale shows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantcheck.deviations.causes.absmax import axes_of, quantized
from quantcheck.deviations.causes.cause import Asked, Cause, refused
from quantcheck.deviations.causes.rule import predicted
from quantcheck.deviations.causes.rules import Rules
from quantcheck.wire.cases import Case
from quantref.inputs import Array


def nan_left_out_of_maximum(asked: Asked) -> bool:
    """Predict the scale of the numbers of each slice that are not NaN, and code 0 for NaN.

    Of a slice without such numbers nothing is predicted.
    """
    if not has_nan(asked.case):
        return False
    x = asked.case.inputs["x"].astype(np.float64)
    hole = np.isnan(x)
    alone = hole.all(axis=axes_of(asked.case), keepdims=True)
    filled = np.where(hole & ~alone, 0.0, x)
    return quantized(asked, filled, asked.case.inputs["x"].dtype.name)


def nan_left_out_of_ranges(asked: Asked) -> bool:
    """Predict scales and zero-points of the weights that are not NaN, by all known rules."""
    weights, size = asked.case.inputs["weights"], asked.case.parameters["group_size"]
    if weights.ndim != 2 or not has_nan(asked.case):
        return False
    filled = filled_groups(weights, size if size > 0 else weights.shape[1])
    if np.isnan(filled).any():
        return False
    case = replace(asked.case, inputs={**asked.case.inputs, "weights": filled})
    return predicted(replace(asked, case=case), Rules.named(asked.rules))


def filled_groups(weights: Array, size: int) -> Array:
    """Return weights with each NaN replaced by another number of its group, if there is one."""
    filled = weights.copy()
    for start in range(0, weights.shape[1], size):
        for row in filled[:, start : start + size]:
            numbers = row[~np.isnan(row)]
            if numbers.size:
                row[np.isnan(row)] = numbers[0]
    return filled


def has_nan(case: Case) -> bool:
    """Tell whether a question has NaN, which has to be refused."""
    values = next(iter(case.inputs.values()))
    return refused(case, "NonFiniteError") and bool(np.isnan(values.astype(np.float64)).any())


CAUSES = (
    Cause(nan_left_out_of_maximum, ("abs_max_quantize",), has_nan),
    Cause(nan_left_out_of_ranges, ("affine_parameters",), has_nan),
)
