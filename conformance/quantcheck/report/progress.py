"""Shows the progress of a run: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from quantcheck.report.console import say

MESSAGES = {
    "canary": "checking that a mutant is detected in section {section}",
    "drawing": "drawing examples of section {section}",
    "shrinking": "looking for a smaller example of {case}",
    "starting": "starting the target",
    "ready": "{name} {version} is ready",
}
"""Text for each kind of event, with fields of the event."""


@contextmanager
def progress(spec: str, console: Console) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Show the progress of one target's run; return the function to call with each event.

    Parameters
    ----------
    spec : str
        The target as the user wrote it.
    console : Console
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn())
    counts = (MofNCompleteColumn(), TimeElapsedColumn())
    hidden = not console.is_terminal
    with Progress(*columns, *counts, console=console, transient=True, disable=hidden) as bar:
        yield (_Lines(spec, console) if hidden else _Bar(spec, bar)).show


class _Bar:
    """A progress bar that each event updates."""

    def __init__(self, spec: str, bar: Progress) -> None:
        self.spec = spec
        self.bar = bar
        self.task = bar.add_task(f"{spec}: reading vectors", total=None)

    def show(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "case":
            text, done, total = event["section"], event["done"], event["total"]
            self.bar.update(
                self.task, description=f"{self.spec}: {text}", completed=done, total=total
            )
        else:
            self.bar.update(self.task, description=f"{self.spec}: {_text(event)}")


class _Lines:
    """A line for each slow step, and one for the beginning of a section."""

    def __init__(self, spec: str, console: Console) -> None:
        self.spec = spec
        self.console = console
        self.section = ""

    def show(self, event: Mapping[str, Any]) -> None:
        if event["event"] != "case":
            say(self.console, f"{self.spec}: {_text(event)}")
        elif event["section"] != self.section or event["done"] == event["total"]:
            self.section = event["section"]
            done = f"case {event['done']} of {event['total']}"
            say(self.console, f"{self.spec}: section {self.section}, {done}")


def _text(event: Mapping[str, Any]) -> str:
    return MESSAGES[event["event"]].format(**event)
