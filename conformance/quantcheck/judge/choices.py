"""Choices of SPEC.md: judged where the target declares them, else shown as differences.

A requirement with source `choice` is ours alone: neither the documentation of a target nor the
algorithm nor arithmetic asks for it. A target names the choices that it follows in its handshake.
[VER-110]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from quantcheck.errors import TargetProtocolError
from quantcheck.judge.verdict import Judgement, Verdict
from quantcheck.spec.requirements import Requirement
from quantcheck.spec.sections import SECTIONS

ALL = "all"  # in a handshake: every choice that there is
REASON = "a choice of SPEC.md that the target does not declare"


def undeclared(requirements: Mapping[str, Requirement], declared: Iterable[str]) -> frozenset[str]:
    """Return the ids of the choices that a target does not declare.

    Parameters
    ----------
    requirements : mapping
        Requirements of SPEC.md by id.
    declared : iterable of str
        `choices` of the handshake: ids of requirements, or "all".

    Raises
    ------
    TargetProtocolError
        A declared name is no choice. The message names it.

    Examples
    --------
    >>> made = {
    ...     "CAL-040": Requirement("CAL-040", "exact", "core", "choice", "Starts MUST."),
    ...     "CAL-010": Requirement("CAL-010", "exact", "core", "documented", "Shape MUST."),
    ... }
    >>> sorted(undeclared(made, [])), sorted(undeclared(made, ["all"]))
    (['CAL-040'], [])
    >>> undeclared(made, ["CAL-010"])
    Traceback (most recent call last):
    quantcheck.errors.TargetProtocolError: expected choices among all, CAL-040, got 'CAL-010', \
whose source is documented
    """
    known = {r.id for r in requirements.values() if r.chosen and r.section in SECTIONS}
    names = set(declared)
    for name in sorted(names - known - {ALL}):
        if name in requirements:
            got = f"{name!r}, whose source is {requirements[name].source}"
        else:
            got = f"{name!r}, which SPEC.md does not have"
        raise TargetProtocolError(f"choices among {', '.join([ALL, *sorted(known)])}", got)
    return frozenset() if ALL in names else frozenset(known - names)


def as_differences(judgements: Sequence[Judgement], undeclared: frozenset[str]) -> list[Judgement]:
    """Turn failures of choices that a target does not declare into differences.

    An `error` is a difference too where every requirement of the case is such a choice: nobody
    asked the target to do what it could not. Elsewhere it says nothing about the choice.

    Examples
    --------
    >>> failed = Judgement("CAL-040", "cal-windows-fit", Verdict.FAIL, "windows differ")
    >>> (made,) = as_differences([failed], frozenset({"CAL-040"}))
    >>> made.verdict.value, made.message
    ('difference', 'windows differ')
    """
    alone = all(j.requirement in undeclared for j in judgements)
    instead = {
        Verdict.FAIL: Verdict.DIFFERENCE,
        Verdict.ERROR: Verdict.DIFFERENCE if alone else Verdict.NOT_JUDGED,
    }
    return [
        replace(j, verdict=instead[j.verdict], reason=REASON)
        if j.requirement in undeclared and j.verdict in instead
        else j
        for j in judgements
    ]
