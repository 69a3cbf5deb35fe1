"""The transformer of the tests: its held-out loss at several bit widths."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "tests" / "data" / "characters"


@pytest.fixture(scope="module")
def measured(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Recompute a part of the table, on the backend that starts fastest."""
    out = tmp_path_factory.mktemp("characters")
    arguments = ["--bits", "4", "3", "2", "--groups", "32", "--quick", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-P", str(folder / "compare.py"), *arguments],
        env={**os.environ, "KERAS_BACKEND": "torch" if find_spec("torch") else "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (out / "losses.svg").read_text("utf-8").startswith("<?xml")
    made: dict[str, Any] = json.loads((out / "losses.json").read_text("utf-8"))
    return made


@pytest.mark.everything
@pytest.mark.slow
def test_gptq_loses_less_than_plain_rounding(measured: dict[str, Any]) -> None:
    assert measured["methods"] == ["plain rounding", "GPTQ"]
    assert [row["bits"] for row in measured["rows"]] == [4, 3, 2]
    for row in measured["rows"]:
        plain, gptq = row["losses"]
        assert measured["float"] < gptq < plain
        # What it gives back of what plain rounding loses.
        assert plain - gptq > 0.4 * (plain - measured["float"])


@pytest.mark.everything
@pytest.mark.slow
def test_the_table_in_the_readme_can_be_measured_again(
    measured: dict[str, Any], folder: Path
) -> None:
    """Other machines and backends round other near-ties; losses move in the third digit."""
    shipped = json.loads((folder / "losses.json").read_text("utf-8"))
    assert measured["float"] == pytest.approx(shipped["float"], abs=1e-4)
    places = [shipped["methods"].index(method) for method in measured["methods"]]
    rows = {row["bits"]: row["losses"] for row in shipped["rows"] if row["group_size"] == 32}
    for row in measured["rows"]:
        there = [rows[row["bits"]][place] for place in places]
        np.testing.assert_allclose(row["losses"], there, rtol=0.02)


def test_texts_are_in_the_vocabulary_and_apart(folder: Path) -> None:
    vocabulary = json.loads((folder / "vocabulary.json").read_text("utf-8"))
    texts = [(folder / name).read_text("utf-8") for name in ("calibration.txt", "heldout.txt")]
    for text in texts:
        assert set(text) <= set(vocabulary)
        assert len(text) == 48_000
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < 3_000_000
