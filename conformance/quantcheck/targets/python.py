"""Target `python:module:object`: a callable that answers questions, in a worker process."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from quantcheck.targets.worker import Answer, claim_stdout, serve, versions_of


def load(spec: str) -> tuple[object, Answer]:
    """Import `module:object`, and return its method `answer` or the object itself.

    Raises
    ------
    TypeError
        The object is not callable, and has no callable `answer`.
    """
    module, _, name = spec.partition(":")
    thing: object = importlib.import_module(module)
    for part in name.split("."):
        thing = getattr(thing, part)
    if isinstance(thing, type):
        thing = thing()
    answer = getattr(thing, "answer", thing)
    if not callable(answer):
        raise TypeError(f"expected a callable or an object with .answer, got {thing!r}")
    return thing, answer


def main(arguments: list[str] | None = None) -> None:
    """Serve the object named by the one argument."""
    out = claim_stdout()
    (spec,) = sys.argv[1:] if arguments is None else arguments
    sys.path.insert(0, str(Path.cwd()))
    thing, answer = load(spec)
    choices = getattr(thing, "choices", ())  # of SPEC.md; none unless the object says so
    ready = {
        "name": str(getattr(thing, "name", spec)),
        "version": str(getattr(thing, "version", "0")),
        "backend": str(getattr(thing, "backend", "")),
        "precision": str(getattr(thing, "precision", "float32")),
        "operations": list(getattr(thing, "operations", ())),
        "choices": [choices] if isinstance(choices, str) else list(choices),
        "rules": list(getattr(thing, "rules", ())),
        "calibration_order": str(getattr(thing, "calibration_order", "block")),
        "compiles": getattr(thing, "compiles", False),
        "versions": versions_of("numpy"),
    }
    if hasattr(thing, "factor_precision"):
        ready["factor_precision"] = str(thing.factor_precision)
    serve(answer, ready, out)


if __name__ == "__main__":
    main()
