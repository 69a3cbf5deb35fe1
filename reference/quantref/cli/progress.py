"""Shows the progress on the terminal: layer, windows, rate and remaining time."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from quantref.models import LayerRecord, Listener


class TerminalProgress(Listener):
    """A progress bar on a terminal; in a log, a line for each layer.

    Parameters
    ----------
    console : rich.console.Console
    layers : int
        Number of layers to quantize.
    """

    def __init__(self, console: Any, layers: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.console, self.total, self.done = console, layers, 0
        self.start = time.perf_counter()
        self.place, self.what = "", ""
        self.seen = self.before = 0
        self.began = self.start
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.layers = self.bar.add_task("layers", total=layers, rate="")
        self.inner = self.bar.add_task("", total=1, rate="", visible=False)

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

    def block(self, name: str, index: int, count: int) -> None:
        """Block `index` of `count` begins."""
        self.place = f"block {index + 1}/{count} {name}"
        self.bar.update(self.layers, description=self.place)

    def windows(self, what: str, done: int, total: int) -> None:
        """`done` of `total` windows have passed the block; `what` says for which purpose."""
        if what != self.what or done <= self.seen:
            self.began, self.what, self.before = time.perf_counter(), what, done
        self.seen = done
        spent = time.perf_counter() - self.began
        rate = f"{(done - self.before) / spent:.0f} windows/s" if done > self.before else ""
        self.bar.update(
            self.inner, description=what, completed=done, total=total, rate=rate, visible=True
        )

    def layer(self, record: LayerRecord) -> None:
        """Count a finished layer; its record says what to print."""
        self.done += 1
        spent = time.perf_counter() - self.start
        left = spent / self.done * max(self.total - self.done, 0)
        self.bar.update(self.layers, completed=self.done, rate=f"{_span(left)} left")
        if not self.console.is_terminal:
            f = record.figures
            gain = f"{f.loss / f.plain_loss:.3f} of plain rounding" if f.plain_loss else ""
            text = (
                f"[{spent:7.1f} s] {self.done}/{self.total} {record.name}: {record.verdict} {gain}"
            )
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _span(seconds: float) -> str:
    """Return a duration in words.

    Examples
    --------
    >>> _span(7.3), _span(200), _span(7260)
    ('7 s', '3 min 20 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
