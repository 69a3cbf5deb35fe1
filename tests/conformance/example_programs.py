"""What the tests of example programs share: how to run and judge one, and lines to answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLES = Path("conformance", "examples")

_X = {"dtype": "float32", "shape": [2], "data": [0.5, 1.5]}
_ROUND = {"id": "a", "operation": "round_half_even", "parameters": {}, "inputs": {"x": _X}}
_AXES = {
    "axis": 0,
    "value_range": [-127, 127],
    "epsilon": 1e-7,
    "output_dtype": "int8",
}
_ABS_MAX = {"id": "a", "operation": "abs_max_quantize", "parameters": _AXES, "inputs": {"x": _X}}


def _with_x(**parts: Any) -> dict[str, Any]:
    return {**_ROUND, "inputs": {"x": {**_X, **parts}}}


def _dequantize(codes: list[int], zero_points: list[int]) -> dict[str, Any]:
    inputs = {
        "codes": {"dtype": "int64", "shape": [1, 1], "data": codes},
        "scale": {"dtype": "float32", "shape": [1, 1], "data": [0.5]},
        "zero_point": {"dtype": "int64", "shape": [1, 1], "data": zero_points},
        "g_idx": {"dtype": "int32", "shape": [1], "data": [0]},
    }
    return {"id": "a", "operation": "affine_dequantize", "parameters": {}, "inputs": inputs}


_BEYOND_BINARY64 = json.dumps(_with_x(data=[1, 1])).replace("1]}", "1e999]}")

ANSWERED: list[tuple[str, dict[str, Any], list[float]]] = [
    ("right", _ROUND, [0, 2]),
    ("another name in a question", {**_ROUND, "more": 1}, [0, 2]),
    ("a number between two of its dtype", _with_x(data=[0.1, 0.50000000001]), [0, 0]),
    ("a whole number as integer", _with_x(data=[1, 16777217]), [1, 16777216]),
    ("bfloat16 between two numbers", _with_x(dtype="bfloat16", data=[257, 259]), [256, 260]),
    ("float16 below the normal ones", _with_x(dtype="float16", data=[1e-9, 65519]), [0, 65504]),
    ("a negative zero-point", _dequantize([3], [-1]), [2]),
    ("codes of 64 bits that differ by one", _dequantize([2**63 - 1], [2**63 - 2]), [0.5]),
]
"""Questions whose answer is `values` with these numbers."""

NOT_ANSWERED: list[tuple[str, str, str]] = [
    ("nothing", "", "error"),
    ("no JSON", "{", "error"),
    ("a list", "[1]", "error"),
    ("a number", "5", "error"),
    ("null", "null", "error"),
    ("no operation", '{"id": "a"}', "error"),
    ("an empty id", json.dumps({**_ROUND, "id": ""}), "error"),
    ("inputs that are a list", json.dumps({**_ROUND, "inputs": []}), "error"),
    ("no input x", json.dumps({**_ROUND, "inputs": {}}), "error"),
    ("no parameter dtype", json.dumps({**_ROUND, "operation": "saturating_cast"}), "error"),
    ("an unknown operation", json.dumps({**_ROUND, "operation": "dither"}), "unsupported"),
    ("an unknown parameter", json.dumps({**_ROUND, "parameters": {"mode": 1}}), "unsupported"),
    ("an unknown input", json.dumps({**_ROUND, "inputs": {"x": _X, "y": _X}}), "unsupported"),
    ("another name in an array", json.dumps(_with_x(order="C")), "error"),
    ("a dtype that does not exist", json.dumps(_with_x(dtype="bool")), "error"),
    ("a number beyond its dtype", json.dumps(_with_x(data=[1, 1e39])), "error"),
    ("a number beyond binary64", _BEYOND_BINARY64, "error"),
    ("an integer beyond its dtype", json.dumps(_with_x(dtype="int8", data=[1, 300])), "error"),
    ("too few numbers", json.dumps(_with_x(shape=[3])), "error"),
    ("no array", json.dumps({**_ROUND, "inputs": {"x": None}}), "error"),
    ("a list in place of an array", json.dumps({**_ROUND, "inputs": {"x": [_X]}}), "refused"),
    ("integers in place of floats", json.dumps(_with_x(dtype="int8", data=[1, 2])), "refused"),
    (
        "an array in place of a list",
        json.dumps({**_ROUND, "operation": "hessian", "inputs": {"batches": _X}}),
        "refused",
    ),
    (
        "a boolean in place of an integer",
        json.dumps({**_ABS_MAX, "parameters": {**_AXES, "axis": True}}),
        "refused",
    ),
    (
        "a string in place of a number",
        json.dumps({**_ABS_MAX, "parameters": {**_AXES, "epsilon": "NaN"}}),
        "refused",
    ),
]  # fmt: skip
"""Lines that are not answered with outputs, and what the first rule of section 12 says."""


def quantcheck(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in the checkout, where the examples are."""
    return subprocess.run(
        [sys.executable, "-m", "quantcheck", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def report_of(target: str, file: Path, sections: Sequence[str]) -> dict[str, Any]:
    """Return the report on a target in some sections, which has to pass."""
    chosen = [word for section in sections for word in ("--section", section)]
    run = quantcheck(target, "--json", str(file), *chosen)
    assert run.returncode == 0, run.stdout + run.stderr
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["reports"][0]
    assert report["complete"]
    return report


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    """Return the verdict of each requirement that a case speaks about."""
    return {
        entry["requirement"]["id"]: entry["verdict"]
        for entry in report["requirements"]
        if entry["verdict"] != "not covered"
    }


def answer_lines(command: Sequence[str], text: str) -> list[dict[str, Any]]:
    """Return what a program answers to lines of text."""
    run = subprocess.run(
        list(command), cwd=ROOT, input=text.encode(), capture_output=True, check=True
    )
    assert run.stderr == b""
    return [json.loads(line) for line in run.stdout.splitlines()]


def require_rules(command: Sequence[str]) -> None:
    """Ask all lines of this module, and compare the answers with the rules of section 12."""
    lines = [json.dumps(question) for _, question, _ in ANSWERED]
    lines += [line for _, line, _ in NOT_ANSWERED]
    answers = answer_lines(command, "\n".join(lines) + "\n")
    assert len(answers) == len(lines)
    for (title, _, numbers), answer in zip(ANSWERED, answers, strict=False):
        assert answer.get("outputs", {}).get("values", {}).get("data") == numbers, (title, answer)
    for (title, line, kind), answer in zip(NOT_ANSWERED, answers[len(ANSWERED) :], strict=True):
        assert kind in answer, (title, answer)
        assert len({"outputs", "refused", "unsupported", "error"} & set(answer)) == 1, title
        named = line.startswith('{"id": "a"')
        assert answer["id"] == ("a" if named else "" if title == "an empty id" else None), title
