"""Laws of GPTQ that need no oracle: rows, blocks, powers of two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from quantcheck.judge.verdict import Judgement, judgement_of
from quantcheck.properties import Answers
from quantcheck.properties.relations import alike, equal
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import gptq_config
from quantref.fast.certificate.bounds import Roundoffs
from quantref.fast.certificate.gathering import gather
from quantref.fast.problem import prepare_problem
from quantref.inputs import Array

NAMES = ("codes", "scale", "zero_point", "g_idx")


def other_blocks(case: Case) -> tuple[Case, Case]:
    """Ask the same problem twice, with one block and with several."""
    one = {**case.parameters, "group_size": -1, "block_size": 128}
    return replace(case, parameters=one), replace(case, parameters={**one, "block_size": 8})


def moved_rows(case: Case) -> st.SearchStrategy[tuple[Case, Case]]:
    """Ask the same problem twice, the second time with rows in another order."""
    count = len(case.inputs["weights"])

    def move(order: list[int]) -> tuple[Case, Case]:
        inputs = {**case.inputs, "weights": case.inputs["weights"][order]}
        judging = {**case.judging, "rows": np.array(order, np.int32)}
        return case, replace(case, inputs=inputs, judging=judging)

    return st.permutations(range(count)).map(list).map(move)


def scaled_weights(case: Case) -> st.SearchStrategy[tuple[Case, Case]]:
    """Ask the same problem twice, the second time with weights times 2^k."""

    def scale(power: int) -> tuple[Case, Case]:
        weights = case.inputs["weights"] * np.float32(2.0**power)
        judging = {**case.judging, "power": 2.0**power}
        return case, replace(case, inputs={**case.inputs, "weights": weights}, judging=judging)

    return st.integers(-9, 9).map(scale)


def scaled_hessian(case: Case) -> st.SearchStrategy[tuple[Case, Case]]:
    """Ask the same problem twice, the second time with the Hessian times 4^k."""

    def scale(power: int) -> tuple[Case, Case]:
        hessian = case.inputs["hessian"] * 4.0**power
        return case, replace(case, inputs={**case.inputs, "hessian": hessian})

    return st.sampled_from((-30, -20, -12, 30)).map(scale)


def unchanged(cases: tuple[Case, ...], answers: Answers, u: float) -> list[Judgement]:
    """Judge that two answers agree, and that scales of the first block do so too.  [GPTQ-150]

    They have no errors of other columns, so that both are within 2⁻²² of one expected value.
    """
    one, two = (answer["scale"] for answer in answers)
    return [*agrees(cases, answers, u), alike(cases[1], "GPTQ-150", "scales", two, one)]


def agrees(cases: tuple[Case, ...], answers: Answers, u: float) -> list[Judgement]:
    """Judge that two answers to one problem agree, apart from near-ties.

    In each row the first code in processing order that differs must be a near-tie of both answers,
    within the larger bound of their certificates. Rows with different scales or zero-points are not
    compared; the certificate judges them in each answer.
    """
    case, other = cases
    one = {name: np.asarray(answers[0][name]) for name in NAMES}
    two = _undone({name: np.asarray(answers[1][name]) for name in NAMES}, other)
    findings = [_same_shapes(other, one, two)]
    if not findings[0].passed:
        return findings
    findings.append(equal(other, _first(other), "g_idx", two["g_idx"], one["g_idx"]))
    findings.append(_same_codes(case, other, one, two, u))
    return findings


def _undone(answer: dict[str, Array], case: Case) -> dict[str, Array]:
    """Convert an answer to the rows and units of the first problem."""
    order = case.judging.get("rows")
    if order is not None:
        place = np.argsort(order)
        answer = {k: v if k == "g_idx" else v[place] for k, v in answer.items()}
    scale = answer["scale"].astype(np.float64) / case.judging.get("power", 1.0)
    return {**answer, "scale": scale}


def _first(case: Case) -> str:
    return case.requirements[0]


def _same_shapes(case: Case, one: Mapping[str, Array], two: Mapping[str, Array]) -> Judgement:
    wrong = [name for name in NAMES if one[name].shape != two[name].shape]
    message = "the same shapes"
    if wrong:
        name = wrong[0]
        message = f"{name}: expected shape {one[name].shape}, got {two[name].shape}"
    return judgement_of(_first(case), not wrong, message, case.id)


def _same_codes(
    case: Case, other: Case, one: Mapping[str, Array], two: Mapping[str, Array], u: float
) -> Judgement:
    problem = prepare_problem(
        case.inputs["weights"], case.inputs["hessian"], gptq_config(case.parameters),
        block_size=case.parameters["block_size"],
    )  # fmt: skip
    order = problem.prepared.order
    alike = (one["scale"] == two["scale"]) & (one["zero_point"] == two["zero_point"])
    differ = (one["codes"] != two["codes"])[:, order] & alike.all(axis=1)[:, None]
    name = "GPTQ-060" if "GPTQ-060" in other.requirements else _first(other)
    if not differ.any():
        return judgement_of(name, True, "codes: all equal", other.id)
    worst: tuple[float, Any] = (-1.0, None)
    found = [
        gather(problem, SimpleNamespace(**answer), Roundoffs.declared(u)) for answer in (one, two)
    ]
    # Later codes, which differ, enter both bounds: the true weight is within either of the tie.
    beta = np.maximum(found[0].beta, found[1].beta)
    for evidence in found:
        distance = np.abs(np.abs(evidence.residuals) - evidence.column_scale / 2)
        for i in np.flatnonzero(differ.any(axis=1)):
            k = int(np.argmax(differ[i]))
            ratio = float(distance[i, k] / beta[i, k])
            worst = max(worst, (ratio, (int(i), int(order[k]))))
    ratio, index = worst
    message = (
        f"codes: {int(differ.any(axis=1).sum())} rows differ; the first difference of row "
        f"{index[0]} is off a tie by {ratio:.3g} of the bound"
    )
    details = {
        "index": index,
        "got": str(two["codes"][index]),
        "expected": str(one["codes"][index]),
    }
    return judgement_of(name, ratio <= 1, message, other.id, observed=ratio, bound=1.0, **details)
