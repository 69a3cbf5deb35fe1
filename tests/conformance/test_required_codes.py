"""Required codes are asked of answers that have decided like the vector up to there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantcheck.corpus.affine.build import parameters_case
from quantcheck.corpus.draw import single, small
from quantcheck.corpus.gptq.build import gptq_case
from quantcheck.judge.judges import judge
from quantcheck.targets.variants.arithmetic import Arithmetic
from quantcheck.targets.variants.gptq import Job, by_reversal, textbook
from quantcheck.wire.cases import Case

U32, U64 = 2.0**-24, 2.0**-53


class Fixed:
    """Stands for a generator: it moves every scale by the same share of what is allowed."""

    def __init__(self, share: float) -> None:
        self.share = share

    def uniform(self, _: float, most: float, shape: tuple[int, ...]) -> Any:
        return np.full(shape, self.share * most)


def failed(case: Case, outputs: dict[str, Any], u: float) -> set[str]:
    findings = judge(case, {"outputs": outputs}, unit_roundoff=u)
    return {finding.requirement for finding in findings if not finding.passed}


def problem(**changes: Any) -> Case:
    """At scale 1 the third column is a tie, and its residual moves all later weights by halves."""
    weights = single([[3.0, 0.0, 1.5, 1.2, 0.9, 1.7, 2.2, 0.4]])
    hessian = np.full((8, 8), 3.0) + np.eye(8)
    settings = {"bits": 2, "damping": 0.0, **changes}
    return gptq_case("drawn", "a tie, and columns behind it", weights, hessian, **settings)


def answered(case: Case, share: float, dtype: str = "float64") -> dict[str, Any]:
    arithmetic: Any = Arithmetic(dtype, jitter=Fixed(share))  # type: ignore[arg-type]
    job = Job(arithmetic, by_reversal, dict(case.inputs), case.parameters)
    textbook(job)
    return job.answer()


def position(case: Case, k: int) -> int:
    return int(case.judging["order"][k])


@pytest.mark.requirement("GPTQ-070")
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(("dtype", "u"), [("float32", U32), ("float64", U64)])
def test_codes_behind_a_tie_that_fell_otherwise_are_not_asked(
    ordered: bool, dtype: str, u: float
) -> None:
    case = problem()
    if ordered:  # the same columns, given in the opposite order
        scales = np.sqrt(np.arange(1.0, 9.0))
        hessian = case.inputs["hessian"] * scales[:, None] * scales
        case = problem_of(case.inputs["weights"][:, ::-1].copy(), hessian)
        assert case.judging["order"].tolist() == list(range(8))[::-1]
    required, ties = case.judging["required_float32"] == 1, case.judging["margins"] == 0
    expected = case.expected["outputs"]["codes"]
    assert required[0, [position(case, 2), position(case, 3)]].all()
    assert ties[0, position(case, 2)]
    answer = answered(case, 0.5, dtype)
    assert answer["scale"][0, 0] == np.nextafter(np.float32(1), np.float32(2))
    differ = (answer["codes"] != expected)[0, case.judging["order"]]
    assert differ.tolist()[:3] == [False, False, True]
    assert (required & ~ties & (answer["codes"] != expected)).any()
    assert not failed(case, answer, u)


def problem_of(weights: Any, hessian: Any) -> Case:
    settings: dict[str, Any] = {"bits": 2, "damping": 0.0, "activation_order": True}
    return gptq_case("drawn", "a tie in another order", weights, hessian, **settings)


@pytest.mark.requirement("GPTQ-070")
def test_codes_behind_a_tie_that_fell_as_expected_are_asked() -> None:
    """A smaller scale moves the tie to its expected code, and nothing behind it is excused."""
    case = problem()
    answer = answered(case, -0.5)
    expected = case.expected["outputs"]["codes"]
    assert answer["scale"][0, 0] < 1
    assert (answer["codes"] == expected).all()
    assert not failed(case, answer, U64)
    answer["codes"][0, 3] ^= 1
    assert "GPTQ-070" in failed(case, answer, U64)


@pytest.mark.requirement("GPTQ-070")
def test_a_wrong_tie_is_found_where_the_scale_is_the_expected_one() -> None:
    case = problem()
    answer = answered(case, 0.0)
    assert not failed(case, answer, U32)
    answer["codes"][0, 2] = 1  # which makes them the codes of plain rounding
    assert failed(case, answer, U32) == {"GPTQ-060"}


@pytest.mark.requirement("GPTQ-070")
def test_a_wrong_code_behind_an_excused_tie_fails_the_certificate() -> None:
    case = problem()
    answer = answered(case, 0.5)
    k = next(k for k in range(3, 8) if 0 < answer["codes"][0, k] < 3)
    answer["codes"][0, k] += 1
    assert failed(case, answer, U64) == {"GPTQ-060"}


@pytest.mark.requirement("GPTQ-070")
def test_double_precision_is_asked_at_scales_of_double_precision() -> None:
    """`scale_bound` has the error of single precision; required_float64 does not allow for it."""
    case = problem()
    answer = {name: value.copy() for name, value in case.expected["outputs"].items()}
    answer["scale"][:] = 1 + 2.0**-20
    judging = {**case.judging, "scale_bound": np.full((1, 1), 2.0**-19)}
    judging["margins"] = np.where(case.judging["margins"] == 0, 0.25, case.judging["margins"])
    answer["codes"][0, 5] ^= 1
    wide = replace(case, judging=judging)
    assert "GPTQ-070" in failed(wide, answer, U32)
    assert "GPTQ-070" not in failed(wide, answer, U64)


@pytest.mark.requirement("AFF-060")
@pytest.mark.parametrize(
    ("scale", "admissible"), [(1.0, {2}), (1 + 2.0**-23, {1, 2}), (1 - 2.0**-24, {1, 2})]
)
def test_a_zero_point_at_a_tie_is_asked_of_its_scale_alone(
    scale: float, admissible: set[int]
) -> None:
    """The range −1.5 … 1.5 at 2 bits has the scale 1 and a tie at 1.5."""
    case = parameters_case("drawn", "a tie", single([[-1.5, 1.5]]), bits=2)
    found = {
        z
        for z in range(4)
        if not failed(case, {"scale": single([[scale]]), "zero_point": small([[z]])}, U32)
    }
    assert found == admissible


@pytest.mark.requirement("AFF-060")
def test_ties_of_shared_ranges_and_of_later_groups() -> None:
    weights = single([[-1.5, 0.5, 1.0, 2.0], [0.25, 1.5, -1.0, 1.0]])
    case = parameters_case("drawn", "a tie", weights, bits=2, group_size=2, per_channel=False)
    outputs = {name: value.copy() for name, value in case.expected["outputs"].items()}
    assert outputs["zero_point"].tolist() == [[2, 1], [2, 1]]
    outputs["scale"][:, 0] = 1 + 2.0**-23
    outputs["zero_point"][:, 0] = 1
    assert not failed(case, outputs, U32)
    outputs["zero_point"][:, 1] = 2
    assert failed(case, outputs, U32) == {"AFF-060"}
