"""The crossed questions on arrays of AbsMax: what is drawn lies in the domains, and is judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantcheck.interface.table import Table
from quantcheck.judge.judges import judge
from quantcheck.properties import load
from quantcheck.properties.crossed.arrays import DOMAINS, FAULTS, ArrayDomain
from quantcheck.run.draws import Draws, draw
from quantcheck.targets.reference.operations import answer
from quantcheck.wire.arrays import decode
from quantcheck.wire.cases import Case
from quantcheck.wire.schema import fault

IDS = [domain.identity for domain in DOMAINS]


def drawn(identity: str) -> list[Case]:
    samples = draw(load(["abs"])[identity], Draws(seed=7, factor=3.0))
    return [case for sample in samples for case in sample.cases]


def failed(case: Case, outputs: dict[str, Any]) -> set[str]:
    found = judge(case, {"outputs": outputs}, unit_roundoff=2.0**-24)
    return {finding.requirement for finding in found if not finding.passed}


@pytest.mark.parametrize("domain", DOMAINS, ids=IDS)
def test_what_is_drawn_lies_in_its_domain(domain: ArrayDomain) -> None:
    table = Table([], {})
    inside = table.in_arrays(domain)
    for case in drawn(domain.identity):
        cells = set(table.covered_by(case))
        assert cells
        assert cells <= inside
        assert fault(f"{case.operation}-question", case.question()) is None


def test_arguments_that_are_left_out_have_their_defaults() -> None:
    cases = drawn("prop-abs-crossed")
    left_out = {name for case in cases for name in case.parameters.get("left_out", ())}
    assert left_out == {"value_range", "epsilon", "output_dtype", "call_axis"}
    for case in cases:
        outputs = decode(answer(case.question()))["outputs"]
        assert not failed(case, outputs), case.title


def test_other_codes_and_scales_fail() -> None:
    for case in drawn("prop-abs-crossed"):
        outputs = decode(answer(case.question()))["outputs"]
        scale = np.asarray(outputs["scale"])
        assert failed(case, {**outputs, "scale": scale * np.float32(1.01)}), case.title
        codes = np.asarray(outputs["codes"])
        assert failed(case, {**outputs, "codes": codes ^ codes.dtype.type(2)}), case.title


def test_every_fault_is_refused() -> None:
    cases = drawn("prop-abs-crossed-refused")
    for case in cases:
        assert "refused" in answer(case.question()), case.title
        assert failed(case, {}) == {"ABS-100"}
    assert {case.title.rpartition(" fault of ")[2] for case in cases} == set(FAULTS)
