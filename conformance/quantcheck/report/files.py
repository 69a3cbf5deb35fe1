"""Checks before a run whether a file can be written; `quantref.formats.files` writes it."""

from __future__ import annotations

import os
from pathlib import Path

from quantcheck.errors import UsageError
from quantref.formats.files import is_stream, temporary_file_for


def check(path: str) -> None:
    """Refuse a path that cannot be written.

    Raises
    ------
    UsageError
        The path is a directory, or no file can be made in its directory.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise UsageError("a file to write", f"the directory {path}")
    if not target.parent.is_dir():
        raise UsageError("a file in an existing directory", path)
    try:
        if is_stream(target):
            os.close(os.open(target, os.O_WRONLY))
        else:
            with temporary_file_for(target):
                pass
    except OSError as error:
        raise UsageError("a file that can be written", f"{path}: {error.strerror}") from None
