"""Causes of section LAY about dtype policies, and about copies of quantized layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantcheck.deviations.causes.cause import Asked, Cause
from quantcheck.judge.judges import judge
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import build
from quantcheck.wire.policies import COPIED, policy_of, use_of


def copies_not_calibrated(asked: Asked) -> bool:
    """Predict AttributeError for a copy of a calibrated layer: it takes itself for uncalibrated.

    A copy that does not know of its codes calls its float kernel, which it does not have.
    """
    return _copied(asked.case) and asked.raised("AttributeError", "no attribute '_kernel'")


def _copied(case: Case) -> bool:
    return use_of(case.parameters) in COPIED and "refused" not in case.expected


def reverse_in_dtype_of_inputs(asked: Asked) -> bool:
    """Predict a reverse in the dtype of the inputs, float32, whatever the policy computes in.

    The scales of its inputs have that dtype, and so have its outputs. Rounded to the policy's
    compute dtype, the outputs are right.
    """
    if not _reversed_in_half(asked.case) or asked.array("values").dtype != np.float32:
        return False
    dtype = policy_of(asked.case.parameters).compute_dtype
    rounded = {
        name: asked.array(name).astype(dtype)
        for name in ("values", "again", "reloaded")
        if name in asked.outputs
    }
    topics = (*asked.case.requirements, "LAY-220")
    case = replace(asked.case, requirements=tuple(dict.fromkeys(topics)))
    answer = {"outputs": {**asked.outputs, **rounded}}
    found = judge(case, answer, unit_roundoff=asked.unit_roundoff)
    return all(finding.passed or finding.requirement == "CFG-140" for finding in found)


def _reversed_in_half(case: Case) -> bool:
    half = policy_of(case.parameters).half and "refused" not in case.expected
    scaled = build(case.parameters["config"]).activation_quantizer is not None
    return half and scaled and bool(case.parameters["reverse"])


CAUSES = (
    Cause(copies_not_calibrated, ("dense_gptq", "einsum_dense_gptq"), _copied),
    Cause(reverse_in_dtype_of_inputs, ("reversible_embedding_int8",), _reversed_in_half),
)
