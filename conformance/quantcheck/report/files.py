"""Writes files whole or not at all, and says beforehand whether they can be written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from quantcheck.errors import UsageError


def check(path: str) -> None:
    """Refuse a path that could not be written after hours of work.

    Raises
    ------
    UsageError
        It is a directory, or nothing can be made in its directory.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise UsageError("a file to write", f"the directory {path}")
    if not target.parent.is_dir():
        raise UsageError("a file in an existing directory", path)
    try:
        if _is_stream(target):
            os.close(os.open(target, os.O_WRONLY))
        else:
            with _beside(target):
                pass
    except OSError as error:
        raise UsageError("a file that can be written", f"{path}: {error.strerror}") from None


def write(path: str, text: str) -> None:
    """Write text as UTF-8: beside, then renamed, so that no reader meets half a file."""
    target = Path(path).resolve()
    if _is_stream(target):
        target.write_text(text, encoding="utf-8", newline="\n")
        return
    with _beside(target) as new:
        new.write_text(text, encoding="utf-8", newline="\n")
        new.replace(target)


def _is_stream(target: Path) -> bool:
    """Tell whether this is a terminal, a pipe or a device, which cannot be renamed over."""
    return target.exists() and not target.is_file()


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Make a new file in the same directory; what is left of it in the end is removed."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(descriptor)
    new = Path(name)
    try:
        # With the rights of the old file, or of any new one: those of mkstemp are private.
        new.chmod(target.stat().st_mode & 0o777 if target.is_file() else 0o666 & ~_umask())
        yield new
    finally:
        new.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
