"""Prints the two tables of the large self-test, by size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quantcheck.report.console import say

Rows = Sequence[dict[str, Any]]


def print_tables(console: Console, rows: Rows, unreached: Sequence[str]) -> None:
    """Print alarms and observed ÷ bound by size, then the draws in which deviations are found."""
    sizes = sorted({row["n_in"] for row in rows})
    _print_right([row for row in rows if "implementation" in row], sizes, console, unreached)
    _print_wrong([row for row in rows if "deviation" in row], sizes, console)


def _print_right(rows: Rows, sizes: Sequence[int], console: Console, bad: Sequence[str]) -> None:
    table = Table(title="correct implementations: failed / judged, weak", title_justify="left")
    table.add_column("implementation")
    for n in sizes:
        table.add_column(str(n), justify="right")
    for name in dict.fromkeys(row["implementation"] for row in rows):
        cells = []
        for n in sizes:
            own = [r for r in rows if r["implementation"] == name and r["n_in"] == n]
            failed, weak = (sum(r["verdict"] == v for r in own) for v in ("failed", "weak"))
            text = f"{failed} / {len(own)}" + (f", {weak} weak" if weak else "")
            cells.append(f"[bold red]{text}[/]" if failed else text)
        table.add_row(escape(name), *cells)
    console.print(table)
    table = Table(title="largest observed ÷ bound", title_justify="left")
    table.add_column("requirement and column block")
    for n in sizes:
        table.add_column(str(n), justify="right")
    for name in dict.fromkeys(key for row in rows for key in row["ratios"]):
        cells = []
        for n in sizes:
            ratio = max(
                (r["ratios"][name] for r in rows if r["n_in"] == n and name in r["ratios"]),
                default=0.0,
            )
            text = f"{ratio:.3f}"
            cells.append(f"[bold red]{text}[/]" if f"{name}, {n} columns" in bad else text)
        table.add_row(name, *cells)
    console.print(table)
    for row in [row for row in rows if row["failures"]][:20]:
        say(console, f"{row['implementation']}, {row['n_in']} columns: {row['failures'][0]}")


def _print_wrong(rows: Rows, sizes: Sequence[int], console: Console) -> None:
    table = Table(
        title="deviations: problems in which at least 9 of 10 draws are found, with a factor "
        "declared in float32 / float64",
        title_justify="left",
    )
    table.add_column("deviation")
    for n in sizes:
        table.add_column(str(n), justify="right")
    for name in dict.fromkeys(row["deviation"] for row in rows):
        cells = []
        for n in sizes:
            own = [r for r in rows if r["deviation"] == name and r["n_in"] == n]
            single, double = (sum(r[k] >= 9 for r in own) for k in ("single", "double"))
            cells.append(f"{single} / {double} of {len(own)}")
        table.add_row(escape(name), *cells)
    console.print(table)
