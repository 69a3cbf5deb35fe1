"""The report says what is wrong: the known mistake that explains most of the failing cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantcheck.judge.judgements import judge_answer
from quantcheck.judge.naming.mistakes import mistakes
from quantcheck.judge.verdict import Judgement, Verdict, shown_of
from quantcheck.mutants import NAMES, load
from quantcheck.wire.cases import Case, load_all

MOST_CASES = 10


@pytest.fixture(scope="module")
def gptq(root: Path) -> list[Case]:
    cases = load_all(root / "vectors")
    return [c for c in cases if c.operation == "gptq_quantize" and not c.large]


@pytest.mark.requirement("VER-090")
@pytest.mark.parametrize("mutant", NAMES)
def test_the_mistake_that_explains_most_is_named(mutant: str, gptq: list[Case]) -> None:
    loaded, failed = load(mutant), list[Judgement]()
    listed = [case for case in gptq if mutant in case.kills]
    for case in listed[:: -(-len(listed) // MOST_CASES)]:
        judged, _ = judge_answer(case, loaded.answer(case.question()), unit_roundoff=2.0**-24)
        failed += [j for j in judged if j.verdict == Verdict.FAIL]
    shown = shown_of(failed)
    assert shown.name == NAMES[mutant]
    assert shown.size == min(j.size for j in failed if j.name == shown.name)


def test_names_differ() -> None:
    names = [mistake.name for mistake in mistakes()]
    assert len(set(names)) == len(names) > 30
