"""The Rust example, written from SPEC.md alone, passes all sections."""

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

MANIFEST = (EXAMPLES / "rust" / "Cargo.toml").as_posix()
SECTIONS = ("cfg", "rnd", "aff", "abs", "pack", "hes", "gptq", "lay", "cal", "four")

NOT_KNOWN = {
    "lay": {f"the parameter {name} is not known" for name in ("place", "policy", "use")},
    "cal": {f"the target has no {name}dense_calibrated" for name in ("", "einsum_")},
}
BEYOND_FLOAT32 = {"LAY-200", "LAY-210", "LAY-220", "LAY-230", "LAY-240", "LAY-250"}
"""Its layers are functions in float32: nothing is compiled or cloned."""


def _has_cargo() -> bool:
    """Tell whether cargo runs; rustup installs one that does not without a default toolchain."""
    if shutil.which("cargo") is None:
        return False
    return subprocess.run(["cargo", "--version"], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.everything,
    pytest.mark.skipif(not _has_cargo(), reason="the example needs cargo, and none runs here"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The compiled example; the checkout stays as it is."""
    target = tmp_path_factory.mktemp("target")
    build = ["cargo", "build", "--release", "--locked", "--offline", "--jobs", "1"]
    places = ["--manifest-path", MANIFEST, "--target-dir", str(target)]
    run = subprocess.run([*build, *places], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return (target / "release" / "quantizer").as_posix()


@pytest.fixture(scope="module")
def asked(program: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report on the program in all sections."""
    file = tmp_path_factory.mktemp("asked") / "report.json"
    return report_of(f"process:{program}", file, SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_answered_and_right(section: str, asked: dict[str, Any]) -> None:
    cases = [case for case in asked["cases"] if case["section"] == section]
    assert cases
    others = [case for case in cases if case["verdict"] != "pass"]
    messages = {judged["message"] for case in others for judged in case["judgements"]}
    assert messages == NOT_KNOWN.get(section, set())


def test_every_requirement_that_was_asked_about_passes(asked: dict[str, Any]) -> None:
    assert asked["asked"] == asked["selected"] > 300
    assert asked["target"]["precision"] == "float64"
    found = verdicts(asked)
    assert {name for name in found if found[name] != "pass"} == BEYOND_FLOAT32
    assert {found[name] for name in BEYOND_FLOAT32} == {"unsupported"}


def test_answers_in_a_file_get_the_same_verdicts(
    program: str, asked: dict[str, Any], tmp_path: Path
) -> None:
    questions, answers = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    assert quantcheck("--questions", str(questions)).returncode == 0
    with questions.open("rb") as source, answers.open("wb") as sink:
        subprocess.run([program], stdin=source, stdout=sink, check=True)
    written = report_of(f"answers:{answers}", tmp_path / "report.json", SECTIONS)
    assert verdicts(written) == verdicts(asked)


def test_it_does_what_the_protocol_asks(program: str) -> None:
    run = quantcheck("smoke", f"process:{program}")
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_first_rule_that_applies_decides(program: str) -> None:
    require_rules([program])


def test_stop_ends_it(program: str) -> None:
    assert answer_lines([program], '{"stop": {}}\n{"start": {"protocol": 1}}\n') == []
