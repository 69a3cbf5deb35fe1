"""Targets: programs that answer questions in a process of their own, and files of answers."""

from __future__ import annotations

import atexit
import os
import shlex
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from quantcheck.errors import UnknownTargetError, UsageError
from quantcheck.targets.answers import AnswersTarget
from quantcheck.targets.base import Target
from quantcheck.targets.libraries import ENVIRONMENT, LIBRARIES, is_installed
from quantcheck.targets.process import START_LIMIT, TIME_LIMIT, ProcessTarget
from quantcheck.wire.protocol import Handshake

__all__ = [
    "KERAS_BACKENDS",
    "AnswersTarget",
    "Handshake",
    "ProcessTarget",
    "Target",
    "compilation_cache",
    "default_workers",
    "list_targets",
    "open_process",
    "open_target",
]

COMPILING_LIMIT = 300.0
KERAS_BACKENDS = ("jax", "tensorflow", "torch", "numpy", "openvino")
_PACKAGES = {"jax": "jax", "tensorflow": "tensorflow", "torch": "torch", "openvino": "openvino"}


def list_targets() -> list[tuple[str, str]]:
    """Return every kind of target, its description, and whether it is installed."""
    keras = find_spec("keras") is not None
    rows = []
    for backend in KERAS_BACKENDS:
        package = _PACKAGES.get(backend)
        installed = keras and (package is None or find_spec(package) is not None)
        rows.append((f"keras:{backend}", "installed" if installed else "not installed"))
    rows += [(n, "installed" if is_installed(n) else "not installed") for n in LIBRARIES]
    return [
        *rows,
        ("reference", "the NumPy reference itself"),
        ("mutant:ID", "the reference with one mistake: must fail"),
        ("variant:ID", "a correct implementation in other arithmetic: must pass"),
        ("python:MODULE:OBJECT", "a callable, or an object with .answer, that answers a question"),
        ("process:COMMAND", "any program that speaks the JSON-lines protocol"),
        ("answers:FILE", "a file of answers to the questions of --questions FILE"),
    ]


def open_target(
    spec: str,
    *,
    time_limit: float | None = None,
    start_limit: float = START_LIMIT,
    compiled: Path | None = None,
) -> Target:
    """Build the target that `spec` names; as a context manager it is started and ended.

    Parameters
    ----------
    spec : str
        One of the forms of `list_targets`.
    time_limit : float, optional
        Seconds for one answer; by default 60, and 300 for Keras, whose backends compile every new
        shape.
    start_limit : float
        Seconds for the handshake.
    compiled : Path, optional
        Folder for code that JAX compiles; by default a temporary one of this process.

    Raises
    ------
    UnknownTargetError
        There is no such kind of target; the message lists the kinds.
    UsageError
        A file of answers does not exist.
    """
    kind, _, name = spec.partition(":")
    if kind != "answers" or not name:
        return open_process(spec, time_limit=time_limit, start_limit=start_limit, compiled=compiled)
    if not Path(name).is_file():
        raise UsageError("answers:FILE to name a file", name)
    return AnswersTarget(spec, Path(name))


def default_workers(target: Target) -> int:
    """Return the number of processes of a target: two for Keras, else one.

    Backends of Keras compile or trace every new shape, and use one core for it.
    """
    return min(2, os.cpu_count() or 1) if target.spec.startswith("keras:") else 1


def open_process(
    spec: str,
    *,
    time_limit: float | None = None,
    start_limit: float = START_LIMIT,
    compiled: Path | None = None,
) -> ProcessTarget:
    """Build a target that runs in a process, which is any but `answers:FILE`; see `open_target`."""
    command = _command(spec)
    limit = COMPILING_LIMIT if spec.startswith("keras:") else TIME_LIMIT
    environment = {} if spec.startswith("process:") else import_path()
    if spec.startswith("keras:"):
        # Keras derives the offset of calibration windows from a hash with a random seed per
        # process. CAL-050 judges this with new processes. Other verdicts must not depend on it.
        environment["PYTHONHASHSEED"] = "0"
    if spec in LIBRARIES:
        environment |= ENVIRONMENT
    if spec == "keras:jax" and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        environment |= compilation_cache(compiled or _shared_folder())
    return ProcessTarget(
        spec,
        command,
        environment=environment,
        time_limit=limit if time_limit is None else time_limit,
        start_limit=start_limit,
    )


def compilation_cache(folder: str | Path) -> dict[str, str]:
    """Return environment variables that let all processes share code that JAX compiles."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@cache
def _shared_folder() -> str:
    """Return a folder that is removed when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="quantcheck-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    return folder.name


def _command(spec: str) -> list[str]:
    kind, _, rest = spec.partition(":")
    makers: dict[str, Callable[[str], list[str] | None]] = {
        "keras": lambda rest: (
            _module("keras", "--backend", rest) if rest in KERAS_BACKENDS else None
        ),
        **{
            name: lambda _: None if ":" in spec else _module("libraries", kind)
            for name in LIBRARIES
        },
        "reference": lambda _: None if ":" in spec else _module("reference"),
        "mutant": lambda rest: _module("mutants", rest) if rest else None,
        "variant": lambda rest: _module("variants", rest) if rest else None,
        "python": lambda rest: _module("python", rest) if rest.count(":") == 1 else None,
        "process": lambda rest: shlex.split(rest) or None,
    }
    try:
        command = makers[kind](rest) if kind in makers else None
    except ValueError as error:
        raise UnknownTargetError("process:COMMAND in shell syntax", f"{spec!r}: {error}") from None
    if command is None:
        known = ", ".join(name for name, _ in list_targets())
        raise UnknownTargetError(f"one of {known}", repr(spec))
    return command


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"quantcheck.targets.{name}", *arguments]


def import_path() -> dict[str, str]:
    """Return a PYTHONPATH with which a worker imports the same packages as this process.

    Folders of an inherited PYTHONPATH keep their position. So a folder with another version of
    Keras stays before the installed one.
    """
    roots = [str(Path(__file__).resolve().parents[2])]
    reference = find_spec("quantref")
    if reference is not None and reference.origin is not None:
        roots.append(str(Path(reference.origin).resolve().parents[1]))
    elif reference is not None and reference.submodule_search_locations:
        roots.append(str(Path(next(iter(reference.submodule_search_locations))).resolve().parent))
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    folders = list(dict.fromkeys([*roots, *filter(None, inherited)]))
    place = {str(Path(folder).resolve()): i for i, folder in reversed(list(enumerate(sys.path)))}
    folders.sort(key=lambda folder: place.get(str(Path(folder).resolve()), -1))
    return {"PYTHONPATH": os.pathsep.join(folders)}
