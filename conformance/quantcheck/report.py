"""Prints a report: a table per target, then what deviates and how to see it."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import shorten
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

MOST_CHARACTERS = 90
MOST_RATIO = 1e9
STYLES = {
    "pass": "green",
    "fail": "bold red",
    "known deviation": "yellow",
    "not judged": "yellow",
    "unsupported": "dim",
    "not covered": "dim",
    "error": "bold magenta",
}
MEANINGS = {
    0: "every requirement passes, or deviates as known",
    1: "a requirement fails, or a listed deviation does not hold any more",
    2: "usage",
    3: "the target broke",
    4: "the suite could not prove itself",
    130: "stopped; this is what was done",
}


def empty(spec: str, exit_code: int, aborted: dict[str, str]) -> dict[str, Any]:
    """Make the report of a run that never came to a verdict."""
    target = {"spec": spec, "name": "", "version": "", "backend": "", "precision": ""}
    return {
        "format": 1,
        "target": {**target, "versions": {}, "stderr": ""},
        "exit_code": exit_code,
        "complete": False,
        "aborted": aborted,
        "asked": 0,
        "selected": 0,
        "corpus": 0,
        "canaries": [],
        "deviations": None,
        "requirements": [],
        "cases": [],
    }


def print_targets(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """Print the kinds of target."""
    table = Table("target", "what it is", title="targets")
    for name, text in rows:
        table.add_row(escape(name), escape(text))
    console.print(table)


def print_report(console: Console, made: dict[str, Any]) -> None:
    """Details, table and the closing line of one target: what matters most stands last."""
    if made["asked"]:
        _print_details(console, made)
        console.print()
        console.print(_table(made))
    aborted = made["aborted"]
    if aborted is not None:
        console.print(
            f"[bold red]{escape(aborted['kind'])}[/]: {escape(aborted['message'])}", soft_wrap=True
        )
        if aborted["stderr"]:
            console.print(escape(aborted["stderr"][-4000:]), highlight=False, soft_wrap=True)
    if made["target"]["spec"].startswith("answers:") and made["target"]["stderr"]:
        console.print(escape(made["target"]["stderr"]), highlight=False, soft_wrap=True, end="")
    counts = _counts(made["requirements"])
    canaries = len(made["canaries"])
    told = [
        f"{made['target']['spec']}: {made['asked']} of {made['selected']} cases",
        f"{canaries} planted bugs caught",
        f"deviations: {made['deviations'] or 'none known'}",
        counts,
        f"{MEANINGS[made['exit_code']]} (exit {made['exit_code']})",
    ]
    console.print("; ".join(filter(None, told)), markup=False, highlight=False, soft_wrap=True)


def _counts(rows: list[dict[str, Any]]) -> str:
    found: dict[str, int] = {}
    for row in rows:
        found[row["verdict"]] = found.get(row["verdict"], 0) + 1
    return ", ".join(f"{found[name]} {name}" for name in STYLES if name in found)


def _table(made: dict[str, Any]) -> Table:
    target = made["target"]
    versions = ", ".join(f"{k} {v}" for k, v in target["versions"].items())
    title = f"{target['spec']}: {target['name']} {target['version']} ({versions})"
    table = Table(title=escape(title), title_justify="left")
    table.add_column("requirement", no_wrap=True)
    table.add_column("what it says", ratio=1)
    table.add_column("verdict", no_wrap=True)
    table.add_column("cases", justify="right", no_wrap=True)
    table.add_column("worst case")
    table.add_column("observed ÷ bound", justify="right", no_wrap=True)
    for row in made["requirements"]:
        if row["verdict"] == "not covered":
            continue
        worst = row["worst"] or {}
        failed = sum(
            n for name, n in row["counts"].items() if name in ("fail", "known deviation", "error")
        )
        total = sum(row["counts"].values())
        table.add_row(
            row["requirement"]["id"],
            escape(shorten(row["requirement"]["text"], MOST_CHARACTERS, placeholder=" …")),
            f"[{STYLES[row['verdict']]}]{row['verdict']}[/]",
            f"{failed} of {total}" if failed else str(total),
            escape(str(worst.get("case", ""))),
            _ratio(worst.get("ratio")),
        )
    return table


def _ratio(ratio: float | str | None) -> str:
    if ratio is None:
        return ""
    if isinstance(ratio, str):
        return ratio
    return f"{ratio:.3g}" if ratio < MOST_RATIO else "≫ 1"


def _print_details(console: Console, made: dict[str, Any]) -> None:
    for row in made["requirements"]:
        worst = row["worst"]
        if worst is None or row["verdict"] not in ("fail", "known deviation", "error"):
            continue
        style = STYLES[row["verdict"]]
        where = f" at {tuple(worst['index'])}" if worst["index"] is not None else ""
        head = f"{row['requirement']['id']} {row['verdict']}: case {worst['case']}{where}"
        console.print(f"\n[{style}]{escape(head)}[/]", soft_wrap=True)
        details = {
            "reason": worst["reason"],
            "link": worst["link"],
            "message": worst["message"],
            "expected": worst["expected"],
            "came": worst["got"],
            "margin": worst["margin"],
        }
        for name, value in details.items():
            if value not in (None, ""):
                console.print(f"  {name}: {value}", markup=False, highlight=False, soft_wrap=True)
        if row.get("reproduction"):
            console.print("  to see it:", markup=False, highlight=False, soft_wrap=True)
            for line in row["reproduction"]:
                console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
    _print_broken(console, made)


def _print_broken(console: Console, made: dict[str, Any]) -> None:
    """Trace and stderr of the first case that broke."""
    broken = [case for case in made["cases"] if case["trace"] or case["stderr"]]
    if broken:
        case = broken[0]
        console.print(
            f"\nwhat the target left behind in case {case['case']}:", markup=False, soft_wrap=True
        )
        console.print(
            (case["trace"] + case["stderr"])[-4000:], markup=False, highlight=False, soft_wrap=True
        )
