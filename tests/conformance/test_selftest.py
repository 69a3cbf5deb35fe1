"""The self-test: the suite detects every mutant twice, and fails no variant."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantcheck import mutants
from quantcheck.run.selftest.false_alarms import unreached_bounds
from quantcheck.run.selftest.kills import kill

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
    assert len(made["mutants"]) >= 110
    assert all(k["blames"] == k["by_vectors"] == k["by_properties"] for k in made["mutants"])
    assert all(k["vectors"] > 0 < k["properties"] for k in made["mutants"])
    assert made["variants"]["cases"] >= 300
    assert made["variants"]["alarms"] == []
    assert len(made["variants"]["asked"]) >= 12
    assert len(made["variants"]["ratios"]) >= 15
    assert unreached_bounds(made["variants"]["ratios"]) == []
    assert f"{len(made['mutants'])} mutants: " in done.stdout


def test_a_bug_that_is_caught_names_what_it_breaks() -> None:
    made = kill("rnd-half-up")
    assert (made.blames, made.by_vectors, made.by_properties) == ("RND-010",) * 3
    assert made.caught


def test_a_kill_for_the_wrong_reason_does_not_count() -> None:
    made = kill("rnd-half-up")
    assert not replace(made, by_properties="RND-020").caught
    assert not replace(made, by_vectors="").caught


@pytest.mark.parametrize(
    "options", [("--cases", "0"), ("--nonsense",), ("reference",)], ids=" ".join
)
def test_bad_options_are_usage(quantcheck: Any, options: tuple[str, ...]) -> None:
    assert quantcheck("--self-test", *options).returncode == 2


def test_a_bound_that_no_variant_comes_near_to_fails_the_suite() -> None:
    ratios = {"AFF-080 affine_dequantize": 0.0, "HES-010 hessian": 2e-3}
    assert unreached_bounds(ratios) == ["AFF-080 affine_dequantize"]
    assert unreached_bounds({"ABS-030 abs_max_quantize": 0.0}) == []  # acts beside ties alone
