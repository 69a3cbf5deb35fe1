"""Every mutant makes one mistake, in the functions that it names, and vectors list it."""

from __future__ import annotations

import ast
import json
import re
from functools import cache

import numpy as np
import pytest
from tests.reference.problems import cases

from quantcheck import mutants
from quantcheck.judge.findings import Judging
from quantcheck.judge.judges import JUDGES, judge, unexplained
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
IN_VECTORS = [mutant for mutant in MUTANTS if not mutant.generated]
UNCHANGED = Mutant("unchanged", (), "Nothing is changed.", (), "")


def size_of(case: Case) -> tuple[bool, int]:
    """Return a sort key: cases by recipe last, since the plain form is slow on 512 columns."""
    return case.by_recipe, len(json.dumps(case.question(made=False)))


@cache
def killed(case: Case, mutant: Mutant, *, plain: bool = False) -> bool:
    """Tell whether a case tells a mutant from the reference: a finding, or no answer at all."""
    try:
        with np.errstate(all="ignore"):
            given = decode(mutants.load(mutant, plain=plain).answer(case.question()))
        findings = unexplained(case, given, unit_roundoff=ROUNDOFF["float32"])
    except (AnswerError, ArithmeticError, LookupError, TypeError, ValueError):
        return True  # it raises an error, or its answer has a wrong form
    return any(not finding.passed for finding in findings)


def test_there_are_enough() -> None:
    assert len(IN_VECTORS) >= 110
    assert len(MUTANTS) >= 200
    assert len({mutant.id for mutant in MUTANTS}) == len(MUTANTS)
    assert {section for mutant in MUTANTS for section in mutant.sections} == set(SECTIONS)
    assert len(MIRRORED) >= 12


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_changes_the_functions_that_it_names_and_no_others(mutant: Mutant) -> None:
    assert mutant.edits
    for edit in (*mutant.edits, *mutant.mirror):
        before = unedited(edit.module)
        after = definitions(edited(loading.source(edit.module), [edit]))
        assert set(before) == set(after)
        changed = {name for name in before if before[name] != after[name]}
        assert changed == {"", *prefixes(edit.function)}
    assert not {edit.module for edit in mutant.mirror} & {edit.module for edit in mutant.edits}
    assert mutant.effect.endswith(".")
    assert mutants.find(mutant.id) is mutant
    assert mutants.load(mutant).mutant is mutant
    assert mutants.load(mutant.id) is mutants.load(mutant)


@cache
def unedited(module: str) -> dict[str, str]:
    return definitions(ast.parse(loading.source(module)))


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


@pytest.mark.parametrize("mutant", IN_VECTORS, ids=lambda mutant: mutant.id)
def test_is_listed_in_every_section_that_it_names_and_no_other(mutant: Mutant) -> None:
    """`quantcheck vectors --check` holds that lists are right and complete, the self-test why."""
    listed = {case.section for case in cases() if mutant.id in case.kills}
    assert listed == set(mutant.sections)


@pytest.mark.everything
@pytest.mark.parametrize("mutant", MIRRORED, ids=lambda mutant: mutant.id)
def test_is_killed_in_the_plain_form_too(mutant: Mutant) -> None:
    """By one vector, small ones first; the plain form without the mistake passes that one."""
    listed = [case for case in cases() if mutant.id in case.kills]
    listed.sort(key=size_of)
    by = next((case for case in listed if killed(case, mutant, plain=True)), None)
    assert by is not None, "no vector kills it"
    assert not killed(by, UNCHANGED, plain=True)


@pytest.mark.everything
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


WITHOUT_MUTANT = {
    "AFF-120": "no answer breaks it and keeps AFF-070, which is judged by the same distance",
    "ABS-090": "no answer breaks it and keeps ABS-030, likewise",
    "CAL-050": "it is about two processes, which are too dear for generated cases; a test below",
    "CAL-170": "it says how models are judged",
}
"""Requirements of sections 1 to 7, 9 and 10 that no mutant can be blamed for."""


def test_every_requirement_of_a_target_has_a_mutant() -> None:
    """Sections 8, 11 and 12 are about certificates, vectors and runs, which no target makes."""
    of_targets = {i for i in places() if i.partition("-")[0].lower() in SECTIONS}
    assert {i.partition("-")[0] for i in set(places()) - of_targets} == {"CERT", "VEC", "VER"}
    assert of_targets - {mutant.blames for mutant in MUTANTS} == set(WITHOUT_MUTANT)


IMPLIED = {"affine_quantize": ("AFF-120", "AFF-070"), "abs_max_quantize": ("ABS-090", "ABS-030")}


@pytest.mark.parametrize("operation", IMPLIED)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_code_that_is_half_a_step_off_breaks_rounding_too(operation: str, change: int) -> None:
    """Each code in turn, one step off: what the distance condemns, rounding condemns."""
    distance, rounding = IMPLIED[operation]
    seen = 0
    for case in cases():
        if case.operation != operation or "outputs" not in case.expected or case.by_recipe:
            continue
        outputs = case.expected["outputs"]
        info = np.iinfo(outputs["codes"].dtype)
        for place in np.ndindex(outputs["codes"].shape):
            codes = outputs["codes"].copy()
            codes[place] = min(max(int(codes[place]) + change, info.min), info.max)
            judging = Judging(case, {**outputs, "codes": codes}, ROUNDOFF["float32"])
            JUDGES[operation].judge(judging)
            failed = {finding.requirement for finding in judging.findings if not finding.passed}
            assert distance not in failed or rounding in failed, (case.id, place)
            seen += distance in failed
    assert seen


def test_windows_that_differ_between_processes_are_found() -> None:
    (case,) = [case for case in cases() if case.operation == "calibration_processes"]
    windows = case.expected["outputs"]["first"]
    given = {"outputs": {"first": windows, "second": np.roll(windows, 1)}}
    (found,) = judge(case, given, unit_roundoff=ROUNDOFF["float32"])
    assert (found.requirement, found.passed) == ("CAL-050", False)


@pytest.mark.requirement("VEC-060")
def test_lists_are_of_known_mutants() -> None:
    known = {mutant.id for mutant in IN_VECTORS}
    assert {kill for case in cases() for kill in case.kills} == known


@pytest.mark.parametrize("case", [c for c in cases() if not c.large], ids=lambda case: case.id)
def test_the_reference_passes(case: Case) -> None:
    """In both precisions: the answer is made once. The large ones: `quantcheck vectors --check`."""
    given = decode(answer(case.question()))
    for unit_roundoff in ROUNDOFF.values():
        findings = judge(case, given, unit_roundoff=unit_roundoff)
        assert not [f for f in findings if not f.passed]
        assert {finding.requirement for finding in findings} == set(case.requirements)
        assert {finding.case for finding in findings} == {case.id}


def test_sections_with_kernels_have_twice_the_mutants() -> None:
    """Those for generated cases alone say what the vectors lack."""
    for section in ("aff", "abs", "pack", "hes", "gptq"):
        own = [m for m in MUTANTS if m.blames.startswith(f"{section.upper()}-")]
        kernels = [m for m in own if m.generated]
        assert 2 * len(kernels) >= len(own), section
        assert all(m.generated.startswith("no vector has ") for m in kernels)


@pytest.mark.everything
@pytest.mark.parametrize(
    "mutant", [m for m in MUTANTS if m.generated], ids=lambda mutant: mutant.id
)
def test_no_vector_kills_a_mutant_for_generated_cases(mutant: Mutant) -> None:
    asked = [c for c in cases() if c.section in mutant.sections and not c.large]
    assert not [case.id for case in asked if killed(case, mutant)]


def test_what_is_no_mutant() -> None:
    with pytest.raises(LookupError, match=r"no mutant 'rnd-half-down'; there are .*rnd-half-up"):
        mutants.find("rnd-half-down")


# Mutants of the sum of section HES: `gptq_quantize` is given a Hessian, so it cannot show them.
OF_THE_SUM = {
    "hes-mean-not-doubled", "hes-sequences", "hes-half-activations", "hes-rescaled-sum",
    "hes-single-sum",
}  # fmt: skip


def test_every_mutant_of_preparation_and_factor_shows_in_gptq_alone() -> None:
    """A target that offers `gptq_quantize` alone is told from the reference by codes."""
    of_the_hessian = {mutant.id for mutant in IN_VECTORS if "hes" in mutant.sections}
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
