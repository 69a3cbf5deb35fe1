"""Prints reports: what deviates and how to see it, then a table, then a closing line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import shorten
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from quantcheck.report.console import say
from quantcheck.report.document import MEANINGS, by_id, counts, failed_of
from quantcheck.report.looks import FAILED, LOOKS

MOST_CHARACTERS = 90
MOST_RATIO = 1e9
MOST_VECTORS = 3
CELLS = (14, 10)  # characters of a column of the matrix; where neither fits, symbols alone
NARROW = 4
LEAST_TEXT = 24
ROOMY = 100  # columns from which a table of one target has room for what requirements say


def print_targets(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """Print the kinds of target."""
    table = Table("target", "what it is", title="targets")
    for name, text in rows:
        table.add_row(escape(name), escape(text))
    console.print(table)


def print_report(console: Console, made: dict[str, Any], *, alone: bool = True) -> None:
    """Print one target: what matters most stands last.

    Parameters
    ----------
    console : Console
    made : dict
        Its report.
    alone : bool
        False where `print_matrix` follows: then details alone are printed, and of known deviations
        the reason alone.
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


def print_matrix(console: Console, reports: Sequence[dict[str, Any]]) -> None:
    """Print requirements × targets, then a line per target."""
    rows = by_id(reports)
    console.print()
    if rows:
        console.print(_matrix(rows, [made["target"]["spec"] for made in reports], console))
        legend = ", ".join(f"{_symbol(v, console)} {v}" for v in LOOKS if v != "not covered")
        console.print(f"{legend}; numbers count the cases that fail", highlight=False)
        console.print()
    for number, made in enumerate(reports, 1):
        style = {0: "green", 130: "yellow"}.get(made["exit_code"], "bold red")
        spec, told, meaning = f"{made['target']['spec']}:", _told(made), _meaning(made)
        console.print(f"{number} {escape(spec)} [{style}]{meaning}[/]", highlight=False)
        console.print(Padding(escape(told), (0, 0, 0, 2)), highlight=False)


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
    return f"{made['target']['spec']}: {_told(made)}; {_meaning(made)}"


def _meaning(made: dict[str, Any]) -> str:
    return f"{MEANINGS[made['exit_code']]} (exit {made['exit_code']})"


def _told(made: dict[str, Any]) -> str:
    known = made["deviations"]
    told = [
        f"{made['asked']} of {made['selected']} cases",
        f"{len(made['canaries'])} planted bugs caught",
        f"deviations: {known['name'] if known else 'none known'}",
        ", ".join(f"{n} {name}" for name, n in counts(made["requirements"]).items()),
    ]
    return "; ".join(filter(None, told))


def _table(made: dict[str, Any], width: int) -> Table:
    target = made["target"]
    versions = ", ".join(f"{k} {v}" for k, v in target["versions"].items())
    title = f"{target['spec']}: {target['name']} {target['version']} ({versions})"
    table = Table(title=escape(title), title_justify="left")
    roomy = width >= ROOMY
    table.add_column("requirement" if roomy else "id", no_wrap=True)
    if roomy:
        table.add_column("what it says", ratio=1)
    table.add_column("verdict", no_wrap=True)
    table.add_column("cases", justify="right", no_wrap=True)
    table.add_column("worst case", overflow="fold")
    table.add_column("observed ÷ bound", justify="right", no_wrap=roomy)
    section = ""
    for row in made["requirements"]:
        if row["verdict"] == "not covered":
            continue
        section = _divide(table, section, row["requirement"]["id"])
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


def _divide(table: Table, section: str, id_: str) -> str:
    """Draw a line where another section begins."""
    other = id_.partition("-")[0]
    if section not in ("", other):
        table.add_section()
    return other


def _short(text: str) -> str:
    return shorten(text, MOST_CHARACTERS, placeholder=" …")


def _cases(row: Mapping[str, Any]) -> str:
    failed, total = failed_of(row)
    return f"{failed} of {total}" if failed else str(total)


def _ratio(ratio: float | str | None) -> str:
    if ratio is None:
        return ""
    if isinstance(ratio, str):
        return ratio
    return f"{ratio:.3g}" if ratio < MOST_RATIO else "≫ 1"


# Several targets


def _matrix(
    rows: Mapping[str, Mapping[int, Mapping[str, Any]]],
    specs: Sequence[str],
    console: Console,
) -> Table:
    """Build requirements × targets, with as many words as there is room for."""
    cell = next((n for n in CELLS if _room(console, n * len(specs), len(specs)) >= 0), 0)
    headings = _headings(specs, cell) if cell else [str(n + 1) for n in range(len(specs))]
    width = max(len(part) for heading in headings for part in heading.split("\n"))
    width = max(width, cell and CELLS[-1], NARROW)
    room = _room(console, width * len(specs), len(specs) + 1)
    table = Table(title="requirements × targets", title_justify="left")
    table.add_column("id", no_wrap=True)
    texts = room >= LEAST_TEXT
    if texts:
        table.add_column("what it says", ratio=1)
    for heading in headings:
        table.add_column(escape(heading), width=width, no_wrap=True)
    section = ""
    for id_, row in rows.items():
        section = _divide(table, section, id_)
        said = str(next(iter(row.values()))["requirement"]["text"])
        text = [escape(shorten(said, room, placeholder=" …"))] if texts else []
        cells = [_cell(row.get(number), console, width) for number in range(len(specs))]
        table.add_row(id_, *text, *cells)
    return table


def _room(console: Console, used: int, columns: int) -> int:
    """Say how many characters are left beside the id and so many columns with their borders."""
    return console.width - 12 - used - 3 * columns


def _cell(row: Mapping[str, Any] | None, console: Console, width: int) -> str:
    verdict = "not covered" if row is None else row["verdict"]
    if row is None or verdict == "not covered":
        return ""
    symbol, word = _symbol(verdict, console), LOOKS[verdict].short
    count = f" {failed_of(row)[0]}" if verdict in FAILED else ""
    wordy = f"{symbol} {word}{count}"
    return f"[{LOOKS[verdict].style}]{wordy if len(wordy) <= width else symbol + count}[/]"


def _symbol(verdict: str, console: Console) -> str:
    look = LOOKS[verdict]
    return look.symbol if console.encoding.lower().startswith("utf") else look.letter


def _headings(specs: Sequence[str], width: int) -> list[str]:
    r"""Break targets over lines of a column's width, numbered as the closing lines are.

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
            "came": worst["got"],
            "margin": worst["margin"],
        }
        reason_alone = brief and row["verdict"] == "known deviation"
        for name, value in details.items():
            if value not in (None, "") and (name in ("reason", "link") or not reason_alone):
                say(console, f"  {name}: {value}")
        if row.get("reproduction") and not reason_alone:
            say(console, "  to see it:")
            for line in row["reproduction"]:
                say(console, f"    {line}")
    _print_broken(console, made)
    if not brief:
        _print_vectors(console, made)


def _print_vectors(console: Console, made: dict[str, Any]) -> None:
    """Print the smallest examples that break the properties of the worst cases."""
    worst = {row["worst"]["case"]: row for row in made["requirements"] if row["worst"]}
    found = [case for case in made["cases"] if case.get("vectors") and case["case"] in worst]
    for case in found[:MOST_VECTORS]:
        say(console, f"\nthe smallest example that breaks {case['case']}, as a vector:")
        for text in case["vectors"]:
            say(console, text.rstrip())
    if len(found) > MOST_VECTORS:
        more = ", ".join(case["case"] for case in found[MOST_VECTORS:])
        say(console, f"\nthose of {more} are in the report of --json and --html")


def _print_broken(console: Console, made: dict[str, Any]) -> None:
    """Trace and stderr of the first case that broke."""
    broken = [case for case in made["cases"] if case["trace"] or case["stderr"]]
    if broken:
        case = broken[0]
        say(console, f"\nwhat the target left behind in case {case['case']}:")
        say(console, (case["trace"] + case["stderr"])[-4000:])
