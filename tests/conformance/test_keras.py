"""Keras as released: the deviation files say all there is to say, on every backend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from quantcheck import deviations

from .releases import RELEASES, backends, compiled, environment, missing

# Compiling takes JAX longest: it goes first.
RUNS = [f"{version}-{backend}" for version in reversed(RELEASES) for backend in backends(version)]
# Generated cases on one backend, for time; `quantcheck keras:jax keras:tensorflow …` asks them all.
GENERATED = (f"{RELEASES[-1]}-numpy",)
Done = Callable[[str], tuple[subprocess.CompletedProcess[str], Path]]


@pytest.fixture(scope="session")
def done(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Done]:
    """Give the end of a run by its name; all that were selected run two at a time."""
    parameters = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = {p.params["run"] for p in parameters if p and "run" in p.params}
    folder = tmp_path_factory.mktemp("keras")
    with ThreadPoolExecutor(max_workers=2) as executor:
        futures = {
            run: executor.submit(_quantcheck, run, folder)
            for run in RUNS
            if run in chosen and not missing(run.partition("-")[2])
        }
        yield lambda run: (futures[run].result(), folder / run)
        executor.shutdown(cancel_futures=True)


def _quantcheck(run: str, folder: Path) -> subprocess.CompletedProcess[str]:
    version, _, backend = run.partition("-")
    base = folder.parent
    (folder / run).mkdir()
    command = [sys.executable, "-m", "quantcheck", f"keras:{backend}"]
    command += ["--json", "report.json", "--write-deviations", "deviations.json"]
    command += ["--workers", "1"]
    if run not in GENERATED:
        command += ["--only", "vectors"]
    return subprocess.run(
        command,
        cwd=folder / run,
        env={**os.environ, **compiled(base / "jax"), **environment(version, base)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_every_failure_is_known(done: Done, run: str) -> None:
    version, _, backend = run.partition("-")
    if missing(backend):
        pytest.skip(missing(backend))
    process, folder = done(run)
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-4000:]
    (made,) = json.loads((folder / "report.json").read_text(encoding="utf-8"))["reports"]
    assert (made["target"]["version"], made["target"]["backend"]) == (version, backend)
    assert made["complete"]
    before = json.loads(
        (deviations.DIRECTORY / made["deviations"]["name"]).read_text(encoding="utf-8")
    )
    after = json.loads((folder / "deviations.json").read_text(encoding="utf-8"))
    assert _said(after) == _said(before)


def _said(file: dict[str, Any]) -> set[tuple[str, ...]]:
    return {
        (entry["requirement"], case, backend, entry["reason"])
        for entry in file["deviations"]
        for case in entry["cases"]
        for backend in entry["backends"]
    }
