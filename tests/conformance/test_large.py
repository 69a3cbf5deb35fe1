"""The certificate in large matrices: a small part of `quantcheck --self-test --large`."""

from __future__ import annotations

from typing import Any

import pytest

from quantcheck.run.selftest.large.command import (
    ALWAYS_FOUND,
    main,
    missed_deviations,
    rows_of_problem,
    unreached_bounds,
)
from quantcheck.run.selftest.large.problems import DRAWS, Large
from quantcheck.run.selftest.large.wrong import deviations, find

SMALL = (Large("rotated", 160, 1e1, 32), Large("mean", 160, 1e3, 32), Large("scaled", 160, 1e6, 32))
LARGER = (Large("rotated", 512, 1e3, 32), Large("mean", 512, 1e3, 32))


def checked(problems: tuple[Large, ...]) -> list[dict[str, Any]]:
    rows = [row for problem in problems for row in rows_of_problem(problem)]
    right = [row for row in rows if "implementation" in row]
    assert len({row["implementation"] for row in right}) >= 12
    assert [row for row in right if row["verdict"] == "failed"] == []
    for row in right:
        assert max(row["ratios"].values()) < 1, row
    found = {(row["deviation"], row["kind"]): row for row in rows if "deviation" in row}
    for (name, kind), row in found.items():
        if name in ALWAYS_FOUND:
            assert row["single"] == DRAWS, (name, kind)
        assert row["single"] <= row["double"], (name, kind)
    assert {name for name, _ in found} >= set(ALWAYS_FOUND)
    assert missed_deviations(rows) == []
    return rows


@pytest.mark.requirement("CERT-090", "CERT-110")
def test_passes_what_is_right_comes_near_to_its_bounds_and_finds_what_is_wrong() -> None:
    assert unreached_bounds(checked(SMALL)) == []


@pytest.mark.everything
@pytest.mark.requirement("CERT-090", "CERT-110")
def test_does_so_in_larger_matrices() -> None:
    assert unreached_bounds(checked(LARGER)) == []


def test_live_weights_are_those_of_the_block_where_groups_start_with_it() -> None:
    (live,) = (one for one in deviations() if one.base == "live")
    assert find(Large("rotated", 256, 1e3, 128), live) is None
    assert find(Large("rotated", 256, 1e3, 64), live) is not None


@pytest.mark.parametrize("wrong", [["--sizes", "0"], ["--kinds", "odd"], ["--conditions", "1"]])
def test_refuses_what_it_does_not_know(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert "expected kinds among rotated, scaled, mean" in capsys.readouterr().err
