"""The report of a run: one part per target, and the provenance of the run.  [VER-100]"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from quantcheck.judge.verdict import Verdict
from quantcheck.report.looks import BLAME, FAILED, VERDICTS

FORMAT = 3
SCHEMA = Path(__file__).resolve().parents[1] / "report.schema.json"
MEANINGS = {
    0: "no requirement fails that the target is held to, but for known deviations",
    1: "a requirement fails, an answer is unstable, or a known deviation no longer occurs",
    2: "usage",
    3: "the target broke",
    4: "the suite failed its own checks",
    130: "stopped; this is the report of the finished part",
}


def empty(spec: str, exit_code: int, aborted: dict[str, str] | None) -> dict[str, Any]:
    """Make the report of a run without verdicts."""
    target = {
        "spec": spec,
        "name": "",
        "version": "",
        "backend": "",
        "precision": "",
        "choices": [],
        "rules": [],
        "calibration_order": "",
        "compiles": False,
    }
    return {
        "format": FORMAT,
        "target": {**target, "versions": {}, "stderr": ""},
        "exit_code": exit_code,
        "complete": False,
        "aborted": aborted,
        "asked": 0,
        "selected": 0,
        "corpus": 0,
        "canaries": [],
        "examples": None,
        "deviations": None,
        "differences": [],
        "requirements": [],
        "cases": [],
    }


def merged(
    reports: Sequence[Mapping[str, Any]], *, run: Mapping[str, Any], not_run: Iterable[str] = ()
) -> dict[str, Any]:
    """Make one document of the reports of several targets.

    Parameters
    ----------
    reports : sequence of mapping
        Reports from `quantcheck.run.results.report`, in the order of the command line.
    run : mapping
        Versions, hashes and times from `quantcheck.report.provenance.of_run`.
    not_run : iterable of str
        Targets that were not asked because of an interruption.
    """
    return {
        "format": FORMAT,
        "exit_code": max((int(made["exit_code"]) for made in reports), default=130),
        "run": dict(run),
        "not_run": list(not_run),
        "reports": list(reports),
    }


@cache
def schema() -> dict[str, Any]:
    """Read the JSON Schema of reports."""
    read: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return read


def counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count the verdicts of rows, in the order of `VERDICTS`, without those that do not occur.

    Examples
    --------
    >>> counts([{"verdict": "fail"}, {"verdict": "pass"}, {"verdict": "fail"}])
    {'pass': 1, 'fail': 2}
    """
    found: dict[str, int] = {}
    for row in rows:
        found[row["verdict"]] = found.get(row["verdict"], 0) + 1
    return {str(name): found[name] for name in VERDICTS if name in found}


def failed_of(row: Mapping[str, Any]) -> tuple[int, int]:
    """Count a requirement's cases that fail, are unstable or known deviations, or end in an error.

    Examples
    --------
    >>> failed_of({"counts": {"pass": 3, "fail": 1, "known deviation": 2}})
    (3, 6)
    """
    each: Mapping[str, int] = row["counts"]
    return sum(each.get(name, 0) for name in FAILED), sum(each.values())


def differing_of(row: Mapping[str, Any]) -> str:
    """Say in how many of a requirement's cases the target differs from a choice; "" for none.

    Examples
    --------
    >>> differing_of({"counts": {"pass": 3, "difference": 2}})
    '2 of 5'
    """
    each: Mapping[str, int] = row["counts"]
    found = each.get(Verdict.DIFFERENCE, 0)
    return f"{found} of {sum(each.values())}" if found else ""


def by_id(reports: Iterable[Mapping[str, Any]]) -> dict[str, dict[int, Mapping[str, Any]]]:
    """Return the rows of each requirement by the number of the report, for a matrix.

    Requirements are in the order of SPEC.md. Those without a case for any target are left out.

    Examples
    --------
    >>> row = {"requirement": {"id": "RND-010"}, "verdict": "pass"}
    >>> list(by_id([{"requirements": []}, {"requirements": [row]}])["RND-010"])
    [1]
    """
    table: dict[str, dict[int, Mapping[str, Any]]] = {}
    for number, made in enumerate(reports):
        for row in made["requirements"]:
            table.setdefault(row["requirement"]["id"], {})[number] = row
    return {
        id_: rows
        for id_, rows in table.items()
        if any(row["verdict"] != "not covered" for row in rows.values())
    }


def worst_verdicts(reports: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the worst verdict of each requirement on any target.

    Examples
    --------
    >>> rows = [[{"requirement": {"id": "A-010"}, "verdict": v}] for v in ("pass", "fail")]
    >>> worst_verdicts([{"requirements": each} for each in rows])
    {'A-010': 'fail'}
    """
    return {
        id_: min((row["verdict"] for row in rows.values()), key=BLAME.index)
        for id_, rows in by_id(reports).items()
    }


def sha256(path: Path) -> str | None:
    """Return the SHA-256 of a file's bytes, None if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
