"""The command `quantcheck --self-test`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from quantcheck import mutants
from quantcheck.report.console import consoles, say
from quantcheck.run import selftest
from quantcheck.run.draws import SEED
from quantcheck.run.exits import EXIT_INTERRUPTED, EXIT_PASS, EXIT_SUITE
from quantcheck.run.selftest.false_alarms import (
    PARTS,
    Tally,
    unreached_bounds,
    variants_on_draw,
    variants_on_vectors,
)
from quantcheck.run.selftest.kills import Kill, kill
from quantcheck.run.selftest.saved import Saved
from quantcheck.run.selftest.tables import print_tables
from quantref.fast.threads import single_blas_thread
from quantref.formats.files import write_json

CASES = 20_000


def main(arguments: Sequence[str]) -> int:
    """Entry point of `quantcheck --self-test`; returns 0, 4 if the suite fails it, or 130."""
    if "--large" in arguments:
        from quantcheck.run.selftest.large import command

        return command.main([text for text in arguments if text != "--large"])
    parser = argparse.ArgumentParser(prog="quantcheck --self-test", description=selftest.__doc__)
    add = parser.add_argument
    add("--cases", type=int, default=CASES, metavar="N", help=f"generated cases ({CASES:,})")
    add("--workers", type=int, metavar="N", help="processes (one per core)")
    add(
        "--large",
        action="store_true",
        help="judge the certificate in large matrices instead; see --self-test --large --help",
    )
    add("--resume", metavar="FILE", help="keep finished tasks here, and continue from them")
    add("--json", metavar="FILE", help="write the results here")
    options = parser.parse_args(arguments)
    if options.cases < 1:
        parser.error(f"expected --cases of at least 1, got {options.cases}")
    console, _ = consoles()
    saved = Saved(Path(options.resume) if options.resume else None)
    made = run(console, cases=options.cases, workers=options.workers, saved=saved)
    if options.json:
        write_json(Path(options.json), made)
    if not made["complete"]:
        return EXIT_INTERRUPTED
    return EXIT_PASS if made["passed"] else EXIT_SUITE


def run(
    console: Console,
    *,
    cases: int = CASES,
    workers: int | None = None,
    saved: Saved | None = None,
) -> dict[str, Any]:
    """Compute the tables, print them, and return them as plain JSON.

    Ctrl-C ends the run with the tables of the finished tasks.

    Parameters
    ----------
    console : Console
    cases : int
        Least number of generated questions for each variant.
    workers : int, optional
        Number of processes; by default one per core.
    saved : Saved, optional
        Results of an earlier run, which are not computed again.
    """
    count, saved = workers or os.cpu_count() or 1, saved or Saved()
    complete = False
    with _processes(count) as pool, Progress(console=console, transient=True) as bar:
        try:
            _compute(Tasks(pool, saved), bar, cases, count)
            complete = True
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
    kills, tally = _collected(saved, cases)
    print_tables(console, kills, tally)
    if not complete:
        say(console, "interrupted: the tables hold the finished tasks")
    return {
        "format": 1,
        "complete": complete,
        "passed": bool(
            complete
            and tally.cases
            and not tally.alarms
            and not unreached_bounds(tally.ratios)
            and all(k.caught for k in kills)
        ),
        "mutants": [{**asdict(k), "caught": k.caught} for k in kills],
        "variants": asdict(tally),
    }


def _processes(count: int) -> ProcessPoolExecutor:
    """Return processes that use one thread of BLAS each: more would wait for one another."""
    return ProcessPoolExecutor(count, initializer=single_blas_thread)


class Tasks:
    """Runs tasks in processes, except those whose results are saved."""

    def __init__(self, pool: ProcessPoolExecutor, saved: Saved) -> None:
        self.pool, self.saved = pool, saved

    def each(
        self, work: Callable[..., Any], jobs: Mapping[str, tuple[Any, ...]]
    ) -> Iterator[dict[str, Any]]:
        """Yield the result of each job as plain JSON, as soon as it is known."""
        asked = {
            self.pool.submit(work, *job): name
            for name, job in jobs.items()
            if name not in self.saved.results
        }
        yield from (self.saved.results[name] for name in jobs if name in self.saved.results)
        for future in as_completed(asked):
            made = asdict(future.result())
            self.saved.add(asked[future], made)
            yield made


def _compute(tasks: Tasks, bar: Progress, cases: int, count: int) -> None:
    """Compute all tasks: mutants, variants on vectors, and variants on generated cases."""
    names = [mutant.id for mutant in mutants.MUTANTS]
    task = bar.add_task("mutants", total=len(names))
    for _ in tasks.each(kill, {f"mutant {name}": (name,) for name in names}):
        bar.advance(task)
    task = bar.add_task("variants, vectors", total=PARTS)
    jobs = {f"vectors {part} of {PARTS}": (part,) for part in range(PARTS)}
    for _ in tasks.each(variants_on_vectors, jobs):
        bar.advance(task)
    task = bar.add_task("variants, generated cases", total=cases)
    base, done, largest = SEED + 1, 0, cases
    while done < cases:
        # One task per process at a time, and no more than are needed: the first tells its size.
        some = min(count, -(-(cases - done) // largest))
        draws = {f"draw {base + k}": (base + k, bool((base + k) % 2)) for k in range(some)}
        base, largest = base + some, 1
        for made in tasks.each(variants_on_draw, draws):
            done += made["cases"]
            largest = max(largest, made["cases"])
            bar.update(task, completed=done)
        if not bar.console.is_terminal:
            say(bar.console, f"{done} of {cases} generated cases for each variant")


def _collected(saved: Saved, cases: int) -> tuple[list[Kill], Tally]:
    """Return the results of finished tasks; no more draws than are needed for the cases."""
    order = [mutant.id for mutant in mutants.MUTANTS]
    found, tally = dict(saved.results), Tally()
    kills = [Kill(**found[f"mutant {name}"]) for name in order if f"mutant {name}" in found]
    for name, made in found.items():
        if name.startswith("vectors ") or (name.startswith("draw ") and tally.cases < cases):
            tally.add(Tally(**made))
    return kills, tally
