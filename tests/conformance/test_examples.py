"""Plain torch and plain JAX, each written from SPEC.md, pass in process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.requirement("VER-060")

EXAMPLES = Path(__file__).parents[2] / "conformance" / "examples"


@pytest.mark.everything
@pytest.mark.slow
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_passes_what_it_answers(
    quantcheck: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, framework: str
) -> None:
    pytest.importorskip(framework, reason=f"the example runs on {framework}")
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(EXAMPLES), before])))
    target = f"python:{framework}_gptq:answer"
    done = quantcheck(target, "--section", "gptq", "--json", "report.json")
    assert done.returncode == 0, done.stdout[-4000:]
    (made,) = json.loads((tmp_path / "report.json").read_text("utf-8"))["reports"]
    assert made["target"]["name"] == f"{framework}-gptq"
    assert made["target"]["precision"] == "float32"
    verdicts = {r["requirement"]["id"]: r["verdict"] for r in made["requirements"]}
    assert set(verdicts.values()) <= {"pass", "unsupported", "not covered"}
    assert any(case["examples"] > 1 for case in made["cases"])  # generated ones too
    core = ("GPTQ-010", "GPTQ-020", "GPTQ-030", "GPTQ-060", "GPTQ-070", "GPTQ-090")
    assert {verdicts[requirement] for requirement in core} == {"pass"}
