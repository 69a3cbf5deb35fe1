"""SPEC.md's tables of detection limits are those of the record, and say what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantcheck.run.selftest.large.command import read
from quantcheck.run.selftest.large.limits import limits_by_group, limits_of_all_kinds
from quantcheck.run.selftest.large.problems import DRAWS
from quantcheck.run.selftest.large.record import (
    ALWAYS_FOUND,
    Record,
    alarms,
    missed_deviations,
    unreached_bounds,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return read(ROOT / "conformance" / "large.json")


def test_tables(records: list[Record]) -> None:
    _, _, section = (ROOT / "SPEC.md").read_text("utf-8").partition("#### Detection limits")
    section, _, _ = section.partition("\n#### ")
    tables = [part.splitlines() for part in section.split("\n\n") if part.startswith("| n_in")]
    assert tables == [limits_of_all_kinds(records), limits_by_group(records)]


def test_right_answers_pass_and_reach_every_bound(records: list[Record]) -> None:
    assert alarms(records) == unreached_bounds(records) == missed_deviations(records) == []
    largest = max(max(own["reached"].values()) for r in records for own in r["right"].values())
    assert 0.05 < largest < 1


def test_what_is_weak(records: list[Record]) -> None:
    """Right answers alike, with a factor in single precision at condition 10⁶ alone."""
    for record in records:
        single, double = (set(own["verdicts"].values()) for own in record["right"].values())
        assert double == {"passed"}
        later_groups = record["condition"] == 1e6 and record["group_size"] != -1
        from_columns = {"rotated": 0, "mean": 512, "scaled": float("inf")}[record["kind"]]
        weak = later_groups and record["n_in"] >= from_columns
        assert single == {"weak" if weak else "passed"}, record


def test_what_a_certificate_that_is_not_weak_finds(records: list[Record]) -> None:
    """Where right answers pass, each draw of what is always found is; of scales, nine of ten."""
    for record in records:
        for factor, own in enumerate(record["right"].values()):
            if "passed" in own["verdicts"].values() and record["n_in"] > 128:
                for name in ALWAYS_FOUND:
                    draws = record["wrong"].get(name, [DRAWS, DRAWS])[factor]
                    assert draws >= DRAWS - 1, (record, name)
                assert record["wrong"]["one scale off by 0.001"][factor] >= DRAWS - 1, record
