"""What a report holds: one part per target, and what the whole run was made of.  [VER-050]"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from quantcheck.report.looks import BLAME, FAILED, VERDICTS

FORMAT = 2
SCHEMA = Path(__file__).resolve().parents[1] / "report.schema.json"
MEANINGS = {
    0: "every requirement passes, or deviates as known",
    1: "a requirement fails, or a listed deviation does not hold any more",
    2: "usage",
    3: "the target broke",
    4: "the suite could not prove itself",
    130: "stopped; this is what was done",
}


def empty(spec: str, exit_code: int, aborted: dict[str, str] | None) -> dict[str, Any]:
    """Make the report of a run that never came to a verdict."""
    target = {"spec": spec, "name": "", "version": "", "backend": "", "precision": ""}
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
        As `quantcheck.run.results.report` makes them, in the order of the command line.
    run : mapping
        Versions, hashes and times, as `quantcheck.report.provenance.of_run` makes them.
    not_run : iterable of str
        Targets that an interruption kept from being asked.
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
    """Count the verdicts of rows, in the order of `VERDICTS`, those that do not occur left out.

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
    """Count the cases of a requirement that failed, broke or deviate as known, and all of them.

    Examples
    --------
    >>> failed_of({"counts": {"pass": 3, "fail": 1, "known deviation": 2}})
    (3, 6)
    """
    each: Mapping[str, int] = row["counts"]
    return sum(each.get(name, 0) for name in FAILED), sum(each.values())


def by_id(reports: Iterable[Mapping[str, Any]]) -> dict[str, dict[int, Mapping[str, Any]]]:
    """Turn reports into rows of a matrix: requirement, then number of the report, to its row.

    In the order of SPEC.md; rows that no target has a case for are left out.

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
    """Give each requirement the worst verdict that it has on any target.

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
    """Give the SHA-256 of a file's bytes, None where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
