"""Faults of a target in a whole run: affected cases are errors, the others have verdicts.

Every target here is a real program, which answers from a table of right answers and breaks at
some of them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantcheck.targets.reference import operations
from quantcheck.wire.cases import Case

pytestmark = pytest.mark.requirement("VER-040")

SECTION = ("--section", "rnd", "--only", "vectors")
PRELUDE = """
import json, os, subprocess, sys, time
with open({table!r}) as file:
    TABLE = json.load(file)
def note(pid):
    with open({pids!r}, "a") as file: file.write(f"{{pid}}\\n")
def send(thing):
    sys.stdout.write(json.dumps(thing) + "\\n"); sys.stdout.flush()
def edited(q, **changes):
    made = json.loads(json.dumps(TABLE[q["id"]]))
    for array in made["outputs"].values(): array.update(changes)
    return made
note(os.getpid())
note(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]).pid)
READY = {{"protocol": 1, "name": "faulty", "version": "1"}}
def questions():
    for line in sys.stdin:
        message = json.loads(line)
        if "start" in message: send({{"ready": READY}})
        elif "stop" in message: return
        else: yield message
"""

Faulty = Callable[[str], str]


@pytest.fixture
def faulty(cases: dict[str, Case], tmp_path: Path) -> Faulty:
    """Write a program that does `body` for each question q; returns its spec."""
    table = {c.id: operations.answer(c.question()) for c in cases.values() if c.section == "rnd"}
    (tmp_path / "table.json").write_text(json.dumps(table), encoding="utf-8")

    def write(body: str) -> str:
        names = {"table": str(tmp_path / "table.json"), "pids": str(tmp_path / "pids")}
        (tmp_path / "faulty.py").write_text(PRELUDE.format(**names) + body, encoding="utf-8")
        return f"process:{sys.executable} {tmp_path / 'faulty.py'}"

    return write


def report_of(folder: Path) -> dict[str, Any]:
    (made,) = json.loads((folder / "report.json").read_text(encoding="utf-8"))["reports"]
    return dict(made)


def verdicts(made: dict[str, Any]) -> dict[str, str]:
    return {case["case"]: case["verdict"] for case in made["cases"]}


def messages(made: dict[str, Any]) -> dict[str, str]:
    return {case["case"]: case["judgements"][0]["message"] for case in made["cases"]}


@pytest.fixture
def nothing_runs(ended: Callable[[int], bool]) -> Callable[[Path], bool]:
    """Whether every process that a target noted has ended."""

    def check(folder: Path) -> bool:
        pids = [int(line) for line in (folder / "pids").read_text().split()]
        return bool(pids) and all(map(ended, pids))

    return check


def test_faults_that_end_the_process(
    quantcheck: Any, faulty: Faulty, tmp_path: Path, nothing_runs: Any
) -> None:
    body = """
for q in questions():
    if q["id"] == "rnd-near-ties": sys.exit("these are my last words")
    if q["id"] == "rnd-refuse-nan": time.sleep(300)
    if q["id"] == "rnd-saturate-int16": print("garbage", flush=True)
    if q["id"] == "rnd-saturate-uint8":
        sys.stdout.write('{"id": "rnd'); sys.stdout.flush(); os._exit(1)
    if q["id"] == "rnd-ties-float16": send(TABLE["rnd-ties-float32"])
    send(TABLE[q["id"]])
"""
    done = quantcheck(faulty(body), *SECTION, "--time-limit", "3", "--json", "report.json")
    assert done.returncode == 3, done.stdout
    made = report_of(tmp_path)
    assert made["complete"]
    says = {
        "rnd-near-ties": "ended with code 1",
        "rnd-refuse-nan": "within 3 s, got nothing",
        "rnd-saturate-int16": "as one line of JSON, got b'garbage",
        "rnd-saturate-uint8": "ended with code 1",
        "rnd-ties-float16": "answer with id 'rnd-ties-float16'",
    }
    given = verdicts(made)
    assert {case for case, verdict in given.items() if verdict == "error"} == set(says)
    assert {verdict for case, verdict in given.items() if case not in says} == {"pass"}
    assert len(given) == made["selected"] > len(says)
    for case, text in says.items():
        assert text in messages(made)[case]
    (dead,) = (case for case in made["cases"] if case["case"] == "rnd-near-ties")
    assert "these are my last words" in dead["stderr"]
    assert nothing_runs(tmp_path)


def test_faults_of_an_answer(
    quantcheck: Any, faulty: Faulty, tmp_path: Path, nothing_runs: Any
) -> None:
    body = """
for q in questions():
    if q["id"] == "rnd-near-ties": send(edited(q, shape=[1, -1]))
    elif q["id"] == "rnd-saturate-int8": send(edited(q, shape=[1], data=[1]))
    elif q["id"] == "rnd-saturate-int16": send(edited(q, dtype="integer"))
    elif q["id"] == "rnd-saturate-int32": send(edited(q, dtype="int8"))
    elif q["id"] == "rnd-saturate-uint8": send({"id": q["id"], "outputs": {}})
    elif q["id"] == "rnd-ties-float16": send({"id": q["id"], "outputs": {"values": 1}})
    elif q["id"] == "rnd-ties-float32": send({"id": q["id"], "error": "oh", "trace": "line 7"})
    elif q["id"] == "rnd-ties-float64": send(edited(q, dtype="float32"))
    else: sys.stderr.write("x" * 3_000_000); send(TABLE[q["id"]])
"""
    done = quantcheck(faulty(body), *SECTION, "--json", "report.json")
    assert done.returncode == 3, done.stdout
    made = report_of(tmp_path)
    assert made["complete"]
    given = verdicts(made)
    # A dtype that exists is a wrong answer, and no broken one; so is what a flood came with.
    assert given.pop("rnd-ties-float64") == "difference"  # whether float64 is kept is a choice
    flooded = ("rnd-refuse-infinity", "rnd-refuse-integers", "rnd-refuse-nan", "rnd-ties-bfloat16")
    assert [given.pop(case) for case in flooded] == ["pass"] * 4
    assert len(given) == 7
    # What the format has no place for is an error, another form of an output a failure.
    formless = ("rnd-saturate-int8", "rnd-saturate-uint8", "rnd-ties-float16")
    assert [given.pop(case) for case in formless] == ["fail"] * 3
    assert set(given.values()) == {"error"}
    assert len(made["target"]["stderr"]) <= 64 * 1024
    (broken,) = (case for case in made["cases"] if case["case"] == "rnd-ties-float32")
    assert broken["trace"] == "line 7"
    assert nothing_runs(tmp_path)


def test_an_answer_that_comes_late_is_not_taken_for_the_next(
    quantcheck: Any, faulty: Faulty, tmp_path: Path, nothing_runs: Any
) -> None:
    body = """
for q in questions():
    if q["id"] == "rnd-saturate-int16":
        send(TABLE["rnd-saturate-int32"]); send(TABLE["rnd-saturate-int8"])
    send(TABLE[q["id"]])
"""
    done = quantcheck(faulty(body), *SECTION, "--json", "report.json")
    assert done.returncode == 3, done.stdout
    given = verdicts(report_of(tmp_path))
    assert given.pop("rnd-saturate-int16") == "error"
    assert set(given.values()) == {"pass"}
    assert nothing_runs(tmp_path)


def test_a_target_that_cannot_start_again(
    quantcheck: Any, faulty: Faulty, tmp_path: Path, nothing_runs: Any
) -> None:
    body = """
if os.path.exists("started"): sys.exit("only once")
open("started", "w").close()
for q in questions():
    if q["id"] == "rnd-saturate-int16": os._exit(9)
    send(TABLE[q["id"]])
"""
    done = quantcheck(faulty(body), *SECTION, "--json", "report.json")
    assert done.returncode == 3, done.stdout
    made = report_of(tmp_path)
    assert made["complete"]
    assert verdicts(made)["rnd-near-ties"] == "pass"
    assert verdicts(made)["rnd-saturate-int16"] == "error"
    assert any("not started again" in message for message in messages(made).values())
    assert nothing_runs(tmp_path)


# Interruption

STALLS = """
for n, q in enumerate(questions()):
    if n == 3: time.sleep(300)
    send(TABLE[q["id"]])
"""


@pytest.mark.requirement("VER-100")
@pytest.mark.skipif(os.name == "nt", reason="needs signals")
@pytest.mark.parametrize("sent", ["to all", "SIGINT", "SIGTERM"])
def test_interrupted(
    stopped: Any, faulty: Faulty, tmp_path: Path, sent: str, nothing_runs: Any
) -> None:
    """A terminal tells the whole group, a script or a CI service only the process it started."""

    def stop(process: Any) -> None:
        if sent == "to all":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(getattr(signal, sent))

    words = (faulty(STALLS), *SECTION, "--json", "report.json")
    code, shown = stopped(*words, when="case 1 of", stop=stop)
    assert code == 130, shown
    made = report_of(tmp_path)
    assert not made["complete"]
    assert 0 < made["asked"] < made["selected"]
    assert set(verdicts(made).values()) <= {"pass", "error"}
    assert "stopped" in shown
    assert nothing_runs(tmp_path)


# Deviations


@pytest.mark.requirement("VER-120")
@pytest.mark.parametrize(
    ("cause", "says"),
    [
        ({"name": "input-rounded-to-float32"}, "deviation too-old: expected the answer"),
        ({"name": "no-such-cause"}, "a cause in"),
        ({"name": "input-rounded-to-float32", "parameters": {"dtyp": "x"}}, "in too-old"),
    ],
)
def test_a_deviation_that_does_not_hold(
    quantcheck: Any,
    faulty: Faulty,
    tmp_path: Path,
    nothing_runs: Any,
    cause: dict[str, Any],
    says: str,
) -> None:
    entry = {"id": "too-old", "requirements": ["RND-010"], "backends": [""], "cause": cause}
    entry |= {"reason": "because", "link": "", "reproduction": []}
    entry["recorded"] = {"versions": {}, "processor": []}
    data = {"target": "faulty", "version": "1", "deviations": [entry]}
    (tmp_path / "d.json").write_text(json.dumps(data), encoding="utf-8")
    spec = faulty('for q in questions(): send(TABLE[q["id"]])')
    done = quantcheck(spec, *SECTION, "--deviations", "d.json")
    assert done.returncode == 1, done.stdout
    assert says in done.stdout
    assert nothing_runs(tmp_path)


# Answers that differ from process to process

BY_PROCESS = """
with open({marks!r}, "a") as file: file.write("x")
NUMBER = os.path.getsize({marks!r})  # of this process
TIES = len(TABLE[{case!r}]["outputs"]["values"]["data"])
with open({asked!r}, "a") as log:
    for q in questions():
        print(q["id"], file=log, flush=True)
        answer = TABLE[q["id"]]
        if q["id"] == {case!r}: {body}
        send(answer)
"""
UNSTABLE = "rnd-near-ties"  # of the share that every run asks again


@pytest.mark.requirement("VER-130")
@pytest.mark.parametrize(
    ("body", "verdict", "says", "askings"),
    [
        # A right answer in the first process, a wrong one in the second.
        (
            "answer = edited(q, data=[NUMBER] * TIES) if NUMBER > 1 else answer",
            "unstable", "two processes gave different answers: values:", 2,
        ),
        # Another kind of answer.
        (
            "answer = {'id': q['id'], 'error': 'no'} if NUMBER > 1 else answer",
            "unstable", 'then {"error": "no"}', 2,
        ),
        # Wrong in every process: a failure, asked again before it counts.
        ("answer = edited(q, data=[7] * TIES)", "fail", "", 2),
        # The second process breaks once: the question is asked a third time, and no more.
        ("\n            if NUMBER == 2: os._exit(3)", "pass", "", 3),
        # It breaks whenever it is asked again.
        ("\n            if NUMBER > 1: os._exit(3)", "unstable", 'then {"broken"', 3),
        # Another message of the same refusal is the same answer.
        (
            "answer = {'id': q['id'], 'refused': f'process {NUMBER}', 'type': 'E'}",
            "fail", "", 2,
        ),
    ],
)  # fmt: skip
def test_answers_that_differ_are_unstable(
    quantcheck: Any,
    faulty: Faulty,
    tmp_path: Path,
    nothing_runs: Any,
    body: str,
    verdict: str,
    says: str,
    askings: int,
) -> None:
    names = {"marks": str(tmp_path / "marks"), "asked": str(tmp_path / "asked"), "case": UNSTABLE}
    spec = faulty(BY_PROCESS.format(body=body, **names))
    done = quantcheck(spec, *SECTION, "--json", "r.json", "--junit", "r.xml", "--badge", "r.svg")
    made = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["reports"][0]
    (case,) = (c for c in made["cases"] if c["case"] == UNSTABLE)
    assert case["verdict"] == verdict, done.stdout
    assert all(says in j["message"] for j in case["judgements"])
    assert (tmp_path / "asked").read_text("utf-8").split().count(UNSTABLE) == askings
    assert done.returncode == (0 if verdict == "pass" else 1), done.stdout
    if verdict == "unstable":
        row = next(r for r in made["requirements"] if r["requirement"]["id"] == "RND-010")
        assert row["verdict"] == "unstable"
        assert says in done.stdout
        assert 'type="unstable"' in (tmp_path / "r.xml").read_text(encoding="utf-8")
        assert "1 unstable" in (tmp_path / "r.svg").read_text(encoding="utf-8")
    assert nothing_runs(tmp_path)


@pytest.mark.requirement("VER-130")
def test_an_unstable_answer_is_no_known_deviation(
    quantcheck: Any, faulty: Faulty, tmp_path: Path
) -> None:
    """Rounded to float32 in the first process, right in the second."""
    entry = {
        "id": "rounded", "requirements": ["RND-010"], "backends": [""], "reason": "because",
        "cause": {"name": "input-rounded-to-float32", "parameters": {"dtype": "float64"}},
        "link": "", "reproduction": [], "recorded": {"versions": {}, "processor": []},
    }  # fmt: skip
    data = {"target": "faulty", "version": "1", "deviations": [entry]}
    (tmp_path / "d.json").write_text(json.dumps(data), encoding="utf-8")
    names = {"marks": str(tmp_path / "marks"), "asked": str(tmp_path / "asked")}
    body = "answer = edited(q, data=[7.0] * TIES) if NUMBER == 1 else answer"
    spec = faulty(BY_PROCESS.format(body=body, case="rnd-ties-float64", **names))
    quantcheck(spec, *SECTION, "--json", "r.json", "--deviations", "d.json")
    made = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["reports"][0]
    (case,) = (c for c in made["cases"] if c["case"] == "rnd-ties-float64")
    assert case["verdict"] == "unstable"
