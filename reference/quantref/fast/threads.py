"""Threads: a pool that divides work, and the number of threads that BLAS uses meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from quantref.errors import ConfigError

Part = TypeVar("Part")
Done = TypeVar("Done")


def each(work: Callable[[Part], Done], parts: Iterable[Part], workers: int) -> list[Done]:
    """Return work(part) for all parts, in their order, with a pool of `workers` threads.

    Examples
    --------
    >>> each(abs, [3, -4], workers=2)
    [3, 4]
    """
    if workers == 1:
        return [work(part) for part in parts]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, parts))


def single_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS uses one thread, if threadpoolctl is installed.

    Threads gain nothing in products of small matrices, and take time from other processes.

    Examples
    --------
    >>> with single_blas_thread():
    ...     abs(-3)
    3
    """
    from scipy import linalg  # noqa: F401 - its BLAS is another than NumPy's

    try:
        return blas_threads(1)
    except ConfigError:
        return nullcontext()


def blas_threads(count: int) -> AbstractContextManager[Any]:
    """Return a context in which each call of BLAS uses `count` threads.

    Raises
    ------
    ConfigError
        threadpoolctl is not installed.

    Examples
    --------
    >>> from threadpoolctl import threadpool_info
    >>> with blas_threads(1):
    ...     {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    {1}
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        expected = "threadpoolctl for more than one worker (pip install 'quantref[threads]')"
        raise ConfigError(expected, "no such module", "GPTQ-110") from None
    context: AbstractContextManager[Any] = threadpool_limits(count, user_api="blas")
    return context
