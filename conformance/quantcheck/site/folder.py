"""Writes a folder completely or not at all, and replaces no folder but its own."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from quantcheck.errors import UsageError

MARK = "quantcheck-site.json"
FORMAT = 1
EXPECTED = "--out to name a folder that is new, empty, or written by quantcheck site"


def check(path: str) -> None:
    """Refuse a folder that cannot be written, or that holds files of others.

    Raises
    ------
    UsageError
        The message names the folder and what is wrong with it.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_dir():
        raise UsageError(EXPECTED, f"the file {path}")
    if not target.parent.is_dir():
        raise UsageError("--out to name a folder in an existing folder", path)
    if target.is_dir():
        _check_own(path, target)
    try:
        Path(_temporary(target)).rmdir()
    except OSError as error:
        raise UsageError(
            "--out to name a folder that can be written", f"{path}: {error.strerror}"
        ) from None


def write(path: str, pages: Mapping[str, str]) -> None:
    """Write text files into a folder, in place of those that an earlier call wrote.

    The files go into a new folder beside it. That folder is renamed when it is complete.

    Parameters
    ----------
    path : str
        The folder; see `check`.
    pages : mapping
        Texts by path in the folder.

    Raises
    ------
    UsageError
        As `check`.
    OSError
        The file system raised it, as for a full disk.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as place:
    ...     write(f"{place}/site", {"index.html": "one", "a/b.html": "two"})
    ...     write(f"{place}/site", {"index.html": "three"})
    ...     sorted(p.name for p in Path(place, "site").iterdir()), os.listdir(place)
    (['index.html', 'quantcheck-site.json'], ['site'])
    """
    check(path)
    target = Path(path).resolve()
    mark = {"quantcheck site": FORMAT, "files": sorted([*pages, MARK])}
    made = Path(_temporary(target))
    try:
        for name, text in {**pages, MARK: json.dumps(mark, indent=1) + "\n"}.items():
            file = made / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        made.chmod(0o777 & ~_umask())  # the temporary folder is private
        _replace(target, made)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _replace(target: Path, made: Path) -> None:
    """Rename the new folder to the old one's name; on failure the old one has its name again."""
    if not target.exists():
        made.rename(target)
        return
    old = Path(_temporary(target))
    target.rename(old)  # an empty folder is replaced
    try:
        made.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _check_own(path: str, target: Path) -> None:
    """Refuse a folder with files that no earlier call wrote.

    Raises
    ------
    UsageError
        The message names one of the files.
    """
    found = {p.relative_to(target).as_posix() for p in target.rglob("*") if not p.is_dir()}
    try:
        mark = json.loads((target / MARK).read_text(encoding="utf-8"))
        own = set(mark["files"]) if mark["quantcheck site"] == FORMAT else set()
    except (OSError, ValueError, KeyError, TypeError):
        own = set()
    if others := sorted(found - own):
        raise UsageError(EXPECTED, f"{path}, which holds {others[0]}")


def _temporary(target: Path) -> str:
    return tempfile.mkdtemp(prefix=f".{target.name}-", suffix=".part", dir=target.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
