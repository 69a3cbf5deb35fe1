"""Threads of BLAS, where threads of our own share the work."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from quantref.errors import ConfigError


def blas_threads(count: int) -> AbstractContextManager[Any]:
    """Return a context in which each call of BLAS has so many threads.

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
