"""Prints the two tables of the large self-test, by size."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quantcheck.run.selftest.large.problems import DRAWS
from quantcheck.run.selftest.large.record import REACHED_FROM, Record

OWN = "CERT-110"
ENOUGH = DRAWS - 1  # draws in which a deviation counts as found


def print_tables(console: Console, records: Sequence[Record]) -> None:
    """Print alarms and observed ÷ bound by size, then the draws in which deviations are found."""
    by_size = {n: [r for r in records if r["n_in"] == n] for n in sizes_of(records)}
    for factor in ("float32", "float64"):
        _print_verdicts(console, by_size, factor)
        _print_reached(console, by_size, factor)
    _print_wrong(console, by_size)


def sizes_of(records: Sequence[Record]) -> list[int]:
    """Return the numbers of columns."""
    return sorted({record["n_in"] for record in records})


def reached(records: Sequence[Record], factor: str) -> dict[str, list[float]]:
    """Return by requirement and column block the largest observed ÷ bound of each condition.

    Examples
    --------
    >>> one = {"condition": 10.0, "right": {"float32": {"reached": {"CERT-050": 0.5}}}}
    >>> reached([one, {**one, "condition": 1e3}], "float32")
    {'CERT-050': [0.5, 0.5]}
    """
    names = dict.fromkeys(name for r in records for name in r["right"][factor]["reached"])
    conditions = dict.fromkeys(r["condition"] for r in records)
    made: dict[str, list[float]] = {}
    for name in names:
        for condition in conditions:
            of_condition = [r["right"] for r in records if r["condition"] == condition]
            # CERT-110 is about the certificate's own arithmetic, whatever the factor.
            chosen = [o for r in of_condition for f, o in r.items() if f == factor or name == OWN]
            found = [own["reached"].get(name, 0.0) for own in chosen]
            made.setdefault(name, []).append(max(found))
    return made


def _print_verdicts(console: Console, by_size: dict[int, list[Record]], factor: str) -> None:
    title = f"correct implementations, factor in {factor}: failed / judged, weak"
    table = _table(title, "implementation", by_size)
    verdicts = {n: [r["right"][factor]["verdicts"] for r in own] for n, own in by_size.items()}
    names = dict.fromkeys(name for own in verdicts.values() for one in own for name in one)
    for name in names:
        cells = []
        for own in verdicts.values():
            given = [one[name] for one in own if name in one]
            failed, weak = given.count("failed"), given.count("weak")
            text = f"{failed} / {len(given)}" + (f", {weak} weak" if weak else "")
            cells.append(f"[bold red]{text}[/]" if failed else text)
        table.add_row(escape(name), *cells)
    console.print(table)


def _print_reached(console: Console, by_size: dict[int, list[Record]], factor: str) -> None:
    title = f"largest observed ÷ bound, factor in {factor}: of all conditions, of the worst one"
    table = _table(title, "requirement and column block", by_size)
    largest = {n: reached(own, factor) for n, own in by_size.items()}
    for name in dict.fromkeys(name for own in largest.values() for name in own):
        cells = []
        for own in largest.values():
            ratios = own.get(name, [0.0])
            text = f"{max(ratios):.3f} {min(ratios):.3f}"
            cells.append(f"[bold red]{text}[/]" if 0 < min(ratios) < REACHED_FROM else text)
        table.add_row(name, *cells)
    console.print(table)


def _print_wrong(console: Console, by_size: dict[int, list[Record]]) -> None:
    title = (
        f"deviations: problems in which at least {ENOUGH} of {DRAWS} draws are found, "
        "with a factor declared in float32 / float64"
    )
    table = _table(title, "deviation", by_size)
    for name in dict.fromkeys(name for own in by_size.values() for r in own for name in r["wrong"]):
        cells = []
        for own in by_size.values():
            draws = [r["wrong"][name] for r in own if name in r["wrong"]]
            single, double = (sum(found[k] >= ENOUGH for found in draws) for k in (0, 1))
            cells.append(f"{single} / {double} of {len(draws)}")
        table.add_row(escape(name), *cells)
    console.print(table)


def _table(title: str, first: str, by_size: dict[int, list[Record]]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for n in by_size:
        table.add_column(str(n), justify="right")
    return table
