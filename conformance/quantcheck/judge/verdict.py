"""Verdicts, and judgements: the verdict on one requirement for one case.  [VER-090]"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """The result of a run for a requirement: seven verdicts, and two values for none.  [VER-090]

    `UNSTABLE`: two processes of the target gave different answers to one question.  [VER-130]
    `DIFFERENCE`: it fails, but it is a choice of SPEC.md that the target does not declare.
    `NOT_JUDGED`: every case that names it failed another requirement and has no finding on it.
    `NOT_COVERED`: no case that was asked names the requirement.
    """

    ERROR = "error"
    FAIL = "fail"
    UNSTABLE = "unstable"
    KNOWN = "known deviation"
    DIFFERENCE = "difference"
    PASS = "pass"  # noqa: S105 - a verdict, no password
    NOT_JUDGED = "not judged"
    UNSUPPORTED = "unsupported"
    NOT_COVERED = "not covered"

    @property
    def rank(self) -> int:
        """Severity: of several verdicts, the one with the lowest rank counts."""
        return list(Verdict).index(self)


@dataclass(frozen=True)
class Judgement:
    """The verdict of one check, or of all checks together, on one requirement for one case.

    Attributes
    ----------
    message : str
        The expected and the given value.
    index : tuple of int, optional
        Index of the worst element.
    margin : float, optional
        Margin of the worst code.
    observed, bound : float, optional
        The largest deviation of the case relative to its bound, and that bound.
    stale : bool
        The verdict comes from a deviation that no longer occurs.
    reason, link : str
        Those of the known deviation that covers the failure; of a difference, why it is none.
    name : str
        The known mistake that explains the answer.
    size : int
        Of a failure: the number of elements of the question's arrays.
    evidence : mapping
        Numbers for pictures of a failure, see `quantcheck.judge.evidence`.
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
    name: str = ""
    size: int = 0
    evidence: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def passed(self) -> bool:
        """Whether the verdict is pass."""
        return self.verdict == Verdict.PASS

    @property
    def ratio(self) -> float | None:
        """Observed ÷ bound, if the requirement has a bound."""
        if self.observed is None or self.bound is None:
            return None
        if self.bound == 0:
            return 0.0 if self.observed == 0 else float("inf")
        return self.observed / self.bound


def judgement_of(
    requirement: str, passed: bool, message: str, case: str, **details: Any
) -> Judgement:
    """Return the judgement of one check: pass or fail.

    Examples
    --------
    >>> judgement = judgement_of("RND-010", False, "values: 1 of 2 differ", "rnd-ties", index=(1,))
    >>> judgement.verdict.value
    'fail'
    """
    verdict = Verdict.PASS if passed else Verdict.FAIL
    return Judgement(requirement, case, verdict, message, **details)


def worst_of(judgements: Sequence[Judgement]) -> Judgement:
    """Return a judgement with the worst verdict; among these, one with the largest ratio."""
    rank = min(j.verdict.rank for j in judgements)
    candidates = [j for j in judgements if j.verdict.rank == rank]
    return max(candidates, key=lambda j: -1.0 if j.ratio is None else _number(j.ratio))


def shown_of(judgements: Sequence[Judgement]) -> Judgement:
    """Return the judgement that is shown for a requirement.

    Of several failures it is the one with the smallest question, among those that the mistake that
    explains most of them explains.

    Examples
    --------
    >>> made = [("a", 9, ""), ("b", 4, "rounded down"), ("c", 2, ""), ("d", 5, "rounded down")]
    >>> shown_of([Judgement("AFF-060", case, Verdict.FAIL, size=size, name=name)
    ...           for case, size, name in made]).case
    'b'
    """
    worst = worst_of(judgements)
    if worst.verdict != Verdict.FAIL:
        return worst
    failed = [j for j in judgements if j.verdict == Verdict.FAIL]
    names = Counter(j.name for j in failed if j.name)
    if names:
        name = names.most_common(1)[0][0]
        failed = [j for j in failed if j.name == name]
    return min(failed, key=lambda j: j.size)


def _number(ratio: float) -> float:
    return float("inf") if math.isnan(ratio) else ratio


def known_deviation(judgement: Judgement, reason: str, link: str) -> Judgement:
    """Turn a failed judgement into a known deviation."""
    return replace(judgement, verdict=Verdict.KNOWN, reason=reason, link=link)
