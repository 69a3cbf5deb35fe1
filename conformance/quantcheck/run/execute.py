"""Runs the suite on one target, in this process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from quantcheck.deviations.rewrite import Rewritten
from quantcheck.report.document import empty
from quantcheck.run import results
from quantcheck.run.asking import Event
from quantcheck.run.exits import EXIT_SUITE
from quantcheck.run.run import Run
from quantcheck.run.settings import Settings
from quantref.fast.threads import single_blas_thread


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Attributes
    ----------
    report : dict
        `report` of report.schema.json.
    deviations : Rewritten, optional
        The updated deviation file, and what no cause explains; None unless it was asked for.
    """

    report: dict[str, Any]
    deviations: Rewritten | None


def run_target(
    settings: Settings, event: Event | None = None, *, propose: bool = False
) -> RunResult:
    """Run the suite on one target.  [VER-100]

    After any error the target is stopped, and the finished part is reported. Ctrl-C ends the run
    with a report. A second Ctrl-C ends this function at once, with KeyboardInterrupt.

    Parameters
    ----------
    settings : Settings
    event : callable, optional
        Called with each event, a JSON object, see `quantcheck.report.progress`.
    propose : bool
        Whether a deviation file is made, which tries all known causes.
    """
    with _quiet():
        run = Run(settings, event)
        try:
            for step in (_course, Run.close):
                _take(run, step)
        finally:
            run.kill()
        return _ended(run, propose=propose)


def _course(run: Run) -> None:
    run.load()
    run.begin(run.chosen())
    for identity in run.selected:
        run.ask(identity)


def _take(run: Run, step: Any) -> None:
    """Run one step; an exception that ends it is stored in the run."""
    try:
        step(run)
    except KeyboardInterrupt:
        if run.interrupted:
            raise
        run.interrupted = True
    except Exception as error:  # noqa: BLE001 - the report contains errors of the suite
        run.abort(error)


def _ended(run: Run, *, propose: bool) -> RunResult:
    try:
        written = results.deviation_file(run) if propose else None
        return RunResult(results.report(run), written)
    except Exception as error:  # noqa: BLE001 - likewise
        run.abort(error)
        made = empty(run.settings.target, EXIT_SUITE, results.error_to_json(run.aborted))
        times = {"started": run.started.isoformat(timespec="seconds"), "seconds": run.seconds}
        return RunResult({**made, **times}, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide warnings about numbers in answers, which judges report; use one thread of BLAS."""
    with warnings.catch_warnings(), single_blas_thread():
        warnings.simplefilter("ignore")
        yield
