"""Target `answers:FILE`: answers from a machine that cannot run the suite.

`quantcheck --questions FILE` writes the questions. The file of answers is the output of a
`process:` target for these questions: first the handshake, then one answer per line, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantcheck.errors import TargetCrashed, TargetError, TargetProtocolError
from quantcheck.targets.base import Target
from quantcheck.wire.protocol import Handshake, check_answer, read_line, short

MAX_NAMED = 5  # ids or lines in one message


@dataclass(frozen=True)
class _Line:
    number: int
    answer: dict[str, Any]


class AnswersTarget(Target):
    r"""A file of answers, which is read once; no process is started.  [VER-040]

    Parameters
    ----------
    spec : str
        The target as the user wrote it, for reports.
    path : Path
        JSON lines: the handshake, then the answers.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> lines = [
    ...     '{"ready": {"protocol": 1, "name": "mine", "version": "1"}}',
    ...     '{"id": "a", "unsupported": "not yet"}',
    ... ]
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "answers.jsonl"
    ...     _ = path.write_text("\n".join(lines))
    ...     with AnswersTarget(f"answers:{path}", path) as target:
    ...         target.ask({"id": "a"})
    {'id': 'a', 'unsupported': 'not yet'}
    """

    def __init__(self, spec: str, path: Path) -> None:
        self.spec = spec
        self.parallel = False
        self.path = path
        self._handshake: Handshake | None = None
        self._lines: dict[str, list[_Line]] = {}
        self._damaged: dict[int, str] = {}
        self._asked: set[str] = set()

    def start(self) -> Handshake:
        """Read the file.

        Raises
        ------
        TargetCrashed
            The file cannot be read.
        TargetProtocolError
            The first line is no well-formed handshake.
        """
        self._lines, self._damaged = {}, {}
        try:
            with self.path.open("rb") as stream:
                first = stream.readline()
                self._handshake = self._read_handshake(first)
                for number, line in enumerate(stream, 2):
                    self._read(number, line)
        except OSError as error:
            raise TargetCrashed(f"a readable file {self.path}", str(error)) from None
        return self.handshake

    def _read_handshake(self, line: bytes) -> Handshake:
        try:
            return Handshake.from_line(read_line(line, "handshake"))
        except TargetProtocolError as error:
            expected = f"{error.expected} in line 1 of {self.path.name}"
            raise TargetProtocolError(expected, error.got) from None

    def _read(self, number: int, line: bytes) -> None:
        if not line.strip():
            return
        try:
            answer = read_line(line, "answer")
            identity = answer.get("id")
            if not isinstance(identity, str):
                raise TargetProtocolError("answer with an id", short(answer))
        except TargetProtocolError as error:
            # Its question is unknown, and will be reported as unanswered.
            self._damaged[number] = str(error)
        else:
            self._lines.setdefault(identity, []).append(_Line(number, answer))

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to one wire question.

        Raises
        ------
        TargetCrashed
            The file has no answer.
        TargetProtocolError
            The file has several answers, or the answer is malformed.
        """
        identity = str(question["id"])
        self._asked.add(identity)
        found = self._lines.get(identity, [])
        try:
            if not found:
                got = f"no answer in {self.path.name}"
                if self._damaged:
                    got += f"; damaged lines: {_some(str(n) for n in self._damaged)}"
                raise TargetCrashed(f"an answer to {identity!r}", got)
            if len(found) > 1:
                numbers = _some(str(line.number) for line in found)
                got = f"{len(found)} in {self.path.name}, in lines {numbers}"
                raise TargetProtocolError(f"one answer to {identity!r}", got)
            try:
                check_answer(found[0].answer, identity)
            except TargetProtocolError as error:
                expected = f"{error.expected} in line {found[0].number} of {self.path.name}"
                raise TargetProtocolError(expected, error.got) from None
        except TargetError as error:
            if not found:
                error.stderr = self._damage()
            raise
        return found[0].answer

    def close(self) -> None:
        """Do nothing, since no process runs."""

    def kill(self) -> None:
        """Do nothing, since no process runs."""

    @property
    def stderr(self) -> str:
        """Damaged lines, and answers to questions that were not asked."""
        unasked = [identity for identity in self._lines if identity not in self._asked]
        text = self._damage()
        if unasked:
            text += f"{len(unasked)} answers to questions that were not asked: {_some(unasked)}\n"
        return text

    def _damage(self) -> str:
        named = list(self._damaged.items())[:MAX_NAMED]
        lines = [f"{self.path.name}, line {number}: {message}" for number, message in named]
        if len(self._damaged) > MAX_NAMED:
            lines.append(f"{len(self._damaged)} damaged lines in all")
        return "".join(f"{line}\n" for line in lines)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = [f"and {len(listed) - MAX_NAMED} more"] if len(listed) > MAX_NAMED else []
    return ", ".join([*listed[:MAX_NAMED], *more])
