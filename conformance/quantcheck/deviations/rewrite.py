"""Writes a deviation file after a run: entries that occurred stay, and causes are proposed.

For failures that no entry covers, every known cause is tried. What no cause predicts is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantcheck.deviations.causes import CAUSES
from quantcheck.deviations.entries import Deviation, entry_of
from quantcheck.deviations.matching import FAILURES, Matching, Question
from quantcheck.deviations.propose import rules_of
from quantcheck.judge.verdict import Judgement
from quantcheck.wire.protocol import Handshake

Judged = tuple[Sequence[Question], Sequence[Judgement]]


@dataclass(frozen=True)
class Rewritten:
    """A deviation file, and the failures that no cause predicts.

    Attributes
    ----------
    file : dict
    unexplained : tuple of Judgement
    """

    file: dict[str, Any]
    unexplained: tuple[Judgement, ...] = ()


@dataclass
class _Proposal:
    """A cause that predicts failures of this run."""

    entry: Deviation
    requirements: set[str] = field(default_factory=set)
    example: Judgement | None = None


def rewrite(
    handshake: Handshake,
    judged: Iterable[Judged],
    previous: Mapping[str, Any] | None = None,
    reasons: Mapping[str, Any] | None = None,
    *,
    stale: Iterable[str] = (),
    recorded: Mapping[str, Any] | None = None,
    reproduction: Callable[[Judgement], Sequence[str]] = lambda _: (),
) -> Rewritten:
    """Return the deviation file of this run.

    Parameters
    ----------
    handshake : Handshake
        Handshake of the target; entries of its other backends stay unchanged.
    judged : iterable of (questions, judgements)
        The questions of cases and samples that failed, with their answers.
    previous : mapping, optional
        The file before this run.
    reasons : mapping, optional
        A file of another version. An entry of it whose cause predicts failures of this run is
        proposed with its reason, which an editor has to check.
    stale : iterable of str
        Ids of entries that no longer occur; they lose this backend.
    recorded : mapping, optional
        Versions and processor of this run.
    reproduction : callable
        Returns lines that show a failure.
    """
    backend, gone = handshake.backend, set(stale)
    kept = [
        {
            **entry,
            "backends": [b for b in entry["backends"] if b != backend or entry["id"] not in gone],
        }
        for entry in (previous or {"deviations": []})["deviations"]
    ]
    kept = [entry for entry in kept if entry["backends"]]
    unexplained = [each for each in judged if _failed(each[1])]
    proposals = _proposals(handshake, kept, unexplained, (reasons or {}).get("deviations", []))
    record = dict(recorded or {"versions": {}, "processor": []})
    for proposal in proposals:
        lines = list(reproduction(proposal.example)) if proposal.example else []
        _merge(kept, _as_json(proposal, backend, lines, record), backend)
    kept.sort(key=lambda entry: str(entry["id"]))
    file = {"target": handshake.name, "version": handshake.version, "deviations": kept}
    return Rewritten(file, _rest(handshake, unexplained, kept))


def _failed(judgements: Sequence[Judgement]) -> list[Judgement]:
    return [j for j in judgements if j.verdict in FAILURES and not j.stale]


def _proposals(
    handshake: Handshake,
    kept: Sequence[Mapping[str, Any]],
    failing: Sequence[Judged],
    others: Sequence[Mapping[str, Any]],
) -> list[_Proposal]:
    """Return the causes that predict failures which no entry covers."""
    said = {_key(e["cause"]): e for e in [*kept, *others]}
    own = [e["cause"]["parameters"]["rule"] for e in kept
           if e["cause"]["name"] == "rule" and handshake.backend in e["backends"]]  # fmt: skip
    near = [e["cause"]["parameters"]["rule"] for e in others if e["cause"]["name"] == "rule"]
    questions = [question for asked, _ in failing for question in asked]
    start = [*handshake.rules, *(own or near)]
    chosen = rules_of(questions, start, handshake.unit_roundoff, handshake.factor_roundoff)
    chosen = [name for name in chosen if name not in handshake.rules]
    tried = [{"name": "rule", "parameters": {"rule": name}} for name in chosen]
    for cause in CAUSES.values():
        if cause.name != "rule":
            tried += [{"name": cause.name, "parameters": dict(p)} for p in cause.proposals]
    tried += [
        e["cause"] for e in others if e["cause"]["name"] != "rule" and e["cause"] not in tried
    ]
    candidates = [_candidate(cause, said.get(_key(cause)), n) for n, cause in enumerate(tried)]
    matching = Matching(
        candidates,
        handshake.unit_roundoff,
        handshake.factor_roundoff,
        order=handshake.calibration_order,
        declared=handshake.rules,
    )
    found: dict[str, _Proposal] = {}
    for asked, judgements in failing:
        for entry in (e for question in asked for e in matching.explaining(question)):
            proposal = found.setdefault(entry.id, _Proposal(entry))
            proposal.requirements |= {j.requirement for j in _failed(judgements)}
            proposal.example = proposal.example or _failed(judgements)[0]
    return list(found.values())


def _key(cause: Mapping[str, Any]) -> str:
    return f"{cause['name']} {sorted(cause.get('parameters', {}).items())}"


def _candidate(cause: Mapping[str, Any], said: Mapping[str, Any] | None, number: int) -> Deviation:
    parameters = cause.get("parameters", {})
    known = CAUSES[cause["name"]]
    name = "-".join([cause["name"], *(str(v) for v in parameters.values())]).lower()
    safe = "".join(c if c.isalnum() else "-" for c in name).strip("-")[:60]
    return Deviation(
        id=said["id"] if said else f"new-{safe}-{number}",
        requirements=(),
        backends=(),
        cause=known,
        parameters=parameters,
        reason=said["reason"] if said else f"To be explained. {_sentence(known.predicts)}",
        link=said["link"] if said else "",
        reproduction=tuple(said["reproduction"]) if said else (),
    )


def _sentence(predicate: Callable[..., bool]) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join((predicate.__doc__ or "").partition("\n\n")[0].split())


def _as_json(
    proposal: _Proposal, backend: str, lines: list[str], record: dict[str, Any]
) -> dict[str, Any]:
    entry = proposal.entry
    return {
        "id": entry.id,
        "requirements": sorted(proposal.requirements),
        "backends": [backend],
        "cause": {"name": entry.cause.name, "parameters": dict(entry.parameters)},
        "reason": entry.reason,
        "link": entry.link,
        "reproduction": list(entry.reproduction) or lines,
        "recorded": record,
    }


def _merge(kept: list[dict[str, Any]], made: dict[str, Any], backend: str) -> None:
    """Add an entry, or its requirements and its backend to the entry of the same cause."""
    for entry in kept:
        if _key(entry["cause"]) == _key(made["cause"]):
            entry["requirements"] = sorted({*entry["requirements"], *made["requirements"]})
            entry["backends"] = sorted({*entry["backends"], backend})
            return
    kept.append(made)


def _rest(
    handshake: Handshake, failing: Sequence[Judged], kept: Sequence[Mapping[str, Any]]
) -> tuple[Judgement, ...]:
    """Return the failures that the written file does not cover."""
    if not failing:
        return ()
    entries = [entry_of(e) for e in kept if handshake.backend in e["backends"]]
    matching = Matching(
        entries,
        handshake.unit_roundoff,
        handshake.factor_roundoff,
        order=handshake.calibration_order,
        declared=handshake.rules,
    )
    left = []
    for asked, judgements in failing:
        left += [j for j in matching.cover(asked, judgements) if j.verdict in FAILURES]
    return tuple(left)
