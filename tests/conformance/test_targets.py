"""Names of targets, and the server loop that Python targets share."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from quantcheck.errors import TargetCrashed, UnknownTargetError
from quantcheck.targets import KERAS_BACKENDS, list_targets, open_process, open_target
from quantcheck.wire.arrays import decode_array, encode

X = encode({"x": decode_array({"dtype": "float32", "shape": [1], "data": [2.5]})})
QUESTION = {"id": "a", "operation": "round_half_even", "parameters": {}, "inputs": X}


@pytest.mark.parametrize(
    "spec",
    ["", "nonsense", "keras", "keras:mxnet", "mutant", "python:only", "process:", "process:'"],
)
def test_unknown_target_lists_what_exists(spec: str) -> None:
    with pytest.raises(UnknownTargetError) as caught:
        open_target(spec)
    assert "keras:jax" in str(caught.value) or "shell syntax" in str(caught.value)


@pytest.mark.parametrize("backend", KERAS_BACKENDS)
def test_every_backend_has_a_target(backend: str) -> None:
    assert open_process(f"keras:{backend}").command[-1] == backend
    assert f"keras:{backend}" in {name for name, _ in list_targets()}


def test_reference_answers() -> None:
    with open_target("reference") as target:
        answer = target.ask(QUESTION)
    assert answer["outputs"]["values"]["data"] == [2.0]


def test_unknown_mutant_says_which_exist() -> None:
    with pytest.raises(TargetCrashed) as caught, open_target("mutant:nonsense"):
        pass
    assert "rnd-half-up" in caught.value.stderr


def test_python_target_prints_to_stderr_and_cannot_kill_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        """
import os
class Mine:
    name = "mine"; version = "7"
    def answer(self, question):
        print("a line for people")
        os.system("echo a line of a child")
        if question["id"] == "die": os._exit(9)
        if question["id"] == "raise": raise RuntimeError("oh")
        return {"outputs": {}}
""",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    with open_target("python:mine:Mine") as target:
        assert (target.handshake.name, target.handshake.version) == ("mine", "7")
        assert target.ask(QUESTION) == {"id": "a", "outputs": {}}
        assert _within_a_second(lambda: "a line for people" in target.stderr)
        broken = target.ask({**QUESTION, "id": "raise"})
        assert broken["error"] == "RuntimeError: oh"
        assert "Traceback" in broken["trace"]
        with pytest.raises(TargetCrashed, match="code 9"):
            target.ask({**QUESTION, "id": "die"})


def test_python_target_that_is_no_target() -> None:
    with pytest.raises(TargetCrashed) as caught, open_target("python:sys:version"):
        pass
    assert "expected a callable" in caught.value.stderr


@pytest.mark.skipif(not (find_spec("keras") and find_spec("jax")), reason="needs Keras on JAX")
def test_keras_answers() -> None:
    with open_target("keras:jax") as target:
        handshake = target.handshake
        assert (handshake.name, handshake.backend) == ("keras", "jax")
        assert target.ask(QUESTION)["outputs"]["values"]["data"] == [2.0]
        hessian = {"hessian": {"dtype": "float64", "shape": [1, 1], "data": [2.0]}}
        factor = {"id": "a", "operation": "factor", "parameters": {}, "inputs": hessian}
        assert "unsupported" in target.ask(factor)
        bits: dict[str, Any] = {"bits": 2, "axis": 0}
        codes = {"codes": {"dtype": "int8", "shape": [1], "data": [1]}}
        pack = {"id": "b", "operation": "pack", "parameters": bits, "inputs": codes}
        assert "4 bits" in target.ask(pack)["unsupported"]
        config = {"class": "GPTQConfig", "arguments": {"weight_bits": 5}}
        refused = {"id": "c", "operation": "config_round_trip", "parameters": config, "inputs": {}}
        assert target.ask(refused)["type"] == "ValueError"


def test_workers_run_this_python() -> None:
    assert open_process("reference").command[0] == sys.executable


def _within_a_second(holds: Callable[[], bool]) -> bool:
    for _ in range(20):
        if holds():
            return True
        time.sleep(0.05)
    return False
