"""`quantcheck interface`: the documented interface, crossed, and what covers each cell of it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.columns import Columns
from rich.console import Console
from rich.table import Table as Shown

from quantcheck.interface import axes
from quantcheck.interface.page import as_html
from quantcheck.interface.signatures import SIGNATURES
from quantcheck.interface.summary import REASONS, Counts, Summary, summary_of, to_json
from quantcheck.interface.table import NOT_ASKED, OUTCOMES, Table
from quantcheck.properties import load
from quantcheck.properties.crossed import arrays
from quantcheck.properties.crossed.drawn import DOMAINS
from quantcheck.report import files
from quantcheck.report.console import consoles, say
from quantcheck.run import golden
from quantcheck.run.draws import draw
from quantref.formats.files import write_json, write_text


def main(arguments: Sequence[str]) -> int:
    """Entry point of `quantcheck interface`; returns 0."""
    options = parser().parse_args(arguments)
    for path in filter(None, (options.html, options.json)):
        files.check(path)
    console, _ = consoles()
    with console.status("drawing the samples of the properties"):
        made = summary()
    print_summary(console, made)
    if options.html:
        write_text(Path(options.html), as_html(made))
        say(console, f"page: {options.html}")
    if options.json:
        write_json(Path(options.json), to_json(made))
        say(console, f"table: {options.json}")
    return 0


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="quantcheck interface",
        description="Count which cells of the documented interface golden cases and properties "
        "cover: arguments, kinds of value, operations, dtype policies, kinds of layer, and uses "
        "of the result. No target is asked.",
    )
    made.add_argument("--html", metavar="FILE", help="write the table as a page")
    made.add_argument("--json", metavar="FILE", help="write the table as JSON")
    return made


def summary() -> Summary:
    """Return the summary of the table."""
    return summary_of(table())


def table() -> Table:
    """Return the table of the vectors, of the samples of every run, and of what may be drawn."""
    drawn = {
        name: [case for sample in draw(each) for case in sample.cases]
        for name, each in load().items()
    }
    return Table(golden.load().values(), drawn, (*DOMAINS, *arrays.DOMAINS))


def print_summary(console: Console, made: Summary) -> None:
    """Print the counts of cells by class or function, and by kind of layer, on one screen."""
    shown = Columns(
        [
            _counts("class or function", _by_signature(made.by["signatures"]), made),
            _counts("kind of layer", _by_layer(made.by["layers"]), made),
        ],
        padding=(0, 3),
    )
    console.print(shown)
    for reason in REASONS:
        if reason.startswith("Not asked") and made.reasons[reason]:
            say(console, f"{made.reasons[reason]:>8,}  {reason}")


def _counts(name: str, counts: Counts, made: Summary) -> Shown:
    shown = Shown(box=None, header_style="bold", pad_edge=False)
    shown.add_column(name)
    for kind in OUTCOMES:
        shown.add_column(kind, justify="right", style="yellow" if kind == NOT_ASKED else None)
    for each, found in [*counts.items(), ("all", made.total)]:
        shown.add_row(each, *(f"{found[kind]:,}" for kind in OUTCOMES))
    return shown


def _by_signature(counts: Counts) -> Counts:
    """Return the counts with one line for all that SPEC.md leaves out."""
    outside = {signature.name for signature in SIGNATURES if signature.outside}
    return _merged(counts, lambda name: "outside SPEC.md" if name in outside else name)


def _by_layer(counts: Counts) -> Counts:
    """Return the counts with one line for each rank of a kernel of EinsumDense."""
    return _merged(counts, axes.family)


def _merged(counts: Counts, name_of: Callable[[str], str]) -> Counts:
    made: Counts = {}
    for name, found in counts.items():
        made.setdefault(name_of(name), Counter()).update(found)
    return made
