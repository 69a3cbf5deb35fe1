"""Threads, processes and real Dask workers do the tasks, and all give the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantref import GPTQConfig
from quantref.errors import ConfigError, NotPositiveDefiniteError
from quantref.models import (
    Batch,
    LayerRecord,
    Listener,
    Mapper,
    Outcome,
    Settings,
    executors,
    quantize_blocks,
)
from quantref.models.executors import ExecutorMapper, open_executor

from .plain_models import attention, batches

SETTINGS = Settings(GPTQConfig(None, None, weight_bits=3, group_size=8), dtype="float32")


def run(mapper: Mapper | None = None, blocks: int = 3, listener: Listener | None = None) -> Outcome:
    given = batches(count=2)
    return quantize_blocks(attention(blocks), given, SETTINGS, mapper=mapper, listener=listener)


def bytes_of(outcome: Outcome) -> dict[str, tuple[bytes, ...]]:
    return {
        name: tuple(getattr(answer, a).tobytes() for a in ("codes", "scale", "zero_point", "g_idx"))
        for name, answer in outcome.answers.items()
    }


@pytest.fixture(scope="module")
def expected() -> dict[str, tuple[bytes, ...]]:
    return bytes_of(run())


DASK = pytest.mark.skipif(
    find_spec("distributed") is None, reason="the extra dask is not installed"
)


@pytest.mark.parametrize(("kind", "workers"), [("threads", 1), ("threads", 3), ("processes", 2)])
def test_the_same_bytes(kind: str, workers: int, expected: dict[str, tuple[bytes, ...]]) -> None:
    with open_executor(kind, workers) as mapper:
        assert mapper.workers == workers
        assert bytes_of(run(mapper)) == expected


def test_errors_come_back_as_they_are() -> None:
    config = GPTQConfig(None, None, group_size=8, hessian_damping=0.0)
    x = np.zeros((1, 10, 16))
    x[..., 0] = x[..., 1] = np.arange(10)
    x[..., 2:] = np.random.default_rng(0).normal(size=14)
    with (
        open_executor("processes", 2) as mapper,
        pytest.raises(NotPositiveDefiniteError, match=r"block_0/query.*try hessian_damping"),
    ):
        quantize_blocks(attention(), [Batch(0, 1, x)], Settings(config), mapper=mapper)


def test_a_process_that_is_killed_is_replaced(expected: dict[str, tuple[bytes, ...]]) -> None:
    made: list[ProcessPoolExecutor] = []

    def make() -> Executor:
        made.append(ProcessPoolExecutor(2, get_context("spawn")))
        return made[-1]

    mapper = ExecutorMapper(make, 2)

    class Killing(Listener):
        def layer(self, record: LayerRecord) -> None:
            if record.name == "block_0/out":
                for process in list((made[-1]._processes or {}).values()):
                    assert process.pid is not None
                    os.kill(process.pid, signal.SIGKILL)

    try:
        outcome = run(mapper, listener=Killing())
    finally:
        mapper.close()
    assert bytes_of(outcome) == expected
    assert len(made) == 2


class Breaking(ThreadPoolExecutor):
    """Runs one task, and is broken when it gets the next one."""

    def __init__(self) -> None:
        super().__init__(1)
        self.taken = 0

    def submit(self, *arguments: Any, **named: Any) -> Future[Any]:
        self.taken += 1
        if self.taken > 1:
            raise BrokenExecutor("a worker died")
        return super().submit(*arguments, **named)


def test_an_executor_that_refuses_tasks_is_replaced(
    expected: dict[str, tuple[bytes, ...]],
) -> None:
    made: list[Executor] = []

    def make() -> Executor:
        made.append(ThreadPoolExecutor(2) if made else Breaking())
        return made[-1]

    mapper = ExecutorMapper(make, 2)
    try:
        outcome = run(mapper)
    finally:
        mapper.close()
    assert bytes_of(outcome) == expected
    assert len(made) == 2


@pytest.mark.parametrize(
    ("kind", "workers", "message"),
    [
        ("threads", 0, "workers >= 1"),
        ("fork", 1, "executor threads, processes or dask"),
        pytest.param("dask://127.0.0.1:1", 1, "a scheduler of Dask at 127.0.0.1:1", marks=DASK),
    ],
)
def test_what_is_no_executor_is_refused(
    kind: str, workers: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 0.5)
    with pytest.raises(ConfigError, match=message), open_executor(kind, workers):
        pass


# Dask


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and workers, each a process of its own, on free ports of this machine."""
    environment = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "error",
    }
    scheduler_file = folder / "scheduler.json"
    common: dict[str, Any] = {
        "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL,
        "cwd": folder,
    }  # fmt: skip
    python = [sys.executable, "-P", "-m"]
    scheduler = [
        *python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
        "--no-dashboard", "--scheduler-file", str(scheduler_file),
    ]  # fmt: skip
    processes = [subprocess.Popen(scheduler, **common)]
    try:
        wait_for(scheduler_file.exists)
        worker = [
            *python, "distributed.cli.dask_worker", "--scheduler-file", str(scheduler_file),
            "--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", str(folder),
        ]  # fmt: skip
        processes += [subprocess.Popen(worker, **common) for _ in range(workers)]
        address = json.loads(scheduler_file.read_text("utf-8"))["address"]
        yield address.removeprefix("tcp://"), processes[1:]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


@pytest.mark.everything
@pytest.mark.slow
def test_two_dask_workers_and_one_of_them_killed_at_work(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")

    def wide(mapper: Mapper | None = None) -> Outcome:
        given = batches(count=2, width=256)
        return quantize_blocks(attention(3, 256), given, SETTINGS, mapper=mapper)

    expected = bytes_of(wide())
    with cluster(tmp_path, 2) as (address, workers):
        with distributed.Client(f"tcp://{address}") as client:
            client.wait_for_workers(2, timeout=60)
            process_of = client.run(os.getpid)
            first = next(a for a, pid in process_of.items() if pid == workers[0].pid)
            with open_executor(f"dask://{address}") as mapper:
                assert mapper.workers == 2
                assert bytes_of(wide(mapper)) == expected
            at_work = threading.Event()

            def kill_at_work() -> None:
                while not client.processing().get(first):
                    time.sleep(0.001)
                at_work.set()
                workers[0].kill()

            killer = threading.Thread(target=kill_at_work)
            with open_executor(f"dask://{address}") as mapper:
                killer.start()
                assert bytes_of(wide(mapper)) == expected
            killer.join()
            assert at_work.is_set()
            assert set(client.scheduler_info()["workers"]) == set(process_of) - {first}
        wait_for(lambda: workers[0].poll() is not None)
        assert workers[1].poll() is None
