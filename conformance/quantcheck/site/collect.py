"""Orders the reports of many files: by library, backend and release."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from quantcheck.errors import ReportError
from quantcheck.report import saved

LONGEST_NAME = 80  # characters of a file's name


@dataclass(frozen=True, eq=False)
class Entry:
    """The report of one target.

    Attributes
    ----------
    file : str
        Name of the file that it comes from.
    run, made : mapping
        Provenance of the run, and the report.
    """

    file: str
    run: Mapping[str, Any]
    made: Mapping[str, Any]

    @property
    def spec(self) -> str:
        """What was asked for, such as `keras:numpy`."""
        return str(self.made["target"]["spec"])

    @property
    def name(self) -> str:
        """Name of the library; of a target that did not start, what was asked for."""
        return str(self.made["target"]["name"] or self.spec)

    @property
    def backend(self) -> str:
        """Its backend; empty if it has none."""
        return str(self.made["target"]["backend"])

    @property
    def version(self) -> str:
        """The release, or "unknown"."""
        return str(self.made["target"]["version"] or "unknown")

    @property
    def started(self) -> str:
        """Time of the run, ISO 8601 in UTC."""
        return str(self.made["started"])

    @property
    def line(self) -> str:
        """Name and backend."""
        return f"{self.name} on {self.backend}" if self.backend else self.name

    @property
    def title(self) -> str:
        """Name, release and backend."""
        backend = f" on {self.backend}" if self.backend else ""
        return f"{self.name} {self.version}{backend}"


@dataclass(frozen=True)
class Line:
    """The releases of one library on one backend, oldest first.

    Attributes
    ----------
    title : str
    entries : tuple of Entry
    """

    title: str
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """Name of the library."""
        return self.entries[0].name


@dataclass(frozen=True)
class Collection:
    """Every report of a site.

    Attributes
    ----------
    lines : tuple of Line
        By library and backend.
    replaced : tuple of (Entry, Entry)
        Reports that are left out, each with the newer one on the same target and release.
    """

    lines: tuple[Line, ...]
    replaced: tuple[tuple[Entry, Entry], ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The reports in the order of the columns."""
        return tuple(entry for line in self.lines for entry in line.entries)

    def names(self) -> list[str]:
        """Return a file name for each entry, without suffix."""
        made: list[str] = []
        for entry in self.entries:
            name = slug(f"{entry.name}-{entry.version}-{entry.backend}")
            number = sum(1 for other in made if re.fullmatch(rf"{re.escape(name)}(~\d+)?", other))
            made.append(f"{name}~{number + 1}" if number else name)
        return made


def read(paths: Sequence[str | Path]) -> Collection:
    """Read report files; of two on the same target and release the newer one is taken.

    Raises
    ------
    ReportError
        A file is no report, no file has a report of a target, or two reports on the same target
        and release are from the same second.
    """
    found = []
    for path in paths:
        document = saved.read(path)
        found += [Entry(Path(path).name, document["run"], made) for made in document["reports"]]
    if not found:
        raise ReportError("a report of a target", f"none in {', '.join(map(str, paths))}")
    return collect(found)


def collect(found: Iterable[Entry]) -> Collection:
    """Order reports; see `read`."""
    newest: dict[tuple[str, ...], Entry] = {}
    replaced: list[tuple[tuple[str, ...], Entry]] = []
    for entry in sorted(found, key=lambda each: each.started):
        key = (entry.spec, entry.name, entry.version, entry.backend)
        other = newest.get(key)
        if other is not None and other.started == entry.started:
            got = f"two of {entry.title} from {entry.started}: {other.file} and {entry.file}"
            raise ReportError("one report of each target and release", got)
        if other is not None:
            replaced.append((key, other))
        newest[key] = entry
    left = tuple((entry, newest[key]) for key, entry in replaced)
    return Collection(tuple(_lines(newest.values())), left)


def _lines(entries: Iterable[Entry]) -> list[Line]:
    """Return the releases of each library and backend.

    Targets that name, backend and release do not tell apart have lines of their own, by what was
    asked for.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.line, []).append(entry)
    lines = []
    for title, group in groups.items():
        versions = [entry.version for entry in group]
        if len(set(versions)) == len(versions):
            lines.append(_line(title, group))
            continue
        specs = sorted({entry.spec for entry in group})
        lines += [_line(f"{title}, {s}", (e for e in group if e.spec == s)) for s in specs]
    return sorted(lines, key=lambda line: (line.name.casefold(), line.title.casefold()))


def _line(title: str, entries: Iterable[Entry]) -> Line:
    ordered = sorted(entries, key=lambda entry: release_key(entry.version))
    return Line(title, tuple(ordered))


def release_key(version: str) -> tuple[bool, Version, str]:
    """Return a key that puts releases in order; versions of another form come first.

    Examples
    --------
    >>> sorted(["3.10", "3.9", "nightly", "3.10.dev1"], key=release_key)
    ['nightly', '3.9', '3.10.dev1', '3.10']
    """
    try:
        return True, Version(version), ""
    except InvalidVersion:
        return False, Version("0"), version


def slug(text: str) -> str:
    """Return a file name of small letters, digits, points and hyphens.

    Examples
    --------
    >>> slug("Keras-3.15.1-torch"), slug("process:./a b"), slug("…")
    ('keras-3.15.1-torch', 'process-a-b', 'target')
    """
    words = re.sub(r"[^a-z0-9.]+", "-", text.lower())
    return re.sub(r"-?\.(?![0-9a-z])|(?<![0-9a-z])\.", "", words).strip("-.")[:LONGEST_NAME] or (
        "target"
    )
