"""Prints the three tables of the self-test."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quantcheck.report.console import say
from quantcheck.run.selftest.false_alarms import Tally, unreached_bounds
from quantcheck.run.selftest.kills import Kill


def print_tables(console: Console, kills: Sequence[Kill], tally: Tally) -> None:
    """Print the results of mutants, of variants, and the largest observed ÷ bound."""
    _print_kills(console, kills)
    _print_variants(console, tally)


def _print_kills(console: Console, kills: Sequence[Kill]) -> None:
    table = Table(title="mutants", title_justify="left")
    for name in ("mutant", "effect", "breaks", "vectors", "properties"):
        table.add_column(name, justify="right" if name in ("vectors", "properties") else "left")
    for k in kills:
        table.add_row(
            escape(k.mutant),
            escape(k.effect),
            k.blames,
            _detections(k.vectors, k.by_vectors, k.blames),
            _detections(k.properties, k.by_properties, k.blames),
        )
    console.print(table)
    caught = [sum(bool(k.by_vectors) for k in kills), sum(bool(k.by_properties) for k in kills)]
    console.print(
        f"{len(kills)} mutants: {caught[0]} detected by the vectors alone, {caught[1]} by the "
        f"properties alone, {sum(k.caught for k in kills)} by both with the right requirement first"
    )


def _print_variants(console: Console, tally: Tally) -> None:
    table = Table(title="variants", title_justify="left")
    for name in ("variant", "cases", "alarms"):
        table.add_column(name, justify="left" if name == "variant" else "right")
    for name, asked in tally.asked.items():
        alarms = sum(alarm["variant"] == name for alarm in tally.alarms)
        table.add_row(escape(name), str(asked), f"[bold red]{alarms}[/]" if alarms else "0")
    console.print(table)
    table = Table(title="largest observed ÷ bound", title_justify="left")
    table.add_column("requirement and operation")
    table.add_column("ratio", justify="right")
    for name, ratio in sorted(tally.ratios.items()):
        shown = f"{ratio:.3g}"
        table.add_row(
            name, f"[bold red]{shown}[/]" if name in unreached_bounds(tally.ratios) else shown
        )
    console.print(table)
    for alarm in tally.alarms[:20]:
        text = " ".join(f"{key}={value}" for key, value in alarm.items())
        say(console, text)
    console.print(
        f"{tally.cases} generated cases for each of {len(tally.asked)} variants: "
        f"{len(tally.alarms)} false alarms"
    )


def _detections(count: int, first: str, blames: str) -> str:
    if not first:
        return "[bold red]none[/]"
    return str(count) if first == blames else f"[bold red]{count}, {first} first[/]"
