"""Updates a deviation file after a run: its causes are kept, their cases are replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantcheck.judge.summary import CaseResult
from quantcheck.judge.verdict import Verdict
from quantcheck.wire.protocol import Handshake

UNEXPLAINED = "to be explained"
Key = tuple[str, str, str, str]  # requirement, verdict, reason, link


@dataclass
class _Cause:
    """One reason why a requirement is not met, with the cases of each backend."""

    id: str
    cases: dict[str, set[str]] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)


def rewrite(
    handshake: Handshake,
    results: Iterable[CaseResult],
    reproductions: Mapping[str, Sequence[str]],
    previous: Mapping[str, Any] | None = None,
    reasons: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the deviation file of this run's failures, with the reasons of earlier files.

    Parameters
    ----------
    handshake : Handshake
        Handshake of the target; entries of its other backends stay unchanged.
    results : iterable of CaseResult
        Results of this run. Entries of cases that it did not ask stay unchanged.
    reproductions : mapping
        Lines that show the deviation by case id, for entries without such lines.
    previous : mapping, optional
        The file before this run.
    reasons : mapping, optional
        A file of another version. A failure without a reason in `previous` gets the reason that the
        same case has there, on this backend or on another one. Such a reason is a proposal, which
        an editor has to check.

    Returns
    -------
    dict
        A deviation file. A failure without a known reason gets the reason `UNEXPLAINED`.
    """
    backend = handshake.backend
    results = list(results)
    causes = _read(previous or {"deviations": []})
    before = _by_case(causes, backend)
    elsewhere = _read(reasons or {"deviations": []})
    proposed = {
        **_by_case(causes),
        **_by_case(elsewhere),
        **_by_case(elsewhere, backend),
    }
    ids = {key: cause.id for key, cause in {**elsewhere, **causes}.items()}
    asked = {result.case for result in results}
    for cause in causes.values():
        cause.cases.setdefault(backend, set()).difference_update(asked)
    for result in results:
        for j in result.judgements:
            if j.stale or j.verdict not in (Verdict.FAIL, Verdict.KNOWN, Verdict.ERROR):
                continue
            kind = Verdict.FAIL if j.verdict == Verdict.KNOWN else j.verdict
            new = (j.requirement, kind.value, UNEXPLAINED, "")
            known = before.get((j.requirement, j.case), new)
            key = known if j.verdict == Verdict.KNOWN or known[1] == kind.value else new
            other = proposed.get((j.requirement, j.case), new)
            if key == new and other[1] == kind.value:
                key = other
            identity = ids.get(key, f"new-{key[0].lower()}-{key[1]}")
            made = causes.setdefault(key, _Cause(identity))
            made.cases.setdefault(backend, set()).add(j.case)
    entries = [e for key, cause in causes.items() for e in _entries(key, cause, reproductions)]
    entries.sort(key=lambda entry: str(entry["id"]))
    return {"target": handshake.name, "version": handshake.version, "deviations": entries}


def _by_case(causes: Mapping[Key, _Cause], backend: str = "") -> dict[tuple[str, str], Key]:
    """Find the cause of a case, on this backend or on any other; jax comes before numpy."""
    names = {name for cause in causes.values() for name in cause.cases}
    return {
        (key[0], case): key
        for name in sorted(names, reverse=True)
        if name == (backend or name)
        for key, cause in causes.items()
        for case in cause.cases.get(name, ())
    }


def _read(previous: Mapping[str, Any]) -> dict[Key, _Cause]:
    """Group the entries of a file by cause."""
    causes: dict[Key, _Cause] = {}
    for entry in previous["deviations"]:
        key = (entry["requirement"], entry.get("verdict", "fail"), entry["reason"], entry["link"])
        suffix = "-" + "-".join(entry["backends"])
        cause = causes.setdefault(key, _Cause(entry["id"].removesuffix(suffix)))
        for backend in entry["backends"]:
            cause.cases.setdefault(backend, set()).update(entry["cases"])
            cause.lines.setdefault(backend, entry["reproduction"])
    return causes


def _entries(
    key: Key, cause: _Cause, reproductions: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Make one entry for all backends that fail the same cases."""
    requirement, kind, reason, link = key
    groups: dict[frozenset[str], list[str]] = {}
    for backend, cases in sorted(cause.cases.items()):
        if cases:
            groups.setdefault(frozenset(cases), []).append(backend)
    entries = []
    for failed, backends in groups.items():
        lines = cause.lines.get(backends[0]) or reproductions.get(min(failed), ())
        entries.append(
            {
                "id": cause.id if len(groups) == 1 else f"{cause.id}-{'-'.join(backends)}",
                "requirement": requirement,
                "backends": backends,
                "cases": sorted(failed),
                "verdict": kind,
                "reason": reason,
                "link": link,
                "reproduction": list(lines),
            }
        )
    return entries
