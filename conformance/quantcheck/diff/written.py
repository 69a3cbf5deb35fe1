"""The differences of two reports as plain JSON, which `diff.schema.json` describes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from quantcheck.diff.compare import Change, Comparison
from quantcheck.diff.pairs import Diff, verdicts

FORMAT = 1
SCHEMA = Path(__file__).resolve().parent / "diff.schema.json"
FACTS = ("spec", "name", "version", "backend", "versions")


def to_json(made: Diff) -> dict[str, Any]:
    """Return all comparisons as plain JSON."""
    return {
        "format": FORMAT,
        "exit_code": made.exit_code,
        "old": {"run": made.old["run"], "only": list(made.only_old)},
        "new": {"run": made.new["run"], "only": list(made.only_new)},
        "targets": [_of_target(each) for each in made.comparisons],
    }


@cache
def schema() -> dict[str, Any]:
    """Read the JSON Schema of differences."""
    read: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return read


def _of_target(each: Comparison) -> dict[str, Any]:
    return {
        "old": _side(each.old),
        "new": _side(each.new),
        "notes": list(each.notes),
        "got_worse": each.got_worse,
        "ended": each.ended,
        "worse": [_change(change) for change in each.worse],
        "better": [_change(change) for change in each.better],
        "other": [_change(change) for change in each.other],
        "same": each.same,
        "only_old": list(each.only_old),
        "only_new": list(each.only_new),
        "appeared": [{**asdict(d), "requirements": list(d.requirements)} for d in each.appeared],
        "vanished": [{**asdict(d), "requirements": list(d.requirements)} for d in each.vanished],
        "common_cases": each.common,
    }


def _side(made: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: made["target"][name] for name in FACTS},
        "started": made["started"],
        "exit_code": made["exit_code"],
        "complete": made["complete"],
        "cases": made["asked"],
        "verdicts": verdicts(made),
    }


def _change(change: Change) -> dict[str, Any]:
    names = ("case", "message", "reason", "link")
    return {
        **{name: change.requirement[name] for name in ("id", "source", "level", "text")},
        "old": change.old,
        "new": change.new,
        "cases": {name: getattr(change, name) for name in ("worse", "better", "other", "common")},
        "example": {
            **{name: change.telling[name] for name in names},
            "old": change.before["verdict"],
            "new": change.after["verdict"],
        },
    }
