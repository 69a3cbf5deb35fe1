"""Files of a run: written beside and renamed, so that none is ever half there."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from quantref.bench.run import Run


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


def write_beside(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` make a new file in the folder of `path`, then move it into place."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    beside = Path(name)
    try:
        write(beside)
        umask = os.umask(0)
        os.umask(umask)
        beside.chmod(0o666 & ~umask)  # as any new file; mkstemp's are the owner's alone
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(run: Run, path: Path) -> None:
    """Write the report."""
    text = json.dumps(run.as_json(), indent=2, ensure_ascii=False) + "\n"
    write_beside(path, lambda beside: _write_text(beside, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_plot(run: Run, path: Path) -> None:
    """Write the picture."""
    from quantref.bench.plot import draw

    write_beside(path, lambda beside: draw(run, beside, path.suffix.lower()))
