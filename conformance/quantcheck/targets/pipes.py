"""One started process: a time limit, stderr kept, nothing left running.  [VER-040]"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from quantcheck.errors import TargetCrashed, TargetTimeout
from quantcheck.targets.protocol import read_line, short

STDERR_KEPT = 64 * 1024
LINE_LIMIT = 256 * 1024 * 1024


class Pipes:
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
            raise TargetCrashed(due, f"half a line {short(line)}; {self._ending()}")
        return read_line(line, due)

    def stderr(self) -> str:
        """Give what is kept of the standard error."""
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

    def _thread(self, work: Callable[[], None]) -> threading.Thread:
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


def _lines_of(pipe: IO[bytes] | None) -> Iterator[bytes]:
    """Lines of at most `LINE_LIMIT` bytes; the last may lack its end."""
    with contextlib.suppress(OSError, ValueError):
        while pipe is not None and (line := pipe.readline(LINE_LIMIT)):
            yield line
