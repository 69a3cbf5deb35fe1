"""The released Keras versions that have a deviation file, each importable beside the others."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.version import Version

from quantcheck import deviations

# What Keras needs for a backend. Its NumPy backend calls JAX.
PACKAGES = {
    "jax": "jax",
    "numpy": "jax",
    "tensorflow": "tensorflow",
    "torch": "torch",
}
FILES = [path.stem.removeprefix("keras-") for path in deviations.DIRECTORY.glob("keras-*.json")]
# Development versions are not kept for ever: `python3 conformance --keras VERSION` judges them.
RELEASES = sorted((name for name in FILES if not Version(name).is_devrelease), key=Version)


def backends(version: str) -> tuple[str, ...]:
    """Give the backends that a release is run on: the newest on all, those before it on one."""
    return tuple(PACKAGES) if version == RELEASES[-1] else ("numpy",)


def marks(version: str, backend: str) -> list[pytest.MarkDecorator]:
    """Marks of what a run repeats: the default one is the newest Keras on PyTorch.

    The adapter asks the releases of a line alike; those between its first and its newest have a
    mark of their own.
    """
    if version not in (RELEASES[0], RELEASES[-1]):
        return [pytest.mark.everything, pytest.mark.releases]
    return [pytest.mark.everything] if version != RELEASES[-1] or backend != "torch" else []


def missing(backend: str) -> str:
    """Say why a backend cannot be run here; empty when it can."""
    absent = [name for name in ("keras", PACKAGES[backend]) if find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def environment(version: str, folder: Path) -> dict[str, str]:
    """Environment variables under which `import keras` gives this version.

    The installed one needs none. Another is put into a folder of its own, without what it depends
    on, which is there already, and found before the installed one.
    """
    if find_spec("keras") and metadata.version("keras") == version:
        return {}
    path = folder / f"keras-{version}"
    if not path.is_dir():
        _install(version, path)
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {"PYTHONPATH": os.pathsep.join([str(path), *filter(None, inherited)])}


def _install(version: str, path: Path) -> None:
    """Install beside, then rename: another process may be at it too."""
    beside = Path(tempfile.mkdtemp(dir=path.parent))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--target", str(beside), f"keras=={version}"]
    subprocess.run(command, check=True)
    with suppress(OSError):  # the other one was faster
        beside.rename(path)
