"""Fixtures of the suite's own tests: small targets made on the spot, small corpora."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from quantcheck.spec.places import directory
from quantcheck.wire import cases as vectors

READY = {"protocol": 1, "name": "small", "version": "1.0", "precision": "float32"}

PRELUDE = f"""
import json, os, sys, time
READY = {READY!r}
def send(thing):
    sys.stdout.write(json.dumps(thing) + "\\n"); sys.stdout.flush()
def questions():
    for line in sys.stdin:
        message = json.loads(line)
        if "start" in message:
            send({{"ready": READY}})
        elif "stop" in message:
            return
        else:
            yield message
"""

REPORTS = ("json", "html", "junit", "badge")
Script = Callable[[str], list[str]]
Corpus = Callable[[Iterable[str]], Path]
Quantcheck = Callable[..., subprocess.CompletedProcess[str]]
Process = subprocess.Popen[str]

# Where the tests run in the background of a shell, the signal would be ignored.
HEED = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Write a target as a program; returns its command."""
    made = 0

    def write(body: str) -> list[str]:
        nonlocal made
        made += 1
        path = tmp_path / f"target{made}.py"
        path.write_text(PRELUDE + body, encoding="utf-8")
        return [sys.executable, str(path)]

    return write


@pytest.fixture
def as_spec() -> Callable[[list[str]], str]:
    """Give the `process:` form of a command."""
    return lambda command: f"process:{shlex.join(command)}"


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Copy some of the published vectors, with a manifest of their own."""

    def copy(ids: Iterable[str]) -> Path:
        root = tmp_path / "vectors"
        files = {}
        for source in sorted(directory().glob("*/*.json")):
            if source.stem in set(ids):
                name = f"{source.parent.name}/{source.name}"
                (root / source.parent.name).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, root / name)
                files[name] = hashlib.sha256(source.read_bytes()).hexdigest()
        manifest: dict[str, Any] = {"files": files}
        (root / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")
        return root

    return copy


@pytest.fixture(scope="session")
def run_quantcheck() -> Quantcheck:
    """Run the command in a folder that is given."""

    def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "quantcheck", *arguments],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            timeout=600,
            check=False,
            env={**os.environ, **environment},
        )

    return run


@pytest.fixture
def quantcheck(tmp_path: Path, run_quantcheck: Quantcheck) -> Quantcheck:
    """Run the command in a folder of its own."""
    return functools.partial(run_quantcheck, tmp_path)


@pytest.fixture
def stopped(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Start the command, and stop it in its course; returns its exit code and what it printed."""

    def run(*arguments: str, when: str, stop: Callable[[Process], None]) -> tuple[int, str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HEED, "-m", "quantcheck", *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if when in line:
                break
        time.sleep(1.0)
        stop(process)
        shown = process.stdout.read()
        process.stdout.close()
        return process.wait(60), shown

    return run


@pytest.fixture(scope="session")
def ended() -> Callable[[int], bool]:
    """Whether a process has ended; it may take a moment."""

    def runs(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        stat = Path(f"/proc/{pid}/stat")
        return not (stat.exists() and " Z " in stat.read_text(encoding="utf-8"))

    def wait(pid: int) -> bool:
        for _ in range(100):
            if not runs(pid):
                return True
            time.sleep(0.1)
        return False

    return wait


@pytest.fixture(scope="session")
def cases() -> dict[str, vectors.Case]:
    """Give the published vectors by id, without those that `--large` asks."""
    return {case.id: case for case in vectors.load_all() if not case.large}


@pytest.fixture(scope="session")
def several(
    shared: Path, tmp_path_factory: pytest.TempPathFactory, run_quantcheck: Quantcheck
) -> Path:
    """A folder with every kind of report of one real run: a target that passes, one that fails.

    The processes of a test run share it.
    """
    folder = shared / "several"
    if folder.is_dir():
        return folder
    made = tmp_path_factory.mktemp("reports")
    targets = ("reference", "mutant:gptq-plain-rounding")
    sections = ("--section", "abs", "--section", "gptq", "--only", "vectors")
    files = [word for kind in REPORTS for word in (f"--{kind}", f"report.{kind}")]
    done = run_quantcheck(made, *targets, *sections, *files)
    assert done.returncode == 1, done.stdout + done.stderr
    assert {path.name for path in made.iterdir()} == {f"report.{kind}" for kind in REPORTS}
    (made / "printed").write_text(done.stdout, encoding="utf-8")
    with suppress(OSError):  # another process was faster
        made.rename(folder)
    return folder


@pytest.fixture
def document(several: Path) -> dict[str, Any]:
    """Give the JSON report of that run, to read or to change."""
    made: dict[str, Any] = json.loads((several / "report.json").read_text(encoding="utf-8"))
    return made


@pytest.fixture(scope="session")
def contrast() -> Callable[[str, str], float]:
    """Contrast of two colours #rrggbb, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        shares = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def measure(one: str, other: str) -> float:
        low, high = sorted((luminance(one), luminance(other)))
        return (high + 0.05) / (low + 0.05)

    return measure
