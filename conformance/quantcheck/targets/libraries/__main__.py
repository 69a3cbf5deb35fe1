"""Serves a library: `python -m quantcheck.targets.libraries NAME`."""

from __future__ import annotations

import importlib
import sys

from quantcheck.targets.libraries import LIBRARIES, is_installed
from quantcheck.targets.libraries.library import Library
from quantcheck.targets.worker import claim_stdout, serve, versions_of


def load(name: str) -> Library:
    """Import the adapter of a library, and the library itself.

    Raises
    ------
    SystemExit
        The library is not installed, or its import fails. The message has one line.
    """
    how = f"python3 conformance {name}"
    if not is_installed(name):
        raise SystemExit(f"{name} is not installed: {how} makes an environment with it")
    try:
        module = importlib.import_module(f"quantcheck.targets.libraries.{LIBRARIES[name]}")
        library: Library = module.LIBRARY
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        advice = f"remove .venv-{name}, and let {how} make it"
        raise SystemExit(f"{name} cannot be imported ({said:.300}): {advice}") from error
    return library


def main(arguments: list[str] | None = None) -> None:
    """Serve the library named by the one argument."""
    out = claim_stdout()
    (name,) = sys.argv[1:] if arguments is None else arguments
    try:
        library = load(name)
    except SystemExit as ending:
        sys.exit(str(ending))  # without the trace of its cause
    versions = versions_of(library.distribution, "numpy", *library.versions)
    ready = {
        "name": library.distribution,
        "version": versions.get(library.distribution, "0"),
        "backend": "",
        "precision": library.precision,
        "factor_precision": library.factor_precision,
        "operations": sorted(library.operations),
        "choices": list(library.choices),
        "rules": list(library.rules),
        "versions": versions,
    }
    serve(library.answer, ready, out)


if __name__ == "__main__":
    main()
