"""How far a run is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from quantcheck.report.console import say

SAYS = {
    "canary": "checking that a planted bug is caught in {section}",
    "drawing": "drawing examples of section {section}",
    "shrinking": "looking for a smaller example of {case}",
    "starting": "starting the target",
    "ready": "{name} {version} is ready",
}
"""What is said about an event, with the event's own fields."""


class TargetProgress:
    """Shows the events of one target; as a context manager, it keeps the bar on the terminal.

    Parameters
    ----------
    spec : str
        What the user wrote.
    console : Console
    """

    def __init__(self, spec: str, console: Console) -> None:
        self.console = console
        self.spec = spec
        self.section = ""
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(f"{spec}: reading vectors", total=None)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def event(self, event: Mapping[str, Any]) -> None:
        """Show one event."""
        if event["event"] != "case":
            self._say(SAYS[event["event"]].format(**event))
            return
        done, total = event["done"], event["total"]
        if self.console.is_terminal:
            text = f"{self.spec}: {event['section']}"
            self.bar.update(self.task, description=text, completed=done, total=total)
        elif event["section"] != self.section or done == total:
            self.section = event["section"]
            self._say(f"section {self.section}, case {done} of {total}")

    def _say(self, text: str) -> None:
        if self.console.is_terminal:
            self.bar.update(self.task, description=f"{self.spec}: {text}")
        else:
            say(self.console, f"{self.spec}: {text}")
