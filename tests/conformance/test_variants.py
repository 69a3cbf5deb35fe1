"""Honest variants: other arithmetic. The self-test puts all of them to every vector."""

from __future__ import annotations

from typing import Any

import pytest

from quantcheck.targets.variants import VARIANTS, find

pytestmark = pytest.mark.requirement("VER-090")


def test_there_are_enough() -> None:
    assert len({variant.id for variant in VARIANTS}) == len(VARIANTS) >= 12
    assert {variant.precision for variant in VARIANTS} == {"float32", "float64"}
    assert all(variant.sentence.endswith(".") for variant in VARIANTS)


def test_what_is_no_variant() -> None:
    with pytest.raises(LookupError, match=r"no variant 'float8'; there are float32-textbook"):
        find("float8")


@pytest.mark.everything
def test_as_a_target(quantcheck: Any) -> None:
    done = quantcheck("variant:float32-ldl", "--only", "vectors", "--section", "hes")
    assert done.returncode == 0, done.stdout[-2000:]
    assert quantcheck("variant:float8").returncode == 3
