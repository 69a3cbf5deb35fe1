"""Every mutant makes one mistake, and the vectors that list it kill it."""

from __future__ import annotations

import ast
import json
import re
from functools import cache

import numpy as np
import pytest
from tests.reference.problems import cases

from quantcheck import mutants
from quantcheck.judge.judges import judge
from quantcheck.mutants import MUTANTS, Mutant, loading
from quantcheck.mutants.edits import edited
from quantcheck.spec.places import spec_path
from quantcheck.spec.sections import SECTIONS
from quantcheck.targets.reference.operations import answer
from quantcheck.wire.arrays import decode
from quantcheck.wire.cases import Case
from quantref.errors import AnswerError

ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}
MIRRORED = [mutant for mutant in MUTANTS if mutant.mirror]
UNCHANGED = Mutant("unchanged", (), "Nothing is changed.", (), "")


def size_of(case: Case) -> int:
    return len(json.dumps(case.question()))


@cache
def failed_by(case: Case, mutant: Mutant, plain: bool = False) -> frozenset[str] | None:
    """Return the requirements that a mutant fails on a case; None if its answer is malformed."""
    try:
        with np.errstate(all="ignore"):
            given = decode(mutants.load(mutant, plain=plain).answer(case.question()))
        findings = judge(case, given, unit_roundoff=ROUNDOFF["float32"])
    except (AnswerError, ArithmeticError, LookupError, TypeError, ValueError):
        return None
    return frozenset(finding.requirement for finding in findings if not finding.passed)


def killed(case: Case, mutant: Mutant, *, plain: bool = False) -> bool:
    """Tell whether a case tells a mutant from the reference: a finding, or no answer at all."""
    failed = failed_by(case, mutant, plain)
    return failed is None or bool(failed)


def test_there_are_enough() -> None:
    assert len(MUTANTS) >= 110
    assert len({mutant.id for mutant in MUTANTS}) == len(MUTANTS)
    assert {section for mutant in MUTANTS for section in mutant.sections} == set(SECTIONS)
    assert len(MIRRORED) >= 12


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_changes_the_functions_that_it_names_and_no_others(mutant: Mutant) -> None:
    assert mutant.edits
    for edit in (*mutant.edits, *mutant.mirror):
        before = definitions(ast.parse(loading.source(edit.module)))
        after = definitions(edited(loading.source(edit.module), [edit]))
        assert set(before) == set(after)
        changed = {name for name in before if before[name] != after[name]}
        assert changed == {"", *prefixes(edit.function)}
    assert not {edit.module for edit in mutant.mirror} & {edit.module for edit in mutant.edits}
    assert mutant.effect.endswith(".")
    assert mutants.find(mutant.id) is mutant
    assert mutants.load(mutant).mutant is mutant
    assert mutants.load(mutant.id) is mutants.load(mutant)


def definitions(node: ast.AST, name: str = "") -> dict[str, str]:
    """Return the code of a module and of all its functions and classes, by qualified name."""
    found = {name: ast.dump(node)} if isinstance(node, ast.Module) else {}
    for child in ast.iter_child_nodes(node):
        inner = name
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            inner = f"{name}.{child.name}".lstrip(".")
            found[inner] = ast.dump(child)
        found |= definitions(child, inner)
    return found


def prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: k + 1]) for k in range(len(parts))]


@pytest.mark.requirement("VEC-060")
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


@pytest.mark.parametrize("mutant", MIRRORED, ids=lambda mutant: mutant.id)
def test_is_killed_in_the_plain_form_too(mutant: Mutant) -> None:
    """By one vector, small ones first; the plain form without the mistake passes that one."""
    listed = [case for case in cases() if mutant.id in case.kills]
    listed.sort(key=size_of)
    by = next((case for case in listed if killed(case, mutant, plain=True)), None)
    assert by is not None, "no vector kills it"
    assert not killed(by, UNCHANGED, plain=True)


@pytest.mark.parametrize("mutant", MIRRORED, ids=lambda mutant: mutant.id)
def test_the_plain_form_has_the_mistake_from_its_mirror(mutant: Mutant) -> None:
    """Without the mirror the plain form passes the vectors that kill the mutant."""
    alone = Mutant(mutant.id, mutant.edits, mutant.effect, mutant.sections, mutant.blames)
    listed = [case for case in cases() if mutant.id in case.kills]
    small = min(listed, key=size_of)
    assert not killed(small, alone, plain=True)


@cache
def places() -> dict[str, int]:
    """Return the place of every requirement in SPEC.md."""
    heads = re.findall(r"^\*\*\[([A-Z]+-\d+)\]\*\*", spec_path().read_text("utf-8"), re.MULTILINE)
    return {identity: place for place, identity in enumerate(heads)}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_names_a_requirement_of_its_sections(mutant: Mutant) -> None:
    assert mutant.blames in places()
    assert mutant.blames.partition("-")[0].lower() in mutant.sections


@pytest.mark.requirement("VER-010")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_the_right_requirement_is_blamed_first(mutant: Mutant) -> None:
    """Over all vectors that kill it: the first requirement of SPEC.md that fails."""
    listed = [case for case in cases() if mutant.id in case.kills]
    failed = set().union(*(failed_by(case, mutant) or () for case in listed))
    assert min(failed, key=lambda requirement: places()[requirement]) == mutant.blames


@pytest.mark.requirement("VEC-060")
def test_lists_are_of_known_mutants() -> None:
    known = {mutant.id for mutant in MUTANTS}
    assert {kill for case in cases() for kill in case.kills} == known


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_the_reference_passes(case: Case) -> None:
    """In both precisions: the answer is made once."""
    given = decode(answer(case.question()))
    for unit_roundoff in ROUNDOFF.values():
        findings = judge(case, given, unit_roundoff=unit_roundoff)
        assert not [f for f in findings if not f.passed]
        assert {finding.requirement for finding in findings} == set(case.requirements)
        assert {finding.case for finding in findings} == {case.id}


def test_what_is_no_mutant() -> None:
    with pytest.raises(LookupError, match=r"no mutant 'rnd-half-down'; there are .*rnd-half-up"):
        mutants.find("rnd-half-down")


# Mutants of the sum of section HES: `gptq_quantize` is given a Hessian, so it cannot show them.
OF_THE_SUM = {"hes-mean-not-doubled", "hes-sequences", "hes-half-activations", "hes-rescaled-sum"}


def test_every_mutant_of_preparation_and_factor_shows_in_gptq_alone() -> None:
    """A target that offers `gptq_quantize` alone is told from the reference by codes."""
    of_the_hessian = {mutant.id for mutant in MUTANTS if "hes" in mutant.sections}
    assert of_the_hessian > OF_THE_SUM
    killed_by_gptq = {
        kill for case in cases() if case.operation == "gptq_quantize" for kill in case.kills
    }
    assert of_the_hessian - killed_by_gptq == OF_THE_SUM
    for mutant in MUTANTS:
        if mutant.id in OF_THE_SUM:
            assert {edit.function.partition(".")[0] for edit in mutant.edits} == {
                "HessianAccumulator"
            }
