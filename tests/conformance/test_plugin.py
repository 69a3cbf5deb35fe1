"""The suite under pytest: a test for each vector and property, with the verdict as its outcome."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from quantcheck.report.document import schema

SUITE = ("--pyargs", "quantcheck.suite", "-c", os.devnull, "--import-mode=importlib")
PLUGIN = ("-p", "quantcheck.plugin", "-p", "no:cacheprovider")


def under_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-rA", *SUITE, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_test_for_each_case_and_each_property(tmp_path: Path) -> None:
    options = ("--target", "reference", "--section", "rnd", "--quantcheck-report", "r.json")
    done = under_pytest(tmp_path, *PLUGIN, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    document: dict[str, Any] = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema())
    (made,) = document["reports"]
    assert made["complete"]
    assert {case["section"] for case in made["cases"]} == {"rnd"}
    for case in made["cases"]:
        name = "property" if case["case"].startswith("prop-") else "section"
        assert f"::test_{name}[{case['case']}]" in done.stdout
    assert f"{made['selected']} passed" in done.stdout


def test_a_mutant_fails_and_says_why(tmp_path: Path) -> None:
    options = ("--target", "mutant:rnd-half-up", "--only", "vectors", "-k", "rnd-ties")
    done = under_pytest(tmp_path, *PLUGIN, *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "fail: RND-010 case rnd-ties-float32" in done.stdout
    assert "prop-" not in done.stdout


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ((), 2, "UsageError: expected --target, got none"),
        (("--target", "nonsense"), 2, "UnknownTargetError"),
        (("--target", "reference", "--workers", "0"), 2, "UsageError: expected --workers"),
        (("--target", "process:false"), 3, "TargetCrashed"),
        (("--target", "reference", "-k", "no-such-case"), 4, "SuiteError: expected cases to ask"),
    ],
)
def test_what_ends_a_run_before_its_first_test(
    tmp_path: Path, options: tuple[str, ...], code: int, says: str
) -> None:
    done = under_pytest(tmp_path, *PLUGIN, *options)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stdout + done.stderr


def test_without_the_plugin_there_is_nothing_to_ask(tmp_path: Path) -> None:
    done = under_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "needs a target" in done.stdout
