"""Known deviations are strict both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quantcheck import deviations, properties
from quantcheck.deviations import rewrite
from quantcheck.errors import DeviationError
from quantcheck.judge.summary import CaseResult
from quantcheck.judge.verdict import Judgement, Verdict
from quantcheck.targets import Handshake
from quantcheck.wire.cases import Case

pytestmark = pytest.mark.requirement("VER-020")

KERAS = Handshake("keras", "3.15.1", "jax")


def a_case(identity: str = "a") -> Case:
    return Case(identity, "pack", "", "pack", ("PACK-010", "PACK-020"), {}, {}, {})


def entry(**changes: Any) -> dict[str, Any]:
    made = {
        "id": "nibbles",
        "requirement": "PACK-010",
        "backends": ["jax"],
        "cases": ["a"],
        "reason": "because",
        "link": "",
        "reproduction": [],
    }
    return {**made, **changes}


def write(path: Path, *entries: dict[str, Any], **changes: Any) -> Path:
    data = {"target": "keras", "version": "3.15.1", "deviations": list(entries), **changes}
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keras-3.15.1.json"


def applied(path: Path, *verdicts: Verdict) -> list[Judgement]:
    ids = ("PACK-010", "PACK-020")
    given = [Judgement(i, "a", v, "message") for i, v in zip(ids, verdicts, strict=False)]
    return deviations.apply(a_case(), given, deviations.load(path, KERAS))


def test_listed_failure_is_known_and_the_rest_is_not(path: Path) -> None:
    first, second = applied(write(path, entry()), Verdict.FAIL, Verdict.FAIL)
    assert (first.verdict, first.reason) == (Verdict.KNOWN, "because")
    assert second.verdict == Verdict.FAIL


def test_listed_pass_fails(path: Path) -> None:
    (judgement,) = applied(write(path, entry()), Verdict.PASS)
    assert (judgement.verdict, judgement.stale) == (Verdict.FAIL, True)
    assert "remove it" in judgement.message


def test_listed_unsupported_is_an_error(path: Path) -> None:
    (judgement,) = applied(write(path, entry()), Verdict.UNSUPPORTED)
    assert (judgement.verdict, judgement.stale) == (Verdict.ERROR, True)


def test_listed_but_not_judged_is_an_error(path: Path) -> None:
    *_, judgement = applied(write(path, entry(requirement="PACK-020")), Verdict.PASS)
    assert (judgement.requirement, judgement.verdict) == ("PACK-020", Verdict.ERROR)


def test_a_listed_failure_does_not_hide_an_error(path: Path) -> None:
    (judgement,) = applied(write(path, entry()), Verdict.ERROR)
    assert (judgement.verdict, judgement.stale) == (Verdict.ERROR, False)
    (judgement,) = applied(write(path, entry(verdict="error")), Verdict.ERROR)
    assert judgement.verdict == Verdict.KNOWN


def test_other_backends_are_not_excused(path: Path) -> None:
    assert deviations.load(write(path, entry(backends=["torch"])), KERAS) == []


@pytest.mark.parametrize("changes", [{"cases": ["b"]}, {"requirement": "PACK-030"}])
def test_entry_that_matches_nothing(path: Path, changes: dict[str, Any]) -> None:
    loaded = deviations.load(write(path, entry(**changes)), KERAS)
    with pytest.raises(DeviationError, match="nibbles"):
        deviations.check_matches(loaded, {"a": a_case()})


def test_two_entries_for_one_case(path: Path) -> None:
    write(path, entry(), entry(id="other"))
    with pytest.raises(DeviationError, match="nibbles and other"):
        deviations.load(path, KERAS)


@pytest.mark.parametrize(
    "changes", [{"reason": ""}, {"cases": []}, {"extra": 1}, {"requirement": "x"}, {"link": None}]
)
def test_schema(path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(DeviationError, match="schema"):
        deviations.load(write(path, entry(**changes)), KERAS)


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


def test_rewritten_file_holds_what_failed_and_keeps_the_rest(path: Path) -> None:
    def result(case: str, requirement: str, verdict: Verdict) -> CaseResult:
        return CaseResult(case, "pack", "pack", (Judgement(requirement, case, verdict),))

    write(
        path,
        entry(cases=["a", "gone", "not-asked"], backends=["jax", "torch"]),
        entry(id="odd", requirement="PACK-030", verdict="error", reason="odd", cases=["e"]),
    )
    results = [
        result("a", "PACK-010", Verdict.KNOWN),
        result("gone", "PACK-010", Verdict.PASS),
        result("b", "PACK-020", Verdict.FAIL),
        result("c", "PACK-020", Verdict.PASS),
        result("e", "PACK-030", Verdict.KNOWN),
    ]
    made = rewrite.rewrite(KERAS, results, {"b": ["print(1)"]}, deviations.read(path))
    path.write_text(json.dumps(made), encoding="utf-8")

    new, known, odd = sorted(deviations.load(path, KERAS), key=lambda d: d.id)
    assert (new.cases, new.reason) == (("b",), rewrite.UNEXPLAINED)
    assert new.reproduction == ("print(1)",)
    assert (known.id, known.reason) == ("nibbles-jax", "because")
    assert known.cases == ("a", "not-asked")
    assert (odd.cases, odd.verdict) == (("e",), Verdict.ERROR)
    (torch,) = deviations.load(path, Handshake("keras", "3.15.1", "torch"))
    assert (torch.id, torch.cases) == ("nibbles-torch", ("a", "gone", "not-asked"))

    again = rewrite.rewrite(KERAS, results, {}, deviations.read(path))
    assert again == made


def test_reasons_are_proposed_from_other_backends_and_versions(path: Path) -> None:
    write(
        path,
        entry(backends=["numpy"], cases=["a", "b"], reason="of numpy"),
        entry(id="other", backends=["jax"], cases=["a", "e"], reason="of jax"),
    )
    file = deviations.read(path)
    results = [
        CaseResult(case, "pack", "pack", (Judgement("PACK-010", case, verdict),))
        for case, verdict in {
            "a": Verdict.FAIL,
            "b": Verdict.FAIL,
            "c": Verdict.FAIL,
            "e": Verdict.ERROR,
        }.items()
    ]
    torch = Handshake("keras", "3.15.2", "torch")
    made = rewrite.rewrite(torch, results, {}, None, file)
    found = {(case, e["reason"]) for e in made["deviations"] for case in e["cases"]}
    assert found == {
        ("a", "of jax"),
        ("b", "of numpy"),
        ("c", rewrite.UNEXPLAINED),
        ("e", rewrite.UNEXPLAINED),
    }
    assert made["version"] == "3.15.2"
    assert {b for e in made["deviations"] for b in e["backends"]} == {"torch"}
    again = rewrite.rewrite(torch, results, {}, made, file)
    assert again == made
    within = rewrite.rewrite(torch, results, {}, file)
    assert {"numpy", "jax", "torch"} == {b for e in within["deviations"] for b in e["backends"]}


def test_shipped_files_follow_the_schema(cases: dict[str, Case]) -> None:
    for file in deviations.DIRECTORY.glob("*-*.json"):
        data = json.loads(file.read_text(encoding="utf-8"))
        for backend in {b for e in data["deviations"] for b in e["backends"]}:
            loaded = deviations.load(file, Handshake(data["target"], data["version"], backend))
            deviations.check_matches(loaded, {**cases, **properties.load()})
