"""One run of a program in the smoke test: its lines, the expected lines, and faults to mend."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Mapping
from typing import Any

from quantcheck.errors import TargetError, TargetProtocolError
from quantcheck.targets.pipes import Pipes
from quantcheck.targets.process import ProcessTarget
from quantcheck.wire.protocol import PROTOCOL, check_answer, read_line, short

GRACE = 1.0  # seconds to wait for the right line after a wrong one
PAUSE = 0.1
FLUSH = (
    "Answer each question before reading the next, end the line with a newline, and flush stdout."
)
CLEAN = "Write only answers to stdout; write messages for people to stderr."
FORM = "The line must follow SPEC.md 12 and the JSON Schema of the protocol."
CRASH = 'After an exception, answer {"error": message}; stderr shows why the program ended.'
SLOW = "Answer within the time limit, or raise it with --time-limit."


class Fault(Exception):  # noqa: N818 - a fault of the target, not an error of the suite
    """A fault of a target, and how to mend it."""

    def __init__(self, message: str, mend: str) -> None:
        self.message = message
        self.mend = mend
        super().__init__(message)


class NoLineInTime(Fault):
    """No line came within the time limit."""


class Session:
    """A started program, and every line that it wrote.

    Parameters
    ----------
    target : ProcessTarget
        Its command, environment and limits are used; it is not started itself.
    end_limit : float
        Seconds from `stop`, or the end of input, to the end of the process.

    Attributes
    ----------
    noise : list of str
        Lines of stdout that are no answers.
    """

    def __init__(self, target: ProcessTarget, end_limit: float) -> None:
        self.end_limit = end_limit
        self.limit = target.time_limit
        self.noise: list[str] = []
        self.ended = False
        try:
            self.pipes = Pipes(target.command, target.environment)
        except TargetError as error:
            raise Fault(str(error), "Give a program that can be started, with its path.") from None

    @property
    def stderr(self) -> str:
        """The last part of the program's stderr."""
        return self.pipes.stderr()

    # Lines

    def first_line(self, limit: float) -> bytes:
        """Send `start`, and return the first line."""
        self.pipes.send({"start": {"protocol": PROTOCOL}})
        return self._line("handshake", limit, "Start within the time limit: see --start-limit.")

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Send one question, and return its well-formed answer.

        Raises
        ------
        Fault
            No such answer came.
        """
        self._drain()
        self.pipes.send(question)
        return self.answer([str(question["id"])])

    def answer(self, identities: Iterable[str]) -> dict[str, Any]:
        """Wait for the answer to one of these questions; other lines before it are noise."""
        wanted = list(identities)
        due = f"answer to {' or '.join(wanted)}"
        wrong: Fault | None = None
        passed: list[str] = []
        while True:
            try:
                line = self._line(due, self.limit if wrong is None else GRACE, SLOW)
            except Fault as fault:
                raise wrong or fault from None
            try:
                answer = read_line(line, due)
                check_answer(answer, _nearest(answer.get("id"), wanted))
            except TargetProtocolError as error:
                passed.append(short(line))
                wrong = wrong or Fault(str(error), _mend(line, wanted))
            else:
                self.noise += passed
                return answer

    def _line(self, due: str, limit: float, slow: str) -> bytes:
        try:
            line = self.pipes.receive(limit)
        except TimeoutError:
            raise self._silence(due, limit, slow) from None
        if line is None:
            self.ended = True
            raise Fault(f"expected {due}, got {self.pipes.ending()}", CRASH)
        if not line.endswith(b"\n"):
            self.ended = True
            got = f"half a line {short(line)}; {self.pipes.ending()}"
            raise Fault(f"expected {due}, got {got}", CRASH)
        return line

    def _silence(self, due: str, limit: float, slow: str) -> NoLineInTime:
        """Find out why no line came: end the input, then kill the program, and read its buffers."""
        self.ended = True
        message = f"expected {due} within {limit:g} s, got "
        self.pipes.send(end=True)
        late = self._held(GRACE)
        if late is not None and late.endswith(b"\n"):
            return NoLineInTime(f"{message}it only when the input ended", FLUSH)
        self.pipes.kill()
        late = self._held(0.0) if late is None else late
        if late:
            return NoLineInTime(f"{message}half a line {short(late)}", FLUSH)
        return NoLineInTime(f"{message}nothing", f"{slow} {FLUSH}")

    def _held(self, limit: float) -> bytes | None:
        try:
            return self.pipes.receive(limit)
        except TimeoutError:
            return None

    def _drain(self) -> None:
        """Count the lines since the last answer as noise."""
        while True:
            try:
                line = self.pipes.receive(0.0)
            except TimeoutError:
                return
            if line is None:
                return
            self.noise.append(short(line))

    # End

    def stop(self) -> None:
        """Send `stop`, after which the program must end.

        Raises
        ------
        Fault
            The program is still running after the time limit.
        """
        self._drain()
        self.pipes.send({"stop": {}})
        self._await_end('{"stop": {}}', 'End at the line {"stop": {}}.')

    def all_at_once(self, questions: Iterable[Mapping[str, Any]], limit: float) -> None:
        """Send start, questions and the end of input, as a file does; await every answer.

        Raises
        ------
        Fault
            An answer is missing, or the program is still running after the time limit.
        """
        asked = list(questions)
        self.pipes.send({"start": {"protocol": PROTOCOL}}, *asked, end=True)
        self._line("handshake", limit, SLOW)
        open_ = [str(question["id"]) for question in asked]
        while open_:
            open_.remove(str(self.answer(open_)["id"]))
        self._await_end("the end of its input", "End at the end of stdin, as at stop.")

    def _await_end(self, after: str, mend: str) -> None:
        self.ended = True
        try:
            self.pipes.process.wait(self.end_limit)
        except subprocess.TimeoutExpired:
            got = f"a process that is still running after {self.end_limit:g} s"
            raise Fault(f"expected an end after {after}, got {got}", mend) from None
        self._drain()

    def remaining_processes(self) -> list[int]:
        """List processes that are still running a moment after the end of the program."""
        found: list[int] = []
        for _ in range(round(self.end_limit / PAUSE)):
            found = self.pipes.remaining_processes()
            if not found:
                return []
            time.sleep(PAUSE)
        return found

    def close(self) -> None:
        """Kill all remaining processes."""
        self.pipes.kill()


def _nearest(identity: object, wanted: list[str]) -> str:
    return identity if isinstance(identity, str) and identity in wanted else wanted[0]


def _mend(line: bytes, wanted: list[str]) -> str:
    try:
        answer = read_line(line, "")
    except TargetProtocolError:
        return CLEAN
    if answer.get("id") not in wanted:
        return "Answer with the id of the question, each question once and in turn."
    return FORM
