"""Finds the reports of one target in two files, and says what two runs did not ask alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantcheck.diff.compare import Comparison, Report, asked, compare
from quantcheck.errors import ReportError
from quantcheck.judge.verdict import Verdict

Document = Mapping[str, Any]
SHOWN = 8  # ids in a note


@dataclass(frozen=True)
class Diff:
    """All comparisons of two files.

    Attributes
    ----------
    old, new : mapping
        The documents.
    comparisons : tuple of Comparison
        One per target that both have, in the order of the newer file.
    only_old, only_new : tuple of str
        Targets that one file has alone.
    """

    old: Document
    new: Document
    comparisons: tuple[Comparison, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 if anything got worse, else 0."""
        return int(any(each.got_worse for each in self.comparisons))


def diff(old: Document, new: Document) -> Diff:
    """Compare two documents, target by target.

    Targets are matched by what was asked for (`keras:numpy`), and others by name and backend. The
    only targets of two files are compared in any case.

    Raises
    ------
    ReportError
        A file has one target twice, the files have no target in common, or the reports of all
        targets have no case in common.
    """
    pairs = _pairs(old["reports"], new["reports"])
    if not pairs:
        raise ReportError("reports with a target in common", f"{_specs(old)} and {_specs(new)}")
    made = tuple(compare(a, b, notes(old["run"], a, new["run"], b)) for a, b in pairs)
    if not any(each.common or each.ended for each in made):
        raise ReportError("reports with a case in common", f"none for {_specs(new)}")
    matched = [[id(pair[side]) for pair in pairs] for side in (0, 1)]
    return Diff(
        old,
        new,
        made,
        tuple(r["target"]["spec"] for r in old["reports"] if id(r) not in matched[0]),
        tuple(r["target"]["spec"] for r in new["reports"] if id(r) not in matched[1]),
    )


def _specs(document: Document) -> str:
    return ", ".join(made["target"]["spec"] for made in document["reports"]) or "no target"


def _pairs(olds: Sequence[Report], news: Sequence[Report]) -> list[tuple[Report, Report]]:
    """Return the reports of each target, in the order of the newer file."""
    for reports in (olds, news):
        for spec, number in Counter(map(_spec, reports)).items():
            if number > 1:
                raise ReportError("one report of each target", f"{number} of {spec}")
    found: dict[int, Report] = {}
    for name_of in (_spec, _named):
        before = _by_name([a for a in olds if all(a is not b for b in found.values())], name_of)
        after = _by_name([b for b in news if id(b) not in found], name_of)
        found |= {id(b): before[name] for name, b in after.items() if name in before}
    if not found and len(olds) == len(news) == 1:
        found[id(news[0])] = olds[0]
    return [(found[id(b)], b) for b in news if id(b) in found]


def _spec(made: Report) -> str:
    return str(made["target"]["spec"])


def _named(made: Report) -> str:
    """Return name and backend; of a target that did not start, what was asked for."""
    target = made["target"]
    return f"{target['name']} on {target['backend']}" if target["name"] else target["spec"]


def _by_name(reports: Sequence[Report], name_of: Callable[[Report], str]) -> dict[str, Report]:
    """Return the reports whose name no other one has."""
    number = Counter(map(name_of, reports))
    return {name_of(made): made for made in reports if number[name_of(made)] == 1}


# What the two runs did not ask alike


def notes(
    before: Mapping[str, Any], old: Report, after: Mapping[str, Any], new: Report
) -> Iterator[str]:
    """Yield what limits the comparison of two reports; `before` and `after` are their runs."""
    if old["target"]["spec"] != new["target"]["spec"]:
        yield f"other targets: {old['target']['spec']} and {new['target']['spec']}"
    if before["specification"] != after["specification"]:
        yield f"another SPEC.md: {_reworded(old, new)}"
    if before["corpus"] != after["corpus"]:
        yield "other vectors: one of the same name may ask something else"
    if before["sections"] != after["sections"]:
        sections = (", ".join(run["sections"]) for run in (before, after))
        yield "other sections: {}; and {}".format(*sections)
    names = [asked(made).keys() for made in (old, new)]
    if names[0] != names[1]:
        counts = len(names[0] & names[1]), len(names[0] - names[1]), len(names[1] - names[0])
        yield "other cases: {} in both, {} in the older alone, {} in the newer alone".format(
            *counts
        )
    for side, made in (("older", old), ("newer", new)):
        if not made["complete"]:
            yield f"the {side} is not complete: {made['asked']} of {made['selected']} cases"
    for fact, told in (("choices", "other choices"), ("precision", "another precision")):
        if old["target"][fact] != new["target"][fact]:
            yield f"{told} declared: what the target is held to is not the same"


def _reworded(old: Report, new: Report) -> str:
    """Name the requirements of both reports whose words differ."""
    told = [
        {r["requirement"]["id"]: r["requirement"]["paragraph"] for r in made["requirements"]}
        for made in (old, new)
    ]
    ids = [id_ for id_, text in told[1].items() if told[0].get(id_, text) != text]
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    named = f"{', '.join(ids[:SHOWN])}{more} have other words" if ids else "no requirement differs"
    return f"{named} of those in both"


def verdicts(made: Report) -> dict[str, int]:
    """Count the verdicts of a report, without `not covered`."""
    from quantcheck.report.document import counts

    found = counts(made["requirements"])
    found.pop(str(Verdict.NOT_COVERED), None)
    return found
