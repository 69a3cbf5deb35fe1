"""Answers of section CAL as rules predict them, layer by layer."""

from __future__ import annotations

import numpy as np

from quantcheck.deviations.causes.cause import Asked, UnlikeError, same
from quantcheck.deviations.causes.certified import certified
from quantcheck.deviations.causes.rules import Rules
from quantcheck.judge.models import PARTS, hessian_of, layers_of
from quantcheck.wire.arrays import decode
from quantref.errors import QuantrefError


def calibrated(asked: Asked, rules: Rules) -> bool:
    """Certify every layer of a model for its actual inputs, in the order that is declared.

    A layer whose order of columns or whose dead columns are undecided says nothing.
    """
    if "refused" in asked.case.expected:
        return False  # nothing is known of windows of bad input
    weights = asked.case.inputs["weights"]
    lists = {name: asked.outputs.get(name) for name in PARTS}
    if not all(isinstance(some, list) and len(some) == len(weights) - 1 for some in lists.values()):
        return False
    if not same(asked.array("head"), weights[-1], weights[-1].dtype):
        return False
    given = {name: decode(some) for name, some in lists.items()}
    windows, u = asked.array("windows"), asked.unit_roundoff
    if windows.dtype.kind not in "iu":
        raise UnlikeError("windows of integers")
    parameters = asked.case.parameters
    for layer in layers_of(asked.case, given, windows, asked.order, u):
        hessian, error = hessian_of(layer, parameters, u)
        if not np.isfinite(error):
            continue
        try:
            right = certified(
                asked, rules, layer.weights, hessian, layer.answer, parameters, hessian_error=error
            )
        except QuantrefError:  # the error of H decides: undecided
            continue
        if not right:
            return False
    return True
