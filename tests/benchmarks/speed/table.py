"""The table as text, for people."""

from __future__ import annotations

import statistics
import sys
from typing import Any

from tests.benchmarks.speed.row import MET, MISSED, NOT_AVAILABLE, Outcome
from tests.benchmarks.speed.run import Run

COLOURS = {MET: "green", MISSED: "red", NOT_AVAILABLE: "yellow"}
HEADINGS = ("row", "what", "threads", "limit", "median", "quartiles", "rounds", "verdict")
# A narrow terminal has no room for these columns.
NARROW, WIDE_ONLY = 130, ("what", "threads", "quartiles")
# Where no terminal says how wide it is.
WIDTH = 150


def figure(outcome: Outcome) -> str:
    """Return what was measured, with its unit.

    Examples
    --------
    >>> from tests.benchmarks.speed.row import Limit, Measured, Row
    >>> row = Row("import-time", "", Limit(high=0.15), lambda _: Measured([], {}, {}), unit="s")
    >>> figure(Outcome(row, Measured([0.1234], {}, {})))
    '0.123 s'
    """
    if outcome.ratio is None:
        return "–"
    unit = f" {outcome.row.unit}" if outcome.row.unit in ("s", "modules") else ""
    return f"{outcome.ratio:.3g}{unit}"


def spread(outcome: Outcome) -> str:
    """Return the quartiles of the rounds.

    Examples
    --------
    >>> from tests.benchmarks.speed.row import Limit, Measured, Row
    >>> row = Row("gptq", "", Limit(high=1.3), lambda _: Measured([], {}, {}))
    >>> spread(Outcome(row, Measured([1.0, 3.0, 1.5, 2.0, 2.5], {}, {})))
    '1.5 … 2.5'
    """
    figures = [] if outcome.measured is None else outcome.measured.figures
    if len(figures) < 2:
        return "–"
    low, _, high = statistics.quantiles(figures, n=4, method="inclusive")
    return f"{low:.3g} … {high:.3g}"


def rounds(outcome: Outcome) -> str:
    """Return the number of rounds."""
    return "–" if outcome.measured is None else str(len(outcome.measured.figures))


def remarks(outcome: Outcome) -> str:
    """Return what belongs beside a row: why it is missing, or its other figures."""
    if outcome.measured is None:
        return outcome.reason
    return ", ".join(f"{name} {value:.3g}" for name, value in outcome.measured.notes.items())


def machine_lines(run: Run) -> list[str]:
    """Return on what the run was made."""
    m: dict[str, Any] = run.machine
    if not m:
        return []
    cores = f"{m['cores']} cores, {m['cores available']} of them available"
    lines = [f"{m['processor']}, {cores}; {m['system']}"]
    for b in m["blas"]:
        kind = f"{b['library']} {b['version']} ({b['architecture']})"
        lines.append(f"BLAS of {b['of']}: {kind}, at most {b['threads']} threads")
    for threads, rate in run.rates.items():
        if rate:
            lines.append(
                f"threads {threads}: sgemm {rate['sgemm']:.1f} GFlop/s, "
                f"dgemm {rate['dgemm']:.1f} GFlop/s, copy {rate['copy']:.1f} GB/s"
            )
    lines.append(", ".join(f"{name} {version}" for name, version in m["versions"].items()))
    return lines


def closing_lines(run: Run) -> list[str]:
    """Return what the table cannot say: who is missing, and what was not run."""
    verdicts = [outcome.verdict for outcome in run.outcomes]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in (MET, MISSED, NOT_AVAILABLE))
    lines = [counts]
    lines += [f"left out: {name}: {reason}" for name, reason in run.left_out.items()]
    if run.not_run:
        lines.append(f"interrupted; not run: {', '.join(run.not_run)}")
    if run.settings.quick:
        lines.append("quick: an eighth of every size; the limits are those of the full sizes")
    return lines


def cells(outcome: Outcome) -> dict[str, str]:
    """Return the row's cells by the heading of their column."""
    row, beside = outcome.row, remarks(outcome)
    return {
        "row": row.name,
        "what": f"{row.what} ({beside})" if beside else row.what,
        "threads": str(row.threads),
        "limit": str(row.limit),
        "median": figure(outcome),
        "quartiles": spread(outcome),
        "rounds": rounds(outcome),
        "verdict": f"[{COLOURS[outcome.verdict]}]{outcome.verdict}[/]",
    }


def show(run: Run, width: int | None = None) -> None:
    """Print the table on stdout; None: as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    if width is None and not sys.stdout.isatty():
        width = WIDTH
    console = Console(highlight=False, width=width)
    narrow = console.width < NARROW
    table = Table()
    headings = [name for name in HEADINGS if not (narrow and name in WIDE_ONLY)]
    for name in headings:
        table.add_column(name, no_wrap=name != "what")
    for outcome in run.outcomes:
        found = cells(outcome)
        table.add_row(*(found[name] for name in headings))
    console.print(table)
    lines = [*machine_lines(run), *closing_lines(run)]
    if narrow:
        beside = {outcome.row.name: remarks(outcome) for outcome in run.outcomes}
        lines = [f"{name}: {text}" for name, text in beside.items() if text] + lines
        lines.append("what the rows are: --list, or a wider terminal")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
