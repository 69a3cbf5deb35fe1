"""What the run was made on: processor, BLAS, versions, and the rates that bound every row."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from tests.benchmarks.speed.row import NotAvailableError, Settings
from tests.benchmarks.speed.threads import PINS, available_cores, limited
from tests.benchmarks.speed.timing import Plan, contestant, interleave, medians

from quantref import __version__

RATE_ROUNDS = 7
PACKAGES = ("numpy", "scipy", "threadpoolctl", "keras", "jax", "tensorflow", "tensorflow-cpu",
            "torch", "openvino")  # fmt: skip


def processor() -> str:
    """Return the model of the processor, as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def versions() -> dict[str, str]:
    """Return the versions of what took part, as far as it is installed."""
    found = {"quantref": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def blas() -> list[dict[str, Any]]:
    """Return the BLAS libraries that are loaded, with the package that brought each."""
    import scipy.linalg  # noqa: F401 -- brings its own
    from threadpoolctl import threadpool_info

    found = []
    for library in threadpool_info():
        if library["user_api"] == "blas":
            folder = Path(library["filepath"]).parent.as_posix()
            owner = next((name for name in ("numpy", "scipy") if name in folder), "system")
            found.append(
                {
                    "of": owner,
                    "library": library["internal_api"],
                    "version": library["version"],
                    "architecture": library.get("architecture"),
                    "threads": library["num_threads"],
                }
            )
    return found


def describe() -> dict[str, Any]:
    """Return the machine as the report has it."""
    return {
        "processor": processor(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "cores available": available_cores(),
        "pinned": PINS,
        "blas": blas(),
        "versions": versions(),
    }


def rates(threads: int, settings: Settings) -> dict[str, float]:
    """Measure what bounds every row: products in both precisions, and a copy.

    Returns
    -------
    dict
        "sgemm" and "dgemm" in GFlop/s; "copy" in GB/s, bytes read and bytes written.
    """
    n = settings.size(2048)
    a, b = (np.ones((n, n), np.float32) for _ in range(2))
    c, d = a.astype(np.float64), b.astype(np.float64)
    source = np.ones((settings.size(8192), 4096), np.float32)
    target = np.ones_like(source)
    contestants = [
        contestant("sgemm", lambda: a @ b),
        contestant("dgemm", lambda: c @ d),
        contestant("copy", lambda: np.copyto(target, source)),
    ]
    try:
        with limited(threads, threads):
            seconds = medians(interleave(contestants, Plan(rounds=RATE_ROUNDS, tell=settings.tell)))
    except NotAvailableError:
        return {}
    flops = 2.0 * n**3
    return {
        "sgemm": flops / seconds["sgemm"] / 1e9,
        "dgemm": flops / seconds["dgemm"] / 1e9,
        "copy": 2.0 * source.nbytes / seconds["copy"] / 1e9,
    }
