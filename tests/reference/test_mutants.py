"""Every mutant changes one line, and the vectors that list it kill it.  [VEC-060]"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest

from quantref import mutants
from quantref.compare import judge
from quantref.errors import AnswerError
from quantref.mutants import MUTANTS, LoadedMutant, Mutant
from quantref.operations import answer
from quantref.vectors import SECTIONS, Case, decode, spec_path

from .problems import cases

ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}


@cache
def loaded(mutant: Mutant) -> LoadedMutant:
    return mutants.load(mutant)


def killed(case: Case, mutant: Mutant) -> bool:
    """Tell whether a case tells a mutant from the reference: a finding, or no answer at all."""
    try:
        with np.errstate(all="ignore"):
            given = decode(loaded(mutant).answer(case.question()))
        return any(not f.passed for f in judge(case, given, unit_roundoff=ROUNDOFF["float32"]))
    except (AnswerError, ArithmeticError, LookupError, TypeError, ValueError):
        return True


def test_there_are_enough() -> None:
    assert len(MUTANTS) >= 110
    assert len({mutant.id for mutant in MUTANTS}) == len(MUTANTS)
    assert {section for mutant in MUTANTS for section in mutant.sections} == set(SECTIONS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_changes_one_line(mutant: Mutant) -> None:
    source = mutants.source_of(mutant.module).read_text("utf-8")
    assert source.count(mutant.line) == 1
    changed = mutants.mutated(mutant)
    assert changed != source
    assert changed == source.replace(mutant.line, mutant.replacement)
    assert mutant.effect.endswith(".")
    assert mutants.find(mutant.id) is mutant
    assert loaded(mutant).mutant is mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_is_killed_where_it_is_listed(mutant: Mutant) -> None:
    listed = [case for case in cases() if mutant.id in case.kills]
    assert listed, "no vector kills it"
    assert {case.section for case in listed} <= set(mutant.sections)
    survived = [case.id for case in listed if not killed(case, mutant)]
    assert not survived


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_is_killed_in_every_section_that_it_names(mutant: Mutant) -> None:
    for section in mutant.sections:
        assert any(mutant.id in case.kills for case in cases(section)), section


def blamed(case: Case, mutant: Mutant) -> set[str]:
    """Return what a mutant fails on a case; nothing where its answer is no answer."""
    try:
        with np.errstate(all="ignore"):
            given = decode(loaded(mutant).answer(case.question()))
        findings = judge(case, given, unit_roundoff=ROUNDOFF["float32"])
    except (AnswerError, ArithmeticError, LookupError, TypeError, ValueError):
        return set()
    return {finding.requirement for finding in findings if not finding.passed}


@cache
def places() -> dict[str, int]:
    """Return the place of every requirement in SPEC.md."""
    heads = re.findall(r"^\*\*\[([A-Z]+-\d+)\]\*\*", spec_path().read_text("utf-8"), re.MULTILINE)
    return {identity: place for place, identity in enumerate(heads)}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_names_a_requirement_of_its_sections(mutant: Mutant) -> None:
    assert mutant.blames in places()
    assert mutant.blames.partition("-")[0].lower() in mutant.sections


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_the_right_requirement_is_blamed_first(mutant: Mutant) -> None:
    """Over all vectors that kill it: the first requirement of SPEC.md that fails.  [VER-010]"""
    listed = [case for case in cases() if mutant.id in case.kills]
    failed = set().union(*(blamed(case, mutant) for case in listed))
    assert min(failed, key=lambda requirement: places()[requirement]) == mutant.blames


def test_lists_are_of_known_mutants() -> None:
    known = {mutant.id for mutant in MUTANTS}
    assert {kill for case in cases() for kill in case.kills} == known


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
@pytest.mark.parametrize("precision", ROUNDOFF)
def test_the_reference_passes(case: Case, precision: str) -> None:
    findings = judge(case, decode(answer(case.question())), unit_roundoff=ROUNDOFF[precision])
    assert not [f for f in findings if not f.passed]
    spoken = {finding.requirement for finding in findings}
    assert spoken == set(case.requirements)
    assert {finding.case for finding in findings} == {case.id}


def test_a_mutant_leaves_the_reference_alone() -> None:
    x = {"dtype": "float32", "shape": [1], "data": [0.5]}
    question: dict[str, Any] = {
        "id": "q",
        "operation": "round_half_even",
        "parameters": {},
        "inputs": {"x": x},
    }
    assert loaded(mutants.find("rnd-half-up")).answer(question)["outputs"]["values"]["data"] == [1]
    assert answer(question)["outputs"]["values"]["data"] == [0]


def test_what_is_no_mutant() -> None:
    with pytest.raises(LookupError, match=r"no mutant 'rnd-half-down'; there are .*rnd-half-up"):
        mutants.find("rnd-half-down")
    gone = Mutant("gone", "rounding", "no such line", "", "Nothing.", ("rnd",), "RND-010")
    with pytest.raises(LookupError, match=r"gone: its line stands 0 times in rounding\.py"):
        mutants.mutated(gone)
    often = Mutant("often", "rounding", "return", "", "Much.", ("rnd",), "RND-010")
    with pytest.raises(LookupError, match="often: its line stands"):
        mutants.load(often)
