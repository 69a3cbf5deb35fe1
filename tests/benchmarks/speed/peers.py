"""Other quantizers, each in a process of its own that times one call whenever it is asked."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from tests.benchmarks.speed.timing import Contestant

# The checkout: a peer finds this package from there.
ROOT = Path(__file__).parents[3]
# Keras's backends, each with the module that it needs. The one on NumPy calls JAX.
KERAS_BACKENDS = {
    "numpy": "jax",
    "jax": "jax",
    "tensorflow": "tensorflow",
    "torch": "torch",
    "openvino": "openvino",
}
# One call tells the fastest backend from the others up to this factor.
NEAR = 2.0


class PeerError(Exception):
    """A peer that gave no answer, or none in time; the message says which."""


def installed(module: str) -> bool:
    """Return whether a module could be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def keras_backends() -> tuple[list[str], dict[str, str]]:
    """Return the backends that can be asked, and why the others cannot."""
    if not installed("keras"):
        return [], {"keras": "not installed"}
    there = [name for name, module in KERAS_BACKENDS.items() if installed(module)]
    missing = [name for name in KERAS_BACKENDS if name not in there]
    return there, {f"keras:{name}": "not installed" for name in missing}


def environment(backend: str | None) -> dict[str, str]:
    """Return the environment of a peer: its backend, and as many threads as cores are given.

    The peer inherits the cores of this process; these variables tell libraries that count others.
    """
    count = str(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else "1"
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    threads = dict.fromkeys(names, count)
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    chosen = {} if backend is None else {"KERAS_BACKEND": backend}
    return {**os.environ, **threads, **quiet, **chosen}


class Peer:
    """A running peer.

    Parameters
    ----------
    program : str
        Of `tests.benchmarks.speed.peer_programs`.
    arguments : dict
        Of the program, as JSON.
    seconds : float
        Longest that its start, or one call, may take.
    backend : str or None
        Of Keras.
    """

    def __init__(
        self, program: str, arguments: dict[str, Any], seconds: float, backend: str | None = None
    ) -> None:
        self.seconds = seconds
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        command = [sys.executable, "-m", "tests.benchmarks.speed.peer_programs"]
        self._process = subprocess.Popen(
            [*command, program, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=environment(backend),
            start_new_session=True,  # a Ctrl-C is ours: we end it
        )
        self._questions = cast("IO[str]", self._process.stdin)
        self._answers = cast("IO[str]", self._process.stdout)
        self._lines: queue.Queue[str] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        for line in self._answers:
            self._lines.put(line)
        self._lines.put("")  # it has ended

    def _next(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=self.seconds)
        except queue.Empty:
            raise PeerError(f"took longer than {self.seconds:g} s") from None
        if not line:
            raise PeerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        return f"ended: {lines[-1][:200]}" if lines else "ended without a word"

    def wait(self) -> None:
        """Wait until it has imported what it needs and warmed up, or raise PeerError."""
        self._next()

    def run(self) -> float:
        """Have it do its work once, and return the seconds that it took."""
        try:
            self._questions.write("again\n")
            self._questions.flush()
        except BrokenPipeError:
            raise PeerError(self._last_words()) from None
        return float(self._next()["seconds"])

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._listener.join(timeout=5)
        for stream in (self._questions, self._answers, self._errors):
            with suppress(BrokenPipeError):
                stream.close()


@contextmanager
def peer(program: str, arguments: dict[str, Any], seconds: float) -> Iterator[Peer]:
    """Start one peer and end it after use."""
    started = Peer(program, arguments, seconds)
    try:
        started.wait()
        yield started
    finally:
        started.close()


@contextmanager
def fastest_of_keras(
    program: str, arguments: dict[str, Any], seconds: float, tell: Callable[[str], None]
) -> Iterator[tuple[list[Contestant], dict[str, float], dict[str, str]]]:
    """Yield the backends of Keras that are near the fastest, as contestants.

    Every backend does its work twice, one after another: the first call compiles, the second one
    decides. Those within `NEAR` times the fastest go on to the rounds.

    Yields
    ------
    contestants : list of Contestant
    seconds : dict
        Second call of every backend that answered.
    left_out : dict
        Why the others did not.
    """
    backends, left_out = keras_backends()
    running: dict[str, Peer] = {}
    second: dict[str, float] = {}
    with ExitStack() as stack:
        for backend in backends:
            name = f"keras:{backend}"
            tell(f"{name}: first two calls, at most {seconds:g} s each")
            started = Peer(program, arguments, seconds, backend)
            stack.callback(started.close)
            try:
                started.wait()
                started.run()
                second[name] = started.run()
            except PeerError as error:
                left_out[name] = str(error)
                started.close()  # it may be at it still
                continue
            running[name] = started
        best = min(second.values(), default=0.0)
        near = {name for name, value in second.items() if value <= NEAR * best}
        for name in set(running) - near:
            running.pop(name).close()
        yield [Contestant(name, running[name].run) for name in sorted(near)], second, left_out
