"""Rows of what moves memory and little more: AbsMax and packing; and the Hessian's one product."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from tests.benchmarks.speed import problems
from tests.benchmarks.speed.row import Limit, Measured, Row, Settings, Work
from tests.benchmarks.speed.timing import contestant, interleave, medians, per_round

from quantref import abs_max_quantize, accumulate_hessian, pack_codes, unpack_codes

AXES: dict[str, int | None] = {"axis-0": 0, "last-axis": -1, "whole": None}
BATCHES = 8
SIZE = 8192


def hessian(n: int) -> Callable[[Settings], Measured]:
    """Return the measurement of accumulating batches against the product that they need."""

    def measure(settings: Settings) -> Measured:
        from scipy.linalg.blas import ssyrk

        n_in = settings.size(n)
        x = problems.tokens(n_in)
        y = x.copy()  # NumPy calls syrk, not gemm, where both factors are one array
        times = interleave(
            [
                contestant(
                    "accumulate", lambda: accumulate_hessian([x] * BATCHES, dtype=np.float32)
                ),
                contestant("sgemm", lambda: x.T @ y),
                contestant("ssyrk", lambda: ssyrk(1.0, x.T, lower=1)),
            ],
            settings.plan,
        )
        rates = per_round(times, lambda s: BATCHES * s["sgemm"] / 2 / s["accumulate"])
        of_ssyrk = per_round(times, lambda s: BATCHES * s["ssyrk"] / s["accumulate"])
        seconds = medians(times)
        operations = BATCHES * float(len(x)) * n_in**2  # half of a full product
        moved = BATCHES * 4.0 * x.size + 8.0 * n_in**2
        return Measured(
            rates,
            seconds,
            {"n_in": n_in, "tokens": len(x), "batches": BATCHES},
            notes={"share of the rate of ssyrk": float(np.median(of_ssyrk))},
            work=Work(operations, moved, seconds["accumulate"]),
        )

    return measure


def abs_max(axis: int | None) -> Callable[[Settings], Measured]:
    """Return the measurement of AbsMax against a copy of its input."""

    def measure(settings: Settings) -> Measured:
        n = settings.size(SIZE)
        x = problems.weights(n, n)
        times = interleave(
            [
                contestant("abs_max_quantize", lambda: abs_max_quantize(x, axis)),
                contestant("np.copy", lambda: np.copy(x)),
            ],
            settings.plan,
        )
        seconds = medians(times)
        # Three steps for each number: its share in the maximum, the product, the rounding.
        work = Work(3.0 * x.size, 5.0 * x.size, seconds["abs_max_quantize"])
        ratios = per_round(times, lambda s: s["abs_max_quantize"] / s["np.copy"])
        return Measured(ratios, seconds, {"rows": n, "columns": n}, work=work)

    return measure


def packing(axis: int, unpacked: bool) -> Callable[[Settings], Measured]:
    """Return the measurement of packing, or of unpacking, against a copy of the codes."""

    def measure(settings: Settings) -> Measured:
        n = settings.size(SIZE)
        codes = np.random.default_rng(3).integers(0, 16, (n, n), np.uint8)
        packed = pack_codes(codes, 4, axis)
        ours = (
            contestant("ours", lambda: unpack_codes(packed, 4, n, axis))
            if unpacked
            else contestant("ours", lambda: pack_codes(codes, 4, axis))
        )
        times = interleave([ours, contestant("np.copy", lambda: np.copy(codes))], settings.plan)
        seconds = medians(times)
        work = Work(float(codes.size), 1.5 * codes.size, seconds["ours"])
        ratios = per_round(times, lambda s: s["ours"] / s["np.copy"])
        return Measured(ratios, seconds, {"rows": n, "columns": n}, work=work)

    return measure


def rows() -> Iterator[Row]:
    """Yield the rows of the Hessian, of AbsMax and of packing."""
    for n in (2048, 4096):
        what = (
            f"Hessian of {BATCHES} batches of {problems.TOKENS} float32 tokens, n_in {n}: rate as "
            "a share of that of sgemm (half its time, since a symmetric product needs half)"
        )
        yield Row(f"hessian-{n}", what, Limit(low=0.8), hessian(n))
    for name, axis in AXES.items():
        what = f"AbsMax {SIZE} × {SIZE} float32 to int8, axis={axis}, against np.copy of the input"
        yield Row(f"absmax-{name}", what, Limit(high=1.5), abs_max(axis))
    for unpacked in (False, True):
        verb = "unpack" if unpacked else "pack"
        for name, axis in (("axis-0", 0), ("last-axis", -1)):
            what = f"{verb} {SIZE} × {SIZE} codes of 4 bits, axis={axis}, against np.copy of them"
            yield Row(f"{verb}-{name}", what, Limit(high=2.0), packing(axis, unpacked))
