"""Answers made elsewhere, and the questions that they answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quantcheck.errors import (
    SuiteError,
    TargetCrashed,
    TargetProtocolError,
    UsageError,
)
from quantcheck.targets import AnswersTarget, open_target
from quantcheck.wire.questions import write_questions

pytestmark = pytest.mark.requirement("VER-060")

READY = {"ready": {"protocol": 1, "name": "elsewhere", "version": "2"}}
A = {"id": "a", "outputs": {}}
B = {"id": "b", "refused": "no"}


def write(path: Path, *lines: object) -> AnswersTarget:
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    target = open_target(f"answers:{path}")
    assert isinstance(target, AnswersTarget)
    return target


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


def test_answers_in_any_order(path: Path) -> None:
    with write(path, READY, B, "", A) as target:
        assert target.handshake.name == "elsewhere"
        assert not target.parallel
        assert target.ask({"id": "a"}) == A
        assert target.ask({"id": "b"}) == B
        assert target.ask({"id": "a"}) == A
        assert target.stderr == ""


def test_the_last_line_may_lack_its_end(path: Path) -> None:
    target = write(path, READY, A)
    path.write_text(path.read_text().rstrip("\n"))
    with target:
        assert target.ask({"id": "a"}) == A


@pytest.mark.requirement("VER-040")
@pytest.mark.parametrize(
    ("lines", "kind", "says"),
    [
        ([READY, B], TargetCrashed, "no answer in answers.jsonl"),
        ([READY, A, B, A], TargetProtocolError, "2 in answers.jsonl, in lines 2, 4"),
        ([READY, {"id": "a"}], TargetProtocolError, "exactly one of"),
        ([READY, B, {"id": "a", "outputs": 1}], TargetProtocolError, "in line 3"),
        ([READY, B, '{"id": "a", "out', B], TargetCrashed, "damaged lines: 3"),
        ([READY, [1]], TargetCrashed, "damaged lines: 2"),
        ([READY, {"id": 1, "outputs": {}}], TargetCrashed, "damaged lines: 2"),
        ([READY, READY], TargetCrashed, "damaged lines: 2"),
    ],
)
def test_missing_twice_or_damaged(path: Path, lines: list[Any], kind: Any, says: str) -> None:
    with write(path, *lines, {"id": "c", "outputs": {}}) as target:
        with pytest.raises(kind) as caught:
            target.ask({"id": "a"})
        assert says in str(caught.value)
        assert target.ask({"id": "c"}) == {"id": "c", "outputs": {}}


def test_bytes_that_are_no_text(path: Path) -> None:
    target = write(path, READY, A)
    path.write_bytes(path.read_bytes() + b'{"id": "\xff"}\n')
    with target:
        assert target.ask({"id": "a"}) == A
        assert "line 3" in target.stderr


def test_what_no_question_asked_for_is_told(path: Path) -> None:
    with write(path, READY, A, "garbage", *({"id": f"n{n}"} for n in range(7))) as target:
        target.ask({"id": "a"})
        assert "answers.jsonl, line 3: expected answer as one line of JSON" in target.stderr
        unasked = "7 answers to questions that were not asked: n0, n1, n2, n3, n4, and 2 more"
        assert unasked in target.stderr


@pytest.mark.parametrize(
    "lines", [[], ["{"], [A], [{"ready": {"protocol": 2, "name": "x", "version": "1"}}]]
)
def test_damaged_handshake(path: Path, lines: list[Any]) -> None:
    target = write(path, *lines)
    with pytest.raises(TargetProtocolError, match=r"line 1 of answers\.jsonl"):
        target.start()


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="absent"):
        open_target(f"answers:{tmp_path / 'absent'}")
    with pytest.raises(UsageError, match="one of"):
        open_target("answers:")


def test_a_file_that_went_away(path: Path) -> None:
    target = write(path, READY)
    path.unlink()
    with pytest.raises(TargetCrashed, match=r"answers\.jsonl"):
        target.start()


# Questions


def test_questions_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text("what was there", encoding="utf-8")
    with pytest.raises(SuiteError, match="two for 'a'"):
        write_questions(path, [{"id": "a"}, {"id": "a"}])
    assert path.read_text(encoding="utf-8") == "what was there"
    assert list(tmp_path.iterdir()) == [path]
    assert write_questions(path, [{"id": "a"}, {"id": "b"}]) == 2
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines == [{"start": {"protocol": 1}}, {"id": "a"}, {"id": "b"}, {"stop": {}}]
    assert list(tmp_path.iterdir()) == [path]


def test_from_questions_over_answers_to_a_verdict(quantcheck: Any, tmp_path: Path) -> None:
    done = quantcheck("--questions", "q.jsonl", "--section", "rnd")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "q.jsonl").read_text(encoding="utf-8").splitlines()
    assert f"{len(lines) - 2} questions" in done.stdout
    with (
        (tmp_path / "q.jsonl").open("rb") as questions,
        (tmp_path / "a.jsonl").open("wb") as answers,
    ):
        reference = [sys.executable, "-m", "quantcheck.targets.reference"]
        subprocess.run(reference, stdin=questions, stdout=answers, timeout=120, check=True)
    done = quantcheck("answers:a.jsonl", "--section", "rnd")
    assert done.returncode == 0, done.stdout
    assert "not asked" not in done.stdout

    head, lost, *rest = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    stray = json.dumps({"id": "stray", "outputs": {}})
    (tmp_path / "a.jsonl").write_text("\n".join([head, *reversed(rest), stray]), encoding="utf-8")
    done = quantcheck("answers:a.jsonl", "--section", "rnd", "--json", "report.json")
    assert done.returncode == 3, done.stdout
    assert "not asked: stray" in done.stdout
    (made,) = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["reports"]
    broken = [case["case"] for case in made["cases"] if case["verdict"] == "error"]
    assert broken == [json.loads(lost)["id"]]
    assert {case["verdict"] for case in made["cases"]} == {"error", "pass"}


@pytest.mark.parametrize(
    "arguments",
    [("--questions", "absent/q.jsonl"), ("reference", "--questions", "q"), ("answers:absent",)],
)
def test_usage(quantcheck: Any, arguments: tuple[str, ...]) -> None:
    done = quantcheck(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
