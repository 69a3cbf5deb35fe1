"""The table as text, for people."""

from __future__ import annotations

import statistics
import sys
from typing import Any

from quantref.bench.row import MET, MISSED, NOT_AVAILABLE, Outcome
from quantref.bench.run import Run

COLOURS = {MET: "green", MISSED: "red", NOT_AVAILABLE: "yellow"}
# Where no terminal says how wide it is.
WIDTH = 150


def figure(outcome: Outcome) -> str:
    """Return what was measured, with its unit.

    Examples
    --------
    >>> from quantref.bench.row import Limit, Measured, Row
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
    >>> from quantref.bench.row import Limit, Measured, Row
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


def show(run: Run) -> None:
    """Print the table on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    table = Table(show_lines=False)
    headings = ("row", "what", "threads", "limit", "median", "quartiles", "rounds", "verdict")
    for heading in headings:
        table.add_column(heading, no_wrap=heading != "what")
    for outcome in run.outcomes:
        row, beside = outcome.row, remarks(outcome)
        colour = COLOURS[outcome.verdict]
        table.add_row(
            row.name,
            f"{row.what} ({beside})" if beside else row.what,
            str(row.threads),
            str(row.limit),
            figure(outcome),
            spread(outcome),
            rounds(outcome),
            f"[{colour}]{outcome.verdict}[/]",
        )
    console.print(table)
    for line in [*machine_lines(run), *closing_lines(run)]:
        console.print(line, markup=False, soft_wrap=True)
