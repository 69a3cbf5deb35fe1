"""`quantcheck diff OLD.json NEW.json`: what changed between two reports, and what got worse.

A requirement got worse if a case got worse in which both reports judge it. From best to worst the
verdicts are: pass or difference, known deviation, unsupported, unstable, fail, error.

Exit codes: 0 nothing got worse; 1 something got worse, or the newer run ended early; 2 usage, or a
file that is no report or cannot be compared.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from quantcheck.diff.pairs import diff
from quantcheck.diff.printed import print_diff
from quantcheck.diff.written import to_json
from quantcheck.report import files, saved
from quantcheck.report.console import consoles, say
from quantref.formats.files import write_json


def main(arguments: Sequence[str]) -> int:
    """Entry point of `quantcheck diff`; returns the exit code."""
    options = parser().parse_args(arguments)
    if options.json:
        files.check(options.json)
    made = diff(saved.read(options.old), saved.read(options.new))
    console, _ = consoles()
    print_diff(console, made)
    if options.json:
        write_json(Path(options.json), to_json(made))
        say(console, f"differences: {options.json}")
    return made.exit_code


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="quantcheck diff",
        description="Compare two reports, and fail on what got worse.",
        epilog=(__doc__ or "").partition("\n\n")[2],
    )
    made.add_argument("old", metavar="OLD.json", help="the older report, of --json")
    made.add_argument("new", metavar="NEW.json", help="the newer report")
    made.add_argument("--json", metavar="FILE", help="write what changed here")
    return made
