"""The consoles of every command: as wide as the terminal, with ? for missing characters."""

from __future__ import annotations

import io
import sys

from rich.console import Console

WIDTH = 120  # columns where there is no terminal, as in logs


def consoles() -> tuple[Console, Console]:
    """Return the consoles for results and for error messages."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    out = Console(emoji=False)
    if not out.is_terminal:
        out = Console(width=WIDTH, emoji=False)
    return out, Console(stderr=True, emoji=False)


def say(console: Console, text: str) -> None:
    """Print text without markup, colours or line breaks."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
