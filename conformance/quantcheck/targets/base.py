"""The interface of every target."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from quantcheck.errors import TargetProtocolError
from quantcheck.wire.protocol import Handshake


class Target(Protocol):
    """A program or file that answers questions: start, ask, close.

    Attributes
    ----------
    spec : str
        The target as the user wrote it, for reports.
    parallel : bool
        Whether several processes of the target answer faster than one.
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
        """Start the target.

        Raises
        ------
        TargetError
            No well-formed handshake came.
        """
        ...

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Ask one wire question, and return the wire answer.

        Raises
        ------
        TargetError
            No answer came. Later questions may still be answered.
        """
        ...

    def close(self) -> None:
        """End all processes; `start` starts the target again."""
        ...

    def kill(self) -> None:
        """Kill all processes, without waiting."""
        ...

    @property
    def started(self) -> bool:
        """Whether a handshake came."""
        return self._handshake is not None

    @property
    def handshake(self) -> Handshake:
        """The handshake that the target sent when it started.

        Raises
        ------
        TargetProtocolError
            The target was never started.
        """
        if self._handshake is None:
            raise TargetProtocolError("a started target", "no handshake yet")
        return self._handshake

    @property
    def stderr(self) -> str:
        """The last part of the target's standard error."""
        ...
