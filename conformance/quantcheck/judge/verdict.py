"""Verdicts, and what carries one: a judgement of one case under one requirement.  [VER-010]"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What a run says about a requirement: five verdicts, and two ways of having none.  [VER-010]

    `NOT_JUDGED`: a case that names it failed another requirement, so nothing can be said.
    `NOT_COVERED`: no case that was asked names it.
    """

    ERROR = "error"
    FAIL = "fail"
    KNOWN = "known deviation"
    PASS = "pass"  # noqa: S105 - a verdict, no password
    NOT_JUDGED = "not judged"
    UNSUPPORTED = "unsupported"
    NOT_COVERED = "not covered"

    @property
    def rank(self) -> int:
        """Which of two verdicts counts for the whole: the lower one."""
        return list(Verdict).index(self)


@dataclass(frozen=True)
class Judgement:
    """What one check, or all checks together, say about one requirement on one case.

    Attributes
    ----------
    message : str
        What was expected and what came.
    index : tuple of int, optional
        Where the worst element is.
    margin : float, optional
        Distance of the worst code from the nearest change of code, in codes.
    observed, bound : float, optional
        The largest deviation of the case relative to its bound, and that bound.
    stale : bool
        The verdict comes from a deviation file that no longer fits.
    reason, link : str
        Of the known deviation that covers it.
    evidence : mapping
        Numbers to draw of an answer that fails, see `quantcheck.judge.evidence`.
    """

    requirement: str
    case: str
    verdict: Verdict
    message: str = ""
    index: tuple[int, ...] | None = None
    got: str | None = None
    expected: str | None = None
    margin: float | None = None
    observed: float | None = None
    bound: float | None = None
    stale: bool = False
    reason: str = ""
    link: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict == Verdict.PASS

    @property
    def ratio(self) -> float | None:
        """Observed ÷ bound, when the requirement has a bound."""
        if self.observed is None or self.bound is None:
            return None
        if self.bound == 0:
            return 0.0 if self.observed == 0 else float("inf")
        return self.observed / self.bound


def found(requirement: str, passed: bool, message: str, case: str, **details: Any) -> Judgement:
    """Return the judgement of one check: pass or fail.

    Examples
    --------
    >>> found("RND-010", False, "values: 1 of 2 differ", "rnd-ties", index=(1,)).verdict.value
    'fail'
    """
    verdict = Verdict.PASS if passed else Verdict.FAIL
    return Judgement(requirement, case, verdict, message, **details)


def worst_of(judgements: Sequence[Judgement]) -> Judgement:
    """Choose the first of the worst verdict, among those with the largest observed ÷ bound."""
    rank = min(j.verdict.rank for j in judgements)
    candidates = [j for j in judgements if j.verdict.rank == rank]
    return max(candidates, key=lambda j: -1.0 if j.ratio is None else _number(j.ratio))


def _number(ratio: float) -> float:
    return float("inf") if math.isnan(ratio) else ratio


def known(judgement: Judgement, reason: str, link: str) -> Judgement:
    """Mark a failed judgement as one that a deviation file knows."""
    return replace(judgement, verdict=Verdict.KNOWN, reason=reason, link=link)
