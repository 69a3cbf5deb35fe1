"""Each known deviation of Keras is shown by the lines that its entry prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quantcheck import deviations
from quantcheck.report.reproduction import on_backend
from quantcheck.targets import compilation_cache

from .releases import RELEASES, backends, environment, marks, missing

pytestmark = pytest.mark.requirement("VER-120")

pytest.importorskip("keras", reason="the lines are plain Keras")

# Runs every program of a list in one process, so that Keras is imported once.
RUNNER = """
import contextlib, gc, io, json, sys
for program in json.load(sys.stdin):
    gc.collect()
    gc.freeze()  # Keras collects garbage after every layer: not over all that is loaded
    out, raised = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(out):
            exec(compile("\\n".join(program), "reproduction", "exec"), {})
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
    import keras
    told = {"out": out.getvalue(), "raised": raised, "version": keras.__version__}
    print(json.dumps(told), flush=True)
"""


def _entries(version: str) -> list[dict[str, Any]]:
    file = deviations.DIRECTORY / f"keras-{version}.json"
    entries: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["deviations"]
    return entries


@pytest.mark.everything
@pytest.mark.slow
@pytest.mark.apart
@pytest.mark.parametrize(
    ("version", "backend"),
    [
        pytest.param(version, backend, marks=marks(version, backend))
        for version in RELEASES
        for backend in backends(version)
    ],
)
def test_the_lines_show_it(root: Path, shared: Path, version: str, backend: str) -> None:
    if missing(backend):
        pytest.skip(missing(backend))
    entries = [entry for entry in _entries(version) if backend in entry["backends"]]
    assert entries
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps([on_backend(entry["reproduction"], backend) for entry in entries]),
        capture_output=True,
        text=True,
        cwd=root,
        env={
            **os.environ,
            **compilation_cache(shared / "jax"),
            **environment(version, shared),
            "KERAS_BACKEND": backend,
            "JAX_PLATFORMS": "cpu",
        },
        check=False,
    )
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(results) == len(entries), done.stderr[-2000:]
    for entry, result in zip(entries, results, strict=True):
        assert result["version"] == version
        expected = entry["reproduction"][-1]
        assert expected.startswith("# "), entry["id"]
        failing = ("got a refusal", "the target failed", "got AttributeError")
        if any(words in expected for words in failing):
            assert result["raised"], entry["id"]
        else:
            assert result["out"].strip(), (entry["id"], result["raised"])
            assert not result["raised"], (entry["id"], result["raised"])
