"""Prints the matrix of several targets: requirements × targets, then a line per target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from quantcheck.judge.verdict import Verdict
from quantcheck.report.document import by_id, differing_of, failed_of
from quantcheck.report.looks import FAILED, LOOKS
from quantcheck.report.terminal import divide, figures, meaning

CELLS = (14, 10)  # widths of a column; if neither fits, symbols alone
NARROW = 4
DIFFERENCES = 12  # width of their column
MIN_TEXT = 24


def print_matrix(console: Console, reports: Sequence[dict[str, Any]]) -> None:
    """Print requirements × targets, then a line per target."""
    rows = by_id(reports)
    console.print()
    if rows:
        console.print(_matrix(rows, [made["target"]["spec"] for made in reports], console))
        without = ("not covered", Verdict.DIFFERENCE)
        legend = ", ".join(f"{_symbol(v, console)} {v}" for v in LOOKS if v not in without)
        console.print(f"{legend}; numbers count the cases that fail", highlight=False)
        console.print()
    for number, made in enumerate(reports, 1):
        style = {0: "green", 130: "yellow"}.get(made["exit_code"], "bold red")
        spec = escape(f"{made['target']['spec']}:")
        console.print(f"{number} {spec} [{style}]{meaning(made)}[/]", highlight=False)
        console.print(Padding(escape(figures(made)), (0, 0, 0, 2)), highlight=False)


def _matrix(
    rows: Mapping[str, Mapping[int, Mapping[str, Any]]],
    specs: Sequence[str],
    console: Console,
) -> Table:
    """Build the table requirements × targets, with words if they fit."""
    differs = any(differing_of(row) for each in rows.values() for row in each.values())
    own, one = (DIFFERENCES, 1) if differs else (0, 0)  # the column of differences
    cell = next(
        (n for n in CELLS if _room(console, n * len(specs) + own, len(specs) + one) >= 0), 0
    )
    headings = _headings(specs, cell) if cell else [str(n + 1) for n in range(len(specs))]
    width = max(len(part) for heading in headings for part in heading.split("\n"))
    width = max(width, cell and CELLS[-1], NARROW)
    room = _room(console, width * len(specs) + own, len(specs) + 1 + one)
    table = Table(title="requirements × targets", title_justify="left")
    table.add_column("id", no_wrap=True)
    texts = room >= MIN_TEXT
    if texts:
        table.add_column("text", ratio=1)
    for heading in headings:
        table.add_column(escape(heading), width=width, no_wrap=True)
    if differs:
        table.add_column("differences", width=DIFFERENCES, style=LOOKS[Verdict.DIFFERENCE].style)
    section = ""
    for id_, row in rows.items():
        section = divide(table, section, id_)
        said = str(next(iter(row.values()))["requirement"]["text"])
        text = [escape(shorten(said, room, placeholder=" …"))] if texts else []
        cells = [_cell(row.get(number), console, width) for number in range(len(specs))]
        table.add_row(id_, *text, *cells, *([_differences(row)] if differs else []))
    return table


def _room(console: Console, used: int, columns: int) -> int:
    """Return the width that remains next to the id and the columns, with borders."""
    return console.width - 12 - used - 3 * columns


def _cell(row: Mapping[str, Any] | None, console: Console, width: int) -> str:
    verdict = "not covered" if row is None else row["verdict"]
    if row is None or verdict in ("not covered", Verdict.DIFFERENCE):
        return ""  # differences have a column of their own
    symbol, word = _symbol(verdict, console), LOOKS[verdict].short
    count = f" {failed_of(row)[0]}" if verdict in FAILED else ""
    wordy = f"{symbol} {word}{count}"
    return f"[{LOOKS[verdict].style}]{wordy if len(wordy) <= width else symbol + count}[/]"


def _differences(row: Mapping[int, Mapping[str, Any]]) -> str:
    """Name the targets that differ from a choice, by number, with their cases.

    Examples
    --------
    >>> _differences({0: {"counts": {"difference": 2}}, 1: {"counts": {"pass": 2}}})
    '1: 2 of 2'
    """
    found = ((number, differing_of(cell)) for number, cell in row.items())
    return ", ".join(f"{number + 1}: {text}" for number, text in found if text)


def _symbol(verdict: str, console: Console) -> str:
    look = LOOKS[verdict]
    return look.symbol if console.encoding.lower().startswith("utf") else look.letter


def _headings(specs: Sequence[str], width: int) -> list[str]:
    r"""Break names of targets into lines; numbers are those of the closing lines.

    Examples
    --------
    >>> _headings(["keras:jax", "reference", "mutant:rint-away"], 9)
    ['1 keras:\njax', '2 refere…', '3 mutant:\nrint-away']
    """
    made = []
    for number, spec in enumerate(specs, 1):
        kind, colon, rest = spec.partition(":")
        lines = [f"{number} {kind}{colon}", rest]
        made.append("\n".join(_cut(line, width) for line in lines if line))
    return made


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
