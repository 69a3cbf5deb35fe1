"""Wrong answers of GPTQ count for the requirement that they show to be broken, and for no other."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.reference.problems import cases

from quantcheck.judge.judges import judge
from quantcheck.judge.naming.gptq import judged_checks
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import gptq_config
from quantref import gptq_textbook
from quantref.certificate import U32, U64
from quantref.checks import Check

pytestmark = pytest.mark.requirement("VER-090")


def case(identity: str) -> Case:
    (found,) = [c for c in cases("gptq") if c.id == identity]
    return found


def near_tie(asked: Case) -> tuple[Case, dict[str, Any]]:
    """Return a case in double precision with a weight 10⁻⁷ steps above a tie, and a wrong answer.

    The answer is that for the weight as far below the tie. Single precision does not tell them
    apart, double precision does.
    """
    config, block = gptq_config(asked.parameters), asked.parameters["block_size"]
    H, weights = asked.inputs["hessian"], asked.inputs["weights"].astype(np.float64)
    first = gptq_textbook(weights, H, config, block_size=block)
    s, z = float(first.scale[0, 0]), int(first.zero_point[0, 0])
    tie = s * ((1 if z > 1 else 2**config.weight_bits - 3) - z + 0.5)
    above, below = weights.copy(), weights.copy()
    above[0, first.order[0]], below[0, first.order[0]] = tie + 1e-7 * s, tie - 1e-7 * s
    result = gptq_textbook(below, H, config, block_size=block)
    names = ("codes", "scale", "zero_point", "g_idx")
    inputs = {**asked.inputs, "weights": above}
    return replace(asked, inputs=inputs), {name: getattr(result, name) for name in names}


def test_low_precision_is_not_taken_for_another_order() -> None:
    """A target that declares double precision and computes in single keeps to the order."""
    asked, outputs = near_tie(case("gptq-order"))
    assert "GPTQ-020" in asked.requirements
    for u, passed in ((U32, True), (U64, False)):
        findings = judge(asked, {"outputs": outputs}, unit_roundoff=u)
        by_certificate = [f for f in findings if f.requirement in {"GPTQ-020", "GPTQ-060"}]
        assert all(f.passed for f in by_certificate) == passed
        failed = {finding.requirement for finding in findings if not finding.passed}
        assert "GPTQ-020" not in failed


def checked(name: str, requirement: str, *, passed: bool, places: Any = ()) -> Check:
    return Check(name, requirement, passed, 1.0, 0.0 if passed else 2.0, (0, 0), "", places)


def found(asked: Case, *, codes: bool, places: Any) -> list[tuple[str, str]]:
    """Return names and requirements of the checks that are judged; the zero-points are right."""
    checks = [
        checked("half step", "CERT-010", passed=codes),
        checked("scale", "CERT-030", passed=not places, places=places),
        checked("zero-point", "CERT-030", passed=True),
    ]
    certificate: Any = SimpleNamespace(checks=checks)
    return [(check.name, requirement) for check, requirement in judged_checks(asked, certificate)]


def test_ranges_of_later_blocks_are_not_judged_where_codes_fail() -> None:
    several = case("gptq-group-8-block-8")
    codes, scale, zero_point = (
        ("half step", "GPTQ-060"),
        ("scale", "GPTQ-030"),
        ("zero-point", "GPTQ-030"),
    )
    later, first = ((0, 1),), ((0, 0),)
    assert found(several, codes=True, places=()) == [codes, scale, zero_point]
    assert found(several, codes=True, places=later) == [codes, scale, zero_point]
    assert found(several, codes=False, places=()) == [codes]
    assert found(several, codes=False, places=later) == [codes]
    assert found(several, codes=False, places=first) == [codes, scale]
    whole = case("gptq-asymmetric")  # every group starts in the first column block
    assert found(whole, codes=False, places=()) == [codes, scale, zero_point]


def answer_for_half_weights(asked: Case) -> dict[str, Any]:
    """Return a copy of the expected answer of a float16 case."""
    assert asked.inputs["weights"].dtype == np.float16
    assert "GPTQ-100" in asked.requirements
    outputs = asked.expected["outputs"]
    return {name: outputs[name].copy() for name in ("codes", "scale", "zero_point", "g_idx")}


HALVES = ["gptq-weights-float16", "gptq-weights-float16-8bit"]


@pytest.mark.parametrize("identity", HALVES)
def test_a_float_index_is_a_wrong_dtype_and_the_answer_is_judged(identity: str) -> None:
    asked = case(identity)
    outputs = answer_for_half_weights(asked)
    outputs["g_idx"] = outputs["g_idx"].astype(np.float32)
    findings = judge(asked, {"outputs": outputs}, unit_roundoff=U32)
    assert {f.requirement for f in findings if not f.passed} == {"GPTQ-090"}
    outputs["codes"][0, 0] ^= 1  # a wrong code: half precision is tried as its cause
    findings = judge(asked, {"outputs": outputs}, unit_roundoff=U32)
    assert "GPTQ-090" in {f.requirement for f in findings if not f.passed}


@pytest.mark.parametrize("identity", HALVES)
def test_half_precision_explains_no_scale_of_the_first_block(identity: str) -> None:
    asked = case(identity)
    outputs = answer_for_half_weights(asked)
    outputs["scale"] *= np.float32(1.001)
    findings = judge(asked, {"outputs": outputs}, unit_roundoff=U32)
    failed = {f.requirement for f in findings if not f.passed}
    assert "GPTQ-030" in failed
    assert "GPTQ-100" not in failed
