"""The provenance of a run, which allows to repeat it: versions, hashes and times."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from quantcheck.report.document import sha256

PACKAGES = ("numpy", "scipy", "hypothesis")


def of_run(
    started: datetime, seconds: float, *, vectors: Path | None, sections: Iterable[str]
) -> dict[str, Any]:
    """Return versions, platform, specification and corpus of a run.

    Parameters
    ----------
    started : datetime
        With its time zone.
    seconds : float
        Duration of the run.
    vectors : Path, optional
        Folder of vectors that replaces those of the package.
    sections : iterable of str
        The selected sections.
    """
    import quantref
    from quantcheck.spec.places import directory, spec_path

    corpus = directory() if vectors is None else vectors
    return {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "sections": list(sections),
        "versions": {
            "quantcheck": quantref.__version__,  # one distribution, one version
            "quantref": quantref.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
        },
        "platform": {
            "system": platform.platform(),
            "machine": platform.machine(),
            "processors": os.cpu_count() or 0,
        },
        "specification": {"sha256": sha256(spec_path())},
        "corpus": {
            "own": vectors is not None,
            "sha256": sha256(corpus / "MANIFEST.json"),
        },
    }


def of_deviations(path: Path | None) -> dict[str, str | None] | None:
    """Return name and hash of the file of known deviations."""
    return None if path is None else {"name": path.name, "sha256": sha256(path)}


def processor_features() -> list[str]:
    """Return the features of the processor that NumPy uses, such as vector instructions."""
    import numpy as np

    found: Any = np.show_config(mode="dicts")
    named = found.get("SIMD Extensions", {})
    return [str(name) for part in ("baseline", "found") for name in named.get(part, [])]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
