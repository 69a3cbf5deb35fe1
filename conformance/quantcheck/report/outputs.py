"""The report files of a command line: checked before any work, written at the end."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quantcheck.errors import UsageError
from quantcheck.report import files
from quantcheck.report.badge import as_badge
from quantcheck.report.junit import as_junit
from quantref.formats.files import write_text

Document = Mapping[str, Any]


def add_options(add: Callable[..., Any]) -> None:
    """Add an option for each kind of report to a parser."""
    add("--json", metavar="FILE", help="write the report of all targets here")
    add("--html", metavar="FILE", help="write it as a page that needs no network")
    add("--junit", metavar="FILE", help="write it as JUnit XML")
    add("--badge", metavar="FILE", help="write a badge (SVG)")
    add("--found", metavar="DIR", help="write failing generated cases here, as vectors")


def as_json(document: Document) -> str:
    """Return the document as JSON text; `report.schema.json` describes it."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_html(document: Document) -> str:
    """Return a self-contained page; the template engine is imported only here."""
    from quantcheck.report.page import as_html as render

    return render(document)


MAKERS: dict[str, Callable[[Document], str]] = {
    "json": as_json,
    "html": as_html,
    "junit": as_junit,
    "badge": as_badge,
}


def check(options: Namespace, *others: str | None) -> None:
    """Refuse files that cannot be written, and one file for two reports.

    Raises
    ------
    UsageError
        The message names the path.
    """
    if options.html:
        import jinja2  # noqa: F401 - a missing package is reported before the work
    if options.found and not Path(options.found).is_dir():
        raise UsageError("--found to name a directory", options.found)
    paths = [path for path in (*wanted(options).values(), *others) if path]
    for path in paths:
        files.check(path)
    resolved = [Path(path).resolve() for path in paths]
    for path, where in zip(paths, resolved, strict=True):
        if resolved.count(where) > 1:
            raise UsageError("a file of its own for every report", f"{path} twice")


def wanted(options: Namespace) -> dict[str, str]:
    """Return the requested kinds of report with their paths."""
    return {kind: getattr(options, kind) for kind in MAKERS if getattr(options, kind)}


def write(options: Namespace, document: Document) -> dict[str, str]:
    """Write the requested reports; return kinds and paths."""
    made = wanted(options)
    for kind, path in made.items():
        write_text(Path(path), MAKERS[kind](document))
    if options.found:
        for name, text in found(document).items():
            write_text(Path(options.found) / name, text)
        made = {**made, "found": options.found}
    return made


def found(document: Document) -> dict[str, str]:
    """Return the smallest failing examples of properties: vectors by file name."""
    texts = [
        text for made in document["reports"] for case in made["cases"] for text in case["vectors"]
    ]
    return {f"{json.loads(text)['id']}.json": text for text in texts}
