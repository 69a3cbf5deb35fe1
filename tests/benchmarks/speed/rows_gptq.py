"""Rows of GPTQ: against its own unavoidable arithmetic, its variants, its threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.speed import problems
from tests.benchmarks.speed.row import Limit, Measured, Row, Settings, Work
from tests.benchmarks.speed.timing import Contestant, contestant, interleave, medians, per_round

from quantref import GPTQConfig, certify, gptq_quantize
from quantref.certificate import U64
from quantref.fast.certificate import certify_problem
from quantref.fast.gptq import quantize_problem
from quantref.fast.problem import prepare_problem

SIZES = (1024, 2048, 4096)
WIDE_AND_TALL = ((4096, 11008), (11008, 4096), (50257, 768))
OWN_ARITHMETIC, WIDE = 1.3, 1.5

VARIANTS: dict[str, dict[str, Any]] = {
    "symmetric": {"symmetric": True},
    "per-tensor": {"per_channel": False},
    "activation-order": {"activation_order": True},
    "2-bits": {"weight_bits": 2},
    "3-bits": {"weight_bits": 3},
    "8-bits": {"weight_bits": 8},
    "ragged-groups": {"group_size": 100},
    "one-group": {"group_size": -1},
}


def gptq(W: NDArray[Any], H: NDArray[Any], config: GPTQConfig, **named: Any) -> Contestant:
    """Return our GPTQ in float32 as a contestant, the Hessian given."""
    name = " ".join(["gptq", *(f"{key}={value}" for key, value in named.items())])
    return contestant(name, lambda: gptq_quantize(W, H, config, dtype=np.float32, **named))


def gptq_work(n_out: int, n_in: int, seconds: float) -> Work:
    """Return what GPTQ does at least: factor and inverse, and the feedback's triangle."""
    operations = 2 / 3 * n_in**3 + n_out * n_in**2
    return Work(operations, 4.0 * n_out * n_in + 8.0 * n_in**2 + n_out * n_in, seconds)


def unavoidable(H: NDArray[Any], n_out: int) -> list[Contestant]:
    """Return the arithmetic that GPTQ cannot do without, each part as a contestant.

    All of it is SciPy's: threads of NumPy's BLAS would keep the cores after their work is done.
    """
    from scipy.linalg.blas import sgemm
    from scipy.linalg.lapack import dpotrf, dtrtri

    n_in = len(H)
    factor = np.asfortranarray(dpotrf(H, lower=0, clean=1)[0])
    E = np.ones((n_out, n_in), np.float32, order="F")
    U = np.ones((n_in, n_in), np.float32, order="F")

    def fresh(a: NDArray[Any]) -> Callable[[], tuple[NDArray[Any]]]:
        return lambda: (np.array(a, order="F"),)  # LAPACK works in place

    return [
        contestant("potrf", lambda a: dpotrf(a, lower=0, clean=0, overwrite_a=1), fresh(H)),
        contestant("trtri", lambda a: dtrtri(a, lower=0, overwrite_c=1), fresh(factor)),
        contestant("sgemm", lambda: sgemm(1.0, E, U)),
    ]


def own_arithmetic(n_out: int, n_in: int, threads: int = 1) -> Callable[[Settings], Measured]:
    """Return the measurement of GPTQ against its unavoidable arithmetic, on so many threads."""

    def measure(settings: Settings) -> Measured:
        rows, columns = settings.size(n_out), settings.size(n_in)
        H = problems.hessian(columns)
        W = problems.weights(rows, columns)
        ours = Contestant("gptq", gptq(W, H, problems.DEFAULT, workers=threads).run)
        times = interleave([ours, *unavoidable(H, rows)], settings.plan)
        ratios = per_round(times, lambda s: s["gptq"] / (s["potrf"] + s["trtri"] + s["sgemm"] / 2))
        seconds = medians(times)
        work = gptq_work(rows, columns, seconds["gptq"])
        return Measured(ratios, seconds, {"n_out": rows, "n_in": columns}, work=work)

    return measure


def variant(n: int, changed: dict[str, Any]) -> Callable[[Settings], Measured]:
    """Return the measurement of one configuration against the default."""

    def measure(settings: Settings) -> Measured:
        size = settings.size(n)
        W, H = problems.weights(size, size), problems.hessian(size)
        config = GPTQConfig(None, None, **{"weight_bits": 4, "group_size": 128, **changed})
        other = Contestant("variant", gptq(W, H, config).run)
        times = interleave([other, gptq(W, H, problems.DEFAULT)], settings.plan)
        seconds = medians(times)
        ratios = per_round(times, lambda s: s["variant"] / s["gptq"])
        work = gptq_work(size, size, seconds["variant"])
        return Measured(ratios, seconds, {"n_out": size, "n_in": size}, work=work)

    return measure


def workers(n: int) -> Callable[[Settings], Measured]:
    """Return the measurement of two workers against one."""

    def measure(settings: Settings) -> Measured:
        size = settings.size(n)
        W, H = problems.weights(size, size), problems.hessian(size)
        both = [gptq(W, H, problems.DEFAULT, workers=k) for k in (1, 2)]
        times = interleave(both, settings.plan)
        ratios = per_round(times, lambda s: s["gptq workers=1"] / s["gptq workers=2"])
        return Measured(ratios, medians(times), {"n_out": size, "n_in": size})

    return measure


def certificate(n: int) -> Callable[[Settings], Measured]:
    """Return what a verdict adds to a quantization that shares its factor, of double precision."""

    def measure(settings: Settings) -> Measured:
        size = settings.size(n)
        W, H = problems.weights(size, size), problems.hessian(size)

        def both() -> None:
            problem = prepare_problem(W, H, problems.DEFAULT, dtype=np.float32)
            _ = problem.R
            made = certify_problem(problem, quantize_problem(problem), factor_roundoff=U64)
            assert made.verdict == "passed"  # whether it is weak is part of it

        contestants = [contestant("both", both), gptq(W, H, problems.DEFAULT)]
        times = interleave(contestants, settings.plan)
        ratios = per_round(times, lambda s: s["both"] / s["gptq"] - 1)
        return Measured(ratios, medians(times), {"n_out": size, "n_in": size})

    return measure


def verdict(n: int) -> Callable[[Settings], Measured]:
    """Return the measurement of a verdict from arrays alone against the quantization."""

    def measure(settings: Settings) -> Measured:
        size = settings.size(n)
        W, H = problems.weights(size, size), problems.hessian(size)
        answer = gptq_quantize(W, H, problems.DEFAULT, dtype=np.float32)
        check = contestant("certify", lambda: certify(W, H, answer, problems.DEFAULT).verdict)
        times = interleave([check, gptq(W, H, problems.DEFAULT)], settings.plan)
        ratios = per_round(times, lambda s: s["certify"] / s["gptq"])
        return Measured(ratios, medians(times), {"n_out": size, "n_in": size})

    return measure


def rows() -> Iterator[Row]:
    """Yield the rows of GPTQ, and of its certificate."""
    own = "its own unavoidable arithmetic: potrf + trtri (float64) + sgemm / 2"
    for threads in (1, 2):
        for n in SIZES:
            name = f"gptq-{n}" + (f"-{threads}-threads" if threads > 1 else "")
            what = f"GPTQ {n} × {n}, workers={threads}, against {own}"
            limit, measure = Limit(high=OWN_ARITHMETIC), own_arithmetic(n, n, threads)
            yield Row(name, what, limit, measure, threads, threads)
    for n_out, n_in in WIDE_AND_TALL:
        what = f"GPTQ {n_out} × {n_in} (n_out × n_in) against {own}"
        limit = Limit(high=round(OWN_ARITHMETIC * WIDE, 4))
        yield Row(f"gptq-{n_out}x{n_in}", what, limit, own_arithmetic(n_out, n_in))
    what = "GPTQ 4096 × 4096: workers=1 against workers=2"
    yield Row("gptq-workers", what, Limit(low=1.8), workers(4096), threads=1, cores=2)
    for name, changed in VARIANTS.items():
        settings = ", ".join(f"{key}={value}" for key, value in changed.items())
        what = f"GPTQ 2048 × 2048 with {settings} against 4 bits in groups of 128"
        yield Row(f"variant-{name}", what, Limit(high=1.2), variant(2048, changed))
    for n in (1024, 4096):
        what = f"verdict of a certificate {n} × {n}, with the solver's factor, against the solver"
        yield Row(f"certificate-{n}", what, Limit(high=1.0), certificate(n))
    for n in (1024, 4096):
        what = f"verdict {n} × {n} from arrays alone, weak or not, against the solver"
        yield Row(f"verdict-{n}", what, Limit(high=3.0), verdict(n))
