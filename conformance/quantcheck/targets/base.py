"""What a run needs of a target, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from quantcheck.errors import TargetProtocolError
from quantcheck.wire.protocol import Handshake


class Target(Protocol):
    """Whatever answers questions: start, ask, close.

    Attributes
    ----------
    spec : str
        What the user wrote, for reports.
    parallel : bool
        Whether several of them, each started, answer sooner than one.
    """

    spec: str
    parallel: bool
    _handshake: Handshake | None

    def __enter__(self) -> Self:
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
        """Make it ready for questions.

        Raises
        ------
        TargetError
            When no well-formed handshake came.
        """
        ...

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """One wire question, one wire answer.

        Raises
        ------
        TargetError
            When none came; the next question may be answered all the same.
        """
        ...

    def close(self) -> None:
        """Leave nothing running; what was ended answers nothing more until it is started again."""
        ...

    def kill(self) -> None:
        """Leave nothing running, without waiting."""
        ...

    @property
    def started(self) -> bool:
        """Whether a handshake came."""
        return self._handshake is not None

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
        """What it said aside, for people."""
        ...
