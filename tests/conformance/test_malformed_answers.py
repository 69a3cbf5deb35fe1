"""An answer of a wrong shape, dtype or value fails what says so; it breaks nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantcheck.judge.judgements import judge_answer
from quantcheck.judge.verdict import Verdict
from quantcheck.wire.arrays import encode_array
from quantcheck.wire.cases import Case, load_all

pytestmark = pytest.mark.requirement("VER-090")
PER_OPERATION = 3


def spoiled(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield other values in the place of an output."""
    yield "text", "abc"
    yield "null", None
    yield "list", [1, 2]
    yield "object", {"a": 1}
    yield "number", 3.5
    if not isinstance(value, np.ndarray):
        yield "array", np.arange(3.0)
        return
    yield "another rank", value[None]
    yield "empty", value[:0]
    yield "floats", value.astype(np.float64) + 0.5
    for number in (np.nan, np.inf, 5e-324, 1e300):
        yield f"all {number}", np.full(value.shape, number)
    yield "negative", np.full(value.shape, -7, np.int64)
    yield "huge", np.full(value.shape, 2**62, np.int64)
    yield "huge unsigned", np.full(value.shape, 2**64 - 1, np.uint64)


def asked(root: Path) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in load_all(root / "vectors"):
        if not case.large and "outputs" in case.expected:
            found.setdefault(case.operation, []).append(case)
    return {operation: cases[:PER_OPERATION] for operation, cases in found.items()}


def wire(outputs: dict[str, Any]) -> dict[str, Any]:
    made = {k: encode_array(v) if isinstance(v, np.ndarray) else v for k, v in outputs.items()}
    return {"outputs": made}


def test_a_malformed_output_fails_and_breaks_nothing(root: Path) -> None:
    operations, failed = asked(root), 0
    assert len(operations) > 15
    for operation, cases in operations.items():
        for case in cases:
            right = case.expected["outputs"]
            for name, value in right.items():
                without = {k: v for k, v in right.items() if k != name}
                for kind, other in [("missing", None), *spoiled(value)]:
                    outputs = without if kind == "missing" else {**right, name: other}
                    judged, _ = judge_answer(case, wire(outputs), unit_roundoff=2.0**-24)
                    verdicts = {j.verdict for j in judged}
                    assert Verdict.ERROR not in verdicts, (operation, name, kind, judged)
                    failed += Verdict.FAIL in verdicts
    assert failed > 500


def test_a_wrong_shape_fails_once_and_says_what_came(root: Path) -> None:
    case = asked(root)["gptq_quantize"][0]
    outputs = {**case.expected["outputs"]}
    shape = outputs["scale"].shape
    outputs["scale"] = outputs["scale"][None]
    judged, _ = judge_answer(case, wire(outputs), unit_roundoff=2.0**-24)
    (failed,) = [j for j in judged if j.verdict == Verdict.FAIL]
    if "GPTQ-080" in case.requirements:
        assert failed.requirement == "GPTQ-080"
    assert failed.message == f"expected scale of shape {shape}, got {(1, *shape)}"
    assert {j.verdict for j in judged if j is not failed} <= {Verdict.NOT_JUDGED}
