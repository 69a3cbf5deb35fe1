"""The crossed questions on layers: what is drawn lies in the domains, and all can be drawn."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from quantcheck.interface.table import Table
from quantcheck.judge.judges import judge
from quantcheck.judge.verdict import Judgement
from quantcheck.properties import load
from quantcheck.properties.crossed.cases import Draw, case_of
from quantcheck.properties.crossed.domain import SAVED, Domain
from quantcheck.properties.crossed.drawn import DOMAINS, REFUSED, spoken_of
from quantcheck.properties.crossed.kinds import WITH_KERNEL
from quantcheck.properties.crossed.refusals import FAULTS
from quantcheck.run.draws import Draws, draw
from quantcheck.targets.reference.operations import answer
from quantcheck.wire.arrays import decode
from quantcheck.wire.calibrated import equation_of, matrix_of
from quantcheck.wire.cases import Case
from quantcheck.wire.policies import (
    CALLED,
    CLONED,
    COMPILED,
    COMPILED_TRAINING,
    DTYPE_POLICIES,
    LAYER_USES,
    TRAINING,
)
from quantcheck.wire.schema import fault, schema
from quantref.errors import AnswerError

BY_ID = {domain.identity: domain for domain in DOMAINS}
Outputs = dict[str, Any]


@pytest.fixture(scope="module")
def empty() -> Table:
    return Table([], {})


@pytest.mark.parametrize("identity", BY_ID)
def test_what_is_drawn_lies_in_its_domain(identity: str, empty: Table) -> None:
    inside = empty.in_domain(BY_ID[identity])
    for sample in draw(load(["lay", "cal"])[identity], Draws(seed=7, factor=2.0)):
        for case in sample.cases:
            cells = set(empty.covered_by(case))
            assert cells
            assert cells <= inside
            assert fault(f"{case.operation}-question", case.question()) is None


@pytest.mark.parametrize("domain", DOMAINS, ids=BY_ID)
def test_every_kind_policy_and_use_can_be_drawn(domain: Domain, empty: Table) -> None:
    """One case of each kind of layer, with policies, uses and fields in turn."""
    points = list(product(domain.policies, domain.uses, domain.places))
    covered = set()
    for number, kind in enumerate(domain.kinds):
        for k, fields in enumerate(domain.fields(kind)):
            policy, use, place = points[(number + k) % len(points)]
            point = Draw(domain.mode, kind, policy, use, fields, place)
            covered |= set(empty.covered_by(point.skeleton()))
            if k == number % 3:
                case = case_of(point, number)
                assert set(empty.covered_by(case)) == set(empty.covered_by(point.skeleton()))
    inside = empty.in_domain(domain)
    assert covered <= inside
    assert {cell.row for cell in covered} == {cell.row for cell in inside}
    assert {cell.layer for cell in covered} == {cell.layer for cell in inside}


def test_the_protocol_has_the_policies_and_uses() -> None:
    defined = schema()["$defs"]
    assert defined["layer-policy"]["enum"] == list(DTYPE_POLICIES)
    assert defined["layer-use"]["enum"] == list(LAYER_USES)


def test_a_draw_is_about_what_its_question_asks() -> None:
    """Who answers about one call in float32 has shown nothing about copies or half precision."""
    asked = ("LAY-030", "LAY-060", "LAY-130", "LAY-200", "LAY-210", "LAY-220", "LAY-240")
    plain = spoken_of(drawn("int8", "float32", CALLED), asked)
    cloned = spoken_of(drawn("int8", "bfloat16", CLONED), asked)
    trained = spoken_of(drawn("int8", "float32", TRAINING), asked)
    assert plain == ("LAY-030",)
    assert cloned == ("LAY-030", "LAY-200", "LAY-220")
    assert trained == ("LAY-030", "LAY-210")


# The judge, by answers of the reference that are changed


def drawn(mode: str, policy: str, use: str, place: int = 0) -> Case:
    """Return the case of a Dense layer, or of another kind of layer in its place."""
    domain = next(d for d in DOMAINS if d.mode == mode and d not in REFUSED)
    kind = domain.kinds[place]
    case = case_of(Draw(mode, kind, policy, use, next(domain.fields(kind)), domain.places[0]), 2)
    topics = load(["lay", "cal"])[domain.identity].requirements
    return replace(case, requirements=topics)


def failed(case: Case, outputs: Outputs) -> set[str]:
    return {finding.requirement for finding in judged(case, outputs) if not finding.passed}


def judged(case: Case, outputs: Outputs) -> list[Judgement]:
    return judge(case, {"outputs": outputs}, unit_roundoff=2.0**-24)


def answered(case: Case) -> Outputs:
    outputs: Outputs = decode(answer(case.question()))["outputs"]
    assert not failed(case, outputs)
    return outputs


@pytest.mark.parametrize(("mode", "policy"), [("int8", "mixed_bfloat16"), ("gptq", "float16")])
def test_outputs_in_float32_are_not_those_of_a_policy(mode: str, policy: str) -> None:
    case = drawn(mode, policy, "called")
    outputs = answered(case)
    assert failed(case, {**outputs, "values": outputs["values"].astype(np.float32)}) == {"LAY-220"}


def test_scales_have_the_dtype_of_variables() -> None:
    case = drawn("int8", "bfloat16", "called")
    outputs = answered(case)
    wide = outputs["kernel_scale"].astype(np.float32)
    assert failed(case, {**outputs, "kernel_scale": wide}) == {"LAY-220"}


@pytest.mark.parametrize("mode", ["int8", "gptq"])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_outputs_in_training_are_within_the_bounds(mode: str, policy: str) -> None:
    case = drawn(mode, policy, "training")
    outputs = answered(case)
    moved = (outputs["values"].astype(np.float64) * 3 + 1).astype(outputs["values"].dtype)
    assert failed(case, {**outputs, "values": moved}) == {"LAY-210"}


@pytest.mark.parametrize(
    ("use", "requirement"),
    [("cloned", "LAY-200"), ("serialized", "LAY-200"), ("quantized twice", "LAY-240")],
)
def test_a_copy_with_other_outputs_fails(use: str, requirement: str) -> None:
    case = drawn("int8", "float32", use)
    outputs = answered(case)
    other = np.nextafter(outputs["again"], np.float32(np.inf))
    assert failed(case, {**outputs, "again": other}) == {requirement}


def test_a_copy_with_another_config_fails() -> None:
    case = drawn("gptq", "float32", "cloned")
    outputs = answered(case)
    fields = {**outputs["fields"], "group_size": 7}
    assert failed(case, {**outputs, "fields": fields}) == {"LAY-200"}


@pytest.mark.parametrize("kind", range(len(WITH_KERNEL)))
def test_codes_of_calibration_are_those_of_the_inputs(kind: int) -> None:
    """Plain rounding, and the codes of other inputs, are not those of a calibrated layer."""
    case = drawn("calibrated", "float32", CALLED, kind)
    outputs = answered(case)
    assert {finding.requirement for finding in judged(case, outputs)} >= {"CAL-140", "CAL-090"}
    scale, zero = (outputs[name].astype(np.float64) for name in ("scale", "zero_point"))
    groups = outputs["g_idx"]
    weights = matrix_of(case.inputs["kernel"], equation_of(case.parameters, case.inputs["x"]))
    plain = np.clip(np.rint(weights / scale[:, groups]) + zero[:, groups], 0, 15).astype(np.uint8)
    moved = plain if (plain != outputs["codes"]).any() else outputs["codes"] ^ 1
    assert failed(case, {**outputs, "codes": moved}) <= {"CAL-100", "CAL-110", "CAL-140"}
    assert "CAL-140" in failed(case, {**outputs, "codes": outputs["codes"] ^ 2})


def test_calibrated_codes_have_their_dtypes() -> None:
    case = drawn("calibrated", "mixed_bfloat16", CALLED, 3)
    outputs = answered(case)
    wide = outputs["codes"].astype(np.int32)
    assert failed(case, {**outputs, "codes": wide}) == {"CAL-090"}


def test_codes_of_another_matrix_are_an_error() -> None:
    case = drawn("calibrated", "float32", CALLED, 3)
    outputs = answered(case)
    with pytest.raises(AnswerError, match="CAL-090"):
        failed(case, {**outputs, "codes": outputs["codes"].T.copy()})


@pytest.mark.parametrize("domain", REFUSED, ids=lambda domain: domain.identity)
def test_every_fault_is_refused_by_every_kind_of_layer(domain: Domain) -> None:
    seen = set()
    for number, kind in enumerate(domain.kinds):
        for fields in domain.fields(kind):
            place = domain.places[number % len(domain.places)]
            case = case_of(Draw(domain.mode, kind, "float32", CALLED, fields, place), number)
            assert answer(case.question())["type"] == case.expected["refused"], case.title
            good = judge(case, {"outputs": {}}, unit_roundoff=2.0**-24)
            assert [(g.requirement, g.passed) for g in good] == [(case.requirements[0], False)]
            seen.add(fields["fault"])
    assert seen <= set(FAULTS)


@pytest.mark.parametrize("use", [COMPILED, COMPILED_TRAINING])
def test_the_reference_compiles_nothing(use: str) -> None:
    assert "unsupported" in answer(drawn("int8", "float32", use).question())


@pytest.mark.parametrize("policy", ["float16", "mixed_float16"])
def test_the_reference_refuses_int8_in_float16(policy: str) -> None:
    asked = drawn("int8", "float32", "called").question()
    asked["parameters"] = {**asked["parameters"], "policy": policy}
    assert answer(asked)["type"] == "DTypeError"


def test_a_policy_that_there_is_not_is_refused() -> None:
    asked = drawn("int8", "float32", "called").question()
    asked["parameters"] = {**asked["parameters"], "policy": "float64"}
    assert answer(asked)["type"] == "ConfigError"


def test_saved_layers_are_drawn_with_policies() -> None:
    saved = [domain for domain in DOMAINS if domain.uses == (SAVED,)]
    assert {domain.mode for domain in saved} == {"int8", "gptq"}
    assert all(len(domain.policies) > 1 for domain in saved)
