"""What the pages say of requirements and releases, taken from the reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantcheck.diff.compare import RANK, Comparison, compare
from quantcheck.diff.pairs import notes
from quantcheck.judge.verdict import Verdict
from quantcheck.report.document import by_id, counts, failed_of
from quantcheck.report.looks import FAILED, VERDICTS
from quantcheck.site.collect import Entry, Line

TOLD = (*FAILED, Verdict.DIFFERENCE)  # verdicts that need a reason
MAX_VECTOR = 30_000  # characters of an example on a page


@dataclass(frozen=True)
class Requirement:
    """A requirement, and its row in each report that has one.

    Attributes
    ----------
    told : mapping
        Id, text, level, source and the like, as in the newest report.
    rows : mapping
        By number of the entry.
    reworded : tuple of Entry
        Reports with other words.
    """

    told: Mapping[str, Any]
    rows: Mapping[int, Mapping[str, Any]]
    reworded: tuple[Entry, ...] = ()

    @property
    def id(self) -> str:
        """Its id, such as GPTQ-060."""
        return str(self.told["id"])

    @property
    def section(self) -> str:
        """The section of its id."""
        return self.id.partition("-")[0]

    def cell(self, number: int) -> dict[str, Any]:
        """Return verdict and numbers of cases in one report."""
        row = self.rows.get(number)
        if row is None:
            return {"verdict": str(Verdict.NOT_COVERED), "failed": 0, "total": 0}
        failed, total = failed_of(row)
        if row["verdict"] == Verdict.DIFFERENCE:
            failed = row["counts"].get(Verdict.DIFFERENCE, 0)
        return {"verdict": row["verdict"], "failed": failed, "total": total}


def requirements(entries: Sequence[Entry]) -> list[Requirement]:
    """Return the requirements that any report judges, by section, in the order of SPEC.md.

    The newest report decides about order and words.
    """
    order = sorted(range(len(entries)), key=lambda n: (entries[n].started, n), reverse=True)
    table = by_id([entries[n].made for n in order])
    made = []
    for by_place in table.values():
        rows = {order[place]: row for place, row in by_place.items()}
        told = by_place[min(by_place)]["requirement"]
        other = [
            entries[n]
            for n in sorted(rows)
            if rows[n]["requirement"]["paragraph"] != told["paragraph"]
        ]
        made.append(Requirement(told, rows, tuple(other)))
    sections = list(dict.fromkeys(each.section for each in made))
    return sorted(made, key=lambda each: sections.index(each.section))


# Why a requirement is broken


@dataclass
class Trouble:
    """One cause, or one message, that explains verdicts of several targets.

    Attributes
    ----------
    verdict, cause : str
        The verdict, and the reason of a known deviation, the name of a known mistake, or a message.
    numbers : list of int
        Numbers of the entries.
    links : dict of str to list of int
        Links with the entries that have them.
    judgement : mapping
        That of the simplest case.
    case : mapping
        That case, with its smallest failing example if it is a property.
    reproduction : list of str
        Lines that reproduce it.
    """

    verdict: str
    cause: str
    numbers: list[int] = field(default_factory=list)
    links: dict[str, list[int]] = field(default_factory=dict)
    judgement: Mapping[str, Any] = field(default_factory=dict)
    case: Mapping[str, Any] = field(default_factory=dict)
    reproduction: list[str] = field(default_factory=list)

    @property
    def vectors(self) -> list[str]:
        """The smallest failing example, unless it is too long for a page."""
        texts = list(self.case["vectors"])
        return texts if sum(map(len, texts)) <= MAX_VECTOR else []


Broken = Mapping[str, Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]]


def broken(entry: Entry) -> Broken:
    """Return the cases that need a reason, with their judgements, by requirement."""
    made: dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for case in entry.made["cases"]:
        for judgement in case["judgements"]:
            if judgement["verdict"] in TOLD:
                made.setdefault(judgement["requirement"], []).append((case, judgement))
    return made


def troubles(requirement: Requirement, found_in: Sequence[Broken]) -> list[Trouble]:
    """Return what explains the verdicts of a requirement, the worst first.

    Failures are told apart by the reason of the deviation or by the known mistake, and others are
    taken together.

    Parameters
    ----------
    requirement : Requirement
    found_in : sequence of mapping
        What `broken` returned for each entry.
    """
    found: dict[tuple[str, str], Trouble] = {}
    for number, row in sorted(requirement.rows.items()):
        for case, judgement in found_in[number].get(requirement.id, ()):
            cause = judgement["reason"] or judgement["name"]
            trouble = found.setdefault(
                (judgement["verdict"], cause), Trouble(judgement["verdict"], cause)
            )
            _add(trouble, number, case, judgement)
            worst = row["worst"]
            same = worst["verdict"] == judgement["verdict"] and cause == (
                worst["reason"] or worst["name"]
            )
            if same and not trouble.reproduction:
                trouble.reproduction = list(row.get("reproduction", []))
    return sorted(found.values(), key=lambda t: (-RANK[t.verdict], -len(t.numbers), t.cause))


def _add(
    trouble: Trouble, number: int, case: Mapping[str, Any], judgement: Mapping[str, Any]
) -> None:
    if number not in trouble.numbers:
        trouble.numbers.append(number)
    if judgement["link"]:
        numbers = trouble.links.setdefault(judgement["link"], [])
        if number not in numbers:
            numbers.append(number)
    if not trouble.judgement or _size(judgement) < _size(trouble.judgement):
        trouble.judgement, trouble.case = judgement, case


def _size(judgement: Mapping[str, Any]) -> tuple[int, str]:
    """Return a key that puts the smallest question first."""
    return judgement["size"], judgement["case"]


# Releases


@dataclass(frozen=True)
class Release:
    """A release in a line: its counts, and what changed since the release before.

    Attributes
    ----------
    number : int
        Number of the entry.
    entry : Entry
    counts : mapping
        Requirements by verdict, without `not covered`.
    changed : Comparison, optional
        None for the oldest release.
    """

    number: int
    entry: Entry
    counts: Mapping[str, int]
    changed: Comparison | None


def releases(line: Line, first: int) -> list[Release]:
    """Return the releases of a line, oldest first; `first` is the number of its first entry."""
    made: list[Release] = []
    for place, entry in enumerate(line.entries):
        changed = _compared(line.entries[place - 1], entry) if place else None
        made.append(Release(first + place, entry, judged(entry.made), changed))
    return made


def _compared(old: Entry, new: Entry) -> Comparison:
    return compare(old.made, new.made, notes(old.run, old.made, new.run, new.made))


def judged(made: Mapping[str, Any]) -> dict[str, int]:
    """Count the verdicts of a report, without `not covered`."""
    found = counts(made["requirements"])
    return {name: number for name, number in found.items() if name != Verdict.NOT_COVERED}


def occurring(found: Iterable[Requirement], entries: int) -> list[str]:
    """Return the verdicts that occur in a matrix, in the order in which they are listed."""
    seen = {each.cell(number)["verdict"] for each in found for number in range(entries)}
    return [str(verdict) for verdict in VERDICTS if verdict in seen]
