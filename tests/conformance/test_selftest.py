"""The self-test: the suite detects every mutant twice, and fails no variant."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantcheck import mutants
from quantcheck.run.selftest.command import Tasks
from quantcheck.run.selftest.false_alarms import unreached_bounds
from quantcheck.run.selftest.kills import kill
from quantcheck.run.selftest.saved import Saved

pytestmark = pytest.mark.requirement("VER-080")


@pytest.mark.everything
@pytest.mark.slow
@pytest.mark.apart
def test_the_suite_detects_every_mutant_and_fails_no_variant(
    quantcheck: Any, tmp_path: Path
) -> None:
    done = quantcheck("--self-test", "--cases", "300", "--json", "self.json")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    made = json.loads((tmp_path / "self.json").read_text(encoding="utf-8"))
    assert made["passed"]
    assert [k["mutant"] for k in made["mutants"]] == [m.id for m in mutants.MUTANTS]
    assert len(made["mutants"]) >= 200
    both = [k for k in made["mutants"] if not k["generated"]]
    assert len(both) >= 110
    assert all(k["blames"] == k["by_properties"] for k in made["mutants"])
    assert all(k["blames"] == k["by_vectors"] for k in both)
    assert all(k["detected_by"].startswith("prop-") for k in made["mutants"])
    assert all(k["vectors"] > 0 for k in both)
    named = [k for k in made["mutants"] if k["name"]]
    assert {k["mutant"]: k["named"] for k in named} == mutants.NAMES
    assert made["variants"]["cases"] >= 300
    assert made["variants"]["alarms"] == []
    assert len(made["variants"]["asked"]) >= 12
    assert len(made["variants"]["ratios"]) >= 15
    assert unreached_bounds(made["variants"]["ratios"]) == []
    count = len(made["mutants"])
    assert f"{count} mutants: " in done.stdout
    assert f"sensitivity: {count} of {count}, at least 99." in done.stdout
    assert "specificity: " in done.stdout


def test_a_bug_that_is_caught_names_what_it_breaks() -> None:
    made = kill("rnd-half-up")
    assert (made.blames, made.by_vectors, made.by_properties) == ("RND-010",) * 3
    assert made.caught


def test_a_kill_for_the_wrong_reason_does_not_count() -> None:
    made = kill("rnd-half-up")
    assert not replace(made, by_properties="RND-020").caught
    assert not replace(made, by_vectors="").caught
    assert not replace(made, name="rounded down").caught


def test_a_bug_of_a_kernel_is_caught_by_generated_cases_alone() -> None:
    made = kill("pack-byte-256")
    assert (made.blames, made.by_vectors, made.by_properties) == ("PACK-010", "", "PACK-010")
    assert made.caught
    assert not replace(made, by_properties="").caught
    assert not replace(made, generated="").caught


def test_finished_tasks_are_read_back_and_not_run_again(tmp_path: Path) -> None:
    path = tmp_path / "saved.jsonl"
    Saved(path).add("mutant a", {"cases": 1})
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"task": "mutant b", "res')  # the process was killed
    saved = Saved(path)
    assert saved.results == {"mutant a": {"cases": 1}}
    pool: Any = None  # which nothing may use
    assert list(Tasks(pool, saved).each(kill, {"mutant a": ("a",)})) == [{"cases": 1}]


def test_a_bug_that_fails_another_requirement_first_is_found_but_not_right() -> None:
    made = kill("rnd-half-up")
    other = replace(made, by_properties="RND-020")
    assert made.right_first
    assert other.found
    assert not other.right_first
    assert not replace(made, by_vectors="", by_properties="").found


@pytest.mark.parametrize(
    "options", [("--cases", "0"), ("--nonsense",), ("reference",)], ids=" ".join
)
def test_bad_options_are_usage(quantcheck: Any, options: tuple[str, ...]) -> None:
    assert quantcheck("--self-test", *options).returncode == 2


def test_a_bound_that_no_variant_comes_near_to_fails_the_suite() -> None:
    ratios = {"AFF-160 affine_dequantize": 0.0, "HES-010 hessian": 2e-3}
    assert unreached_bounds(ratios) == ["AFF-160 affine_dequantize"]
    assert unreached_bounds({"ABS-030 abs_max_quantize": 0.0}) == []  # acts beside ties alone
