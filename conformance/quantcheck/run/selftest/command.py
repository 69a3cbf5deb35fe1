"""The command `quantcheck --self-test`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from quantcheck import mutants
from quantcheck.report.console import consoles
from quantcheck.run import selftest
from quantcheck.run.draws import SEED
from quantcheck.run.selftest.false_alarms import (
    Tally,
    unreached_bounds,
    variant_on_vectors,
    variants_on_draw,
)
from quantcheck.run.selftest.kills import kill
from quantcheck.run.selftest.tables import print_tables
from quantcheck.targets.variants import VARIANTS
from quantref.formats.files import write_json

CASES = 20_000


def main(arguments: Sequence[str]) -> int:
    """Entry point of `quantcheck --self-test`; returns 0, or 4 if the suite fails it."""
    parser = argparse.ArgumentParser(prog="quantcheck --self-test", description=selftest.__doc__)
    add = parser.add_argument
    add("--cases", type=int, default=CASES, metavar="N", help=f"generated cases ({CASES:,})")
    add("--workers", type=int, metavar="N", help="processes (one per core)")
    add("--json", metavar="FILE", help="write the results here")
    options = parser.parse_args(arguments)
    if options.cases < 1:
        parser.error(f"expected --cases of at least 1, got {options.cases}")
    console, _ = consoles()
    made = run(console, cases=options.cases, workers=options.workers)
    if options.json:
        write_json(Path(options.json), made)
    return 0 if made["passed"] else 4


def run(console: Console, *, cases: int = CASES, workers: int | None = None) -> dict[str, Any]:
    """Compute the tables, print them, and return them as plain JSON.

    Parameters
    ----------
    console : Console
    cases : int
        Least number of generated questions for each variant.
    workers : int, optional
        Number of processes; by default one per core.
    """
    names = [mutant.id for mutant in mutants.MUTANTS]
    count = workers or os.cpu_count() or 1
    tally = Tally()
    with ProcessPoolExecutor(count) as pool, Progress(console=console, transient=True) as bar:
        task = bar.add_task("mutants", total=len(names))
        kills = []
        for made in _each(pool, kill, [(name,) for name in names]):
            kills.append(made)
            bar.advance(task)
        task = bar.add_task("variants, vectors", total=len(VARIANTS))
        for made in _each(pool, variant_on_vectors, [(variant.id,) for variant in VARIANTS]):
            tally.add(made)
            bar.advance(task)
        task = bar.add_task("variants, generated cases", total=cases)
        base = SEED + 1
        while tally.cases < cases:
            # One task per process at a time, until there are enough questions.
            jobs = [(base + k, bool((base + k) % 2)) for k in range(count)]
            base += count
            for made in _each(pool, variants_on_draw, jobs):
                tally.add(made)
            bar.update(task, completed=tally.cases)
    kills.sort(key=lambda made: names.index(made.mutant))
    print_tables(console, kills, tally)
    return {
        "format": 1,
        "passed": bool(
            tally.cases
            and not tally.alarms
            and not unreached_bounds(tally.ratios)
            and all(k.caught for k in kills)
        ),
        "mutants": [{**asdict(k), "caught": k.caught} for k in kills],
        "variants": asdict(tally),
    }


def _each(
    pool: ProcessPoolExecutor, work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]
) -> Iterator[Any]:
    for future in as_completed([pool.submit(work, *job) for job in jobs]):
        yield future.result()
