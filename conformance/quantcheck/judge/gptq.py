"""Judge of section 7: the certificate of an answer, and the codes that a vector requires."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from quantcheck.judge.findings import Judging
from quantcheck.judge.naming.gptq import judged_checks
from quantcheck.oracle.bounds import ULP32
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import gptq_config
from quantref.fast.certificate import certify_problem
from quantref.fast.certificate.bounds import Factor
from quantref.fast.problem import GPTQProblem, prepare_problem
from quantref.inputs import Array


def gptq_quantize(collector: Judging) -> None:
    """Judge an answer by its certificate and by the codes that the vector requires, if any."""
    case = collector.case
    for name in ("codes", "scale", "zero_point", "g_idx"):
        collector.output(name)
        collector.dtype(name, "GPTQ-090" if name == "g_idx" else "GPTQ-080")
    answer = SimpleNamespace(**{k: np.asarray(v) for k, v in collector.outputs.items()})
    problem, factor = _problem.__wrapped__(case) if case.large else _problem(case)
    certificate = certify_problem(
        problem,
        answer,
        unit_roundoff=collector.u,
        factor_roundoff=collector.u_f,
        factor=factor,
    )
    for check, requirement in judged_checks(case, certificate):
        details: dict[str, Any] = {"index": check.worst}
        if check.bound > 0:
            details |= {"observed": check.observed, "bound": check.bound}
        collector.add(requirement, check.passed, f"{check.name}: {check.message}", **details)
    if "outputs" in case.expected:
        collector.equal("codes", "GPTQ-070", where=_required_codes(collector))


@lru_cache(maxsize=1)
def _problem(case: Case) -> tuple[GPTQProblem, Factor]:
    """Return the problem of a case and its factor, which the answers to one question share."""
    weights, parameters = case.inputs["weights"], case.parameters
    problem = prepare_problem(
        weights,
        case.inputs["hessian"],
        gptq_config(parameters),
        block_size=parameters["block_size"],
        dtype=np.float32 if weights.dtype.itemsize <= 4 else np.float64,
    )
    return problem, Factor(problem.R, shared=True)


def _required_codes(collector: Judging) -> Array:
    """Return which codes must equal the expected ones, given the answer so far.

    Expected codes follow from expected parameters and from the expected codes before them. If any
    group of a row has a scale beyond its bound or another zero-point, only the certificate judges
    the codes of the row. A tie is asked where the scales of its row are the expected ones exactly.
    Elsewhere it may fall to either side. If it does, another error is fed back, and only the
    certificate judges the codes behind it.
    """
    judging, expected = collector.case.judging, collector.expected
    name = "required_float32" if collector.in_single else "required_float64"
    required = judging[name] == 1
    scale = expected["scale"].astype(np.float64)
    errors = np.abs(collector.outputs["scale"].astype(np.float64) - scale)
    bound = judging["scale_bound"] if collector.in_single else 2 * ULP32 * scale
    same = (errors <= bound).all(axis=1) & (
        collector.outputs["zero_point"] == expected["zero_point"]
    ).all(axis=1)
    exact_scale = (collector.outputs["scale"] == expected["scale"]).all(axis=1)
    ties = judging["margins"] == 0
    asked = required & same[:, None] & (~ties | exact_scale[:, None])
    order = judging["order"]
    excused = ~asked & (collector.outputs["codes"] != expected["codes"])
    behind = np.zeros_like(asked)
    behind[:, order[1:]] = np.logical_or.accumulate(excused[:, order], axis=1)[:, :-1]
    return np.asarray(asked & ~behind)
