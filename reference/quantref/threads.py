"""Threads of BLAS, where threads of our own share the work."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from quantref.errors import ConfigError


def single_threaded_blas() -> AbstractContextManager[Any]:
    """Return a context in which each call of BLAS has one thread.

    Raises
    ------
    ConfigError
        threadpoolctl is not installed.

    Examples
    --------
    >>> from threadpoolctl import threadpool_info
    >>> with single_threaded_blas():
    ...     {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    {1}
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        expected = "threadpoolctl for more than one worker (pip install 'quantref[threads]')"
        raise ConfigError(expected, "no such module", "GPTQ-110") from None
    context: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return context
