"""Rows about the whole: memory, the import, and how cost grows with the work."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from tests.benchmarks.speed import problems
from tests.benchmarks.speed.row import Limit, Measured, Row, Settings, Work
from tests.benchmarks.speed.rows_gptq import gptq, gptq_work
from tests.benchmarks.speed.timing import Contestant, contestant, interleave, medians, per_round

from quantref import GPTQConfig, accumulate_hessian, gptq_quantize

# Beside the arrays that a limit of memory names: objects, and arrays of one row.
SMALL = 2**20
IMPORT_ROUNDS = 9
N_OUT, N_IN_OF_N_OUT = (4096, 8192, 16384, 32768), 512
N_IN, N_OUT_OF_N_IN = (512, 1024, 2048, 4096), 1024


def peak_bytes(call: Callable[[], Any]) -> int:
    """Return how much memory a call takes at most, its result with it, its inputs without.

    tracemalloc sees what NumPy allocates, not the small work arrays inside LAPACK.

    Examples
    --------
    >>> 8000 <= peak_bytes(lambda: np.zeros(1000)) < 9000
    True
    """
    tracemalloc.start()
    try:
        result = call()
        peak = tracemalloc.get_traced_memory()[1]
        del result
    finally:
        tracemalloc.stop()
    return peak


def of_memory(sizes: dict[str, int], call: Callable[[], Any], allowed: float) -> Measured:
    """Return the peak of a call as a share of what it is allowed."""
    call()  # what is imported or cached at the first call is not its own
    peak = peak_bytes(call)
    notes = {"peak MiB": peak / 2**20, "allowed MiB": allowed / 2**20}
    return Measured([peak / allowed], {}, sizes, notes=notes)


def gptq_memory(n_out: int, n_in: int) -> Callable[[Settings], Measured]:
    """Return the measurement of GPTQ's memory."""

    def measure(settings: Settings) -> Measured:
        rows, columns = settings.size(n_out), settings.size(n_in)
        W, H = problems.weights(rows, columns), problems.hessian(columns)
        settings.tell("tracing memory")
        config: GPTQConfig = problems.DEFAULT
        groups = -(-columns // config.group_size)
        codes_and_parameters = rows * columns + 5 * rows * groups
        allowed = 4.0 * rows * columns + 16.0 * columns**2 + codes_and_parameters + SMALL
        sizes = {"n_out": rows, "n_in": columns}
        return of_memory(sizes, lambda: gptq_quantize(W, H, config, dtype=np.float32), allowed)

    return measure


def hessian_memory(n: int) -> Callable[[Settings], Measured]:
    """Return the measurement of the Hessian's memory."""

    def measure(settings: Settings) -> Measured:
        n_in = settings.size(n)
        x = problems.tokens(n_in)
        settings.tell("tracing memory")
        allowed = 16.0 * n_in**2 + SMALL
        sizes = {"n_in": n_in, "tokens": len(x), "batches": 2}
        return of_memory(sizes, lambda: accumulate_hessian([x, x]), allowed)

    return measure


def python(code: str) -> Contestant:
    """Return the start of an interpreter that runs a line, as a contestant."""

    def call() -> None:
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)

    return contestant(code, call)


def import_time(settings: Settings) -> Measured:
    """Measure `import quantref` without the interpreter's own start."""
    plan = settings.plan
    lines = ("import quantref", "import numpy", "pass")
    rounds = plan.rounds or (3 if settings.quick else IMPORT_ROUNDS)
    times = interleave([python(line) for line in lines], replace(plan, rounds=rounds))
    figures = per_round(times, lambda s: s["import quantref"] - s["pass"])
    numpy_alone = per_round(times, lambda s: s["import numpy"] - s["pass"])
    notes = {"import numpy alone, seconds": float(np.median(numpy_alone))}
    return Measured(figures, medians(times), {}, notes=notes)


def import_of_scipy(_: Settings) -> Measured:
    """Count the modules of SciPy that `import quantref` loads."""
    code = "import sys, quantref; print(sum(m.partition('.')[0] == 'scipy' for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return Measured([float(done.stdout)], {}, {})


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Return the slope of seconds over sizes, both logarithmic.

    Examples
    --------
    >>> round(exponent([1, 2, 4, 8], [3.0, 12.0, 48.0, 192.0]), 6)
    2.0
    """
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def growth(variable: str) -> Callable[[Settings], Measured]:
    """Return the measurement of the exponent with which time grows."""

    def measure(settings: Settings) -> Measured:
        by_size = {}
        for n in N_OUT if variable == "n_out" else N_IN:
            n_out, n_in = (n, N_IN_OF_N_OUT) if variable == "n_out" else (N_OUT_OF_N_IN, n)
            rows, columns = settings.size(n_out), settings.size(n_in)
            run = gptq(problems.weights(rows, columns), problems.hessian(columns), problems.DEFAULT)
            by_size[rows if variable == "n_out" else columns] = (rows, columns, run.run)
        contestants = [Contestant(str(n), run) for n, (*_, run) in by_size.items()]
        times = interleave(contestants, settings.plan)
        sizes = list(by_size)
        figures = per_round(times, lambda s: exponent(sizes, [s[str(n)] for n in sizes]))
        seconds = medians(times)
        rows, columns, _ = by_size[sizes[-1]]
        work: Work = gptq_work(rows, columns, seconds[str(sizes[-1])])
        fixed = ("n_in", columns) if variable == "n_out" else ("n_out", rows)
        series = {
            "variable": variable,
            "fixed": dict([fixed]),
            "sizes": sizes,
            "seconds": [seconds[str(n)] for n in sizes],
        }
        return Measured(figures, seconds, dict([fixed]), work=work, series=series)

    return measure


def rows() -> Iterator[Row]:
    """Yield the rows of memory, import and growth."""
    for n_out, n_in in ((2048, 2048), (50257, 768)):
        what = (
            f"peak memory of GPTQ {n_out} × {n_in} beyond its inputs against one float32 copy of "
            "the weights, two n_in² float64 matrices, codes and parameters, 1 MiB"
        )
        yield Row(f"memory-{n_out}x{n_in}", what, Limit(high=1.0), gptq_memory(n_out, n_in))
    for n in (2048, 4096):
        what = f"peak memory of the Hessian, n_in {n}, against two n_in² float64 matrices, 1 MiB"
        yield Row(f"memory-hessian-{n}", what, Limit(high=1.0), hessian_memory(n))
    what = "`import quantref` in a fresh interpreter, its own start taken off"
    yield Row("import-time", what, Limit(high=0.15), import_time, unit="s")
    what = "modules of SciPy that `import quantref` loads"
    yield Row("import-without-scipy", what, Limit(high=0), import_of_scipy, unit="modules")
    what = f"exponent of GPTQ's time in n_out ({N_OUT[0]} … {N_OUT[-1]}, n_in {N_IN_OF_N_OUT})"
    yield Row("growth-n_out", what, Limit(0.9, 1.1), growth("n_out"), unit="exponent")
    what = f"exponent of GPTQ's time in n_in ({N_IN[0]} … {N_IN[-1]}, n_out {N_OUT_OF_N_IN})"
    yield Row("growth-n_in", what, Limit(2.0, 3.0), growth("n_in"), unit="exponent")
