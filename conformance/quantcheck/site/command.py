"""`quantcheck site REPORT.json… --out FOLDER`: one static site of many reports.

Of two reports on the same target and release the newer one is taken. An existing folder is replaced
only if this command wrote it.

Exit codes: 0 the site was written; 2 usage, a file that is no report, or a folder that cannot be
written.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from quantcheck.errors import UsageError
from quantcheck.report.console import consoles, say
from quantcheck.site import collect, folder
from quantcheck.site.pages import render
from quantcheck.spec.places import findings_path


def main(arguments: Sequence[str]) -> int:
    """Entry point of `quantcheck site`; returns 0."""
    options = parser().parse_args(arguments)
    folder.check(options.out)
    findings = _findings(options.findings)
    collection = collect.read(options.reports)
    console, _ = consoles()
    for old, new in collection.replaced:
        say(console, f"left out: {old.title} of {old.file}, since {new.file} is newer")
    pages = render(collection, findings)
    folder.write(options.out, pages)
    count = len(collection.entries)
    say(console, f"{count} target{'s' * (count > 1)}, {len(pages)} pages: {options.out}/index.html")
    return 0


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="quantcheck site",
        description="Make a static site of many reports: libraries, releases and backends × "
        "requirements.",
        epilog=(__doc__ or "").partition("\n\n")[2],
    )
    add = made.add_argument
    add("reports", nargs="+", metavar="REPORT.json", help="reports of quantcheck TARGET --json")
    add("--out", required=True, metavar="FOLDER", help="write the site here")
    add("--findings", metavar="FILE", help="a document in Markdown that becomes a page")
    return made


def _findings(path: str | None) -> str | None:
    """Read the findings: those that were asked for, or those of the checkout.

    Raises
    ------
    UsageError
        The file was asked for and cannot be read.
    """
    found = findings_path() if path is None else Path(path)
    if found is None:
        return None
    try:
        return found.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8"
        raise UsageError("--findings to name a text", f"{found}: {reason}") from None
