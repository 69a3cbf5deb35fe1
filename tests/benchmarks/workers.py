"""What workers gain where rows are many: `OPENBLAS_NUM_THREADS=1 python workers.py`.

One block of two layers of the same inputs, gate and up, as large models have them. Executors take
turns; a line says how long the tasks took, the median of the rounds, and how many times faster than
with one thread that is. Workers of Dask are processes of this machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from quantref import GPTQConfig
from quantref.inputs import Array
from quantref.models import Batch, Mapper, Outcome, Settings, quantize_blocks
from quantref.models.executors import open_executor
from quantref.models.protocols import Watch

SETTINGS = Settings(GPTQConfig(None, None, weight_bits=4, group_size=128))
TOKENS = 4096


@dataclass
class Weights:
    """A layer."""

    name: str
    values: Array

    def weights(self) -> Array:
        """Return the weights (n_out, n_in)."""
        return self.values

    def assign(self, values: Array) -> None:
        """Keep the weights as they are, so that every run does the same."""


@dataclass
class Block:
    """Layers of the same inputs."""

    name: str
    layers: list[Weights]

    def run(self, state: Array, watch: Watch | None) -> Array:
        """Show the inputs to each layer."""
        if watch is not None:
            for layer in self.layers:
                watch(layer.name, state)
        return state


def once(rows: int, columns: int, mapper: Mapper) -> Outcome:
    """Quantize two layers (rows, columns)."""
    rng = np.random.default_rng(0)
    block = Block(
        "block",
        [
            Weights(name, rng.standard_normal((rows, columns), dtype=np.float32))
            for name in ("gate", "up")
        ],
    )
    batches = [Batch(0, 1, rng.standard_normal((1, TOKENS, columns), dtype=np.float32))]
    return quantize_blocks([block], batches, SETTINGS, mapper=mapper)


@contextmanager
def on_dask(workers: int) -> Iterator[Mapper]:
    """Yield a mapper to workers of Dask in processes of their own."""
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        open_executor(cluster.scheduler_address.replace("tcp", "dask", 1)) as mapper,
    ):
        yield mapper


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--columns", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-dask", action="store_true")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    with ExitStack() as stack:
        for _ in range(options.rounds):
            for kind in ("threads", "processes", *(() if options.no_dask else ("dask",))):
                for workers in (1, 2):
                    opened = on_dask(workers) if kind == "dask" else open_executor(kind, workers)
                    mapper = stack.enter_context(opened)
                    once(64, 64, mapper)  # workers start, and import
                    took = once(options.rows, options.columns, mapper).seconds["tasks"]
                    seconds.setdefault(f"{kind} {workers}", []).append(took)
                    stack.pop_all().close()
    alone = statistics.median(seconds["threads 1"])
    for name, found in seconds.items():
        middle = statistics.median(found)
        sys.stdout.write(f"{name:12} {middle:6.2f} s   {alone / middle:.2f} times\n")


if __name__ == "__main__":
    main()
