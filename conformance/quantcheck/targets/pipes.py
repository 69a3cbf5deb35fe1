"""One process of a target: time limits, its stderr, and its end.  [VER-040]"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from quantcheck.errors import TargetCrashed, TargetTimeout
from quantcheck.wire.protocol import read_line, short

STDERR_KEPT = 64 * 1024
LINE_LIMIT = 256 * 1024 * 1024


class Pipes:
    """One started process: pipes, the threads that serve them, and the end of the process."""

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
        self._over = False
        self._kept = bytearray()
        self.stderr_bytes = 0
        self._reader = self._thread(self._read_lines)
        self._drain = self._thread(self._read_stderr)
        self._thread(self._watch)

    def exchange(self, message: Mapping[str, Any], limit: float, due: str) -> dict[str, Any]:
        """Send one line, and return the next line within `limit` seconds."""
        self.send(message)
        try:
            line = self.receive(limit)
        except TimeoutError:
            raise TargetTimeout(f"{due} within {limit:g} s", "nothing") from None
        if line is None:
            raise TargetCrashed(due, self.ending())
        if not line.endswith(b"\n"):
            raise TargetCrashed(due, f"half a line {short(line)}; {self.ending()}")
        return read_line(line, due)

    def send(self, *messages: Mapping[str, Any], end: bool = False) -> None:
        """Send lines without waiting; if `end`, close the input after them."""
        data = b"".join(json.dumps(m, allow_nan=False).encode() + b"\n" for m in messages)
        self._thread(lambda: self._write(data, end=end))

    def receive(self, limit: float) -> bytes | None:
        """Wait for one line of stdout, and return it; None at the end of stdout.

        Raises
        ------
        TimeoutError
            No line came within `limit` seconds.
        """
        if self._over:
            return None
        try:
            line = self._lines.get(timeout=limit) if limit > 0 else self._lines.get_nowait()
        except queue.Empty:
            raise TimeoutError from None
        self._over = line is None
        return line

    def stderr(self) -> str:
        """Return the last part of the standard error."""
        return bytes(self._kept[-STDERR_KEPT:]).decode("utf-8", "replace")

    def stop(self) -> str:
        """Send `stop`, wait a moment, and kill the process."""
        with contextlib.suppress(OSError, ValueError):
            self._thread(lambda: self._write(b'{"stop": {}}\n', end=False)).join(0.5)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(2.0)
        return self.kill()

    def kill(self) -> str:
        """Kill the whole process group and close the pipes; return the end of stderr."""
        # The group exists after the end of its leader if children are still running.
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

    def ending(self) -> str:
        """Return how the process ended, or that it closed its stdout."""
        try:
            code = self.process.wait(2.0)
        except subprocess.TimeoutExpired:
            return "closed stdout"
        return f"process ended by signal {-code}" if code < 0 else f"process ended with code {code}"

    def remaining_processes(self) -> list[int]:
        """List the process's children that still run after its end; empty without /proc."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, group = path.read_text("utf-8", "replace").rpartition(")")[2].split()[:3]
                if int(group) == self.process.pid and state != "Z":
                    found.append(int(path.parent.name))
        return found

    # Threads

    def _thread(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def _write(self, data: bytes, *, end: bool) -> None:
        pipe = self.process.stdin
        with contextlib.suppress(OSError, ValueError):
            if pipe is not None:
                pipe.write(data)
                pipe.flush()
                if end:
                    pipe.close()

    def _read_lines(self) -> None:
        for line in _lines_of(self.process.stdout):
            self._lines.put(line)
        self._lines.put(None)

    def _watch(self) -> None:
        """End the lines when the process has ended, even if a child keeps its stdout open."""
        self.process.wait()
        self._reader.join(1.0)
        self._lines.put(None)

    def _read_stderr(self) -> None:
        pipe = self.process.stderr
        with contextlib.suppress(OSError, ValueError):
            while pipe is not None and (chunk := os.read(pipe.fileno(), 65536)):
                self._kept += chunk
                self.stderr_bytes += len(chunk)
                del self._kept[:-STDERR_KEPT]


def _lines_of(pipe: IO[bytes] | None) -> Iterator[bytes]:
    """Yield lines of at most `LINE_LIMIT` bytes; the last may have no newline."""
    with contextlib.suppress(OSError, ValueError):
        while pipe is not None and (line := pipe.readline(LINE_LIMIT)):
            yield line
