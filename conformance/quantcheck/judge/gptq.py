"""Judge of section 7: the certificate of an answer, and the codes that a vector requires."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from quantcheck.judge.findings import Judging
from quantcheck.judge.naming.gptq import judged_checks
from quantcheck.wire.configs import gptq_config
from quantref.fast.certificate import certify
from quantref.inputs import Array


def gptq_quantize(collector: Judging) -> None:
    """Judge an answer by its certificate and by the codes that the vector requires."""
    case, parameters = collector.case, collector.case.parameters
    for name in ("codes", "scale", "zero_point", "g_idx"):
        collector.output(name)
        collector.dtype(name, "GPTQ-090" if name == "g_idx" else "GPTQ-080")
    config = gptq_config(parameters)
    answer = SimpleNamespace(**{k: np.asarray(v) for k, v in collector.outputs.items()})
    certificate = certify(
        case.inputs["weights"],
        case.inputs["hessian"],
        answer,
        config,
        block_size=parameters["block_size"],
        unit_roundoff=collector.u,
    )
    note = " (plain rounding: no error was fed back)" if certificate.plain_rounding else ""
    for check, requirement in judged_checks(case, certificate):
        details: dict[str, Any] = {"index": check.worst}
        if check.bound > 0:
            details |= {"observed": check.observed, "bound": check.bound}
        collector.add(requirement, check.passed, f"{check.name}: {check.message}{note}", **details)
    required = _required_codes(collector)
    collector.equal("codes", "GPTQ-070", where=required)


def _required_codes(collector: Judging) -> Array:
    """Return which codes must equal the expected ones, given the parameters of the answer.

    Expected codes follow from expected scales and zero-points. If any group of a row has a scale
    beyond its bound or another zero-point, only the certificate judges the codes of the row. At a
    tie, the scales of the row must be the expected ones exactly.
    """
    judging, expected = collector.case.judging, collector.expected
    name = "required_float32" if collector.in_single else "required_float64"
    required = judging[name] == 1
    errors = np.abs(collector.outputs["scale"].astype(np.float64) - expected["scale"])
    same = (errors <= judging["scale_bound"]).all(axis=1) & (
        collector.outputs["zero_point"] == expected["zero_point"]
    ).all(axis=1)
    exact_scale = (collector.outputs["scale"] == expected["scale"]).all(axis=1)
    ties = judging["margins"] == 0
    return np.asarray(required & same[:, None] & (~ties | exact_scale[:, None]))
