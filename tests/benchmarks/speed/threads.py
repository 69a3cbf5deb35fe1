"""How many threads BLAS has, and on how many cores this process runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.speed.row import NotAvailableError

PINS = hasattr(os, "sched_setaffinity")


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if PINS else (os.cpu_count() or 1)


@contextmanager
def limited(threads: int, cores: int) -> Iterator[None]:
    """Give BLAS so many threads, and this thread and processes that it starts so many cores.

    Where the system pins no processes, threads alone are limited.
    """
    import scipy.linalg  # noqa: F401 -- only libraries that are loaded can be limited
    from threadpoolctl import threadpool_limits

    if available_cores() < cores:
        raise NotAvailableError(f"needs {cores} cores, {available_cores()} here")
    with _pinned(cores), threadpool_limits(threads, user_api="blas"):
        yield


@contextmanager
def _pinned(cores: int) -> Iterator[None]:
    if not PINS:
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
