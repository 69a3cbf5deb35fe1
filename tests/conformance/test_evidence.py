"""The numbers that pictures of failing answers are drawn from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import numpy as np
import pytest

from quantcheck import mutants
from quantcheck.judge.evidence import MAX_POINTS, MAX_ROWS, evidence
from quantcheck.judge.judgements import decode, judge_answer
from quantcheck.judge.verdict import Verdict
from quantcheck.report.document import schema
from quantcheck.targets.reference.operations import answer
from quantcheck.wire.cases import Case

U = 2.0**-24
SCHEMA = {"$ref": "#/$defs/evidence", "$defs": schema()["$defs"]}
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
DRAWN = {"abs_max_quantize", "abs_max_quantizer", "affine_quantize", "gptq_quantize"}


def failing(cases: Mapping[str, Case], mutant: str) -> tuple[Case, dict[str, Any]]:
    """Give the first case that a mutant answers wrongly, and its answer."""
    broken = mutants.load(next(m for m in mutants.MUTANTS if m.id == mutant))
    for case in cases.values():
        if mutant in case.kills and "outputs" in case.expected:
            came = broken.answer(case.question())
            if "outputs" in came:
                return case, decode(came)
    raise LookupError(mutant)


def outputs_of(case: Case) -> dict[str, Any]:
    return decode(answer(case.question()))


@pytest.mark.parametrize("operation", sorted(DRAWN))
def test_right_answers_lie_in_the_box(cases: Mapping[str, Case], operation: str) -> None:
    asked = [c for c in cases.values() if c.operation == operation and "outputs" in c.expected]
    assert asked
    for case in asked:
        made = evidence(case, outputs_of(case), U)
        codes = made["codes"]
        assert not any(codes["outside"]), case.id
        arrays = [v for v in codes.values() if isinstance(v, list)]
        assert {len(a) for a in arrays} == {len(codes["code"])}
        assert len(codes["code"]) <= MAX_POINTS
        assert codes["total"] == outputs_of(case)["outputs"]["codes"].size
        for step, more, clipped in zip(
            codes["residual"], codes["allowed"], codes["clipped"], strict=True
        ):
            low = -np.inf if clipped == -1 else -0.5 - more * 1.0001
            high = np.inf if clipped == 1 else 0.5 + more * 1.0001
            assert low - 1e-4 <= step <= high + 1e-4
        if operation == "gptq_quantize":
            loss = made["loss"]
            assert 0 < len(loss["row"]) <= MAX_ROWS
            for came, bound in zip(loss["loss"], loss["bound"], strict=True):
                assert came <= bound * 1.0001 + 1e-300


@pytest.mark.parametrize(
    ("mutant", "output"),
    [("gptq-static-groups", "scale"), ("aff-raw-range", "scale"), ("aff-zero-floor", "zero_point")],
)
def test_wrong_parameters_are_marked(cases: Mapping[str, Case], mutant: str, output: str) -> None:
    case, came = failing(cases, mutant)
    made = evidence(case, came, U)
    VALIDATOR.validate(made)
    (shown,) = (each for each in made["parameters"] if each["output"] == output)
    given = came["outputs"][output]
    for place, got, wanted, share, wrong in zip(
        *(shown[k] for k in ("index", "got", "expected", "share", "wrong")), strict=True
    ):
        assert got == pytest.approx(float(given[tuple(place)]), rel=1e-4)
        assert wrong == (abs(share) > 1)
        assert share == 0 or (share > 0) == (got >= wanted)
    assert any(shown["wrong"])
    right = evidence(case, outputs_of(case), U)["parameters"]
    assert not any(any(each["wrong"]) for each in right)


@pytest.mark.parametrize("mutant", ["abs-half-away", "gptq-plain-rounding", "rnd-half-up"])
def test_wrong_answers_lie_outside(cases: Mapping[str, Case], mutant: str) -> None:
    case, came = failing(cases, mutant)
    made = evidence(case, came, U)
    VALIDATOR.validate(made)
    json.dumps(made, allow_nan=False)
    if case.operation in DRAWN:
        codes = made["codes"]
        places = [tuple(i) for i in codes["index"]]
        given = came["outputs"]["codes"]
        assert [int(given[p]) for p in places] == codes["code"]
        assert any(codes["outside"]) or any(made["margins"]["wrong"])
    first = made["differences"][0]
    assert first["count"] >= len(first["index"]) > 0
    for place, expected, got in zip(first["index"], first["expected"], first["got"], strict=True):
        assert expected == str(case.expected["outputs"][first["output"]][tuple(place)])
        assert got == str(came["outputs"][first["output"]][tuple(place)])


def test_the_worst_code_is_among_those_shown(cases: Mapping[str, Case]) -> None:
    case = max(
        (c for c in cases.values() if c.operation == "gptq_quantize" and "outputs" in c.expected),
        key=lambda c: c.inputs["weights"].size,
    )
    came = outputs_of(case)
    codes = came["outputs"]["codes"]
    row, column = codes.shape[0] - 1, codes.shape[1] - 1
    codes[row, column] = (int(codes[row, column]) + 3) % 8
    made = evidence(case, came, U)["codes"]
    assert [row, column] in made["index"]
    assert made["outside"][made["index"].index([row, column])]


@pytest.mark.parametrize(
    "damage",
    [
        {},
        {"refused": "no"},
        {"outputs": {}},
        {"outputs": {"codes": "none", "scale": None}},
        {"outputs": {"codes": np.zeros(3), "scale": np.full((), np.nan)}},
        {"outputs": {"codes": np.zeros((0, 0)), "scale": np.zeros((0,))}},
    ],
)
def test_answers_of_any_shape_have_no_picture_rather_than_an_error(
    cases: Mapping[str, Case], damage: dict[str, Any]
) -> None:
    for operation in {case.operation for case in cases.values()}:
        case = next(c for c in cases.values() if c.operation == operation)
        VALIDATOR.validate(evidence(case, damage, U))


def test_only_failures_carry_evidence(cases: Mapping[str, Case]) -> None:
    mutant = next(m for m in mutants.MUTANTS if m.id == "gptq-plain-rounding")
    broken = mutants.load(mutant)
    case = next(c for c in cases.values() if mutant.id in c.kills)
    judged, _ = judge_answer(case, broken.answer(case.question()), unit_roundoff=U)
    assert {bool(j.evidence) for j in judged if j.verdict == Verdict.FAIL} == {True}
    assert {bool(j.evidence) for j in judged if j.verdict != Verdict.FAIL} <= {False}
    judged, _ = judge_answer(case, answer(case.question()), unit_roundoff=U)
    assert not any(j.evidence for j in judged)
