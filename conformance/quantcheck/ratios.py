"""Observed ÷ bound: how near answers come to each bound, over many cases.

A bound that no answer ever comes near to does not bite; this is where that is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quantref.compare import Finding


@dataclass(frozen=True)
class Bound:
    """Which bound: the requirement, the operation that was asked, and what was measured."""

    requirement: str
    operation: str
    name: str


@dataclass(frozen=True)
class Largest:
    """The largest observed ÷ bound, the case it is of, and how many cases were measured."""

    ratio: float
    case: str
    cases: int


def largest(
    findings: Iterable[Finding],
    operations: Mapping[str, str],
    before: Mapping[Bound, Largest] | None = None,
) -> dict[Bound, Largest]:
    """Return the largest ratio of every bound.

    Parameters
    ----------
    findings : iterable of Finding
        Those without a bound are passed over.
    operations : mapping
        Operation of each case id.
    before : mapping, optional
        What earlier findings gave.

    Examples
    --------
    >>> found = Finding("AFF-040", True, "scale: near", "a", observed=1.0, bound=4.0)
    >>> found_ratios = largest([found], {"a": "affine_parameters"})
    >>> [(b.name, r.ratio) for b, r in found_ratios.items()]
    [('scale', 0.25)]
    """
    made = dict(before or {})
    for finding in findings:
        if finding.observed is None or not finding.bound:
            continue
        name = finding.message.partition(":")[0]
        bound = Bound(finding.requirement, operations[finding.case], name)
        old = made.get(bound, Largest(-1.0, "", 0))
        ratio = finding.observed / finding.bound
        best = (ratio, finding.case) if ratio > old.ratio else (old.ratio, old.case)
        made[bound] = Largest(*best, old.cases + 1)
    return made


def loose(ratios: Mapping[Bound, Largest], *, below: float = 1e-3) -> list[Bound]:
    """Return the bounds that were never reached to that fraction.

    Examples
    --------
    >>> bound = Bound("HES-070", "factor", "factor")
    >>> loose({bound: Largest(0.5, "a", 1)}), loose({bound: Largest(1e-4, "a", 1)}) == [bound]
    ([], True)
    """
    return [bound for bound, found in ratios.items() if found.ratio < below]
