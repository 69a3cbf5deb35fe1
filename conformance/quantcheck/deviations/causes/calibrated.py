"""Answers of section CAL about one layer of any kind, as causes and rules predict them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from quantcheck.deviations.causes.cause import Asked
from quantcheck.deviations.causes.certified import certified
from quantcheck.deviations.causes.rules import Rules
from quantcheck.judge.calibrated import layer_of, settings_of_case
from quantcheck.judge.models import PARTS, Layer, exactly, hessian_of
from quantcheck.wire.calibrated import equation_of, matrix_of
from quantcheck.wire.cases import Case
from quantcheck.wire.policies import CALIBRATED_BADLY
from quantref.equations import Equation
from quantref.errors import ConfigError, QuantrefError
from quantref.inputs import Array

CALIBRATED = ("dense_calibrated", "einsum_dense_calibrated")


def kernel_shape(case: Case) -> tuple[int, ...]:
    """Return the shape of the float kernel of a question on a layer that GPTQ quantizes."""
    if "kernel_shape" in case.parameters:
        return tuple(case.parameters["kernel_shape"])
    return tuple(case.inputs["kernel"].shape)


def badly_calibrated(case: Case) -> bool:
    """Tell whether a question has a good config, and data or blocks that have to be refused."""
    given = case.parameters.get("calibrated_with", {})
    badly = any(given.get(name) in forms for name, forms in CALIBRATED_BADLY.items())
    return badly and case.operation in CALIBRATED


def taken_as_inputs(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the axes of a kernel of rank 2 or 3 that Keras takes for those of the inputs.

    Examples
    --------
    >>> taken_as_inputs((6, 5)), taken_as_inputs((4, 2, 3)), taken_as_inputs((2, 3, 4))
    ((0,), (0,), (0, 1))
    """
    return (0,) if len(shape) == 2 or shape.index(max(shape)) == 0 else (0, 1)


def matrix(case: Case) -> Array:
    """Return the weights (n_out, n_in) of a question on a calibrated layer."""
    return matrix_of(case.inputs["kernel"], equation_of(case.parameters, case.inputs["x"]))


def matrix_by_sizes(case: Case) -> Array:
    """Return the weights (n_out, n_in) if sizes say which axes are those of the inputs."""
    kernel = case.inputs["kernel"]
    rows = math.prod(kernel.shape[k] for k in taken_as_inputs(kernel.shape))
    return np.ascontiguousarray(kernel.reshape(rows, -1).T)


def plain(asked: Asked, weights: Array) -> bool:
    """Certify an answer for a Hessian of zeros, under the known rules of the target."""
    arrays = {name: asked.array(name) for name in PARTS}
    if arrays["codes"].shape != weights.shape:
        return False
    asked, settings = _with_settings(asked)
    hessian = np.zeros((weights.shape[1],) * 2)
    return certified(asked, Rules.named(asked.rules), weights, hessian, arrays, settings)


def as_ruled(asked: Asked, rules: Rules) -> bool:
    """Certify an answer for the inputs of its own windows, under rules."""
    if "refused" in asked.case.expected:
        return False
    arrays = {name: asked.array(name) for name in PARTS}
    asked, settings = _with_settings(asked)
    layer = layer_of(asked.case, asked.array("windows"), arrays)
    try:
        return _of(asked, rules, layer, settings)
    except QuantrefError:  # the error of H decides: undecided, as for the judge
        return True


def of_another_matrix(asked: Asked, weights: Array) -> bool:
    """Certify codes of other weights for the same inputs, in rows as long as these weights have."""
    arrays = {name: asked.array(name) for name in PARTS}
    asked, settings = _with_settings(asked)
    layer = layer_of(asked.case, asked.array("windows"), arrays)
    if layer.x.value.size % weights.shape[1]:
        return False
    seen = exactly(layer.x.value.reshape(-1, weights.shape[1]))
    other = replace(layer, weights=weights, x=seen)
    return _of(asked, Rules.named(asked.rules), other, settings)


def _of(asked: Asked, rules: Rules, layer: Layer, settings: dict[str, object]) -> bool:
    """Certify the answer of a layer; raises a QuantrefError where it is undecided."""
    if layer.answer["codes"].shape != layer.weights.shape:
        return False
    hessian, error = hessian_of(layer, settings, asked.unit_roundoff)
    if not np.isfinite(error):
        raise ConfigError("a Hessian whose error does not decide", f"{error}", "CAL-170")
    return certified(
        asked, rules, layer.weights, hessian, layer.answer, settings, hessian_error=error
    )


def _with_settings(asked: Asked) -> tuple[Asked, dict[str, object]]:
    """Return the question with the settings of GPTQ as parameters, as other questions have them."""
    settings = settings_of_case(asked.case)
    case = replace(asked.case, parameters={**asked.case.parameters, **settings})
    return replace(asked, case=case), settings


def contracted_otherwise(equation: Equation, shape: Sequence[int]) -> bool:
    """Tell whether other axes of a kernel of rank 2 or 3 are contracted than sizes say."""
    return len(shape) in (2, 3) and equation.axes(equation.kernel) != taken_as_inputs(shape)
