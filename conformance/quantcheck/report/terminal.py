"""Prints reports: deviations and how to reproduce them, then a table, then a closing line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import shorten
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quantcheck.report.console import say
from quantcheck.report.document import MEANINGS, counts, failed_of
from quantcheck.report.looks import FAILED, LOOKS

MAX_CHARACTERS = 90
MAX_RATIO = 1e9
MAX_VECTORS = 3
ROOMY = 100  # least width for a column with the text of requirements


def print_targets(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """Print the kinds of target."""
    table = Table("target", "description", title="targets")
    for name, text in rows:
        table.add_row(escape(name), escape(text))
    console.print(table)


def print_report(console: Console, made: dict[str, Any], *, alone: bool = True) -> None:
    """Print the report of one target, the most important part last.

    Parameters
    ----------
    console : Console
    made : dict
        Its report.
    alone : bool
        False if `print_matrix` follows. Then only details are printed, and for known deviations
        only the reason.
    """
    if made["asked"]:
        _print_details(console, made, brief=not alone)
        if alone:
            console.print()
            console.print(_table(made, console.width))
    _print_aborted(console, made)
    if made["target"]["spec"].startswith("answers:") and made["target"]["stderr"]:
        say(console, made["target"]["stderr"].rstrip())
    if alone:
        say(console, _closing(made))


# One target


def _print_aborted(console: Console, made: dict[str, Any]) -> None:
    aborted = made["aborted"]
    if aborted is None:
        return
    console.print(
        f"[bold red]{escape(aborted['kind'])}[/]: {escape(aborted['message'])}", soft_wrap=True
    )
    if aborted["stderr"]:
        say(console, aborted["stderr"][-4000:])


def _closing(made: dict[str, Any]) -> str:
    return f"{made['target']['spec']}: {figures(made)}; {meaning(made)}"


def meaning(made: dict[str, Any]) -> str:
    """Return the meaning of the exit code."""
    return f"{MEANINGS[made['exit_code']]} (exit {made['exit_code']})"


def figures(made: dict[str, Any]) -> str:
    """Return the numbers of cases, detected canaries, and verdicts of each kind."""
    known = made["deviations"]
    parts = [
        f"{made['asked']} of {made['selected']} cases",
        f"{len(made['canaries'])} canaries detected",
        f"deviations: {known['name'] if known else 'none known'}",
        ", ".join(f"{n} {name}" for name, n in counts(made["requirements"]).items()),
    ]
    return "; ".join(filter(None, parts))


def _table(made: dict[str, Any], width: int) -> Table:
    target = made["target"]
    versions = ", ".join(f"{k} {v}" for k, v in target["versions"].items())
    title = f"{target['spec']}: {target['name']} {target['version']} ({versions})"
    table = Table(title=escape(title), title_justify="left")
    roomy = width >= ROOMY
    table.add_column("requirement" if roomy else "id", no_wrap=True)
    if roomy:
        table.add_column("text", ratio=1)
    table.add_column("verdict", no_wrap=True)
    table.add_column("cases", justify="right", no_wrap=True)
    table.add_column("worst case", overflow="fold")
    table.add_column("observed ÷ bound", justify="right", no_wrap=roomy)
    section = ""
    for row in made["requirements"]:
        if row["verdict"] == "not covered":
            continue
        section = divide(table, section, row["requirement"]["id"])
        worst = row["worst"] or {}
        text = [escape(_short(row["requirement"]["text"]))] if roomy else []
        table.add_row(
            row["requirement"]["id"],
            *text,
            f"[{LOOKS[row['verdict']].style}]{row['verdict']}[/]",
            _cases(row),
            escape(str(worst.get("case", ""))),
            _ratio(worst.get("ratio")),
        )
    return table


def divide(table: Table, section: str, id_: str) -> str:
    """Draw a line if another section begins."""
    other = id_.partition("-")[0]
    if section not in ("", other):
        table.add_section()
    return other


def _short(text: str) -> str:
    return shorten(text, MAX_CHARACTERS, placeholder=" …")


def _cases(row: Mapping[str, Any]) -> str:
    failed, total = failed_of(row)
    return f"{failed} of {total}" if failed else str(total)


def _ratio(ratio: float | str | None) -> str:
    if ratio is None:
        return ""
    if isinstance(ratio, str):
        return ratio
    return f"{ratio:.3g}" if ratio < MAX_RATIO else "≫ 1"


# Details


def _print_details(console: Console, made: dict[str, Any], *, brief: bool) -> None:
    for row in made["requirements"]:
        worst = row["worst"]
        if worst is None or row["verdict"] not in FAILED:
            continue
        style = LOOKS[row["verdict"]].style
        where = f" at {tuple(worst['index'])}" if worst["index"] is not None else ""
        which = f"{made['target']['spec']}: " if brief else ""
        head = f"{which}{row['requirement']['id']} {row['verdict']}: case {worst['case']}{where}"
        console.print(f"\n[{style}]{escape(head)}[/]", soft_wrap=True)
        details = {
            "reason": worst["reason"],
            "link": worst["link"],
            "message": worst["message"],
            "expected": worst["expected"],
            "got": worst["got"],
            "margin": worst["margin"],
        }
        reason_alone = brief and row["verdict"] == "known deviation"
        for name, value in details.items():
            if value not in (None, "") and (name in ("reason", "link") or not reason_alone):
                say(console, f"  {name}: {value}")
        if row.get("reproduction") and not reason_alone:
            say(console, "  to reproduce:")
            for line in row["reproduction"]:
                say(console, f"    {line}")
    _print_broken(console, made)
    if not brief:
        _print_vectors(console, made)


def _print_vectors(console: Console, made: dict[str, Any]) -> None:
    """Print the smallest failing examples of the properties that are worst cases."""
    worst = {row["worst"]["case"]: row for row in made["requirements"] if row["worst"]}
    found = [case for case in made["cases"] if case.get("vectors") and case["case"] in worst]
    for case in found[:MAX_VECTORS]:
        say(console, f"\nthe smallest failing example of {case['case']}, as a vector:")
        for text in case["vectors"]:
            say(console, text.rstrip())
    if len(found) > MAX_VECTORS:
        more = ", ".join(case["case"] for case in found[MAX_VECTORS:])
        say(console, f"\nthose of {more} are in the report of --json and --html")


def _print_broken(console: Console, made: dict[str, Any]) -> None:
    """Print trace and stderr of the first case that ended in an error."""
    broken = [case for case in made["cases"] if case["trace"] or case["stderr"]]
    if broken:
        case = broken[0]
        say(console, f"\nmessages of the target in case {case['case']}:")
        say(console, (case["trace"] + case["stderr"])[-4000:])
