"""Broken targets: each breaks in its own way, and the client says how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quantcheck.errors import (
    TargetCrashed,
    TargetError,
    TargetProtocolError,
    TargetTimeout,
)
from quantcheck.targets.process import ProcessTarget

pytestmark = pytest.mark.requirement("VER-040")

QUESTION = {"id": "a", "operation": "pack", "parameters": {}, "inputs": {}}
GOOD = 'for q in questions(): send({"id": q["id"], "outputs": {}})'


def ask(command: list[str], **options: Any) -> dict[str, Any]:
    with ProcessTarget("process:test", command, **options) as target:
        return target.ask(QUESTION)


def test_answers(script: Any) -> None:
    assert ask(script(GOOD)) == {"id": "a", "outputs": {}}


def test_handshake(script: Any) -> None:
    with ProcessTarget("process:test", script(GOOD)) as target:
        assert (target.handshake.name, target.handshake.version) == ("small", "1.0")
        assert target.handshake.unit_roundoff == 2.0**-24


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ("for q in questions(): os._exit(3)", TargetCrashed, "code 3"),
        ("for q in questions(): os.kill(os.getpid(), 9)", TargetCrashed, "signal 9"),
        ('for q in questions(): sys.stdout.write("{"); os._exit(0)', TargetCrashed, "answer to a"),
        (
            'for q in questions(): sys.stdout.write("{1"); sys.stdout.flush(); os._exit(0)',
            TargetCrashed,
            "half a line",
        ),
        ('for q in questions(): print("hello", flush=True)', TargetProtocolError, "hello"),
        ("for q in questions(): send([1])", TargetProtocolError, "JSON object"),
        (
            'for q in questions(): send({"id": "b", "outputs": {}})',
            TargetProtocolError,
            "id 'a'",
        ),
        ('for q in questions(): send({"id": "a"})', TargetProtocolError, "exactly one of"),
        (
            'for q in questions(): send({"id": "a", "outputs": {}, "refused": ""})',
            TargetProtocolError,
            "exactly one of",
        ),
        ("for q in questions(): time.sleep(60)", TargetTimeout, "within 0.5 s"),
    ],
)
def test_broken_answer(script: Any, body: str, kind: type[TargetError], says: str) -> None:
    with pytest.raises(kind) as caught:
        ask(script(body), time_limit=0.5 if kind is TargetTimeout else 20.0)
    assert says in str(caught.value)
    assert "expected" in str(caught.value)
    assert "got" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("os._exit(1)", TargetCrashed),
        ("time.sleep(60)", TargetTimeout),
        ('print("welcome", flush=True); time.sleep(60)', TargetProtocolError),
        ('send({"ready": 1})', TargetProtocolError),
        ('send({"ready": {**READY, "protocol": 2}})', TargetProtocolError),
        ('send({"ready": {**READY, "precision": "float8"}})', TargetProtocolError),
        ('send({"ready": {**READY, "name": ""}})', TargetProtocolError),
    ],
)
def test_broken_start(script: Any, body: str, kind: type[TargetError]) -> None:
    limit = 0.5 if kind is TargetTimeout else 20.0
    with pytest.raises(kind), ProcessTarget("process:test", script(body), start_limit=limit):
        pass


def test_no_such_program() -> None:
    with pytest.raises(TargetCrashed, match="no-such-program"):
        ask(["./no-such-program"])


def test_stderr_flood_does_not_block_and_is_kept(script: Any) -> None:
    body = """
for q in questions():
    sys.stderr.write("x" * 5_000_000 + "the end")
    sys.stderr.flush()
    os._exit(1)
"""
    with pytest.raises(TargetCrashed) as caught:
        ask(script(body))
    assert caught.value.stderr.endswith("the end")
    assert len(caught.value.stderr) == 64 * 1024


def test_question_larger_than_a_pipe_to_a_target_that_does_not_read(script: Any) -> None:
    body = """
sys.stdin.readline()
send({"ready": READY})
time.sleep(60)
"""
    large = {**QUESTION, "inputs": {"x": ["0"] * 1_000_000}}
    command = script(body)
    with (
        ProcessTarget("process:test", command, time_limit=0.5) as target,
        pytest.raises(TargetTimeout),
    ):
        target.ask(large)


def test_restarted_after_a_crash_but_not_for_ever(script: Any) -> None:
    command = script("for q in questions(): os._exit(3)")
    with ProcessTarget("process:test", command, restarts=2) as target:
        for _ in range(3):
            with pytest.raises(TargetCrashed, match="code 3"):
                target.ask(QUESTION)
        with pytest.raises(TargetCrashed, match="not started again"):
            target.ask(QUESTION)


def test_dies_half_way_and_goes_on(script: Any, tmp_path: Path) -> None:
    flag = tmp_path / "died"
    body = f"""
for q in questions():
    if q["id"] == "b" and not os.path.exists({str(flag)!r}):
        open({str(flag)!r}, "w").close()
        os._exit(1)
    send({{"id": q["id"], "outputs": {{}}}})
"""
    with ProcessTarget("process:test", script(body)) as target:
        assert "outputs" in target.ask({**QUESTION, "id": "a"})
        with pytest.raises(TargetCrashed):
            target.ask({**QUESTION, "id": "b"})
        assert "outputs" in target.ask({**QUESTION, "id": "c"})


def test_no_process_is_left_behind(script: Any, tmp_path: Path, ended: Any) -> None:
    note = tmp_path / "pids"
    body = f"""
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(note)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
for q in questions(): send({{"id": q["id"], "outputs": {{}}}})
"""
    ask(script(body))
    for pid in map(int, note.read_text().split()):
        assert ended(pid), f"process {pid} still runs"
