"""Client of the JSON-lines protocol: one question per line to stdin, one answer per line back."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any

from quantcheck.errors import (
    TargetCrashed,
    TargetError,
    TargetProtocolError,
    TargetTimeout,
)

PROTOCOL = 1
START_LIMIT = 120.0
TIME_LIMIT = 60.0
RESTARTS = 5
STDERR_KEPT = 64 * 1024
LINE_LIMIT = 256 * 1024 * 1024
UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}
ANSWER_KEYS = ("outputs", "refused", "unsupported", "error")


@dataclass(frozen=True)
class Handshake:
    """What a target says about itself before the first question."""

    name: str
    version: str
    backend: str = ""
    precision: str = "float32"
    operations: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def unit_roundoff(self) -> float:
        """Half the spacing of floats just above one, in the target's working precision."""
        return UNIT_ROUNDOFF[self.precision]

    @classmethod
    def from_wire(cls, ready: object) -> Handshake:
        """Read the object under `ready`.

        Raises
        ------
        TargetProtocolError
            When a field is missing or is not what the protocol says.
        """
        if not isinstance(ready, dict):
            raise TargetProtocolError('{"ready": {…}} as first line', _short(ready))
        if ready.get("protocol") != PROTOCOL:
            raise TargetProtocolError(f"protocol {PROTOCOL}", f"protocol {ready.get('protocol')!r}")
        for key in ("name", "version"):
            if not isinstance(ready.get(key), str) or not ready[key]:
                raise TargetProtocolError(f"ready.{key} as text", repr(ready.get(key)))
        precision = ready.get("precision", "float32")
        if precision not in UNIT_ROUNDOFF:
            raise TargetProtocolError(f"precision in {sorted(UNIT_ROUNDOFF)}", repr(precision))
        operations = ready.get("operations", [])
        if not isinstance(operations, list) or not all(isinstance(o, str) for o in operations):
            raise TargetProtocolError("ready.operations as list of names", repr(operations))
        versions = ready.get("versions", {})
        if not isinstance(versions, dict):
            raise TargetProtocolError("ready.versions as object", repr(versions))
        return cls(
            name=ready["name"],
            version=ready["version"],
            backend=str(ready.get("backend") or ""),
            precision=precision,
            operations=tuple(operations),
            versions={str(k): str(v) for k, v in versions.items()},
        )


class ProcessTarget:
    """A quantizer in a process of its own, restarted when it breaks.

    Parameters
    ----------
    spec : str
        What the user wrote, for reports.
    command : sequence of str
        Program and arguments.
    environment : mapping, optional
        Variables set on top of this process's own.
    time_limit, start_limit : float
        Seconds for one answer, and for the handshake.
    restarts : int
        How often a broken target is started again before the rest of its answers are errors.
    """

    def __init__(
        self,
        spec: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        time_limit: float = TIME_LIMIT,
        start_limit: float = START_LIMIT,
        restarts: int = RESTARTS,
    ) -> None:
        self.spec = spec
        self.command = list(command)
        self.environment = dict(environment or {})
        self.time_limit = time_limit
        self.start_limit = start_limit
        self.restarts_left = restarts
        self._restarts = restarts
        self._running: _Running | None = None
        self._handshake: Handshake | None = None
        self._broken = False
        self._last_stderr = ""

    # Life cycle

    def __enter__(self) -> ProcessTarget:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> Handshake:
        """Start the process and shake hands.

        Raises
        ------
        TargetCrashed, TargetTimeout, TargetProtocolError
            When no well-formed handshake came within `start_limit` seconds.
        """
        running = _Running(self.command, self.environment)
        self._running = running
        try:
            line = running.exchange({"start": {"protocol": PROTOCOL}}, self.start_limit, "handshake")
            handshake = Handshake.from_wire(line.get("ready"))
        except TargetError as error:
            raise self._break(error) from None
        self._handshake = handshake
        return handshake

    def close(self) -> None:
        """Ask the process to stop, and kill what is left of its process group."""
        if self._running is not None:
            self._last_stderr = self._running.stop()
            self._running = None

    # Questions

    @property
    def handshake(self) -> Handshake:
        """What the target said when it started.

        Raises
        ------
        TargetProtocolError
            When the target was never started.
        """
        if self._handshake is None:
            raise TargetProtocolError("a started target", "no handshake yet")
        return self._handshake

    @property
    def stderr(self) -> str:
        """The last 64 KiB that the target wrote to its standard error."""
        return self._running.stderr() if self._running is not None else self._last_stderr

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """One wire question, one wire answer.

        Raises
        ------
        TargetCrashed, TargetTimeout, TargetProtocolError
            When none came. The next question starts the target again, a limited number of times.
        """
        if self._running is None:
            if self._broken and self.restarts_left <= 0:
                raise TargetCrashed(
                    "a running target", f"broken {self._restarts + 1} times, not started again"
                )
            if self._broken:
                self.restarts_left -= 1
            self.start()
        running = self._running
        if running is None:
            raise TargetCrashed("a running target", "none")
        identity = str(question["id"])
        try:
            answer = running.exchange(question, self.time_limit, f"answer to {identity}")
            if answer.get("id") != identity:
                raise TargetProtocolError(f"answer with id {identity!r}", _short(answer))
            if sum(key in answer for key in ANSWER_KEYS) != 1:
                raise TargetProtocolError(f"exactly one of {', '.join(ANSWER_KEYS)}", _short(answer))
        except TargetError as error:
            raise self._break(error) from None
        return answer

    def _break(self, error: TargetError) -> TargetError:
        """Kill the process and hang what it wrote to stderr on the error."""
        if self._running is not None:
            self._last_stderr = self._running.kill()
            self._running = None
        self._broken = True
        error.stderr = self._last_stderr
        return error


class _Running:
    """One started process: pipes, the threads that read them, and its end."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        try:
            self.process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise TargetCrashed(f"a program {list(command)!r}", str(error)) from None
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._kept = bytearray()
        self._reader = self._thread(self._read_lines)
        self._drain = self._thread(self._read_stderr)

    def exchange(self, message: Mapping[str, Any], limit: float, due: str) -> dict[str, Any]:
        """Send one line, await one line, within `limit` seconds."""
        data = json.dumps(message, allow_nan=False).encode() + b"\n"
        self._thread(lambda: self._write(data))
        try:
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            raise TargetTimeout(f"{due} within {limit:g} s", "nothing") from None
        if line is None:
            raise TargetCrashed(due, self._ending())
        if not line.endswith(b"\n"):
            self.process.poll()
            raise TargetCrashed(due, f"half a line {_short(line)}; {self._ending()}")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            raise TargetProtocolError(f"{due} as one line of JSON", _short(line)) from None
        if not isinstance(answer, dict):
            raise TargetProtocolError(f"{due} as JSON object", _short(line))
        return answer

    def stderr(self) -> str:
        return bytes(self._kept[-STDERR_KEPT:]).decode("utf-8", "replace")

    def stop(self) -> str:
        """Say stop, wait a moment, then kill."""
        with contextlib.suppress(OSError, ValueError):
            self._thread(lambda: self._write(b'{"stop": {}}\n')).join(0.5)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(2.0)
        return self.kill()

    def kill(self) -> str:
        """Kill the whole process group, close the pipes; returns the end of stderr."""
        # The group outlives its leader when the target left children behind.
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()
        self._drain.join(1.0)
        self._reader.join(1.0)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError, ValueError):
                if pipe is not None:
                    pipe.close()
        return self.stderr()

    # Threads

    def _thread(self, work: Any) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def _write(self, data: bytes) -> None:
        pipe = self.process.stdin
        with contextlib.suppress(OSError, ValueError):
            if pipe is not None:
                pipe.write(data)
                pipe.flush()

    def _read_lines(self) -> None:
        for line in _lines_of(self.process.stdout):
            self._lines.put(line)
        self._lines.put(None)

    def _read_stderr(self) -> None:
        pipe = self.process.stderr
        with contextlib.suppress(OSError, ValueError):
            while pipe is not None and (chunk := os.read(pipe.fileno(), 65536)):
                self._kept += chunk
                del self._kept[:-STDERR_KEPT]

    def _ending(self) -> str:
        try:
            code = self.process.wait(2.0)
        except subprocess.TimeoutExpired:
            return "closed stdout"
        return f"process ended by signal {-code}" if code < 0 else f"process ended with code {code}"


def _lines_of(pipe: IO[bytes] | None) -> Any:
    """Lines of at most `LINE_LIMIT` bytes; the last may lack its end."""
    with contextlib.suppress(OSError, ValueError):
        while pipe is not None and (line := pipe.readline(LINE_LIMIT)):
            yield line


def _short(thing: object, width: int = 200) -> str:
    text = repr(thing)
    return text if len(text) <= width else f"{text[:width]}… ({len(text)} characters)"
