"""How much memory models and certificates take: no more than is stated, for each flag of a run.

What is counted is what Python and NumPy allocate from the start of the run on (tracemalloc): not
the model and the calibration data, which are there before.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tests.benchmarks.speed.problems import hessian

from quantref import GPTQConfig, certify, gptq_quantize
from quantref.checks import LOOSE_SCALE
from quantref.fast.hessian import SIDE
from quantref.inputs import Array
from quantref.models import Batch, Settings, quantize_blocks
from quantref.models.executors import open_executor
from quantref.models.task import ROWS_PER_PART, Task, parts_of, run_task

from .plain_models import PlainLayer, Watch

MIB = 2**20
SMALL = 2 * MIB  # tiles, and what is not arrays
CONFIG = GPTQConfig(None, None, weight_bits=4, group_size=128)


@dataclass
class Mlp:
    """A block of two layers, width → inner → width, and a residual, in single precision."""

    name: str
    layers: list[PlainLayer]

    def run(self, state: Array, watch: Watch | None) -> Array:
        x = state
        for layer in self.layers:
            if watch is not None:
                watch(layer.name, x)
            x = x @ layer.values.T
            np.tanh(x, out=x)
        x += state
        return x


@dataclass(frozen=True)
class Size:
    """A model and its calibration data, on which memory depends."""

    width: int = 128
    inner: int = 256
    blocks: int = 2
    samples: int = 16
    sequence_length: int = 32
    batch: int = 4

    def model(self) -> list[Mlp]:
        rng = np.random.default_rng(0)
        shapes = {"up": (self.inner, self.width), "down": (self.width, self.inner)}
        return [
            Mlp(
                f"block_{b}",
                [
                    PlainLayer(
                        f"block_{b}/{name}",
                        rng.standard_normal(shape, dtype=np.float32) / np.float32(shape[1] ** 0.5),
                    )
                    for name, shape in shapes.items()
                ],
            )
            for b in range(self.blocks)
        ]

    def batches(self) -> Iterator[Batch]:
        rng = np.random.default_rng(1)
        shape = (self.batch, self.sequence_length, self.width)
        for first in range(0, self.samples, self.batch):
            yield Batch(first, self.batch, rng.standard_normal(shape, dtype=np.float32))

    def stated(self) -> int:
        """The sum of the rows of the table in reference/MODELS.md."""
        n = max(self.width, self.inner)
        states = 4 * self.samples * self.sequence_length * self.width
        inputs = 4 * self.batch * self.sequence_length * (self.width + self.inner)
        weights = 2 * self.blocks * self.width * self.inner
        rows = {self.width: self.inner, self.inner: self.width}
        tasks = max(8 * k * k + task_memory(min(rows[k], ROWS_PER_PART), k) for k in rows)
        return states + max(inputs + 12 * n * n, tasks) + 5 * weights + SMALL


def task_memory(rows: int, n_in: int) -> int:
    """The row of a task: its factor, or the certificate of one part beside the Hessian."""
    return max(24 * n_in**2, 8 * n_in**2 + 24 * rows * n_in)


def peak(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def peak_of(size: Size) -> int:
    model, given = size.model(), list(size.batches())
    return peak(lambda: quantize_blocks(model, given, Settings(CONFIG)))


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Have all modules imported."""
    peak_of(Size(width=32, inner=32, samples=4))


@pytest.mark.parametrize(
    "size",
    [
        Size(),
        Size(samples=512),
        Size(samples=128, batch=128),
        Size(samples=32, sequence_length=512, batch=8),
        Size(inner=1024),
        Size(width=768, inner=768),
        Size(blocks=12, width=256),
    ],
    ids=str,
)
def test_a_run_takes_what_is_stated(size: Size) -> None:
    """No more; and not so much less that nothing would be said."""
    found, stated = peak_of(size), size.stated()
    assert 0.4 * stated < found <= stated, f"{found / MIB:.1f} MiB of {stated / MIB:.1f}"


@pytest.mark.parametrize(
    ("flag", "low", "high"), [("samples", 64, 512), ("inner", 512, 1024), ("blocks", 4, 24)]
)
def test_it_grows_as_is_stated(flag: str, low: int, high: int) -> None:
    """What more samples, wider layers and more blocks add: within a tenth of it, both ways."""
    one, other = (Size(width=256, **{flag: value}) for value in (low, high))
    assert peak_of(other) - peak_of(one) == pytest.approx(other.stated() - one.stated(), rel=0.1)


@pytest.mark.parametrize("certify", [True, False])
@pytest.mark.parametrize(
    ("n_out", "n_in", "parts"),
    [(64, 768, 1), (512, 512, 1), (2048, 256, 1), (2048, 768, 1), (1024, 1024, 1), (768, 512, 3)],
)
def test_a_task_takes_what_is_stated(n_out: int, n_in: int, parts: int, certify: bool) -> None:
    rng = np.random.default_rng(n_out)
    weights = tuple(rng.standard_normal((n_out, n_in), dtype=np.float32) for _ in range(parts))
    task = Task(hessian(n_in), weights, CONFIG, certify=certify)
    found = peak(lambda: run_task(task))
    stated = task_memory(n_out, n_in) + parts * n_out * n_in + SMALL
    assert 0.5 * stated < found <= stated, f"{found / MIB:.1f} MiB of {stated / MIB:.1f}"


@pytest.mark.parametrize("workers", [1, 2])
def test_each_worker_has_a_task(workers: int) -> None:
    """Two parts of a layer, on one thread after the other, on two at the same time."""
    rng = np.random.default_rng(0)
    part = rng.standard_normal((512, 768), dtype=np.float32)
    tasks = [Task(hessian(768), (part,), CONFIG) for _ in range(2)]
    with open_executor("threads", workers) as mapper:
        found = peak(lambda: list(mapper.map(tasks)))
    stated = workers * (task_memory(512, 768) + SMALL) + 2 * part.size
    assert 0.5 * stated < found <= stated, f"{found / MIB:.1f} MiB of {stated / MIB:.1f}"


def test_ranges_of_the_whole_tensor_keep_all_rows_in_one_part() -> None:
    config = GPTQConfig(None, None, weight_bits=4, group_size=128, per_channel=False)
    (rows,) = parts_of(2 * ROWS_PER_PART, config)
    assert rows == slice(0, 2 * ROWS_PER_PART)
    weights = np.random.default_rng(0).standard_normal((2 * ROWS_PER_PART, 256), dtype=np.float32)
    found = peak(lambda: run_task(Task(hessian(256), (weights,), config)))
    stated = task_memory(2 * ROWS_PER_PART, 256) + weights.size + SMALL
    assert 0.5 * stated < found <= stated, f"{found / MIB:.1f} MiB of {stated / MIB:.1f}"


@pytest.mark.requirement("CERT-090")
@pytest.mark.parametrize(("n_out", "n_in"), [(1024, 1024), (2048, 768), (512, 1536)])
@pytest.mark.parametrize(
    ("factor", "spread"), [("float32", 0), ("float64", 0), ("float32", 6)], ids=str
)
def test_a_verdict_takes_three_copies_of_the_weights_and_two_of_the_hessian(
    n_out: int, n_in: int, factor: str, spread: int
) -> None:
    """At a condition of 10⁶, upper bounds do not settle it; then two bands of H count too."""
    rng = np.random.default_rng(0)
    W = rng.standard_normal((n_out, n_in), dtype=np.float32)
    Q, _ = np.linalg.qr(rng.normal(size=(n_in, n_in)))
    H = (Q * np.logspace(0, -spread, n_in)) @ Q.T
    H = (H + H.T) / 2  # otherwise the solver has a copy
    answer = gptq_quantize(W, H, CONFIG, dtype=np.float32)
    u_f = float(np.finfo(factor).eps) / 2
    certificate = certify(W, H, answer, CONFIG, factor_roundoff=u_f)
    some = np.arange(0, n_out, 64)
    _, delta = certificate.evidence.most_bounds_of(some)
    loose = 2 * delta / 15 > LOOSE_SCALE * certificate.evidence.scale[some]
    assert loose.any() == (spread == 6)
    limit = 3 * W.nbytes + 2 * H.nbytes + (spread == 6) * 2 * 8 * SIDE * n_in
    found = peak(lambda: certify(W, H, answer, CONFIG, factor_roundoff=u_f).verdict)
    assert 0.5 * limit < found <= limit, f"{found / MIB:.1f} MiB of {limit / MIB:.1f}"
