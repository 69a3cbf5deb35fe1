"""The command `quantcheck --self-test --large`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from quantcheck.report.console import consoles, say
from quantcheck.run.selftest import large
from quantcheck.run.selftest.large.plot import plot_ratios, require_matplotlib
from quantcheck.run.selftest.large.problems import KINDS, Large
from quantcheck.run.selftest.large.record import (
    FORMAT,
    Record,
    alarms,
    missed_deviations,
    record_of,
    unreached_bounds,
)
from quantcheck.run.selftest.large.tables import print_tables
from quantref.errors import OutputError, QuantrefError
from quantref.formats.files import write_text

SIZES, CONDITIONS, GROUPS = (160, 512, 768, 1024, 2048, 4096), (1e1, 1e3, 1e6), (32, 128, -1)


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns 0, or 4 if a right answer fails, a wrong one passes, or a bound is idle.

    Those of `ALWAYS_FOUND` must not pass. A bound is idle if no right answer comes near to it.
    """
    parser = argparse.ArgumentParser(
        prog="quantcheck --self-test --large", description=large.__doc__
    )
    add = parser.add_argument
    add("--sizes", type=_integers, default=SIZES, metavar="N,N", help="columns (160 to 4096)")
    add("--conditions", type=_floats, default=CONDITIONS, metavar="X,X", help="(1e1,1e3,1e6)")
    add("--groups", type=_integers, default=GROUPS, metavar="N,N", help="(32,128,-1: all)")
    add("--kinds", type=lambda s: s.split(","), default=KINDS, metavar="K,K", help=", ".join(KINDS))
    add("--json", type=Path, metavar="FILE", help="write what each problem shows here, at once; "
        "problems that are in it are not judged again")  # fmt: skip
    add("--plot", type=Path, metavar="FILE.svg", help="plot observed ÷ bound by size")
    options = parser.parse_args(arguments)
    unknown = set(options.kinds) - set(KINDS)
    if unknown or min(options.sizes) < 1 or min(options.conditions) <= 1:
        parser.error(f"expected kinds among {', '.join(KINDS)}, sizes > 0, conditions > 1")
    console, errors = consoles()
    try:
        if options.plot:
            require_matplotlib()
        known = read(options.json) if options.json and options.json.exists() else []
    except QuantrefError as error:
        parser.error(str(error))
    problems = [
        Large(kind, n_in, condition, group)
        for n_in in options.sizes
        for kind in options.kinds
        for condition in options.conditions
        for group in options.groups
    ]
    try:
        records = run(console, problems, known, options.json)
    except KeyboardInterrupt:
        say(errors, "interrupted; what was judged is kept" if options.json else "interrupted")
        return 130
    if options.plot:
        plot_ratios(records, options.plot)
    return 0 if passed(records) else 4


def run(
    console: Console,
    problems: Sequence[Large],
    known: Sequence[Record] = (),
    path: Path | None = None,
) -> list[Record]:
    """Judge right and wrong answers to all problems that are not known, and print both tables.

    What each problem shows is written to `path` at once. Returns what all problems show.
    """
    records = {key(record): record for record in known}
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("large problems", total=len(problems))
        for problem in problems:
            about = problem.about()
            if key(about) not in records:
                records[key(about)] = record_of(problem)
                if path is not None:
                    _write(path, [*records.values()])
            bar.advance(task)
    shown = [records[key(problem.about())] for problem in problems]
    print_tables(console, shown)
    for text in (*alarms(shown)[:20], *missed_deviations(shown)):
        say(console, text)
    return shown


def key(about: dict[str, Any]) -> tuple[Any, ...]:
    """Return what names a problem."""
    return tuple(about[name] for name in ("kind", "n_in", "condition", "group_size"))


def passed(records: Sequence[Record]) -> bool:
    """Tell whether right answers pass, wrong ones fail and bounds are reached."""
    return not (alarms(records) or missed_deviations(records) or unreached_bounds(records))


def _write(path: Path, records: Sequence[Record]) -> None:
    found = {"unreached": unreached_bounds(records), "missed": missed_deviations(records)}
    head = {"format": FORMAT, "passed": passed(records), **found}
    lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    write_text(path, f'{json.dumps(head, ensure_ascii=False)[:-1]}, "problems": [\n{lines}\n]}}\n')


def read(path: Path) -> list[Record]:
    """Return what problems showed, of a file that ``--json`` wrote, or raise OutputError."""
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        if made["format"] != FORMAT:
            raise OutputError(f"format {FORMAT} in {path}", f"{made['format']!r:.80}", "")
        return list(made["problems"])
    except (LookupError, TypeError, ValueError) as error:
        expected = f"a file that --self-test --large --json wrote as {path}"
        raise OutputError(expected, f"{type(error).__name__}: {error}", "") from error


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _floats(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]
