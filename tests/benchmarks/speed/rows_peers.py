"""Rows against other quantizers: Keras on its fastest backend, and GPTQ in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.benchmarks.speed import problems
from tests.benchmarks.speed.peers import PeerError, fastest_of_keras, installed, peer
from tests.benchmarks.speed.row import Limit, Measured, NotAvailableError, Row, Settings
from tests.benchmarks.speed.rows_arrays import AXES, SIZE
from tests.benchmarks.speed.rows_gptq import gptq
from tests.benchmarks.speed.timing import Contestant, contestant, interleave, medians, per_round

from quantref import abs_max_quantize


def against_keras(
    program: str, arguments: dict[str, Any], ours: Contestant, settings: Settings
) -> Measured:
    """Return how many times faster ours is than the fastest backend of Keras."""
    with fastest_of_keras(program, arguments, settings.peer_seconds, settings.tell) as (
        theirs,
        second,
        left_out,
    ):
        if not theirs:
            raise NotAvailableError("no backend of Keras answered", left_out)
        try:
            times = interleave([ours, *theirs], settings.plan)
        except PeerError as error:
            raise NotAvailableError(f"Keras: {error}", left_out) from None

    def ratio(seconds: Mapping[str, float]) -> float:
        return min(seconds[c.name] for c in theirs) / seconds[ours.name]

    numbers = {name: value for name, value in arguments.items() if isinstance(value, int)}
    return Measured(
        per_round(times, ratio),
        {**second, **medians(times)},
        numbers,
        left_out=left_out,
    )


def keras_gptq(n: int) -> Callable[[Settings], Measured]:
    """Return the measurement of GPTQ against Keras's own."""

    def measure(settings: Settings) -> Measured:
        size = settings.size(n)
        ours = gptq(problems.weights(size, size), problems.hessian(size), problems.DEFAULT)
        return against_keras("keras_gptq", {"n_out": size, "n_in": size}, ours, settings)

    return measure


def keras_abs_max(axis: int | None) -> Callable[[Settings], Measured]:
    """Return the measurement of AbsMax against Keras's own."""

    def measure(settings: Settings) -> Measured:
        n = settings.size(SIZE)
        x = problems.weights(n, n)
        ours = contestant("abs_max_quantize", lambda: abs_max_quantize(x, axis))
        return against_keras("keras_abs_max", {"n": n, "axis": axis}, ours, settings)

    return measure


def torch_gptq(n: int) -> Callable[[Settings], Measured]:
    """Return the measurement of GPTQ against plain torch."""

    def measure(settings: Settings) -> Measured:
        if not installed("torch"):
            raise NotAvailableError("torch is not installed", {"torch": "not installed"})
        size = settings.size(n)
        sizes = {"n_out": size, "n_in": size}
        ours = gptq(problems.weights(size, size), problems.hessian(size), problems.DEFAULT)
        try:
            with peer("torch_gptq", sizes, settings.peer_seconds) as torch:
                times = interleave([ours, Contestant("torch", torch.run)], settings.plan)
        except PeerError as error:
            raise NotAvailableError(f"torch: {error}", {"torch": str(error)}) from None
        ratios = per_round(times, lambda s: s["torch"] / s["gptq"])
        return Measured(ratios, medians(times), sizes)

    return measure


def rows() -> Iterator[Row]:
    """Yield the rows against other quantizers."""
    for n, least in ((1024, 3.0), (4096, 2.5)):
        what = f"GPTQ {n} × {n}: GPTQ in plain torch, lazy blocks of 128, against ours"
        yield Row(f"torch-gptq-{n}", what, Limit(low=least), torch_gptq(n))
    what = "GPTQ 1024 × 1024: Keras's own on its fastest backend against ours"
    yield Row("keras-gptq-1024", what, Limit(low=50.0), keras_gptq(1024))
    for name, axis in AXES.items():
        what = f"AbsMax {SIZE} × {SIZE} float32 to int8, axis={axis}: Keras's fastest against ours"
        yield Row(f"keras-absmax-{name}", what, Limit(low=2.5), keras_abs_max(axis))
