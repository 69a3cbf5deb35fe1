"""Keras as released: the causes of the deviation files predict every failure, on every backend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from quantcheck import deviations
from quantcheck.targets import compilation_cache

from .releases import RELEASES, backends, environment, marks, missing

# Compiling takes JAX longest: it goes first.
RUNS = [
    pytest.param(
        f"{version}-{backend}",
        marks=marks(version, backend),
    )
    for version in reversed(RELEASES)
    for backend in backends(version)
]
# Generated cases on one backend, for time; `quantcheck keras:jax keras:tensorflow …` asks them all.
GENERATED = (f"{RELEASES[-1]}-numpy",)


def _quantcheck(run: str, folder: Path, shared: Path) -> subprocess.CompletedProcess[str]:
    version, _, backend = run.partition("-")
    command = [sys.executable, "-m", "quantcheck", f"keras:{backend}"]
    command += ["--json", "report.json", "--write-deviations", "deviations.json"]
    command += ["--workers", "1"]
    if run not in GENERATED:
        command += ["--only", "vectors"]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **compilation_cache(shared / "jax"), **environment(version, shared)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.slow
@pytest.mark.apart
@pytest.mark.parametrize("run", RUNS)
def test_every_failure_is_known(run: str, tmp_path: Path, shared: Path) -> None:
    version, _, backend = run.partition("-")
    if missing(backend):
        pytest.skip(missing(backend))
    process = _quantcheck(run, tmp_path, shared)
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-4000:]
    (made,) = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["reports"]
    assert (made["target"]["version"], made["target"]["backend"]) == (version, backend)
    assert made["complete"]
    lines = [line for row in made["requirements"] for line in row.get("reproduction", [])]
    named = {line for line in lines if "KERAS_BACKEND" in line}
    assert named == {f'os.environ["KERAS_BACKEND"] = "{backend}"'}  # that of the run
    before = json.loads(
        (deviations.DIRECTORY / made["deviations"]["name"]).read_text(encoding="utf-8")
    )
    after = json.loads((tmp_path / "deviations.json").read_text(encoding="utf-8"))
    assert after == before
