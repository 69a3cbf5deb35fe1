"""The certificate in large matrices: a small part of `quantcheck --self-test --large`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantcheck.run.selftest.large.command import main, read
from quantcheck.run.selftest.large.problems import DRAWS, Large
from quantcheck.run.selftest.large.record import (
    ALWAYS_FOUND,
    Record,
    alarms,
    missed_deviations,
    record_of,
    unreached_bounds,
)
from quantcheck.run.selftest.large.wrong import deviations, find
from quantref.errors import OutputError

SMALL = (Large("rotated", 160, 1e1, 32), Large("mean", 160, 1e3, 32), Large("scaled", 160, 1e6, 32))
LARGER = (Large("rotated", 512, 1e3, 32), Large("mean", 512, 1e3, 32))


def checked(problems: tuple[Large, ...]) -> list[Record]:
    records = [record_of(problem) for problem in problems]
    for record in records:
        right = record["right"].values()
        assert sum(len(own["verdicts"]) for own in right) >= 12
        assert max(ratio for own in right for ratio in own["reached"].values()) < 1
        for name, (single, double) in record["wrong"].items():
            assert single <= double, name
            assert name not in ALWAYS_FOUND or single == DRAWS, name
        assert set(record["wrong"]) >= set(ALWAYS_FOUND)
    assert alarms(records) == missed_deviations(records) == []
    return records


@pytest.mark.requirement("CERT-090", "CERT-110")
def test_passes_what_is_right_comes_near_to_its_bounds_and_finds_what_is_wrong() -> None:
    assert unreached_bounds(checked(SMALL)) == []


@pytest.mark.everything
@pytest.mark.requirement("CERT-090", "CERT-110")
def test_does_so_in_larger_matrices() -> None:
    assert unreached_bounds(checked(LARGER)) == []


def test_what_was_judged_is_not_judged_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "large.json"
    small = ["--sizes", "16", "--kinds", "scaled", "--groups", "8", "--json", str(path)]
    assert main([*small, "--conditions", "1e1"]) in (0, 4)
    made = json.loads(path.read_text("utf-8"))
    made["problems"][0]["wrong"] = {"marked": [10, 10]}
    path.write_text(json.dumps(made), "utf-8")
    assert main([*small, "--conditions", "1e1,1e3"]) in (0, 4)
    marked, added = read(path)
    assert marked == made["problems"][0]
    assert added["condition"] == 1e3
    printed = capsys.readouterr().out
    assert "marked" in printed
    assert "factor in float32" in printed


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1, "rows": []}'])
def test_another_file_is_refused_and_kept(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "large.json"
    path.write_text(text, "utf-8")
    with pytest.raises(OutputError):
        read(path)
    with pytest.raises(SystemExit) as ended:
        main(["--sizes", "16", "--json", str(path)])
    assert ended.value.code == 2
    assert str(path) in capsys.readouterr().err
    assert path.read_text("utf-8") == text


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
