"""Each known deviation of Keras is shown by the lines that its entry prints.  [VER-020]"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quantcheck import deviations

pytest.importorskip("keras", reason="the lines are plain Keras")

# Runs every program of a list in one process, so that Keras is imported once.
RUNNER = """
import contextlib, io, json, sys
for program in json.load(sys.stdin):
    out, raised = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(out):
            exec(compile("\\n".join(program), "reproduction", "exec"), {})
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
    print(json.dumps({"out": out.getvalue(), "raised": raised}), flush=True)
"""


def _entries() -> list[dict[str, Any]]:
    files = sorted(deviations.DIRECTORY.glob("keras-*.json"))
    return [
        entry
        for file in files
        for entry in json.loads(file.read_text(encoding="utf-8"))["deviations"]
    ]


def _backend(entry: dict[str, Any]) -> str:
    (line,) = (line for line in entry["reproduction"] if "KERAS_BACKEND" in line)
    return str(line.split('"')[3])


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "numpy"])
def test_the_lines_show_it(root: Path, backend: str) -> None:
    entries = [entry for entry in _entries() if _backend(entry) == backend]
    assert entries
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps([entry["reproduction"] for entry in entries]),
        capture_output=True,
        text=True,
        cwd=root,
        env=os.environ | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
        check=False,
    )
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(results) == len(entries), done.stderr[-2000:]
    for entry, result in zip(entries, results, strict=True):
        expected = entry["reproduction"][-1]
        assert expected.startswith("# "), entry["id"]
        if "got a refusal" in expected or "the target failed" in expected:
            assert result["raised"], entry["id"]
        else:
            assert result["out"].strip(), (entry["id"], result["raised"])
            assert not result["raised"], (entry["id"], result["raised"])
