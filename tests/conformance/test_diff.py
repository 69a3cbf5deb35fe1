"""`quantcheck diff`: what got worse between two reports, and what cannot be compared."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from quantcheck.diff import command
from quantcheck.diff import compare as compare_module
from quantcheck.diff.compare import ORDER, compare, is_worse
from quantcheck.diff.pairs import diff
from quantcheck.diff.written import schema, to_json
from quantcheck.errors import ReportError
from quantcheck.judge.verdict import Verdict
from quantcheck.report import saved
from quantcheck.report.document import empty

Document = dict[str, Any]
ID, CASE = "GPTQ-060", "gptq-asymmetric"


def judgement_of(document: Document, target: int = 0) -> dict[str, Any]:
    """Return the judgement of one case on one requirement."""
    (case,) = (c for c in document["reports"][target]["cases"] if c["case"] == CASE)
    (judgement,) = (j for j in case["judgements"] if j["requirement"] == ID)
    found: dict[str, Any] = judgement
    return found


def alone(document: Document, number: int) -> Document:
    """Return the document of one of its targets."""
    return {**copy.deepcopy(document), "reports": [copy.deepcopy(document["reports"][number])]}


@pytest.fixture
def files(tmp_path: Path, document: Document) -> Path:
    """A folder with a report of each target of a run, and one of both."""
    for name, made in (("good", alone(document, 0)), ("bad", alone(document, 1))):
        (tmp_path / f"{name}.json").write_text(json.dumps(made), encoding="utf-8")
    (tmp_path / "both.json").write_text(json.dumps(document), encoding="utf-8")
    return tmp_path


def test_the_order_of_verdicts_is_explicit(root: Path) -> None:
    silent = {Verdict.NOT_JUDGED, Verdict.NOT_COVERED}
    assert {verdict for place in ORDER for verdict in place} == set(Verdict) - silent
    for better, worse in pairwise(ORDER):
        assert all(is_worse(b, a) and not is_worse(a, b) for a in better for b in worse)
    told = ", ".join(" or ".join(place) for place in ORDER)
    for text in (command.__doc__, compare_module.__doc__, (root / "README.md").read_text("utf-8")):
        assert told in " ".join((text or "").split())


def test_a_mutant_is_worse_and_a_repair_is_better(quantcheck: Any, files: Path) -> None:
    done = quantcheck("diff", "good.json", "bad.json", "--json", "diff.json")
    assert done.returncode == 1, done.stdout + done.stderr
    for told in ("worse: 1 requirement", f"{ID}  pass → fail, 53 of 68 cases", CASE):
        assert told in done.stdout
    assert done.stdout.count("\n") < 24, "one screen"
    made = json.loads((files / "diff.json").read_text("utf-8"))
    jsonschema.validate(made, schema())
    (target,) = made["targets"]
    assert [(c["id"], c["old"], c["new"]) for c in target["worse"]] == [(ID, "pass", "fail")]
    assert target["worse"][0]["cases"] == {"worse": 53, "better": 0, "other": 0, "common": 68}
    assert target["only_old"] == ["GPTQ-040", "GPTQ-100"], "the mutant's failures hide them"
    assert target["notes"] == ["other targets: reference and mutant:gptq-plain-rounding"]
    assert (made["exit_code"], target["got_worse"]) == (1, True)

    done = quantcheck("diff", "bad.json", "good.json")
    assert done.returncode == 0
    assert "better: 1 requirement" in done.stdout
    assert "nothing got worse (exit 0)" in done.stdout


def test_a_report_has_nothing_new_against_itself(document: Document) -> None:
    made = diff(document, document)
    assert made.exit_code == 0
    for each, report in zip(made.comparisons, document["reports"], strict=True):
        assert (each.worse, each.better, each.notes) == ((), (), ())
        assert each.common == report["asked"]
        assert not each.only_old + each.only_new


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("pass", "known deviation", 1),
        ("pass", "unsupported", 1),
        ("known deviation", "fail", 1),
        ("fail", "error", 1),
        ("fail", "known deviation", 0),
        ("unsupported", "difference", 0),
        ("pass", "not judged", 0),
    ],
)
def test_one_case_makes_a_requirement_worse(
    document: Document, old: str, new: str, code: int
) -> None:
    before, after = alone(document, 0), alone(document, 0)
    judgement_of(before)["verdict"] = old
    judgement_of(after)["verdict"] = new
    made = diff(before, after)
    jsonschema.validate(to_json(made), schema())
    assert made.exit_code == code
    (each,) = made.comparisons
    changed = [(c.requirement["id"], c.before["verdict"], c.after["verdict"]) for c in each.worse]
    assert changed == ([(ID, old, new)] if code else [])
    assert len(each.better) == (not code and new != "not judged")


@pytest.mark.parametrize(("old", "new"), [("pass", "difference"), ("difference", "pass")])
def test_a_difference_is_neither_worse_nor_better(document: Document, old: str, new: str) -> None:
    before, after = alone(document, 0), alone(document, 0)
    judgement_of(before)["verdict"] = old
    judgement_of(after)["verdict"] = new
    made = diff(before, after)
    jsonschema.validate(to_json(made), schema())
    assert made.exit_code == 0
    (each,) = made.comparisons
    assert (each.worse, each.better, len(each.other)) == ((), (), 1)
    (change,) = each.other
    assert (change.other, change.telling["verdict"]) == (1, "difference")


def test_a_case_that_got_worse_outweighs_one_that_got_better(document: Document) -> None:
    """The verdict of the requirement stays, and yet something got worse."""
    before, after = alone(document, 1), alone(document, 1)
    report = after["reports"][0]
    judgements = [j for c in report["cases"] for j in c["judgements"] if j["requirement"] == ID]
    failing = next(j for j in judgements if j["verdict"] == "fail")
    passing = next(j for j in judgements if j["verdict"] == "pass")
    failing["verdict"], passing["verdict"] = "pass", "fail"
    (each,) = diff(before, after).comparisons
    ((change,), better) = each.worse, each.better
    assert (change.old, change.new, change.worse, change.better) == ("fail", "fail", 1, 1)
    assert change.telling is passing
    assert not better


def test_only_cases_of_both_are_compared(document: Document) -> None:
    before, after = alone(document, 0), alone(document, 1)
    report = before["reports"][0]
    dropped = [c["case"] for c in report["cases"] if c["section"] == "gptq"]
    report["cases"] = [c for c in report["cases"] if c["section"] == "abs"]
    before["run"]["sections"] = ["abs"]
    before["run"]["specification"] = {"sha256": "0" * 64}
    before["run"]["corpus"]["sha256"] = "0" * 64
    row = next(r for r in report["requirements"] if r["requirement"]["id"] == "ABS-010")
    row["requirement"]["paragraph"] = "Other words."
    made = diff(before, after)
    assert made.exit_code == 0
    (each,) = made.comparisons
    told = "\n".join(each.notes)
    assert "another SPEC.md: ABS-010 have other words of those in both" in told
    assert "other vectors" in told
    assert "other sections: abs; and abs, gptq" in told
    number = len(report["cases"])
    assert f"{number} in both, 0 in the older alone, {len(dropped)} in the newer alone" in told


def test_generated_cases_are_the_same_if_they_were_drawn_alike(document: Document) -> None:
    before, after = alone(document, 0), alone(document, 1)
    for made, digest in ((before, "one"), (after, "other")):
        for case in made["reports"][0]["cases"]:
            case["draws"] = digest
    before["reports"][0]["cases"][0]["draws"] = "other"
    (each,) = diff(before, after).comparisons
    assert each.common == 1


def test_deviations_that_appear_and_vanish(document: Document) -> None:
    before, after = alone(document, 0), alone(document, 0)
    told = {"verdict": "known deviation", "link": "https://example.org/1"}
    judgement_of(before).update(told, reason="old cause")
    judgement_of(after).update(told, reason="new cause")
    (each,) = diff(before, after).comparisons
    assert [(d.reason, d.requirements) for d in each.appeared] == [("new cause", (ID,))]
    assert [(d.reason, d.link) for d in each.vanished] == [("old cause", "https://example.org/1")]
    assert not each.got_worse, "the verdict is the same"


def test_an_entry_that_no_longer_occurs_is_no_fault_of_the_target(document: Document) -> None:
    before, after = alone(document, 0), alone(document, 0)
    judgement = {**judgement_of(after), "verdict": "fail", "stale": True, "case": "deviation x"}
    case = {**after["reports"][0]["cases"][0], "case": "deviation x", "judgements": [judgement]}
    after["reports"][0]["cases"].append(case)
    (each,) = diff(before, after).comparisons
    assert not each.got_worse
    assert not each.notes


def test_a_run_that_broke_got_worse(document: Document) -> None:
    broken = {"kind": "TargetCrashed", "message": "expected an answer, got code 5", "stderr": ""}
    before, after = alone(document, 0), alone(document, 0)
    made = {**empty("reference", 3, broken), "started": after["run"]["started"], "seconds": 0.0}
    after["reports"] = [made]
    found = diff(before, after)
    assert found.exit_code == 1
    assert found.comparisons[0].ended == "TargetCrashed: expected an answer, got code 5"
    assert compare(made, made).ended == ""


def test_targets_are_matched_by_what_was_asked_for_then_by_name(document: Document) -> None:
    before, after = copy.deepcopy(document), copy.deepcopy(document)
    after["reports"].reverse()
    after["reports"][0]["target"]["spec"] = "process:./other"
    made = diff(before, after)
    pairs = [(e.old["target"]["name"], e.new["target"]["name"]) for e in made.comparisons]
    assert pairs == [("mutant:gptq-plain-rounding",) * 2, ("quantref",) * 2]
    after["reports"][0]["target"]["name"] = "something else"
    made = diff(before, after)
    assert (made.only_old, made.only_new) == (("mutant:gptq-plain-rounding",), ("process:./other",))
    assert [e.new["target"]["spec"] for e in made.comparisons] == ["reference"]


def test_what_cannot_be_compared_is_refused(document: Document) -> None:
    with pytest.raises(ReportError, match="one report of each target, got 2 of reference"):
        diff({**document, "reports": [document["reports"][0]] * 2}, document)
    with pytest.raises(ReportError, match="a target in common, got no target and reference"):
        diff({**document, "reports": []}, document)
    other = alone(document, 0)
    for case in other["reports"][0]["cases"]:
        case["case"] = f"other-{case['case']}"
    with pytest.raises(ReportError, match="a case in common, got none for reference"):
        diff(other, alone(document, 0))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "No such file or directory"),
        ("{", "no JSON in UTF-8: Expecting property name"),
        ("[1]", "JSON without reports of targets"),
        ('{"format": 2, "reports": []}', "format 2"),
        ('{"format": 3, "reports": []}', "$: 'exit_code' is a required property"),
        ('{"format": 3, "reports": NaN}', "NaN is no number of JSON"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "absent.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ReportError) as caught:
        saved.read(path)
    assert caught.value.expected == "a report of quantcheck TARGET --json, format 3"
    assert caught.value.got.startswith(f"{path}: ")
    assert told in caught.value.got
    assert "\n" not in str(caught.value)


def test_every_judgement_is_read(quantcheck: Any, files: Path, document: Document) -> None:
    """One judgement of each shape is held against the schema; a wrong one has its own."""
    document["reports"][1]["cases"][-1]["judgements"][-1]["verdict"] = "nice"
    (files / "both.json").write_text(json.dumps(document), encoding="utf-8")
    done = quantcheck("diff", "good.json", "both.json", "--json", "diff.json")
    assert done.returncode == 2
    assert "'nice' is not one of" in done.stderr
    assert not (files / "diff.json").exists()
