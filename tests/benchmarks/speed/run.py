"""The run: one row after another, and what was done so far where it is interrupted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.speed import machine
from tests.benchmarks.speed.progress import Progress
from tests.benchmarks.speed.row import NotAvailableError, Outcome, Row, Settings
from tests.benchmarks.speed.threads import limited

FORMAT = "quantref-speed"
FORMAT_VERSION = 1


@dataclass
class Run:
    """What was measured.

    Attributes
    ----------
    settings : Settings
    machine : dict
    rates : dict
        By number of threads: what the machine reaches at most.
    outcomes : list of Outcome
    not_run : list of str
        Rows that an interruption left.
    """

    settings: Settings
    machine: dict[str, Any] = field(default_factory=dict)
    rates: dict[int, dict[str, float]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    started: str = ""

    @property
    def left_out(self) -> dict[str, str]:
        """Return peers that did not take part in some row, and why."""
        found = {}
        for outcome in self.outcomes:
            where = outcome.left_out if outcome.measured is None else outcome.measured.left_out
            for name, reason in where.items():
                # What is not installed is so for all rows.
                key = name if reason == "not installed" else f"{name} ({outcome.row.name})"
                found[key] = reason
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the report of `--json`."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "started": self.started,
            "quick": self.settings.quick,
            "interrupted": bool(self.not_run),
            "machine": self.machine,
            "rates": {str(threads): found for threads, found in self.rates.items()},
            "rows": [outcome.as_json() for outcome in self.outcomes],
            "not_run": self.not_run,
            "peers_left_out": self.left_out,
        }


def measure(row: Row, settings: Settings) -> Outcome:
    """Measure one row."""
    try:
        with limited(row.threads, row.cores):
            return Outcome(row, row.measure(settings))
    except NotAvailableError as error:
        return Outcome(row, None, str(error), error.left_out)
    except MemoryError:
        return Outcome(row, None, "not enough memory")


def measure_all(rows: Sequence[Row], run: Run, progress: Progress) -> None:
    """Measure all rows, each added to `run` as it is done."""
    settings = run.settings
    run.not_run = [row.name for row in rows]
    run.started = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    run.machine = machine.describe()
    for threads in sorted({row.threads for row in rows}):
        progress.begin(f"rates of the machine, threads: {threads}")
        run.rates[threads] = machine.rates(threads, settings)
    for row in rows:
        progress.begin(row.name)
        run.outcomes.append(measure(row, settings))
        run.not_run.remove(row.name)
        progress.end(run.outcomes[-1])
