"""Files that are there whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, and put it into its place when it is complete.

    Whatever happens meanwhile, `path` is what it was before, or the whole new file. A link stays a
    link, an old file keeps its rights, and a device or a pipe is written to.

    Parameters
    ----------
    path : Path
        In a folder that exists.
    write : callable
        Gets the path of an empty file with the same suffix.

    Raises
    ------
    OSError
        As `write` or the file system raises it: a full disk, a folder that is not there.

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
    with beside(target) as part:
        write(part)
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(target)


def is_stream(target: Path) -> bool:
    """Tell whether this is a terminal, a pipe or a device, which cannot be renamed over."""
    return target.exists() and not target.is_file()


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Make a new file in the same folder; what is left of it in the end is removed."""
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}-", suffix=f".part{target.suffix}", dir=target.parent
    )
    os.close(handle)
    part = Path(name)
    try:
        # With the rights of the old file, or of any new one: those of mkstemp are private.
        part.chmod(target.stat().st_mode & 0o777 if target.is_file() else 0o666 & ~_umask())
        yield part
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, data: Any) -> None:
    """Write JSON values, readable by people, whole or not at all."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all."""
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))
