"""What is going on, on stderr: one line a row, and on a terminal also each round."""

from __future__ import annotations

import sys
import time

from tests.benchmarks.speed.row import Outcome


class Progress:
    """Tells what is going on; nothing runs beside what is timed.

    Parameters
    ----------
    total : int
        Number of rows.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done, self.name = total, 0, ""
        self._start = time.perf_counter()
        self._live = sys.stderr.isatty()

    def tell(self, text: str) -> None:
        """Replace the line that says what is being done."""
        if self._live:
            self._write(f"\r\x1b[K{self._time()} {self.name}: {text}"[:118])

    def begin(self, name: str) -> None:
        """Say which row is next."""
        self.name = name
        self.tell("preparing")

    def end(self, outcome: Outcome) -> None:
        """Say what came of a row, on a line that stays."""
        self.done += 1
        figure = outcome.reason if outcome.ratio is None else f"{outcome.ratio:.3g}"
        erased = "\r\x1b[K" if self._live else ""
        count = f"{self.done}/{self.total}"
        self._write(f"{erased}{self._time()} {count} {outcome.row.name}: {figure}\n")

    def _time(self) -> str:
        return f"[{time.perf_counter() - self._start:6.1f} s]"

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
