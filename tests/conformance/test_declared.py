"""Rules of appendix A that a target declares: answers by them are differences, others are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantcheck.deviations import Matching
from quantcheck.deviations.causes.rules import Rules
from quantcheck.deviations.declared import DECLARABLE, require_declarable
from quantcheck.errors import TargetProtocolError
from quantcheck.judge.judgements import judge_answer
from quantcheck.judge.verdict import Verdict
from quantcheck.targets.reference import operations
from quantcheck.wire.arrays import decode, encode
from quantcheck.wire.cases import Case
from quantcheck.wire.protocol import Handshake
from quantref.affine import range_parameters
from quantref.inputs import Array

pytestmark = pytest.mark.requirement("VER-140")
U32 = 2.0**-24


def verdicts(case: Case, outputs: dict[str, Array], *declared: str) -> dict[str, str]:
    """The verdicts that are not pass, of a target that declares rules."""
    answer: dict[str, Any] = {"id": case.id, "outputs": encode(outputs)}
    judged, _ = judge_answer(case, answer, unit_roundoff=U32)
    found = Matching(declared=declared, unit_roundoff=U32).cover([(case, answer)], judged)
    silent = (Verdict.PASS, Verdict.NOT_JUDGED)
    return {j.requirement: j.verdict.value for j in found if j.verdict not in silent}


def by_rules(case: Case, *names: str) -> dict[str, Array]:
    """Parameters of the whole rows of weights by rules."""
    w, given = case.inputs["weights"].astype(np.float64), case.parameters
    profile = Rules.named(names).profile
    lo, hi = w.min(axis=1, keepdims=True), w.max(axis=1, keepdims=True)
    scale, zero = range_parameters(
        lo, hi, bits=given["bits"], symmetric=given["symmetric"], profile=profile
    )
    return {"scale": scale, "zero_point": zero.astype(np.uint8)}


def test_an_answer_by_a_declared_rule_is_a_difference(cases: dict[str, Case]) -> None:
    case = cases["aff-positive"]
    made = by_rules(case, "raw_range")
    assert set(verdicts(case, made).values()) == {"fail"}
    assert set(verdicts(case, made, "raw_range").values()) == {"difference"}
    assert set(verdicts(case, made, "widen_any_equal").values()) == {"fail"}


def test_another_wrong_answer_is_not(cases: dict[str, Case]) -> None:
    case = cases["aff-positive"]
    made = by_rules(case, "raw_range")
    made["scale"] = made["scale"] * np.float32(1.5)
    assert "fail" in verdicts(case, made, "raw_range").values()


def test_zeros_may_have_any_scale_and_others_may_not(cases: dict[str, Case]) -> None:
    case = cases["aff-zero-groups"]
    made = decode(operations.answer(case.question())["outputs"])
    groups = case.inputs["weights"].reshape(*made["scale"].shape, -1)
    zeros = (groups == 0).all(axis=-1)
    assert zeros.any()
    assert not zeros.all()
    other = {**made, "scale": np.where(zeros, np.float32(1), made["scale"])}
    assert set(verdicts(case, other).values()) == {"fail"}
    assert set(verdicts(case, other, "any_scale_of_zeros").values()) == {"difference"}
    for wrong in (np.where(zeros, np.float32(-1), made["scale"]), made["scale"] * np.float32(2)):
        found = verdicts(case, {**made, "scale": wrong}, "any_scale_of_zeros")
        assert "fail" in found.values()


def test_sequences_may_be_counted(cases: dict[str, Case]) -> None:
    case = next(
        c
        for c in cases.values()
        if c.operation == "hessian" and "outputs" in c.expected and c.inputs["batches"][0].ndim == 3
    )
    batches = case.inputs["batches"]
    x = np.concatenate([b.reshape(-1, b.shape[-1]) for b in batches]).astype(np.float64)
    made = {"hessian": 2 / sum(len(b) for b in batches) * x.T @ x}
    assert "fail" in verdicts(case, made).values()
    assert set(verdicts(case, made, "count_sequences").values()) == {"difference"}


@pytest.mark.parametrize("name", ["rows_of_inverse", "groups_per_block", "no_such_rule"])
def test_a_fault_is_no_rule_that_is_declared(name: str) -> None:
    assert name not in DECLARABLE
    with pytest.raises(TargetProtocolError, match=f"expected rules among .*, got '{name}'"):
        require_declarable([name])


def test_a_handshake_has_rules() -> None:
    ready = {"protocol": 1, "name": "x", "version": "1", "rules": ["raw_range"]}
    assert Handshake.from_wire(ready).rules == ("raw_range",)
    with pytest.raises(TargetProtocolError, match=r"ready\.rules"):
        Handshake.from_wire({**ready, "rules": "raw_range"})
