"""Laws: two answers that are each right keep them, and contradictory answers do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from quantcheck import properties
from quantcheck.corpus.draw import single, small
from quantcheck.corpus.gptq.build import gptq_case
from quantcheck.judge.verdict import Verdict
from quantcheck.properties import Sample
from quantcheck.properties.gptq.laws import agrees
from quantcheck.run.draws import draw
from quantcheck.targets.reference.operations import answer
from quantcheck.wire.arrays import decode
from quantcheck.wire.configs import gptq_config
from quantref.fast.certificate.bounds import Roundoffs
from quantref.fast.certificate.gathering import gather
from quantref.fast.problem import prepare_problem

pytestmark = pytest.mark.requirement("VER-070")

U32 = 2.0**-24
Outputs = dict[str, Any]
AFFINE = ("prop-aff-scaling", "prop-aff-rows")
ABSMAX = ("prop-abs-scaling", "prop-abs-sign", "prop-abs-rows")


def holds(sample: Sample, answers: list[Outputs], u: float = U32) -> bool:
    assert sample.law is not None
    found = sample.law(sample.cases, answers, u)
    return all(judgement.verdict == Verdict.PASS for judgement in found)


def of_reference(sample: Sample) -> list[Outputs]:
    return [decode(answer(case.question()))["outputs"] for case in sample.cases]


def samples(name: str) -> list[Sample]:
    return draw(properties.load()[name])


def moved(outputs: Outputs, name: str, change: Callable[[Any], Any]) -> Outputs:
    """Return outputs in which the last element of one array is changed."""
    array = outputs[name].copy()
    array[(-1,) * array.ndim] = change(array[(-1,) * array.ndim])
    return {**outputs, name: array}


def by_units(count: int) -> Callable[[Any], Any]:
    """Move a scale by two floats, which the error of 2⁻²² always allows, or by another number."""
    return lambda scale: scale + scale.dtype.type(count) * np.spacing(scale)


@pytest.mark.parametrize("name", [*AFFINE, *ABSMAX])
def test_scales_may_differ_by_both_errors_and_no_more(name: str) -> None:
    for sample in samples(name):
        one, other = of_reference(sample)
        assert holds(sample, [one, other])
        apart = [moved(one, "scale", by_units(-2)), moved(other, "scale", by_units(2))]
        if "rows" not in sample.cases[1].judging:  # the last row is the same one in both answers
            assert holds(sample, apart)
        for count in (-9, 9):  # 2⁻²¹ is less than nine floats
            assert not holds(sample, [one, moved(other, "scale", by_units(count))])


@pytest.mark.parametrize("name", [*AFFINE, *ABSMAX])
@pytest.mark.parametrize("wrong", [0.0, -1.0, np.inf, np.nan])
def test_scales_that_are_no_scales_break_the_laws(name: str, wrong: float) -> None:
    sample = samples(name)[0]
    one, other = of_reference(sample)
    for k, outputs in enumerate((one, other)):
        broken = moved(outputs, "scale", lambda _: wrong)
        assert not holds(sample, [broken, other] if k == 0 else [one, broken])


@pytest.mark.parametrize("name", [*AFFINE, *ABSMAX])
def test_other_shapes_break_the_laws(name: str) -> None:
    sample = samples(name)[0]
    one, other = of_reference(sample)
    for key in one:
        assert not holds(sample, [one, {**other, key: other[key][..., :0]}])


@pytest.mark.parametrize("name", AFFINE)
@pytest.mark.parametrize("change", [-1, 1])
def test_other_zero_points_break_the_laws(name: str, change: int) -> None:
    for sample in samples(name):
        one, other = of_reference(sample)
        z = int(other["zero_point"][-1, -1])
        wrong = moved(other, "zero_point", lambda old: min(max(int(old) + change, 0), 255))
        margins = sample.cases[1].judging["zero_margins"]
        if wrong["zero_point"][-1, -1] != z and margins[-1, -1] > 1e-3:
            assert not holds(sample, [one, wrong])


@pytest.mark.parametrize("name", ABSMAX)
@pytest.mark.parametrize("change", [-1, 1])
def test_other_codes_break_the_laws(name: str, change: int) -> None:
    for sample in samples(name):
        one, other = of_reference(sample)
        code = int(other["codes"][-1, -1])
        wrong = moved(other, "codes", lambda old: min(max(int(old) + change, -127), 127))
        margins = sample.cases[1].judging["margins"]
        if wrong["codes"][-1, -1] != code and margins[-1, -1] > 1e-3:
            assert not holds(sample, [one, wrong])


def test_near_ties_may_fall_to_either_side() -> None:
    """A zero-point and a code that the two scales put on different sides of a tie."""
    sample = next(s for s in samples("prop-aff-rows") if not s.cases[0].parameters["symmetric"])
    inputs = {"weights": single([[-1.5, 1.5]])}
    case = replace(sample.cases[0], inputs=inputs, parameters={**sample.cases[0].parameters,
                   "bits": 2, "group_size": -1})  # fmt: skip
    other = replace(case, judging={"rows": np.array([0], np.int32)})
    pair = replace(sample, cases=(case, other))
    low = {"scale": single([[1 + 2.0**-23]]), "zero_point": small([[1]])}
    high = {"scale": single([[1 - 2.0**-23]]), "zero_point": small([[2]])}
    assert holds(pair, [low, high])
    assert holds(pair, [high, low])
    for z in (0, 3):
        assert not holds(pair, [low, {**high, "zero_point": small([[z]])}])


@pytest.mark.requirement("GPTQ-060")
def test_the_first_difference_may_be_as_far_from_a_tie_as_either_bound() -> None:
    """Codes behind the first difference enter β, so two answers have different bounds."""
    rng = np.random.default_rng(5)
    tokens = rng.normal(size=(40, 6)) @ (np.eye(6) + 0.5)
    hessian, weights = tokens.T @ tokens / 20, rng.uniform(-2, 2, (1, 6))
    weights[0, :3] = (-8.0, 7.0, 0.5)  # range −8 … 7: scale 1, and a tie in the third column
    case = gptq_case("drawn", "a near-tie", weights, hessian * 1.0, damping=0.0)
    problem = prepare_problem(weights, hessian, gptq_config(case.parameters))
    one = {k: v.copy() for k, v in case.expected["outputs"].items()}
    assert one["scale"][0, 0] == 1
    two = {k: v.copy() for k, v in one.items()}
    two["codes"][0, 2:] = continued(problem, one, int(one["codes"][0, 2]) + 1)
    gathered = [gather(problem, SimpleNamespace(**a), Roundoffs.declared(U32)) for a in (one, two)]
    bounds = [evidence.beta[0, 2] for evidence in gathered]
    narrow, wide = sorted(bounds)
    assert wide > 1.005 * narrow
    for share, verdict in ((1.002 * narrow, True), (1.002 * wide, False)):
        moved_weights = weights.copy()
        moved_weights[0, 2] += share if one["codes"][0, 2] == 9 else -share
        given = replace(case, inputs={"weights": moved_weights, "hessian": hessian})
        found = agrees((given, given), (one, two), U32)
        assert (found[-1].verdict == Verdict.PASS) == verdict, found[-1].message


def continued(problem: Any, answer: Outputs, code: int) -> Any:
    """Return the codes from the third column on, the first of them given."""
    codes = answer["codes"].astype(np.float64)
    codes[0, 2] = code
    z, W, M = float(answer["zero_point"][0, 0]), problem.weights, problem.R
    M = M / np.diagonal(M)
    for j in range(3, codes.shape[1]):
        w = W[0, j] + (W[0, :j] - (codes[0, :j] - z)) @ M[:j, j]
        codes[0, j] = np.clip(np.rint(w) + z, 0, 15)
    return codes[0, 2:].astype(np.uint8)
