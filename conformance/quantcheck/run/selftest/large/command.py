"""The command `quantcheck --self-test --large`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from quantcheck.report.console import consoles, say
from quantcheck.run.selftest import large
from quantcheck.run.selftest.large.honest import implementations, observe
from quantcheck.run.selftest.large.plot import plot_ratios, require_matplotlib
from quantcheck.run.selftest.large.problems import DRAWS, KINDS, Large
from quantcheck.run.selftest.large.tables import print_tables
from quantcheck.run.selftest.large.wrong import SPECIAL, deviations, find, find_special
from quantref.certificate import U32
from quantref.errors import OutputError
from quantref.formats.files import write_json
from quantref.gptq import BLOCK_SIZE

SIZES, CONDITIONS, GROUPS = (160, 512, 768, 1024, 2048, 4096), (1e1, 1e3, 1e6), (32, 128, -1)
REACHED_FROM = 0.05
ALWAYS_FOUND = (
    "ranges of the original weights",
    "ranges of live weights",
    "one scale off by 0.01",
    "one zero-point off by one",
    "feedback in bfloat16",
    "last column of a block not fed back",
    "blocks of 127",
    "one code moved by one",
    *SPECIAL,
)
"""Deviations that every draw shows in matrices of several column blocks, with a factor declared in
double precision. In one block some of them change nothing."""


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
    add("--json", metavar="FILE", help="write the results here")
    add("--plot", type=Path, metavar="FILE.svg", help="plot observed ÷ bound by size")
    options = parser.parse_args(arguments)
    unknown = set(options.kinds) - set(KINDS)
    if unknown or min(options.sizes) < 1 or min(options.conditions) <= 1:
        parser.error(f"expected kinds among {', '.join(KINDS)}, sizes > 0, conditions > 1")
    console, _ = consoles()
    if options.plot:
        try:
            require_matplotlib()
        except OutputError as error:
            parser.error(str(error))
    problems = [
        Large(kind, n_in, condition, group)
        for n_in in options.sizes
        for kind in options.kinds
        for condition in options.conditions
        for group in options.groups
    ]
    made = run(console, problems)
    if options.json:
        write_json(Path(options.json), made)
    if options.plot:
        plot_ratios(made["rows"], options.plot)
    return 0 if made["passed"] else 4


def run(console: Console, problems: Sequence[Large]) -> dict[str, Any]:
    """Judge right and wrong answers to all problems, print both tables, return plain JSON."""
    rows: list[dict[str, Any]] = []
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("large problems", total=len(problems))
        for problem in problems:
            rows += rows_of_problem(problem)
            bar.advance(task)
    alarms = [row for row in rows if row.get("failures")]
    unreached, missed = unreached_bounds(rows), missed_deviations(rows)
    print_tables(console, rows, unreached)
    for text in missed:
        say(console, f"not always found: {text}")
    return {"format": 1, "passed": not alarms and not unreached and not missed,
            "unreached": unreached, "missed": missed, "rows": rows}  # fmt: skip


def rows_of_problem(problem: Large) -> Iterator[dict[str, Any]]:
    """Yield a row for each implementation and each deviation on one problem."""
    about = {"kind": problem.kind, "n_in": problem.n_in, "condition": problem.condition,
             "group_size": problem.group_size}  # fmt: skip
    for implementation in implementations(problem.n_in):
        observed = observe(problem, implementation)
        if observed is not None:
            factor = "float32" if implementation.factor_roundoff == U32 else "float64"
            names = {"implementation": implementation.id, "factor": factor}
            yield {**about, **names, **asdict(observed)}
    for deviation in deviations():
        found = find(problem, deviation)
        if found is not None:
            yield {**about, "deviation": deviation.id, **asdict(found)}
    if problem.group_size != -1:
        for name, found in find_special(problem).items():
            yield {**about, "deviation": name, **asdict(found)}


def unreached_bounds(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return bounds that no implementation with one precision of the factor comes near to.

    Each requirement and place is looked at for itself, for each number of columns and condition.
    CERT-110 is about the certificate's own arithmetic, whatever factor the implementation has.

    Examples
    --------
    >>> row = {"n_in": 16, "condition": 1e3, "factor": "float32"}
    >>> unreached_bounds([{**row, "ratios": {"CERT-010 first": 0.3, "CERT-010 later": 0.01}}])
    ['CERT-010 later, 16 columns, condition 1000, factor in float32']
    """
    largest: dict[str, float] = {}
    for row in rows:
        for name, ratio in row.get("ratios", {}).items():
            key = f"{name}, {row['n_in']} columns, condition {row['condition']:g}"
            if name != "CERT-110":
                key += f", factor in {row['factor']}"
            largest[key] = max(largest.get(key, 0.0), ratio)
    return [key for key, ratio in largest.items() if ratio < REACHED_FROM]


def missed_deviations(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return those of `ALWAYS_FOUND` that some draw hides, with a factor in double precision.

    Examples
    --------
    >>> row = {"kind": "mean", "n_in": 160, "condition": 10.0, "group_size": 32, "single": 3}
    >>> missed_deviations([{**row, "deviation": "blocks of 127", "double": DRAWS - 1}])
    ['blocks of 127, in 9 of 10 draws (mean, 160 columns, condition 10, groups of 32)']
    """
    return [
        f"{row['deviation']}, in {row['double']} of {DRAWS} draws ({row['kind']}, {row['n_in']} "
        f"columns, condition {row['condition']:g}, groups of {row['group_size']})"
        for row in rows
        if row["n_in"] > BLOCK_SIZE
        and row.get("deviation") in ALWAYS_FOUND
        and row["double"] < DRAWS
    ]


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _floats(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]
