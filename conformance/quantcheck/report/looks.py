"""Symbols, words and styles of the verdicts, for every kind of report."""

from __future__ import annotations

from dataclasses import dataclass

from quantcheck.judge.verdict import Verdict


@dataclass(frozen=True)
class Look:
    """Presentation of one verdict.

    Attributes
    ----------
    symbol : str
    letter : str
        Replaces the symbol if an encoding lacks it.
    word, short : str
        The word for the verdict, and a shorter one for narrow columns.
    style : str
        Style of rich on a terminal.
    junit : str, optional
        Child element of a JUnit test case; None for a pass.
    """

    symbol: str
    letter: str
    word: str
    short: str
    style: str
    junit: str | None

    def __post_init__(self) -> None:
        if not self.letter.isascii():
            raise ValueError(f"expected a letter in ASCII, got {self.letter!r}")


LOOKS: dict[str, Look] = {
    Verdict.PASS: Look("✓", "P", "pass", "pass", "green", None),
    Verdict.FAIL: Look("✗", "F", "fail", "fail", "bold red", "failure"),
    Verdict.UNSTABLE: Look("↕", "U", "unstable", "unstable", "bold red", "failure"),
    Verdict.KNOWN: Look("≈", "K", "known", "known", "yellow", "skipped"),
    # Not a failure: SPEC.md chose what the target does otherwise, and the target never said so.
    Verdict.DIFFERENCE: Look("≠", "D", "difference", "differs", "cyan", "skipped"),
    Verdict.ERROR: Look("!", "!", "error", "error", "bold magenta", "error"),
    # A requirement without a verdict has not passed: it is skipped, with the reason.
    Verdict.NOT_JUDGED: Look("?", "?", "not judged", "unjudged", "yellow", "skipped"),
    Verdict.UNSUPPORTED: Look("–", "-", "unsupported", "unsup.", "dim", "skipped"),
    Verdict.NOT_COVERED: Look("·", ".", "not covered", "", "dim", "skipped"),
}
"""In the order in which verdicts are listed."""

VERDICTS = tuple(LOOKS)
FAILED = (Verdict.FAIL, Verdict.UNSTABLE, Verdict.KNOWN, Verdict.ERROR)
BLAME = (
    Verdict.ERROR,
    Verdict.FAIL,
    Verdict.UNSTABLE,
    Verdict.KNOWN,
    Verdict.NOT_JUDGED,
    Verdict.DIFFERENCE,
    Verdict.PASS,
    Verdict.UNSUPPORTED,
    Verdict.NOT_COVERED,
)
"""Verdicts from worst to best, for one word about several targets."""


def css_class(verdict: str) -> str:
    """Return the CSS class of a verdict.

    Examples
    --------
    >>> css_class("known deviation")
    'known-deviation'
    """
    return verdict.replace(" ", "-")
