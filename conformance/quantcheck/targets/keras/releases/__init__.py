"""Lines of releases of Keras: where their parts live, and what their layers store how.

A line has a module here, and the version of Keras that is imported picks it. A release that is
newer than every known line is asked through the newest one. What is not found there is an answer
`unsupported`, which says that the release is newer than quantcheck knows.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import metadata

from quantcheck.targets.keras.config import Unsupported
from quantcheck.targets.keras.releases.line import Line
from quantcheck.targets.keras.releases.v3_12 import Keras312
from quantcheck.targets.keras.releases.v3_13 import Keras313
from quantcheck.targets.keras.releases.v3_16 import Keras316
from quantcheck.targets.worker import versions_of

__all__ = [
    "KNOWN",
    "Line",
    "current",
    "is_newer",
    "line_for",
    "missing",
    "require_gptq",
    "require_one_keras",
]

# By the first minor release of each line, oldest first.
LINES: dict[tuple[int, int], type[Line]] = {
    (3, 12): Keras312,
    (3, 13): Keras313,
    (3, 16): Keras316,
}
KNOWN = (3, 16)
"""The newest minor release that was judged."""


def minor(version: str) -> tuple[int, int]:
    """Return major and minor number of a version.

    Examples
    --------
    >>> minor("3.16.0.dev2026102704")
    (3, 16)
    """
    major, number = version.split(".")[:2]
    return int(major), int(number)


def is_newer(version: str) -> bool:
    """Tell whether a release is newer than every release that was judged.

    Examples
    --------
    >>> is_newer("3.15.1"), is_newer("3.17.0"), is_newer("4.0.0")
    (False, True, True)
    """
    return minor(version) > KNOWN


def line_for(version: str) -> Line:
    """Return the line of a release, the newest one for a newer release.

    Raises
    ------
    Unsupported
        The release is older than GPTQ in Keras.

    Examples
    --------
    >>> type(line_for("3.14.1")).__name__, type(line_for("3.17.0")).__name__
    ('Keras313', 'Keras316')
    """
    older = [line for first, line in LINES.items() if first <= minor(version)]
    if not older:
        raise Unsupported(f"Keras {version} has no GPTQ: Keras 3.12 is the first that has it")
    return older[-1]()


def missing(error: Exception) -> str | None:
    """Return what a release that is newer than every known one lacks, None for other errors.

    `error`: raised while a question was answered.
    """
    import keras

    if not is_newer(keras.__version__) or not isinstance(error, (ImportError, AttributeError)):
        return None
    return f"Keras {keras.__version__} is newer than quantcheck knows: {error}"


def require_one_keras() -> None:
    """End the process if two distributions of Keras are installed in one folder."""
    found = versions_of("keras", "keras-nightly")
    if len({str(metadata.distribution(name).locate_file("keras")) for name in found}) < len(found):
        both = " and ".join(f"{name} {version}" for name, version in found.items())
        sys.exit(f"{both} are both installed, in one folder: uninstall both, then install one")


def require_gptq(version: str) -> None:
    """End the process if a release has no GPTQ."""
    try:
        line_for(version)
    except Unsupported as error:
        sys.exit(f"{error}. Install keras>=3.12.")


@cache
def current() -> Line:
    """Return the line of the Keras that is installed."""
    import keras

    return line_for(keras.__version__)
