"""Libraries that are targets: which Python has one, and what is true of each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from quantcheck import deviations
from quantcheck.targets.libraries import LIBRARIES, is_installed


def python_of(root: Path, name: str) -> str:
    """Give the Python that has a library: this one, or that of `python3 conformance NAME`."""
    if is_installed(name):
        return sys.executable
    own = root / f".venv-{name}" / "bin" / "python"
    if not own.exists():
        pytest.skip(f"{name} is not installed: python3 conformance {name} makes an environment")
    return str(own)


def version_of(name: str) -> str:
    """Give the version of a library that has a file of known deviations."""
    (file,) = deviations.DIRECTORY.glob(f"{name}-*.json")
    return file.stem.removeprefix(f"{name}-")


NAMES = tuple(LIBRARIES)
