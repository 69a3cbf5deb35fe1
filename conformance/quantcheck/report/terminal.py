"""Prints reports: deviations and how to reproduce them, then a table, then a closing line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import shorten
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quantcheck.judge.verdict import Judgement, Verdict
from quantcheck.report.console import say
from quantcheck.report.document import MEANINGS, counts, differing_of, failed_of
from quantcheck.report.looks import FAILED, LOOKS

MAX_CHARACTERS, FEW_CHARACTERS = 90, 50  # of a requirement's text; few if there are differences
MAX_LINE = 200
MAX_RATIO = 1e9
MAX_VECTORS = 3
MOST_TEXT = 3000  # characters of an example that is printed
DIFFERS = LOOKS[Verdict.DIFFERENCE].style
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


def print_unexplained(console: Console, judgements: Iterable[Judgement]) -> None:
    """Print the failures that no known cause predicts, after a deviation file was written."""
    left = list(judgements)
    say(console, f"unexplained failures: {len(left)}")
    for judgement in left:
        text = shorten(judgement.message, MAX_CHARACTERS, placeholder=" …")
        say(console, f"  {judgement.requirement} {judgement.case}: {text}")


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
    differs = any(map(differing_of, made["requirements"]))
    if differs:
        table.add_column("differs", justify="right", no_wrap=True, style=DIFFERS)
    table.add_column("worst case", overflow="fold")
    table.add_column("observed ÷ bound", justify="right", no_wrap=roomy)
    section = ""
    for row in made["requirements"]:
        if row["verdict"] == "not covered":
            continue
        section = divide(table, section, row["requirement"]["id"])
        worst = row["worst"] or {}
        text = (
            [
                escape(
                    _short(
                        row["requirement"]["text"], FEW_CHARACTERS if differs else MAX_CHARACTERS
                    )
                )
            ]
            if roomy
            else []
        )
        verdict = f"[{LOOKS[row['verdict']].style}]{row['verdict']}[/]"
        table.add_row(
            row["requirement"]["id"],
            *text,
            "" if row["verdict"] == Verdict.DIFFERENCE else verdict,
            _cases(row),
            *([differing_of(row)] if differs else []),
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


def _short(text: str, width: int) -> str:
    return shorten(text, width, placeholder=" …")


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


def by_weight(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that failed, those that explain most first: errors, then the most cases."""

    def weight(row: dict[str, Any]) -> tuple[int, int]:
        return FAILED.index(row["verdict"]), -failed_of(row)[0]

    return sorted((row for row in rows if row["worst"] and row["verdict"] in FAILED), key=weight)


def _print_details(console: Console, made: dict[str, Any], *, brief: bool) -> None:
    for row in by_weight(made["requirements"]):
        worst = row["worst"]
        style = LOOKS[row["verdict"]].style
        where = f" at {tuple(worst['index'])}" if worst["index"] is not None else ""
        which = f"{made['target']['spec']}: " if brief else ""
        head = f"{which}{row['requirement']['id']} {row['verdict']}: case {worst['case']}{where}"
        console.print(f"\n[{style}]{escape(head)}[/]", soft_wrap=True)
        basis = row["requirement"]["basis"]
        details = {
            "source": f"{row['requirement']['source']}{', ' if basis else ''}{basis}",
            "reason": worst["reason"],
            "link": worst["link"],
            "looks like": worst["name"],
            "message": worst["message"],
            "expected": worst["expected"],
            "got": worst["got"],
            "margin": worst["margin"],
        }
        reason_alone = brief and row["verdict"] == "known deviation"
        for name, value in details.items():
            if value not in (None, "") and (
                name in ("source", "reason", "link") or not reason_alone
            ):
                say(console, f"  {name}: {value}")
        if row.get("reproduction") and not reason_alone:
            say(console, "  to reproduce:")
            for line in row["reproduction"]:
                say(console, f"    {line}")
    _print_differences(console, made)
    _print_broken(console, made)
    if not brief:
        _print_vectors(console, made)


def _print_differences(console: Console, made: dict[str, Any]) -> None:
    """Print a line for each choice that the target neither declares nor follows.

    Requirements that it meets by rules of its own, which it declares, are among them.
    """
    rows = [row for row in made["requirements"] if row["verdict"] == Verdict.DIFFERENCE]
    if rows:
        which = (
            f"{made['target']['spec']}: choices of SPEC.md that it does not declare and differs in"
        )
        rules = ", ".join(made["target"].get("rules", []))
        which += f", and differences by its rules ({rules})" if rules else ""
        console.print(f"\n[{DIFFERS}]{escape(which)}[/]", soft_wrap=True)
    for row in rows:
        worst = row["worst"]
        text = f"{row['requirement']['id']}, {differing_of(row)} cases: {worst['case']}"
        line = shorten(f"{text}: {worst['message']}", MAX_LINE, placeholder=" …")
        say(console, f"  {line}")


def _print_vectors(console: Console, made: dict[str, Any]) -> None:
    """Print the smallest failing examples of the properties that are worst cases, if short."""
    worst = {row["worst"]["case"]: row for row in made["requirements"] if row["worst"]}
    found = [case for case in made["cases"] if case.get("vectors") and case["case"] in worst]
    short = [case for case in found if sum(map(len, case["vectors"])) <= MOST_TEXT][:MAX_VECTORS]
    for case in short:
        say(console, f"\nthe smallest failing example of {case['case']}, as a vector:")
        for text in case["vectors"]:
            say(console, text.rstrip())
    others = [case["case"] for case in found if case not in short]
    if others:
        text = f"\nsmallest failing examples of {', '.join(others)}, as vectors:"
        say(console, f"{text} in the report of --json and --html, or by --found DIR")


def _print_broken(console: Console, made: dict[str, Any]) -> None:
    """Print trace and stderr of the first case that ended in an error."""
    broken = [case for case in made["cases"] if case["trace"] or case["stderr"]]
    if broken:
        case = broken[0]
        say(console, f"\nmessages of the target in case {case['case']}:")
        say(console, (case["trace"] + case["stderr"])[-4000:])
