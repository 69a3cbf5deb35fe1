"""Known deviations cover the answers that their causes predict, and no others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantcheck import deviations
from quantcheck.deviations import Matching, causes, rewrite
from quantcheck.deviations.causes.cause import Cause
from quantcheck.errors import DeviationError
from quantcheck.judge.judgements import judge_answer
from quantcheck.judge.verdict import Judgement, Verdict
from quantcheck.properties import load
from quantcheck.run.draws import draw
from quantcheck.run.execute import run_target
from quantcheck.run.settings import Settings
from quantcheck.spec import requirements
from quantcheck.targets import Handshake
from quantcheck.targets.reference import operations
from quantcheck.wire.arrays import encode
from quantcheck.wire.cases import Case

pytestmark = pytest.mark.requirement("VER-120")

KERAS = Handshake("keras", "3.15.1", "jax")
U32 = 2.0**-24
REFUSED = "pack-refuse-range"  # codes 7 and 8 of int8: the second does not fit four bits
LOST = encode({"packed": np.array([-121], np.int8)})  # 0x87: the lower bits of both


def entry(**changes: Any) -> dict[str, Any]:
    made = {
        "id": "nibbles",
        "requirements": ["PACK-080"],
        "backends": ["jax"],
        "cause": {"name": "upper-bits-lost"},
        "reason": "because",
        "link": "",
        "reproduction": [],
        "recorded": {"versions": {"keras": "3.15.1"}, "processor": ["X86_V2"]},
    }
    return {**made, **changes}


def write(path: Path, *entries: dict[str, Any], **changes: Any) -> Path:
    data = {"target": "keras", "version": "3.15.1", "deviations": list(entries), **changes}
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keras-3.15.1.json"


def matching(path: Path, *entries: dict[str, Any]) -> Matching:
    return Matching(deviations.load(write(path, *(entries or (entry(),))), KERAS), U32)


def covered(known: Matching, case: Case, answer: Mapping[str, Any]) -> list[Judgement]:
    judgements, _ = judge_answer(case, answer, unit_roundoff=U32)
    return known.cover([(case, answer)], judgements)


def test_the_predicted_answer_is_known_and_another_wrong_one_is_not(
    path: Path, cases: dict[str, Case]
) -> None:
    known = matching(path)
    (judgement,) = covered(known, cases[REFUSED], {"outputs": LOST})
    assert (judgement.verdict, judgement.reason) == (Verdict.KNOWN, "because")
    assert known.occurred == {"nibbles"}
    other = {"outputs": encode({"packed": np.array([-120], np.int8)})}
    (judgement,) = covered(known, cases[REFUSED], other)
    assert judgement.verdict == Verdict.FAIL
    (judgement,) = covered(known, cases[REFUSED], {"error": "ValueError: no"})
    assert judgement.verdict == Verdict.ERROR


def test_a_cause_covers_the_requirements_of_its_entry_alone(
    path: Path, cases: dict[str, Case]
) -> None:
    known = matching(path, entry(requirements=["PACK-010"]))
    (judgement,) = covered(known, cases[REFUSED], {"outputs": LOST})
    assert judgement.verdict == Verdict.FAIL
    assert not known.occurred


def test_an_entry_that_no_longer_occurs_is_stale(path: Path, cases: dict[str, Case]) -> None:
    known = matching(path)
    covered(known, cases[REFUSED], {"refused": "no", "type": "ValueError"})
    (judgement,) = known.stale()
    assert (judgement.requirement, judgement.verdict) == ("PACK-080", Verdict.FAIL)
    assert judgement.stale
    assert REFUSED in judgement.message
    assert "remove it" in judgement.message


@pytest.mark.parametrize(
    ("case", "answer"),
    [
        ("pack-refuse-length", {"refused": "no"}),  # another question
        (REFUSED, {"unsupported": "no"}),  # not answered
    ],
)
def test_an_entry_is_not_stale_where_nothing_was_asked(
    path: Path, cases: dict[str, Case], case: str, answer: dict[str, Any]
) -> None:
    known = matching(path)
    covered(known, cases[case], answer)
    assert not known.stale()


# Bad causes


def _with_cause(path: Path, monkeypatch: pytest.MonkeyPatch, predicts: Any) -> Matching:
    cause = Cause(predicts, ("pack",), lambda _: True)
    monkeypatch.setitem(causes.CAUSES, cause.name, cause)
    return matching(path, entry(cause={"name": cause.name}))


def test_a_predicate_that_raises_covers_nothing_and_fails_the_run(
    path: Path, monkeypatch: pytest.MonkeyPatch, cases: dict[str, Case]
) -> None:
    def raising(_: Any) -> bool:
        raise ZeroDivisionError("of ours")

    known = _with_cause(path, monkeypatch, raising)
    (judgement,) = covered(known, cases[REFUSED], {"outputs": LOST})
    assert judgement.verdict == Verdict.FAIL
    (judgement,) = known.stale()
    assert (judgement.verdict, judgement.stale) == (Verdict.ERROR, True)
    assert "raised ZeroDivisionError: of ours" in judgement.message


def test_a_predicate_that_predicts_everything_covers_nothing_and_fails_the_run(
    path: Path, monkeypatch: pytest.MonkeyPatch, cases: dict[str, Case]
) -> None:
    def anything(_: Any) -> bool:
        return True

    known = _with_cause(path, monkeypatch, anything)
    (judgement,) = covered(known, cases[REFUSED], {"outputs": LOST})
    assert judgement.verdict == Verdict.FAIL
    (judgement,) = known.stale()
    assert "predicts an altered answer too" in judgement.message


def test_a_predicate_that_predicts_nothing_is_stale(
    path: Path, monkeypatch: pytest.MonkeyPatch, cases: dict[str, Case]
) -> None:
    def nothing(_: Any) -> bool:
        return False

    known = _with_cause(path, monkeypatch, nothing)
    (judgement,) = covered(known, cases[REFUSED], {"outputs": LOST})
    assert judgement.verdict == Verdict.FAIL
    (judgement,) = known.stale()
    assert "got none" in judgement.message


# Every cause


@pytest.mark.parametrize("cause", causes.CAUSES.values(), ids=lambda cause: cause.name)
def test_no_cause_predicts_a_right_answer(cause: Cause, cases: dict[str, Case]) -> None:
    """The reference's answers are no deviation; neither are answers of another kind."""
    drawn = [
        c for s in draw(load(["cal"])["prop-cal-crossed"]) for c in s.cases
    ]  # no vector has it
    asked = [*cases.values(), *drawn]
    chosen = [c for c in asked if c.operation in cause.operations and not c.by_recipe]
    assert chosen
    file = deviations.read(deviations.DIRECTORY / "keras-3.15.1.json")
    given = [e["cause"].get("parameters", {}) for e in file["deviations"]
             if e["cause"]["name"] == cause.name]  # fmt: skip
    # What no file shows is a difference: a cause for targets that declare the choice.
    refused = {"kind": "ValueError", "message": "squeeze"}
    for parameters in given[:3] or list(cause.proposals) or [refused]:
        entries = [
            deviations.entries.entry_of(entry(cause={"name": cause.name, "parameters": parameters}))
        ]
        known = Matching(entries, U32)
        for case in chosen[::3]:
            answers: list[dict[str, Any]] = [{"outputs": {}}, {"error": "x"}]
            for answer in [operations.answer(case.question()), *answers]:
                assert not known.explaining((case, answer)), (case.id, parameters)
        assert not known.faults
    assert cause.predicts.__doc__


@pytest.mark.parametrize("operation", ["affine_quantize", "affine_dequantize"])
def test_no_cause_fails_where_a_group_has_no_scale(operation: str, cases: dict[str, Case]) -> None:
    """JAX takes the last scale there: an answer where the right one is a refusal."""
    case = next(c for c in cases.values() if c.operation == operation and "g_idx" in c.inputs)
    groups = case.inputs["scale"].shape[-1]
    inputs = {**case.inputs, "g_idx": case.inputs["g_idx"] + groups}
    asked = replace(case, inputs=inputs, expected={"refused": "ShapeError"})
    last = np.full_like(case.inputs["g_idx"], groups - 1)
    clamped = replace(case, inputs={**case.inputs, "g_idx": last})
    answer = operations.answer(clamped.question())
    assert "outputs" in answer
    tried = [cause for cause in causes.CAUSES.values() if operation in cause.operations]
    assert tried
    for cause in tried:
        for parameters in list(cause.proposals) or [{"kind": "ShapeError"}]:
            told = {"name": cause.name, "parameters": parameters}
            known = Matching([deviations.entries.entry_of(entry(cause=told))], U32)
            assert not known.explaining((asked, answer)), (cause.name, parameters)
            assert not known.faults, cause.name


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("name", "operation", "array", "given"),
    [
        ("nan-left-out-of-maximum", "abs_max_quantize", "x",
         {"axis": -1, "value_range": [-127, 127], "epsilon": 1e-7, "output_dtype": "int8"}),
        ("nan-left-out-of-ranges", "affine_parameters", "weights",
         {"bits": 4, "symmetric": False, "per_channel": True, "group_size": 4}),
    ],
)  # fmt: skip
def test_nan_that_is_left_out(
    cases: dict[str, Case], bad: float, name: str, operation: str, array: str, given: dict[str, Any]
) -> None:
    """The answer to the other numbers of the slice or group, with code 0 for NaN, and no other."""
    values = np.array([[1, -3, 0, 2, 5, -4], [2, 0, 1, -1, 6, 4]], np.float32)
    holed = values.copy()
    holed[0, 2], holed[1, 5] = bad, bad
    filled = np.where(np.isfinite(holed), values, np.array([[0], [6]], np.float32))
    case = next(c for c in cases.values() if c.operation == operation and "outputs" in c.expected)
    right = replace(case, parameters=given, inputs={array: filled})
    answer = operations.answer(right.question())
    asked = replace(right, inputs={array: holed}, expected={"refused": "NonFiniteError"})
    if operation == "abs_max_quantize":
        answer["outputs"]["codes"]["data"][11] = 0
    known = Matching([deviations.entries.entry_of(entry(cause={"name": name}))], U32)
    assert bool(known.explaining((asked, answer))) == np.isnan(bad)
    answer["outputs"]["scale"]["data"][0] *= 1.001
    assert not known.explaining((asked, answer))
    assert not known.faults


# Files


@pytest.mark.parametrize(
    "changes",
    [{"reason": ""}, {"requirements": []}, {"extra": 1}, {"requirements": ["x"]}, {"link": None},
     {"recorded": {}}, {"cause": {}}, {"cases": ["a"]}],
)  # fmt: skip
def test_schema(path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(DeviationError, match="schema"):
        deviations.load(write(path, entry(**changes)), KERAS)


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ({"name": "no-such"}, "'no-such'"),
        ({"name": "rule"}, "nibbles"),
        ({"name": "rule", "parameters": {"rule": "raw_range", "more": 1}}, "more"),
        ({"name": "rule", "parameters": {"rule": "no_such_rule"}}, "no_such_rule"),
    ],
)
def test_unknown_causes_are_refused(path: Path, cause: dict[str, Any], said: str) -> None:
    with pytest.raises(DeviationError, match=said):
        deviations.load(write(path, entry(cause=cause)), KERAS)


def test_two_entries_of_one_id(path: Path) -> None:
    with pytest.raises(DeviationError, match="nibbles"):
        deviations.load(write(path, entry(), entry(backends=["torch"])), KERAS)


def test_other_backends_are_not_excused(path: Path) -> None:
    assert deviations.load(write(path, entry(backends=["torch"])), KERAS) == []


def test_file_of_another_version(path: Path) -> None:
    with pytest.raises(DeviationError, match=r"3\.15\.0"):
        deviations.load(write(path, version="3.15.0"), KERAS)


def test_not_json(path: Path) -> None:
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DeviationError, match="JSON"):
        deviations.load(path, KERAS)


def test_file_is_chosen_by_exact_version(path: Path) -> None:
    write(path)
    assert deviations.path_for(KERAS, path.parent) == path
    assert deviations.path_for(Handshake("keras", "3.15.2", "jax"), path.parent) is None


def test_shipped_files_name_requirements_of_the_specification() -> None:
    known = requirements.load()
    files = list(deviations.DIRECTORY.glob("*-*.json"))
    assert files
    for file in files:
        data = deviations.read(file)
        for backend in {b for e in data["deviations"] for b in e["backends"]}:
            deviations.load(file, Handshake(data["target"], data["version"], backend))
        named = {r for e in data["deviations"] for r in e["requirements"]}
        assert named <= set(known), file.name


# Writing


def test_causes_are_proposed_and_the_rest_is_listed(cases: dict[str, Case]) -> None:
    lost = (cases[REFUSED], {"outputs": LOST})
    odd = (cases["pack-refuse-length"], {"outputs": encode({"codes": np.array([9, 9], np.uint8)})})
    judged = [([q], judge_answer(*q, unit_roundoff=U32)[0]) for q in (lost, odd)]
    recorded = {"versions": {"keras": "3.15.1"}, "processor": ["ASIMD"]}
    made = rewrite.rewrite(KERAS, judged, recorded=recorded, reproduction=lambda j: [f"# {j.case}"])
    (proposed,) = made.file["deviations"]
    assert proposed["cause"] == {"name": "upper-bits-lost", "parameters": {}}
    assert proposed["requirements"] == ["PACK-080"]
    assert proposed["recorded"] == recorded
    assert proposed["reproduction"] == [f"# {REFUSED}"]
    assert proposed["reason"].startswith("To be explained. Predict")
    (left,) = made.unexplained
    assert (left.case, left.requirement) == ("pack-refuse-length", "PACK-080")


def test_entries_stay_unless_they_are_stale(path: Path) -> None:
    previous = json.loads(
        write(path, entry(id="gone"), entry(backends=["jax", "torch"])).read_text("utf-8")
    )
    made = rewrite.rewrite(KERAS, [], previous, stale=["nibbles", "gone"])
    (kept,) = made.file["deviations"]
    assert (kept["id"], kept["backends"]) == ("nibbles", ["torch"])
    assert rewrite.rewrite(KERAS, [], previous).file == previous


def test_reasons_come_from_another_version(path: Path, cases: dict[str, Case]) -> None:
    other = json.loads(write(path, entry(backends=["torch"])).read_text("utf-8"))
    lost = (cases[REFUSED], {"outputs": LOST})
    judged = [([lost], judge_answer(*lost, unit_roundoff=U32)[0])]
    made = rewrite.rewrite(Handshake("keras", "3.15.2", "numpy"), judged, None, other)
    (proposed,) = made.file["deviations"]
    assert (proposed["id"], proposed["reason"]) == ("nibbles", "because")
    assert (made.file["version"], proposed["backends"]) == ("3.15.2", ["numpy"])


@pytest.mark.everything
def test_a_planted_rule_is_found_among_all_rules(tmp_path: Path) -> None:
    """The file that a run proposes covers every failure of the same target."""
    settings = Settings("mutant:aff-raw-range", sections=("aff",))
    first = run_target(settings, propose=True)
    assert first.report["exit_code"] == 1
    assert first.deviations is not None
    assert not first.deviations.unexplained
    rules = {e["cause"]["parameters"].get("rule") for e in first.deviations.file["deviations"]}
    assert "raw_range" in rules
    file = tmp_path / "proposed.json"
    file.write_text(json.dumps(first.deviations.file), encoding="utf-8")
    again = run_target(Settings(settings.target, deviations=file, sections=("aff",)))
    assert again.report["exit_code"] == 0, again.report["requirements"]
