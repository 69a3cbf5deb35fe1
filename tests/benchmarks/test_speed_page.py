"""reference/SPEED.md: the rows of the speed table, all of them, with their limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.benchmarks.speed.row import MET, MISSED
from tests.benchmarks.speed.rows import all_rows

PAGE = Path(__file__).parents[2] / "reference" / "SPEED.md"
LINES = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|(.*)\|$", PAGE.read_text("utf-8"), re.MULTILINE)


def test_every_row_is_there() -> None:
    assert sorted(name for name, _, _ in LINES) == sorted(row.name for row in all_rows())


@pytest.mark.parametrize(("name", "limit", "figures"), LINES, ids=[name for name, _, _ in LINES])
def test_limit_and_verdict(name: str, limit: str, figures: str) -> None:
    """Figures in bold are those that miss the command's limit."""
    (row,) = (row for row in all_rows() if row.name == name)
    assert limit == str(row.limit)
    last = [cell.strip() for cell in figures.split("|") if cell.strip()][-1]
    verdict = row.limit.verdict(float(last.strip("*").removesuffix(" s")))
    assert verdict == (MISSED if last.startswith("**") else MET)
