"""Keras as released: the deviation file says all there is to say."""

from __future__ import annotations

import json
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from quantcheck import deviations

BACKENDS = [
    backend for backend in ("numpy", "jax") if find_spec("jax")
]  # Keras needs one of its frameworks, whatever backend it computes with


def _installed() -> str:
    try:
        return metadata.version("keras")
    except metadata.PackageNotFoundError:
        return ""


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_failure_is_known(quantcheck: Any, tmp_path: Path, backend: str) -> None:
    if not (deviations.DIRECTORY / f"keras-{_installed()}.json").is_file():
        pytest.skip(f"no deviation file for Keras {_installed() or '(not installed)'}")
    done = quantcheck(f"keras:{backend}", "--json", "report.json", "--write-deviations", "d.json")
    assert done.returncode == 0, done.stdout[-4000:]
    (made,) = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["reports"]
    assert made["target"]["backend"] == backend
    assert made["complete"]
    before = json.loads((deviations.DIRECTORY / made["deviations"]).read_text(encoding="utf-8"))
    assert _said(json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))) == _said(before)


def _said(file: dict[str, Any]) -> set[tuple[str, ...]]:
    return {
        (entry["requirement"], case, backend, entry["reason"])
        for entry in file["deviations"]
        for case in entry["cases"]
        for backend in entry["backends"]
    }
