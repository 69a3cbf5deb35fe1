"""Causes of libraries that quantize weights alone: which answers they predict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from quantcheck.corpus.draw import refused
from quantcheck.corpus.gptq.build import gptq_case
from quantcheck.deviations.causes import CAUSES
from quantcheck.deviations.causes.cause import Asked
from quantcheck.targets.reference.operations import answer
from quantcheck.wire.arrays import decode
from quantcheck.wire.cases import Case

pytestmark = pytest.mark.requirement("VER-120")

HALF = CAUSES["codes-of-values-in-half-precision"]
RAISED = CAUSES["damping-raised-where-no-factor"]
DOUBLE = CAUSES["double-precision-refused"]
STEP = {"step": 0.01}


def outputs_of(case: Case) -> dict[str, Any]:
    return dict(decode(answer(case.question())["outputs"]))


def stored_in_bfloat16(outputs: dict[str, Any]) -> dict[str, Any]:
    """Give the outputs of one group with codes made of values in bfloat16."""
    s, z = outputs["scale"], outputs["zero_point"].astype(np.float32)
    values = (s * (outputs["codes"] - z)).astype(ml_dtypes.bfloat16).astype(np.float32)
    return {**outputs, "codes": np.clip(np.rint((values + s * z) / s), 0, 255).astype(np.uint8)}


def test_codes_of_values_in_bfloat16_are_those_of_codes_that_were_right() -> None:
    rng = np.random.default_rng(3)
    tokens = rng.normal(size=(64, 12)) @ (np.eye(12) + 0.5)
    hessian, weights = tokens.T @ tokens / 32, rng.uniform(0.1, 2, (4, 12))
    half = weights.astype(ml_dtypes.bfloat16)
    case = gptq_case("drawn", "weights of one sign", half, hessian, bits=8, group_size=-1)
    right = outputs_of(case)
    stored = stored_in_bfloat16(right)
    moved = np.argwhere(stored["codes"] != right["codes"])
    assert len(moved) > 0
    assert HALF.asks(case, {})
    assert HALF.explains(Asked(case, {"outputs": stored}), {})
    assert not HALF.explains(Asked(case, {"outputs": right}), {})
    for code in (0, 200):
        other = stored["codes"].copy()
        other[tuple(moved[0])] = code
        assert not HALF.explains(Asked(case, {"outputs": {**stored, "codes": other}}), {})
    single = gptq_case("drawn", "float32", weights.astype("f4"), hessian, bits=8, group_size=-1)
    assert not HALF.asks(single, {})
    assert not HALF.explains(Asked(single, {"outputs": stored}), {})


def test_the_damping_is_the_next_one_with_a_factor() -> None:
    rng = np.random.default_rng(4)
    weights, hessian = rng.uniform(-2, 2, (99, 4)).astype("f4"), np.eye(4)
    hessian[0, 1] = hessian[1, 0] = 1.245
    damped = gptq_case("drawn", "damped enough", weights, hessian + np.eye(4), bits=8)
    given = {**damped.parameters, "damping": 0.0}
    inputs = {"weights": weights, "hessian": hessian}
    error = "NotPositiveDefiniteError"
    case = refused("gptq", "drawn", "indefinite", "gptq_quantize", "GPTQ-120", error, given, inputs)
    for damping, right in ((0.25, True), (0.35, False)):
        made = outputs_of(replace(damped, inputs=inputs, parameters={**given, "damping": damping}))
        assert RAISED.explains(Asked(case, {"outputs": made}), STEP) == right
    assert RAISED.asks(case, STEP)
    assert not RAISED.asks(damped, STEP)
    hopeless = replace(case, inputs={**inputs, "hessian": hessian * [[1, 9, 1, 1]]})
    assert not RAISED.explains(Asked(hopeless, {"outputs": made}), STEP)


def test_float64_weights_are_refused_with_these_words() -> None:
    given = {"bits": 4, "symmetric": False, "per_channel": True, "group_size": -1}
    inputs = {"weights": np.array([[1.0, 2.0]])}
    case = Case(
        "a", "aff", "float64", "affine_parameters", ("AFF-150",), given, inputs, {"outputs": {}}
    )
    (told,) = DOUBLE.proposals
    said = "cannot compute Minimum as input #1(zero-based) was expected to be a double tensor"
    said_so = {"refused": said, "type": told["kind"]}
    assert DOUBLE.asks(case, told)
    assert DOUBLE.explains(Asked(case, said_so), told)
    assert not DOUBLE.explains(Asked(case, {**said_so, "type": "ValueError"}), told)
    single = replace(case, inputs={"weights": np.array([[1.0, 2.0]], np.float32)})
    assert not DOUBLE.asks(single, told)
    assert not DOUBLE.explains(Asked(single, said_so), told)
