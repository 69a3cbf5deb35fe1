"""Writes files completely or not at all: under a temporary name, which is then renamed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file next to `path`, and rename it when it is complete.

    `path` always holds either the old content or the whole new one, even after an interruption. A
    link stays a link and a replaced file keeps its permissions. A device or a pipe is written
    directly.

    Parameters
    ----------
    path : Path
        In a folder that exists.
    write : callable
        Called with the path of an empty file with the same suffix.

    Raises
    ------
    OSError
        Raised by `write` or the file system, for a full disk or a missing folder.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_whole(folder / "a.txt", lambda part: part.write_text("all"))
    >>> [p.name for p in folder.iterdir()], (folder / "a.txt").read_text()
    (['a.txt'], 'all')
    """
    target = path.resolve()
    if is_stream(target):
        write(target)
        return
    with temporary_file_for(target) as part:
        write(part)
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(target)


def is_stream(target: Path) -> bool:
    """Tell whether the path is a terminal, a pipe or a device, which a rename cannot replace."""
    return target.exists() and not target.is_file()


@contextmanager
def temporary_file_for(target: Path) -> Iterator[Path]:
    """Make a temporary file in the same folder, and remove it at the end if it still exists."""
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}-", suffix=f".part{target.suffix}", dir=target.parent
    )
    os.close(handle)
    part = Path(name)
    try:
        # mkstemp makes private files: set the permissions of the old file, or of any new file.
        part.chmod(target.stat().st_mode & 0o777 if target.is_file() else 0o666 & ~_umask())
        yield part
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, data: Any) -> None:
    """Write JSON values, indented, completely or not at all."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, completely or not at all."""
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))
