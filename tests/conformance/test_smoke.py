"""Broken adapters, each of which fails the smoke test at the step that it breaks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantcheck import mutants
from quantcheck.judge.judges import judge
from quantcheck.smoke.questions import Probe, invalidate, misfit, probes
from quantcheck.smoke.steps import Smoke
from quantcheck.targets.process import ProcessTarget
from quantcheck.targets.reference import operations
from quantcheck.wire.arrays import decode
from quantcheck.wire.cases import Case
from quantref.errors import AnswerError

pytestmark = pytest.mark.requirement("VER-040")

ASKED = ("round_half_even", "abs_max_quantize", "config_round_trip", "pack")
ALL = set(ASKED)
READY = {"protocol": 1, "name": "small", "version": "1.0", "operations": [*ASKED, "more"]}
LIMIT = 2.0

PRELUDE = f"""
import json, os, subprocess, sys, threading, time
READY = {READY!r}
with open(sys.argv[1]) as file:
    CANNED = json.load(file)
def send(thing, end="\\n"):
    sys.stdout.write(json.dumps(thing) + end); sys.stdout.flush()
def bad(q):
    text = json.dumps(q)
    return "NaN" in text or "99" in text or "NoSuchClass" in text
def answer(q):
    strange = "no_such_parameter" in q["parameters"]
    if q["operation"] not in CANNED or strange: return {{"id": q["id"], "unsupported": "not here"}}
    if bad(q): return {{"id": q["id"], "refused": "bad"}}
    return {{"id": q["id"], "outputs": CANNED[q["operation"]]}}
def questions():
    for line in sys.stdin:
        message = json.loads(line)
        if "start" in message: send({{"ready": READY}})
        elif "stop" in message: return
        else: yield message
def edited(q, operation, name, **changes):
    made = answer(q)
    if q["operation"] == operation and "outputs" in made:
        made["outputs"] = dict(made["outputs"])
        made["outputs"][name] = dict(made["outputs"][name], **changes)
    return made
"""
GOOD = "for q in questions(): send(answer(q))\n"


@pytest.fixture(scope="module")
def asked(cases: dict[str, Case]) -> list[Probe]:
    found = {probe.operation: probe for probe in probes(cases.values())}
    return [found[operation] for operation in ASKED]


@pytest.fixture
def smoke(tmp_path: Path, asked: list[Probe]) -> Callable[..., Smoke]:
    """Put a small adapter, which answers from a table, to the smoke test."""
    canned = {probe.operation: operations.answer(probe.question)["outputs"] for probe in asked}
    (tmp_path / "canned.json").write_text(json.dumps(canned), encoding="utf-8")

    def run(body: str, limit: float = LIMIT) -> Smoke:
        (tmp_path / "adapter.py").write_text(PRELUDE + body, encoding="utf-8")
        command = [sys.executable, "adapter.py", "canned.json"]
        command[1:] = [str(tmp_path / name) for name in command[1:]]
        target = ProcessTarget("process:test", command, time_limit=limit, start_limit=20.0)
        made = Smoke(target, asked, str, end_limit=1.0)
        made.run()
        return made

    return run


def failed(smoke: Smoke) -> set[str]:
    return {step.name for step in smoke.steps if step.passed is False}


def told(smoke: Smoke, name: str) -> str:
    (step,) = (step for step in smoke.steps if step.name == name)
    return f"{step.message}. {step.mend}"


def test_a_good_adapter(smoke: Callable[..., Smoke]) -> None:
    made = smoke(GOOD)
    assert made.passed, made.steps
    steps = ["bad input", "unknown operation", "unknown parameter", "goes on", "stop"]
    steps += ["end of input", "stdout", "stderr"]
    assert [s.name for s in made.steps] == ["starts", "handshake", *ASKED, *steps]
    assert all(step.passed for step in made.steps)
    assert "not asked here: more" in told(made, "handshake")


@pytest.mark.parametrize(
    "body",
    [
        # A file of questions may be answered in any order, once all of it is there.
        """
import select
waiting = []
for q in questions():
    waiting.append(q)
    while waiting and not select.select([sys.stdin], [], [], 0.1)[0]:
        send(answer(waiting.pop()))
while waiting: send(answer(waiting.pop()))
""",
        'for q in questions(): send(answer(q)); print("a line for people", file=sys.stderr)',
        'for q in questions(): send({**answer(q), "seconds": 1})',
        # Values are no matter of the smoke test, and neither is a dtype that is only the wrong one.
        'for q in questions(): send(edited(q, "round_half_even", "values", dtype="float64"))',
        'for q in questions(): send(edited(q, "pack", "packed", data=[0] * 8))',
        # Nothing is done yet, but all is said in a controlled way.
        'for q in questions(): send({"id": q["id"], "unsupported": "not yet"})',
    ],
)
def test_other_good_adapters(smoke: Callable[..., Smoke], body: str) -> None:
    made = smoke(body)
    assert made.passed, made.steps


PACK_ALONE = """
for q in questions():
    if q["operation"] == "pack": {}
    else: send(answer(q))
"""
EVERYTHING = {*ALL, "unknown operation", "end of input"}
BROKEN: dict[str, tuple[str, set[str], str]] = {
    # The start
    "ends at once": ("os._exit(7)", {"starts"}, "ended with code 7"),
    "says hello": (
        'print("Welcome!", flush=True)\n' + GOOD,
        {"handshake"},
        "only answers to stdout",
    ),
    "other protocol": (
        'READY = {**READY, "protocol": 2}\n' + GOOD,
        {"handshake"},
        "expected protocol 1, got protocol 2",
    ),
    "no handshake": ("for line in sys.stdin: send({})", {"handshake"}, "as first line, got"),
    # Crashes
    "crashes": ("for q in questions(): os._exit(3)", EVERYTHING, "ended with code 3"),
    "dies half way": (
        """
for n, q in enumerate(questions()):
    if n == 2: os._exit(4)
    send(answer(q))
""",
        {"config_round_trip", "unknown operation"},  # the third question of each process
        "ended with code 4",
    ),
    "dies of a signal": (
        PACK_ALONE.format("os.kill(os.getpid(), 11)"),
        {"pack"},
        "ended by signal 11",
    ),
    "dies of bad input": (
        """
for q in questions():
    if bad(q): os._exit(5)
    send(answer(q))
""",
        {"bad input"},
        "ended with code 5",
    ),
    "dies of the unknown": (
        """
for q in questions():
    if q["operation"] not in CANNED: os._exit(6)
    send(answer(q))
""",
        {"unknown operation"},
        "ended with code 6",
    ),
    "dies after an error": (
        """
failed = False
for q in questions():
    if failed: os._exit(8)
    failed = "no_such_parameter" in q["parameters"]
    send(answer(q))
""",
        {"goes on"},
        "ended with code 8",
    ),
    "ignores a parameter": (
        """
for q in questions():
    q["parameters"].pop("no_such_parameter", None)
    send(answer(q))
""",
        {"unknown parameter"},
        "expected unsupported, got outputs",
    ),
    # Lines that are no answers
    "prints before": ('for q in questions(): print("hello"); send(answer(q))', {"stdout"}, "hello"),
    "prints after": ('for q in questions(): send(answer(q)); print("done")', {"stdout"}, "done"),
    "prints garbage": (
        PACK_ALONE.format('print("hello", flush=True)'),
        {"pack"},
        "one line of JSON, got b'hello",
    ),
    "no object": (PACK_ALONE.format("send([answer(q)])"), {"pack"}, "JSON object"),
    "wrong id": (
        'for q in questions(): send({**answer(q), "id": "a"})',
        EVERYTHING,
        "Answer with the id of the question",
    ),
    "answers the question before": (
        """
last = {"id": "none", "unsupported": ""}
for q in questions():
    send(last)
    last = answer(q)
""",
        {*EVERYTHING, "stdout"},
        "each question once and in turn",
    ),
    "two kinds": (
        PACK_ALONE.format('send({**answer(q), "error": ""})'),
        {"pack"},
        "exactly one of",
    ),
    # Outputs of another form
    "wrong shape": (
        'for q in questions(): send(edited(q, "pack", "packed", shape=[2, 4]))',
        {"pack"},
        "expected packed of shape [8], got [2, 4]",
    ),
    "wrong dtype name": (
        'for q in questions(): send(edited(q, "abs_max_quantize", "scale", dtype="float"))',
        {"abs_max_quantize"},
        "outputs.scale.dtype",
    ),
    "too few values": (
        'for q in questions(): send(edited(q, "pack", "packed", data=[0]))',
        {"pack"},
        "as many values as the shape has",
    ),
    "values beyond the dtype": (
        'for q in questions(): send(edited(q, "pack", "packed", data=[300] * 8))',
        {"pack"},
        "values of",
    ),
    "missing output": (
        """
for q in questions():
    made = answer(q)
    if "outputs" in made:
        made["outputs"] = {k: v for k, v in made["outputs"].items() if k != "scale"}
    send(made)
""",
        {"abs_max_quantize"},
        "'scale' is a required property",
    ),
    # Kinds of answer
    "breaks always": (
        'for q in questions(): send({"id": q["id"], "error": "oh", "trace": "first\\nlast"})',
        {*ALL, "unknown operation"},
        "Mend what broke: last",
    ),
    "refuses the unknown": (
        """
for q in questions():
    if q["operation"] in CANNED: send(answer(q))
    else: send({"id": q["id"], "refused": "what?"})
""",
        {"unknown operation"},
        "expected unsupported, got refused",
    ),
    # The end
    "never ends": (GOOD + "time.sleep(60)", {"stop", "end of input"}, "still running"),
    "does not heed stop": (
        """
for line in sys.stdin:
    message = json.loads(line)
    if "start" in message: send({"ready": READY})
    elif "stop" not in message: send(answer(message))
""",
        {"stop"},
        'End at the line {"stop": {}}',
    ),
    "does not heed the end of input": (
        """
def questions():
    while True:
        line = sys.stdin.readline()
        message = json.loads(line) if line else time.sleep(0.1)
        if message is None: continue
        elif "start" in message: send({"ready": READY})
        elif "stop" in message: return
        else: yield message
"""
        + GOOD,
        {"end of input"},
        "End at the end of stdin",
    ),
    "leaves a child": (
        'subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])\n' + GOOD,
        {"stop", "end of input"},
        "expected no remaining process",
    ),
    "forgets what waits": (
        """
for q in questions():
    send(answer(q))
    if q["id"] == "smoke-first": break
""",
        {"end of input"},
        "expected answer to smoke-second",
    ),
    "floods stderr": (
        'for q in questions(): sys.stderr.write("x" * 300_000); send(answer(q))',
        {"stderr"},
        "expected at most 1048576 bytes",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_adapter(smoke: Callable[..., Smoke], name: str) -> None:
    body, where, says = BROKEN[name]
    made = smoke(body)
    assert failed(made) == where, made.steps
    first = next(step.name for step in made.steps if step.passed is False)
    assert says in told(made, first)
    assert all(step.mend for step in made.steps if step.passed is False)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("for q in questions(): time.sleep(60)", "got nothing"),
        ('for q in questions(): send(answer(q), end="")', "got half a line"),
        (
            'out = open(1, "w")\nfor q in questions(): out.write(json.dumps(answer(q)) + "\\n")',
            "only when the input ended",
        ),
        (
            """
waiting = []
for q in questions():
    waiting.append(q)
    if len(waiting) == 2:
        send(answer(waiting.pop())); send(answer(waiting.pop()))
""",
            "Answer each question before reading the next",
        ),
    ],
)
def test_an_adapter_that_keeps_one_waiting(
    smoke: Callable[..., Smoke], body: str, says: str
) -> None:
    """Each question costs the time limit, so that only two are tried."""
    made = smoke(body, limit=0.5)
    assert failed(made) == set(ASKED[:2])
    assert says in told(made, ASKED[0])
    assert "flush" in told(made, ASKED[0])
    assert {s.passed for s in made.steps if s.name in {*ASKED[2:], "stop", "end of input"}} == {
        None
    }


def test_one_hang_does_not_end_the_test(smoke: Callable[..., Smoke]) -> None:
    body = 'for q in questions():\n  if q["operation"] == "pack": time.sleep(60)\n  send(answer(q))'
    assert failed(smoke(body, limit=1.0)) == {"pack"}


def test_a_program_that_never_speaks(tmp_path: Path, asked: list[Probe]) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    target = ProcessTarget("process:test", command, start_limit=0.5)
    made = Smoke(target, asked, str)
    made.run()
    assert failed(made) == {"starts"}
    assert "--start-limit" in told(made, "starts")


def test_no_such_program(asked: list[Probe]) -> None:
    made = Smoke(ProcessTarget("process:test", ["./absent"]), asked, str)
    made.run()
    assert failed(made) == {"starts"}


# Questions


def test_one_legal_question_per_operation(cases: dict[str, Case]) -> None:
    chosen = probes(cases.values())
    expected = {case.operation for case in cases.values() if "forms" not in case.expected}
    assert {p.operation for p in chosen} == expected
    for probe in chosen:
        assert misfit(probe, operations.answer(probe.question)["outputs"]) is None
        if probe.operation != "calibration_processes":  # its processes break, each by itself
            assert "refused" in operations.answer(invalidate(probe.question)), probe.operation


@pytest.mark.everything
def test_wrong_values_fit_and_a_wrong_form_does_not_pass_the_suite_either(
    cases: dict[str, Case],
) -> None:
    """A mutant gives wrong values; the rare one with a wrong shape fails, or is an error."""
    asked = {p.operation: p for p in probes(cases.values())}
    sections = {case.operation: case.section for case in cases.values()}
    fitting = 0
    for mutant in mutants.MUTANTS:
        answer = mutants.load(mutant).answer
        for operation, probe in asked.items():
            if sections[operation] not in mutant.sections:
                continue  # it answers as the reference does
            try:
                with np.errstate(all="ignore"):  # of a cast beyond the range of int8, say
                    given = answer(probe.question)
            except (ArithmeticError, LookupError, TypeError, ValueError):
                continue  # it breaks down: an error of its own
            if "outputs" not in given:
                continue
            if misfit(probe, given["outputs"]) is None:
                fitting += 1
                continue
            question = decode(probe.question)
            case = next(
                case
                for case in cases.values()
                if case.operation == operation
                and case.question()["inputs"] == probe.question["inputs"]
                and case.parameters == question["parameters"]
            )
            try:
                findings = judge(case, decode(given), unit_roundoff=2.0**-24)
            except AnswerError:
                continue
            # The shape of a maximum over other axes is a known mistake, with its requirement.
            assert not all(finding.passed for finding in findings), mutant.id
    assert fitting > len(mutants.MUTANTS)


# The command


def test_a_mutant_is_no_broken_adapter(quantcheck: Any, tmp_path: Path) -> None:
    done = quantcheck("smoke", "mutant:rnd-half-up", "--json", "smoke.json")
    assert done.returncode == 0, done.stdout
    made = json.loads((tmp_path / "smoke.json").read_text(encoding="utf-8"))
    assert (made["exit_code"], made["target"]) == (0, "mutant:rnd-half-up")
    assert made["handshake"]["name"] == "mutant:rnd-half-up"
    shown = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("✓")]
    assert [["✓", step["name"].split()[0]] for step in made["steps"]] == shown


def test_a_program_that_is_no_adapter(quantcheck: Any) -> None:
    done = quantcheck("smoke", "process:cat")
    assert done.returncode == 3
    assert "✗ handshake" in done.stdout
    assert "process:cat: the adapter is broken" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("answers:file",),
        ("reference", "--time-limit", "0"),
        ("reference", "--start-limit", "-1"),
        ("reference", "--json", "absent/smoke.json"),
        ("reference", "reference"),
    ],
)
def test_usage(quantcheck: Any, arguments: tuple[str, ...]) -> None:
    done = quantcheck("smoke", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
