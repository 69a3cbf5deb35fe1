"""From answers to verdicts, and which verdict counts for a requirement."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from quantcheck.judge.judgements import judge_answer
from quantcheck.judge.summary import CaseResult, by_requirement, to_json
from quantcheck.judge.verdict import Judgement, Verdict, worst_of
from quantcheck.spec.requirements import Requirement
from quantcheck.targets.reference import operations
from quantcheck.wire.cases import Case

pytestmark = pytest.mark.requirement("VER-090")

ROUNDOFF = 2.0**-24
SPEC = {i: Requirement(i, "exact", "core", "documented", "Says.") for i in ("PACK-010", "PACK-020")}


@pytest.fixture
def case(cases: dict[str, Case]) -> Case:
    return next(c for c in cases.values() if c.operation == "pack" and "outputs" in c.expected)


def verdicts(case: Case, answer: dict[str, Any]) -> set[Verdict]:
    judgements, _ = judge_answer(case, answer, unit_roundoff=ROUNDOFF)
    assert judgements
    return {j.verdict for j in judgements}


def test_right_answer_passes(case: Case) -> None:
    assert verdicts(case, operations.answer(case.question())) == {Verdict.PASS}


def test_wrong_code_fails(case: Case) -> None:
    answer = operations.answer(case.question())
    answer["outputs"]["packed"]["data"][0] ^= 1
    assert Verdict.FAIL in verdicts(case, answer)


def test_refusal_of_a_good_input_fails(case: Case) -> None:
    assert Verdict.FAIL in verdicts(case, {"id": case.id, "refused": "no"})


def test_unsupported_and_error(case: Case) -> None:
    assert verdicts(case, {"unsupported": "no"}) == {Verdict.UNSUPPORTED}
    judgements, trace = judge_answer(
        case, {"error": "oh", "trace": "at line 1"}, unit_roundoff=ROUNDOFF
    )
    assert {j.verdict for j in judgements} == {Verdict.ERROR}
    assert trace == "at line 1"


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        {"packed": {"dtype": "int8", "shape": [2], "data": [1]}},
        {"packed": {"dtype": "int8", "shape": [1], "data": [1000]}},
        {"packed": {"dtype": "object", "shape": [1], "data": ["x"]}},
    ],
)
def test_what_is_no_array_of_the_format_is_an_error(case: Case, outputs: Any) -> None:
    assert verdicts(case, {"id": case.id, "outputs": outputs}) == {Verdict.ERROR}


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"packed": None},
        {"packed": {"dtype": "int8", "shape": [1], "data": [1]}},
        {"packed": "text"},
    ],
)
def test_an_output_of_another_form_fails(case: Case, outputs: Any) -> None:
    found = verdicts(case, {"id": case.id, "outputs": outputs})
    assert Verdict.FAIL in found
    assert Verdict.ERROR not in found


def judged(requirement: str, verdict: Verdict, ratio: float | None = None) -> Judgement:
    bound = None if ratio is None else 1.0
    return Judgement(requirement, "c", verdict, observed=ratio, bound=bound)


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ([Verdict.PASS, Verdict.UNSUPPORTED], Verdict.PASS),
        ([Verdict.PASS, Verdict.KNOWN], Verdict.KNOWN),
        ([Verdict.KNOWN, Verdict.FAIL, Verdict.PASS], Verdict.FAIL),
        ([Verdict.FAIL, Verdict.ERROR], Verdict.ERROR),
        ([Verdict.UNSUPPORTED], Verdict.UNSUPPORTED),
    ],
)
def test_which_verdict_counts(given: list[Verdict], whole: Verdict) -> None:
    result = CaseResult("c", "pack", "pack", tuple(judged("PACK-010", v) for v in given))
    first, second = by_requirement(SPEC, [result], ["PACK-010"])
    assert first.verdict == whole
    assert second.verdict == Verdict.NOT_COVERED


def test_named_but_never_answered_is_unsupported() -> None:
    first, _ = by_requirement(SPEC, [], ["PACK-010"])
    assert first.verdict == Verdict.UNSUPPORTED


def test_a_requirement_that_the_specification_has_not_is_shown() -> None:
    result = CaseResult("c", "pack", "pack", (judged("PACK-991", Verdict.PASS),))
    assert by_requirement(SPEC, [result], [])[-1].requirement.id == "PACK-991"


def test_worst_is_the_largest_ratio() -> None:
    given = [judged("PACK-010", Verdict.PASS, r) for r in (0.1, 0.9, 0.5)]
    assert worst_of(given).ratio == 0.9
    nan = judged("PACK-010", Verdict.PASS, math.nan)
    assert worst_of([*given, nan]) is nan


def test_json_has_no_bare_nan() -> None:
    result = CaseResult("c", "pack", "pack", (judged("PACK-010", Verdict.FAIL, math.inf),))
    text = json.dumps(to_json(result), allow_nan=False)
    assert '"inf"' in text
