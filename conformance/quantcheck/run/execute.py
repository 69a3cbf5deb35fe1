"""Runs one target from beginning to end, in this process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from quantcheck.report.document import empty
from quantcheck.run import results
from quantcheck.run.asking import Event
from quantcheck.run.exits import EXIT_SUITE
from quantcheck.run.run import Run
from quantcheck.run.settings import Settings


@dataclass(frozen=True)
class Ended:
    """What a run leaves.

    Attributes
    ----------
    report : dict
        As `report` in report.schema.json.
    deviations : dict, optional
        The deviation file brought up to date; None where nothing was asked.
    """

    report: dict[str, Any]
    deviations: dict[str, Any] | None


def run_target(settings: Settings, event: Event | None = None) -> Ended:
    """Put one target to the suite.  [VER-050]

    Whatever happens, the target is ended and there is a report of what was done. Ctrl-C ends the
    run; the second Ctrl-C ends this function at once, with KeyboardInterrupt.

    Parameters
    ----------
    settings : Settings
    event : callable, optional
        Told what happens, as JSON objects, see `quantcheck.report.progress`.
    """
    with _quiet():
        run = Run(settings, event)
        try:
            for step in (_course, Run.close):
                _take(run, step)
        finally:
            run.kill()
        return _ended(run)


def _course(run: Run) -> None:
    run.load()
    run.begin(run.chosen())
    for identity in run.selected:
        run.ask(identity)


def _take(run: Run, step: Any) -> None:
    """Take one step; what ends it early is noted in the run."""
    try:
        step(run)
    except KeyboardInterrupt:
        if run.interrupted:
            raise
        run.interrupted = True
    except Exception as error:  # noqa: BLE001 - an error of the suite is told in a report
        run.abort(error)


def _ended(run: Run) -> Ended:
    try:
        return Ended(results.report(run), results.deviation_file(run))
    except Exception as error:  # noqa: BLE001 - likewise
        run.abort(error)
        made = empty(run.settings.target, EXIT_SUITE, results.told(run.aborted))
        times = {"started": run.started.isoformat(timespec="seconds"), "seconds": run.seconds}
        return Ended({**made, **times}, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Show no warnings: they are about the numbers of answers, which are judged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
