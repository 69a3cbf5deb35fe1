"""Runs tasks in threads, in processes, or on workers of Dask on other machines."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from quantref.errors import ConfigError
from quantref.fast.threads import blas_threads
from quantref.models.answer import Answer
from quantref.models.protocols import Mapper, SerialMapper
from quantref.models.task import Task, run_task

TRIES = 3  # of a task whose worker died
CONNECT_SECONDS = 10.0  # seconds in which a scheduler has to answer


class ExecutorMapper:
    """Runs tasks on an executor of `concurrent.futures`.

    A worker that dies may break its executor. Then a new executor is made, and every task without
    an answer is submitted again.

    Parameters
    ----------
    make : callable
        Returns a new executor.
    workers : int
    """

    def __init__(self, make: Callable[[], Executor], workers: int) -> None:
        self._make, self.workers = make, workers
        self._executor = make()

    def map(self, tasks: Sequence[Task]) -> Iterator[list[Answer]]:
        """Yield the answers of all tasks, in their order."""
        waiting = self._submit_all(tasks)
        try:
            for k, task in enumerate(tasks):
                yield self._result(waiting, k, task, tasks)
        finally:
            for future in waiting:
                future.cancel()

    def _result(
        self, waiting: list[Future[list[Answer]]], k: int, task: Task, tasks: Sequence[Task]
    ) -> list[Answer]:
        for _ in range(TRIES):
            try:
                return waiting[k].result()
            except BrokenExecutor:
                self._renew()
                waiting[k:] = self._submit_all(tasks[k:])
        return run_task(task)  # the error of a task that kills every worker

    def _renew(self) -> None:
        self._executor.shutdown(wait=False)
        self._executor = self._make()

    def _submit_all(self, tasks: Sequence[Task]) -> list[Future[list[Answer]]]:
        try:
            return [self._submit(task) for task in tasks]
        except BrokenExecutor:  # a worker died since the tasks before
            self._renew()
            return [self._submit(task) for task in tasks]

    def _submit(self, task: Task) -> Future[list[Answer]]:
        with warnings.catch_warnings():
            # A task carries its matrices, so that another worker can run it if its worker dies.
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
            return self._executor.submit(run_task, task)

    def close(self) -> None:
        """Shut the executor down; waiting tasks are cancelled."""
        self._executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def open_executor(kind: str = "threads", workers: int = 1) -> Iterator[Mapper]:
    """Yield a mapper that runs tasks.

    Parameters
    ----------
    kind : str
        "threads", "processes", or "dask://HOST:PORT", the address of a scheduler.
    workers : int
        Number of threads or processes; ignored for a cluster.

    Raises
    ------
    ConfigError
        Another kind, no worker, or no scheduler at the address.

    Examples
    --------
    >>> with open_executor("threads", 1) as mapper:
    ...     mapper.workers
    1
    """
    if workers < 1:
        raise ConfigError("workers >= 1", f"{workers}", "")
    if kind.startswith("dask://"):
        with _dask(kind.removeprefix("dask://")) as mapper:
            yield mapper
    elif kind == "threads":
        if workers == 1:
            yield SerialMapper()
            return
        from concurrent.futures import ThreadPoolExecutor

        threads = ExecutorMapper(lambda: ThreadPoolExecutor(workers), workers)
        try:
            with blas_threads(1):
                yield threads
        finally:
            threads.close()
    elif kind == "processes":
        context = get_context("spawn")  # a forked process would break frameworks
        processes = ExecutorMapper(
            lambda: ProcessPoolExecutor(workers, context, initializer=_one_thread), workers
        )
        try:
            yield processes
        finally:
            processes.close()
    else:
        raise ConfigError("executor threads, processes or dask://HOST:PORT", f"{kind!r}", "")


def _one_thread() -> None:
    import scipy.linalg  # noqa: F401 - loads the BLAS, which is limited next
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")


@contextmanager
def _dask(address: str) -> Iterator[Mapper]:
    try:
        from distributed import Client
    except ImportError:
        expected = "dask for a cluster (pip install 'quantref[dask]')"
        raise ConfigError(expected, "no such module", "") from None
    try:
        connect: Any = Client
        client = connect(f"tcp://{address}", timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        got = f"{type(error).__name__}: {error}"
        raise ConfigError(f"a scheduler of Dask at {address}", got, "") from None
    try:
        workers = sum(client.nthreads().values())
        if not workers:
            raise ConfigError(f"workers at {address}", "none", "")
        mapper = ExecutorMapper(lambda: client.get_executor(retries=TRIES, pure=False), workers)
        yield mapper
    finally:
        client.close()
