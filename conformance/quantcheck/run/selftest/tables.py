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
    for name in ("mutant", "effect", "breaks", "looks like", "vectors", "first property"):
        table.add_column(name, justify="right" if name == "vectors" else "left")
    for k in kills:
        table.add_row(
            escape(k.mutant),
            escape(k.effect),
            k.blames,
            escape(k.named)
            if k.named == k.name or not k.name
            else f"[bold red]{escape(k.named)}[/]",
            "not asked" if k.generated else _detections(str(k.vectors), k.by_vectors, k.blames),
            _detections(k.detected_by, k.by_properties, k.blames),
        )
    console.print(table)
    _print_sections(console, kills)
    small = [k for k in kills if not k.generated]
    console.print(
        f"{len(kills)} mutants: {sum(bool(k.by_properties) for k in kills)} detected by the "
        f"properties alone, {sum(bool(k.by_vectors) for k in small)} of {len(small)} that vectors "
        f"can show by the vectors alone, {sum(k.caught for k in kills)} with the right "
        f"requirement first; {sum(k.named == k.name for k in kills if k.name)} of "
        f"{sum(bool(k.name) for k in kills)} that have a name with that name"
    )
    if not kills:
        return
    found = [k for k in kills if k.found]
    right = sum(k.right_first for k in found)
    console.print(f"sensitivity: {_share(len(found), len(kills))} of such mutants detected")
    console.print(
        f"right requirement first: {right} of {len(found)} detected mutants "
        f"({100 * right / max(len(found), 1):.1f} %)"
    )


def _print_sections(console: Console, kills: Sequence[Kill]) -> None:
    """Print mutants by the section of the requirement that they break."""
    table = Table(title="mutants by section", title_justify="left")
    table.add_column("section")
    for name in ("mutants", "at sizes of no vector", "found, right requirement first"):
        table.add_column(name, justify="right")
    for section in dict.fromkeys(k.blames.partition("-")[0] for k in kills):
        own = [k for k in kills if k.blames.startswith(f"{section}-")]
        caught = sum(k.caught for k in own)
        shown = f"{caught} of {len(own)}"
        table.add_row(
            section,
            str(len(own)),
            str(sum(bool(k.generated) for k in own)),
            shown if caught == len(own) else f"[bold red]{shown}[/]",
        )
    console.print(table)


def _share(count: int, total: int) -> str:
    """Return a share, and its lower bound of Clopper and Pearson (one-sided, 95 %).

    Examples
    --------
    >>> _share(9, 10)
    '9 of 10, at least 60.6 % (95 % confidence)'
    >>> _share(440_000, 440_000)
    '440000 of 440000, at least 99.9993 % (95 % confidence)'
    """
    from scipy.stats import beta

    least = float(beta.ppf(0.05, count, total - count + 1)) if count else 0.0
    shown = round(100 * least, 1 if least < 0.999 else 4)
    return f"{count} of {total}, at least {shown} % (95 % confidence)"


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
    answers = sum(tally.asked.values())
    right = answers - len(tally.alarms)
    if answers:
        console.print(f"specificity: {_share(right, answers)} of their answers without an alarm")


def _detections(shown: str, first: str, blames: str) -> str:
    if not first:
        return "[bold red]none[/]"
    return shown if first == blames else f"[bold red]{shown}, {first} first[/]"
