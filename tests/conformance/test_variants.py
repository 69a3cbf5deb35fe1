"""Honest variants: other arithmetic, the same verdict on every vector.  [VER-010]"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from quantcheck.targets.protocol import UNIT_ROUNDOFF
from quantcheck.variants import VARIANTS, Variant, find
from quantref import vectors
from quantref.compare import judge
from quantref.vectors import Case, decode

SECTIONS = ("aff", "abs", "pack", "hes", "gptq")


@cache
def cases() -> list[Case]:
    return [case for case in vectors.load_all() if case.section in SECTIONS]


def test_there_are_enough() -> None:
    assert len({variant.id for variant in VARIANTS}) == len(VARIANTS) >= 12
    assert {variant.precision for variant in VARIANTS} == {"float32", "float64"}
    assert all(variant.sentence.endswith(".") for variant in VARIANTS)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.id)
def test_is_never_blamed(variant: Variant) -> None:
    if variant.threads is not None:
        pytest.importorskip("threadpoolctl", reason="limits the threads of the BLAS")
    u = UNIT_ROUNDOFF[variant.precision]
    failed = [
        (case.id, finding.requirement, finding.message)
        for case in cases()
        for finding in judge(case, decode(variant.answer(case.question())), unit_roundoff=u)
        if not finding.passed
    ]
    assert not failed


def test_what_is_no_variant() -> None:
    with pytest.raises(LookupError, match=r"no variant 'float8'; there are float32-textbook"):
        find("float8")


def test_as_a_target(quantcheck: Any) -> None:
    done = quantcheck("variant:float32-ldl", "--only", "vectors", "--section", "hes")
    assert done.returncode == 0, done.stdout[-2000:]
    assert quantcheck("variant:float8").returncode == 3
