"""Targets: whatever answers questions, in a process of its own or in a file."""

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
    """Every kind of target with a sentence about it, and whether it is installed here."""
    keras = find_spec("keras") is not None
    rows = []
    for backend in KERAS_BACKENDS:
        package = _PACKAGES.get(backend)
        installed = keras and (package is None or find_spec(package) is not None)
        rows.append((f"keras:{backend}", "installed" if installed else "not installed"))
    return [
        *rows,
        ("reference", "the NumPy reference itself"),
        ("mutant:ID", "the reference with a mistake in it: must fail"),
        ("variant:ID", "an honest implementation in other arithmetic: must pass"),
        ("python:MODULE:OBJECT", "a callable, or an object with .answer, from question to answer"),
        ("process:COMMAND", "any program that speaks the JSON-lines protocol"),
        ("answers:FILE", "answers made elsewhere to what --questions FILE wrote"),
    ]


def open_target(
    spec: str,
    *,
    time_limit: float | None = None,
    start_limit: float = START_LIMIT,
    compiled: Path | None = None,
) -> Target:
    """Build the target that `spec` names; used as a context manager it starts and ends it.

    Parameters
    ----------
    spec : str
        One of the forms of `list_targets`.
    time_limit : float, optional
        Seconds for one answer; by default 60, and 300 for Keras, whose backends compile every
        shape that they meet for the first time.
    start_limit : float
        Seconds for the handshake.
    compiled : Path, optional
        Where JAX keeps what it compiled; by default until this process ends.

    Raises
    ------
    UnknownTargetError
        When there is no such kind of target; the message lists those that exist.
    UsageError
        When a file of answers is not there.
    """
    kind, _, name = spec.partition(":")
    if kind != "answers" or not name:
        return open_process(spec, time_limit=time_limit, start_limit=start_limit, compiled=compiled)
    if not Path(name).is_file():
        raise UsageError("answers:FILE to name a file", name)
    return AnswersTarget(spec, Path(name))


def default_workers(target: Target) -> int:
    """Return how many processes of a target are asked at the same time: two for Keras.

    Its backends compile or trace every shape that they meet, on one core each.
    """
    return min(2, os.cpu_count() or 1) if target.spec.startswith("keras:") else 1


def open_process(
    spec: str,
    *,
    time_limit: float | None = None,
    start_limit: float = START_LIMIT,
    compiled: Path | None = None,
) -> ProcessTarget:
    """Build a target that runs in a process: all but `answers:FILE`; see `open_target`."""
    command = _command(spec)
    limit = COMPILING_LIMIT if spec.startswith("keras:") else TIME_LIMIT
    environment = {} if spec.startswith("process:") else import_path()
    if spec.startswith("keras:"):
        # Keras takes the offset of calibration windows from a hash that Python draws anew in each
        # process (CAL-050 shows it, in processes of its own): a verdict must not depend on it.
        environment["PYTHONHASHSEED"] = "0"
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
    """Environment variables under which JAX keeps what it compiles, for processes beside it."""
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
    """PYTHONPATH under which a worker imports the same packages as this process.

    What was inherited keeps its place among the folders of this process: a folder that holds
    another version of Keras, put before the installed one, stays before it.
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
