"""Answers that use the whole error that SPEC.md allows to scales and values pass everything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.reference.problems import cases

from quantcheck import properties
from quantcheck.judge.judges import judge
from quantcheck.properties import Property
from quantcheck.run import generated
from quantcheck.run.draws import Draws, draw
from quantcheck.run.selftest.common import BROKEN, U
from quantcheck.run.selftest.false_alarms import SECTIONS
from quantcheck.targets.variants import Variant, find
from quantcheck.wire.arrays import decode
from quantcheck.wire.cases import Case

pytestmark = pytest.mark.requirement("VER-080")

JITTERY = [find("float32-jitter"), find("float64-jitter")]
ANSWERED = [case for name in ("aff", "abs", "gptq") for case in cases(name)
            if not case.by_recipe]  # fmt: skip
PROPERTIES = properties.load(SECTIONS)


@pytest.mark.parametrize("variant", JITTERY, ids=lambda variant: variant.id)
def test_moves_scales_by_all_units_and_no_further(variant: Variant) -> None:
    units: set[int] = set()
    for case in cases("abs"):
        scale = case.expected.get("outputs", {}).get("scale")
        if scale is None or scale.dtype != np.float32:
            continue
        got = decode(variant.answer(case.question()))["outputs"]["scale"].astype(np.float64)
        assert got.shape == scale.shape
        off = got - scale
        assert (np.abs(off) <= 2.0**-22 * scale).all()
        spacing = 2.0 ** (np.frexp(scale)[1] - 24)
        units |= set((off / spacing).round().astype(int).ravel().tolist())
    assert units >= {-2, -1, 0, 1, 2}


@pytest.mark.parametrize("variant", JITTERY, ids=lambda variant: variant.id)
def test_the_same_question_has_the_same_answer(variant: Variant) -> None:
    question = cases("gptq")[0].question()
    assert variant.answer(question) == variant.answer(question)
    other = replace(variant, jitter=1).answer(question)
    assert other["outputs"]["scale"] != variant.answer(question)["outputs"]["scale"]


@pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.id)
def test_passes_every_vector(case: Case) -> None:
    for variant in JITTERY:
        for seed in range(4):
            given = decode(replace(variant, jitter=seed).answer(case.question()))
            findings = judge(case, given, unit_roundoff=U[variant.precision])
            assert not [finding.message for finding in findings if not finding.passed]


@pytest.mark.parametrize("prop", PROPERTIES.values(), ids=str)
def test_keeps_every_law_and_property(prop: Property) -> None:
    """The self-test draws more."""
    laws = any(sample.law for sample in draw(prop, Draws(factor=0.1)))
    for draws in (Draws(factor=1.0 if laws else 0.2), Draws(seed=11, free=True, factor=0.1)):
        for sample in draw(prop, draws):
            for variant in JITTERY:
                judged = generated.ask(sample, variant.answer, U[variant.precision]).judgements
                assert not [j.message for j in judged if j.verdict in BROKEN]
