"""A row of the table: what is measured, its limit, and the verdict that follows from both."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.speed.timing import QUICK_SECONDS, ROW_SECONDS, Plan

MET, MISSED, NOT_AVAILABLE = "met", "missed", "not available"


class NotAvailableError(Exception):
    """A row that cannot be measured here; the message says why, `left_out` which peers lack."""

    def __init__(self, reason: str, left_out: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.left_out = left_out or {}


@dataclass(frozen=True)
class Limit:
    """What a measured figure has to lie between; None: no bound on that side.

    Examples
    --------
    >>> limit = Limit(high=1.3)
    >>> str(limit), limit.verdict(1.3), limit.verdict(1.31)
    ('≤ 1.3', 'met', 'missed')
    >>> str(Limit(low=50)), str(Limit(0.9, 1.1)), Limit(0.9, 1.1).verdict(0.5)
    ('≥ 50', '0.9 … 1.1', 'missed')
    """

    low: float | None = None
    high: float | None = None

    def verdict(self, figure: float) -> str:
        """Return "met" or "missed"; a figure that is no number meets nothing."""
        above = self.low is None or figure >= self.low
        below = self.high is None or figure <= self.high
        return MET if above and below and figure == figure else MISSED  # noqa: PLR0124 -- NaN

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"{self.low:g} … {self.high:g}"
        return f"≥ {self.low:g}" if self.high is None else f"≤ {self.high:g}"


@dataclass(frozen=True)
class Settings:
    """How the rows of a run are measured.

    Attributes
    ----------
    quick : bool
        An eighth of every size, and few rounds: shows that everything runs, judges nothing.
    rounds : int or None
        Rounds of every row; None: by their cost.
    peer_seconds : float
        Longest that one call of another quantizer, or its start, may take.
    tell : callable
        Is told what is going on.
    """

    quick: bool = False
    rounds: int | None = None
    peer_seconds: float = 120.0
    tell: Callable[[str], None] = lambda _: None

    def size(self, n: int) -> int:
        """Return a size as this run measures it."""
        return max(n // 8, 32) if self.quick else n

    @property
    def plan(self) -> Plan:
        """The rounds of a row."""
        return Plan(QUICK_SECONDS if self.quick else ROW_SECONDS, self.rounds, self.tell)


@dataclass(frozen=True)
class Work:
    """What a call has to do at least, for the roofline.

    Attributes
    ----------
    operations : float
        Floating-point operations; of codes: one for each step on each of them.
    bytes : float
        Inputs read once and outputs written once.
    seconds : float
        Median time of the call.
    """

    operations: float
    bytes: float
    seconds: float

    def as_json(self) -> dict[str, float]:
        """Return the fields, with the rate and operations per byte."""
        return {
            "operations": self.operations,
            "bytes": self.bytes,
            "gflops": self.operations / self.seconds / 1e9,
            "intensity": self.operations / self.bytes,
        }


@dataclass(frozen=True)
class Measured:
    """What measuring a row gave.

    Attributes
    ----------
    figures : list of float
        The figure that the limit is about, once per round.
    seconds : dict
        Median seconds of everything that was timed.
    sizes : dict
        Sizes as measured.
    notes : dict
        Other figures, by name.
    work : Work or None
    series : dict or None
        "variable", "sizes", "seconds": how time grows.
    left_out : dict
        Peers that did not take part, and why.
    """

    figures: list[float]
    seconds: dict[str, float]
    sizes: dict[str, int]
    notes: dict[str, float] = field(default_factory=dict)
    work: Work | None = None
    series: dict[str, Any] | None = None
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes
    ----------
    name : str
    what : str
        What is compared with what, at full size.
    limit : Limit
    measure : callable
        From settings to what was measured; raises NotAvailableError.
    threads : int
        Of BLAS.
    cores : int
        That this process and its peers may use.
    unit : {"ratio", "s", "modules", "exponent"}
    """

    name: str
    what: str
    limit: Limit
    measure: Callable[[Settings], Measured]
    threads: int = 1
    cores: int = 1
    unit: str = "ratio"


@dataclass(frozen=True)
class Outcome:
    """A row with what was measured, or why nothing was."""

    row: Row
    measured: Measured | None
    reason: str = ""
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Median of the rounds' figures."""
        return None if self.measured is None else statistics.median(self.measured.figures)

    @property
    def verdict(self) -> str:
        """What follows from ratio and limit."""
        return NOT_AVAILABLE if self.ratio is None else self.row.limit.verdict(self.ratio)

    def as_json(self) -> dict[str, Any]:
        """Return the row as the report of `--json` has it."""
        row, measured = self.row, self.measured
        text: dict[str, Any] = {
            "name": row.name,
            "what": row.what,
            "threads": row.threads,
            "cores": row.cores,
            "limit": {"low": row.limit.low, "high": row.limit.high},
            "unit": row.unit,
            "ratio": self.ratio,
            "verdict": self.verdict,
        }
        if measured is None:
            return {**text, "reason": self.reason, "rounds": 0, "left_out": self.left_out}
        return {
            **text,
            "rounds": len(measured.figures),
            "figures": measured.figures,
            "seconds": measured.seconds,
            "sizes": measured.sizes,
            "notes": measured.notes,
            "work": None if measured.work is None else measured.work.as_json(),
            "series": measured.series,
            "left_out": measured.left_out,
        }
