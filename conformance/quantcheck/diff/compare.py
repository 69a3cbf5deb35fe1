"""Compares two reports of a target, case by case, where both of them speak.

A verdict is *worse* than another if it is later in `ORDER`:

    pass or difference, known deviation, unsupported, unstable, fail, error

It is the order of SPEC.md, section 12, from the best to the worst verdict, but for two. A target
that has lost an operation is worse than one with a known deviation, and one that does not have it
is better than one that answers wrongly. A difference is no failure (VER-110), so it is neither
worse nor better than a pass. `not judged` and `not covered` have no place: they say nothing about
the requirement.

A requirement got worse if any case got worse in which both reports judge it, and better if a case
got better and none got worse. Cases are the same if they have one name, and generated ones if they
were drawn alike. An entry of a deviation file that no longer occurs says nothing about the target,
and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from quantcheck.judge.verdict import Verdict

Report = Mapping[str, Any]
Judged = Mapping[str, Any]

ORDER = (
    (Verdict.PASS, Verdict.DIFFERENCE),
    (Verdict.KNOWN,),
    (Verdict.UNSUPPORTED,),
    (Verdict.UNSTABLE,),
    (Verdict.FAIL,),
    (Verdict.ERROR,),
)
"""Verdicts from best to worst, for what got worse; of those in one place none is worse."""
RANK = {str(verdict): place for place, verdicts in enumerate(ORDER) for verdict in verdicts}
SILENT = (Verdict.NOT_JUDGED, Verdict.NOT_COVERED)


def is_worse(new: str, old: str) -> bool:
    """Tell whether a verdict is worse than another; see `ORDER`.

    Examples
    --------
    >>> is_worse("known deviation", "pass"), is_worse("unsupported", "fail")
    (True, False)
    """
    return RANK[new] > RANK[old]


@dataclass(frozen=True)
class Change:
    """A requirement whose verdict changed in at least one case.

    Attributes
    ----------
    requirement : mapping
        As in the newer report: id, text, level, source, …
    old, new : str
        Its verdict in each report (SPEC.md, section 12) over the cases in which both judge it.
    worse, better, other, common : int
        Numbers of these cases: those that got worse or better, or changed otherwise, and all.
    before, after : mapping
        The judgements of the simplest case that got worse; if none did, of one that got better, or
        changed otherwise.
    """

    requirement: Mapping[str, Any]
    old: str
    new: str
    worse: int
    better: int
    other: int
    common: int
    before: Judged
    after: Judged

    @property
    def got_worse(self) -> bool:
        """Whether any case got worse."""
        return self.worse > 0

    @property
    def telling(self) -> Judged:
        """The judgement that says what is or was wrong."""
        now = self.got_worse or (self.after["verdict"] == Verdict.DIFFERENCE and not self.better)
        return self.after if now else self.before


@dataclass(frozen=True)
class Deviation:
    """A known deviation that occurs in one of the reports alone."""

    reason: str
    link: str
    requirements: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """What changed between two reports of a target.

    Attributes
    ----------
    old, new : mapping
        The reports.
    notes : tuple of str
        Why the reports can be compared only in part; empty if they asked the same.
    worse, better, other : tuple of Change
        Those that are neither: a pass became a difference, or a difference a pass.
    same : int
        Number of requirements without a change.
    only_old, only_new : tuple of str
        Ids of requirements that one of the reports judges alone.
    appeared, vanished : tuple of Deviation
    common : int
        Number of cases that both reports have.
    ended : str
        The error that ended the newer run early, if none ended the older one; else empty.
    """

    old: Report
    new: Report
    notes: tuple[str, ...]
    worse: tuple[Change, ...]
    better: tuple[Change, ...]
    other: tuple[Change, ...]
    same: int
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    appeared: tuple[Deviation, ...]
    vanished: tuple[Deviation, ...]
    common: int
    ended: str

    @property
    def got_worse(self) -> bool:
        """Whether anything got worse."""
        return bool(self.worse or self.ended)


def compare(old: Report, new: Report, notes: Iterable[str] = ()) -> Comparison:
    """Compare two reports of a target.

    Parameters
    ----------
    old, new : mapping
        Parts of documents, one per target, that `quantcheck.report.saved.read` returned.
    notes : iterable of str
        Reasons why they can be compared only in part.

    Examples
    --------
    >>> def made(verdict):
    ...     told = {"requirement": "RND-010", "verdict": verdict, "stale": False, "size": 1,
    ...             "reason": "", "link": ""}
    ...     return {"requirements": [{"requirement": {"id": "RND-010"}, "verdict": verdict}],
    ...             "cases": [{"case": "rnd-ties", "draws": "", "judgements": [told]}],
    ...             "aborted": None}
    >>> changed = compare(made("pass"), made("fail"))
    >>> [(change.old, change.new) for change in changed.worse], changed.got_worse
    ([('pass', 'fail')], True)
    """
    cases = asked(old), asked(new)
    common = cases[0].keys() & cases[1].keys()
    before, after = (_judged(each, common) for each in cases)
    changes = [
        found
        for row in new["requirements"]
        if (found := _change(row["requirement"], before, after)) is not None
    ]
    worse = sorted((c for c in changes if c.got_worse), key=lambda c: (-RANK[c.new], -c.worse))
    better = [c for c in changes if c.better and not c.got_worse]
    other = [c for c in changes if c.other and not c.got_worse and not c.better]
    spoken = [_spoken(made) for made in (old, new)]
    known = [_known(judged) for judged in (before, after)]
    appeared = (known[1][reason] for reason in known[1] if reason not in known[0])
    vanished = (known[0][reason] for reason in known[0] if reason not in known[1])
    ended = new["aborted"] if new["aborted"] and not old["aborted"] else None
    return Comparison(
        old,
        new,
        tuple(notes),
        tuple(worse),
        tuple(better),
        tuple(other),
        len(changes) - len(worse) - len(better) - len(other),
        tuple(id_ for id_ in spoken[0] if id_ not in spoken[1]),
        tuple(id_ for id_ in spoken[1] if id_ not in spoken[0]),
        tuple(appeared),
        tuple(vanished),
        len(common),
        f"{ended['kind']}: {ended['message']}" if ended else "",
    )


Cases = dict[tuple[str, str], Mapping[str, Any]]
OfCase = dict[tuple[str, str], Judged]


def asked(made: Report) -> Cases:
    """Return the cases that ask the target, by name and draw."""
    asks = (c for c in made["cases"] if not any(j["stale"] for j in c["judgements"]))
    return {(case["case"], case["draws"]): case for case in asks}


def _judged(cases: Cases, common: Iterable[tuple[str, str]]) -> dict[str, OfCase]:
    """Return the worst judgement of each common case, by requirement."""
    made: dict[str, OfCase] = {}
    for key in sorted(common):
        for judgement in cases[key]["judgements"]:
            if judgement["verdict"] in SILENT:
                continue
            of_case = made.setdefault(judgement["requirement"], {})
            kept = of_case.setdefault(key, judgement)
            if is_worse(judgement["verdict"], kept["verdict"]):
                of_case[key] = judgement
    return made


def _change(
    requirement: Mapping[str, Any], before: Mapping[str, OfCase], after: Mapping[str, OfCase]
) -> Change | None:
    """Return what changed in the cases of a requirement; None if not both reports have one."""
    old, new = (side.get(requirement["id"], {}) for side in (before, after))
    both = [key for key in new if key in old]
    if not both:
        return None
    worse = [key for key in both if is_worse(new[key]["verdict"], old[key]["verdict"])]
    better = [key for key in both if is_worse(old[key]["verdict"], new[key]["verdict"])]
    other = [
        key
        for key in both
        if new[key]["verdict"] != old[key]["verdict"] and key not in {*worse, *better}
    ]
    # The worst one with the smallest question: of the newer report, or of the older if better.
    telling = old if better and not worse else new
    shown = min(worse or better or other or both, key=lambda key: (_weight(telling[key]), key))
    return Change(
        requirement,
        _verdict(old[key] for key in both),
        _verdict(new[key] for key in both),
        len(worse),
        len(better),
        len(other),
        len(both),
        old[shown],
        new[shown],
    )


def _weight(judgement: Judged) -> tuple[int, int]:
    """Return a key that puts the worst verdict and then the smallest question first."""
    return -RANK[judgement["verdict"]], judgement["size"]


def _verdict(judgements: Iterable[Judged]) -> str:
    """Return the verdict of several cases, as a run gives it.  [VER-090]"""
    return str(min((Verdict(j["verdict"]) for j in judgements), key=lambda v: v.rank))


def _spoken(made: Report) -> list[str]:
    """Return the ids of the requirements that a report judges."""
    rows = made["requirements"]
    return [r["requirement"]["id"] for r in rows if r["verdict"] not in SILENT]


def _known(judged: Mapping[str, OfCase]) -> dict[str, Deviation]:
    """Return the known deviations that occur, by reason: links differ from release to release."""
    made: dict[str, Deviation] = {}
    for id_, of_case in judged.items():
        for judgement in of_case.values():
            if judgement["verdict"] == Verdict.KNOWN:
                reason, link = judgement["reason"], judgement["link"]
                found = made.setdefault(reason, Deviation(reason, link, ()))
                if id_ not in found.requirements:
                    made[reason] = replace(found, requirements=(*found.requirements, id_))
    return made
