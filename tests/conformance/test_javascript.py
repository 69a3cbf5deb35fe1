"""The JavaScript example, written from SPEC.md alone, passes its sections through both doors."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.example_programs import (
    EXAMPLES,
    ROOT,
    answer_lines,
    quantcheck,
    report_of,
    require_rules,
    verdicts,
)

PROGRAM = (EXAMPLES / "javascript" / "quantizer.mjs").as_posix()
COMMAND = ["node", PROGRAM]
SECTIONS = ("rnd", "aff", "abs", "pack", "hes", "gptq", "four")
LACKS = {"config_round_trip"}
OF_CONFIGS = {
    "FOUR-140",
    "FOUR-150",
    "FOUR-160",
    "FOUR-170",
    "FOUR-180",
    "CFG-050",
    "CFG-090",
    "CFG-140",
}

pytestmark = [
    pytest.mark.everything,
    pytest.mark.skipif(
        shutil.which("node") is None, reason="the example needs node, which is not installed"
    ),
]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report on the program, asked question by question."""
    file = tmp_path_factory.mktemp("asked") / "report.json"
    return report_of(f"process:node {PROGRAM}", file, SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_answered_and_right(section: str, asked: dict[str, Any]) -> None:
    cases = [case for case in asked["cases"] if case["section"] == section]
    wrong = [case["case"] for case in cases if case["verdict"] not in ("pass", "unsupported")]
    lacking = {case["operation"] for case in cases if case["verdict"] == "unsupported"}
    assert cases
    assert wrong == []
    assert lacking <= LACKS


def test_every_requirement_that_was_asked_about_passes(asked: dict[str, Any]) -> None:
    assert asked["asked"] == asked["selected"]
    assert asked["target"]["precision"] == "float64"
    found = verdicts(asked)
    others = {name for name, verdict in found.items() if verdict != "pass"}
    assert others <= OF_CONFIGS
    assert {found[name] for name in others} == {"unsupported"}


def test_answers_in_a_file_get_the_same_verdicts(asked: dict[str, Any], tmp_path: Path) -> None:
    questions, answers = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    assert quantcheck("--questions", str(questions)).returncode == 0
    with questions.open("rb") as source, answers.open("wb") as sink:
        subprocess.run(COMMAND, cwd=ROOT, stdin=source, stdout=sink, check=True)
    written = report_of(f"answers:{answers}", tmp_path / "report.json", SECTIONS)
    assert verdicts(written) == verdicts(asked)
    assert {case["case"]: case["verdict"] for case in written["cases"]} == {
        case["case"]: case["verdict"] for case in asked["cases"]
    }


def test_it_does_what_the_protocol_asks() -> None:
    run = quantcheck("smoke", f"process:node {PROGRAM}")
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_first_rule_that_applies_decides() -> None:
    require_rules(COMMAND)


def test_a_broken_line_is_an_error_and_the_rest_is_answered() -> None:
    x = {"dtype": "float64", "shape": [3], "data": [1e30, -1e30, -2.5]}
    question = {"operation": "saturating_cast", "parameters": {"dtype": "int64"}}
    short = {**x, "shape": [4]}
    text = "\n".join(
        [
            "{",
            json.dumps({"id": "short", **question, "inputs": {"x": short}}),
            json.dumps({"id": "unknown", **question, "operation": "dither", "inputs": {"x": x}}),
            json.dumps({"id": "right", **question, "inputs": {"x": x}}),
        ]
    )
    broken, malformed, unknown, right = answer_lines(COMMAND, text)  # no stop, no last line feed
    assert {"error", "trace"} <= set(broken)
    assert {"error", "trace"} <= set(malformed)
    assert set(unknown) == {"id", "unsupported"}
    codes = right["outputs"]["codes"]
    assert codes == {"dtype": "int64", "shape": [3], "data": [2**63 - 1, -(2**63), -2]}


def test_the_largest_integers_are_read_and_stop_ends_it() -> None:
    codes = {"dtype": "int64", "shape": [2], "data": [2**63 - 1, -(2**63)]}
    scale = {"dtype": "float64", "shape": [1], "data": [1.0]}
    question = {"id": "a", "operation": "abs_max_dequantize", "parameters": {}}
    text = json.dumps({**question, "inputs": {"codes": codes, "scale": scale}})
    (answer,) = answer_lines(COMMAND, text + '\n{"stop": {}}\n' + text)
    assert [float(value) for value in answer["outputs"]["values"]["data"]] == [2.0**63, -(2.0**63)]
