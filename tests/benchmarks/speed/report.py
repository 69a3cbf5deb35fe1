"""Files of a run: written beside and renamed, so that none is ever half there."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.benchmarks.speed.run import Run

from quantref.formats.files import write_text, write_whole


def refusal(path: Path) -> str | None:
    """Return why a file could not be written, before any work, or None."""
    folder = path.parent
    if not folder.is_dir():
        return f"{path}: no folder {folder}"
    if path.is_dir():
        return f"{path}: is a folder"
    if not os.access(folder, os.W_OK):
        return f"{path}: {folder} cannot be written to"
    return None


def write_json(run: Run, path: Path) -> None:
    """Write the report."""
    write_text(path, json.dumps(run.as_json(), indent=2, ensure_ascii=False) + "\n")


def write_plot(run: Run, path: Path) -> None:
    """Write the picture."""
    from tests.benchmarks.speed.plot import draw

    write_whole(path, lambda part: draw(run, part, path.suffix.lower()))
