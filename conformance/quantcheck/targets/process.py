"""Client of the JSON-lines protocol: a target in a process of its own, restarted when it breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantcheck.errors import TargetCrashed, TargetError
from quantcheck.targets.base import Target
from quantcheck.targets.pipes import Pipes
from quantcheck.wire.protocol import PROTOCOL, Handshake, check_answer

START_LIMIT = 120.0
TIME_LIMIT = 60.0
RESTARTS = 5


class ProcessTarget(Target):
    """A quantizer in a process of its own, restarted when it breaks.

    Parameters
    ----------
    spec : str
        The target as the user wrote it, for reports.
    command : sequence of str
        Program and arguments.
    environment : mapping, optional
        Variables that are added to this process's own.
    time_limit, start_limit : float
        Seconds for one answer, and for the handshake.
    restarts : int
        Number of restarts of a broken target; after them all answers are errors.
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
        self.parallel = True
        self.command = list(command)
        self.environment = dict(environment or {})
        self.time_limit = time_limit
        self.start_limit = start_limit
        self.restarts_left = restarts
        self._restarts = restarts
        self._running: Pipes | None = None
        self._handshake: Handshake | None = None
        self._broken = False
        self._ended = False
        self._last_stderr = ""

    # Life cycle

    def start(self) -> Handshake:
        """Start the process, and read its handshake.

        Raises
        ------
        TargetCrashed, TargetTimeout, TargetProtocolError
            No well-formed handshake came within `start_limit` seconds.
        """
        self._ended = False
        return self._launch()

    def _launch(self) -> Handshake:
        running = Pipes(self.command, self.environment)
        self._running = running
        if self._ended:  # another thread closed it before the process existed
            self.kill()
            raise TargetCrashed("a running target", "an ended one")
        try:
            line = running.exchange(
                {"start": {"protocol": PROTOCOL}}, self.start_limit, "handshake"
            )
            handshake = Handshake.from_line(line)
        except TargetError as error:
            raise self._break(error) from None
        self._handshake = handshake
        return handshake

    def close(self) -> None:
        """Ask the process to stop, and kill the rest of its process group."""
        self._ended = True
        if self._running is not None:
            self._last_stderr = self._running.stop()
            self._running = None

    def kill(self) -> None:
        """Kill the process group at once."""
        self._ended = True
        running, self._running = self._running, None
        if running is not None:
            self._last_stderr = running.kill()

    # Questions

    @property
    def stderr(self) -> str:
        """The last 64 KiB that the target wrote to its standard error."""
        return self._running.stderr() if self._running is not None else self._last_stderr

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Ask one wire question, and return the wire answer.

        Raises
        ------
        TargetCrashed, TargetTimeout, TargetProtocolError
            No answer came. The next question restarts the target, unless `restarts` is used up.
        """
        if self._running is None:
            if self._ended:
                raise TargetCrashed("a running target", "an ended one")
            if self._broken and self.restarts_left <= 0:
                raise TargetCrashed(
                    "a running target", f"broken {self._restarts + 1} times, not started again"
                )
            if self._broken:
                self.restarts_left -= 1
            self._launch()
        running = self._running
        if running is None:
            raise TargetCrashed("a running target", "none")
        identity = str(question["id"])
        try:
            answer = running.exchange(question, self.time_limit, f"answer to {identity}")
            check_answer(answer, identity)
        except TargetError as error:
            raise self._break(error) from None
        return answer

    def _break(self, error: TargetError) -> TargetError:
        """Kill the process, and add its stderr to the error."""
        if self._running is not None:
            self._last_stderr = self._running.kill()
            self._running = None
        self._broken = True
        error.stderr = self._last_stderr
        return error
