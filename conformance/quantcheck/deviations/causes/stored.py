"""Causes of section GPTQ in libraries that make the codes they store of dequantized weights."""

from __future__ import annotations

import numpy as np

from quantcheck.deviations.causes.cause import Asked, Cause, UnlikeError, in_groups, same
from quantcheck.deviations.causes.certified import certified
from quantcheck.deviations.causes.rules import Rules
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import gptq_config
from quantref.fast.gptq import gptq_quantize
from quantref.gptq import prepare_problem
from quantref.inputs import Array
from quantref.rules import Profile


def codes_of_values_in_half_precision(asked: Asked) -> bool:
    """Predict GPTQ whose values s·(q − z) are rounded to the dtype of half-precision weights.

    The layer makes codes of them, and a rounded value may lie next to another code. The parameters,
    and the errors that are carried, are those of the codes before.
    """
    case, rules = asked.case, Rules.named(asked.rules)
    if not _in_half(case):
        return False
    arrays = {name: asked.array(name) for name in ("codes", "scale", "zero_point", "g_idx")}
    if not in_groups(arrays["g_idx"], arrays["scale"]):
        return False
    before = {**arrays, "codes": _codes_before(case, rules.profile, **arrays)}
    weights, hessian = case.inputs["weights"], case.inputs["hessian"]
    return not same(before["codes"], arrays["codes"]) and certified(
        asked, rules, weights, hessian, before, case.parameters
    )


def _codes_before(
    case: Case, profile: Profile, codes: Array, scale: Array, zero_point: Array, g_idx: Array
) -> Array:
    """Return the codes of the values that were rounded.

    They are, of those that are stored as the codes of the answer, the nearest ones to the weights.
    """
    problem = prepare_problem(
        case.inputs["weights"], case.inputs["hessian"], gptq_config(case.parameters),
        profile=profile, block_size=case.parameters["block_size"],
    )  # fmt: skip
    stored, before = _stored(case, scale, zero_point), np.empty_like(codes)
    carried, steps = problem.weights.copy(), np.arange(stored.shape[2])
    for j, column in enumerate(problem.prepared.order):
        k = g_idx[column]
        s, z = scale[:, k].astype(np.float64), zero_point[:, k].astype(np.float64)
        off = np.abs(steps - (carried[:, j] / s + z)[:, None])
        off[stored[:, k] != codes[:, column, None]] = np.inf
        if np.isinf(off).all(axis=1).any():
            raise UnlikeError("a code as which no code is stored")
        before[:, column] = off.argmin(axis=1)
        error = (carried[:, j] - s * (before[:, column] - z)) / problem.U[j, j]
        carried[:, j:] -= error[:, None] * problem.U[j, j:]
    return before


def _stored(case: Case, scale: Array, zero_point: Array) -> Array:
    """Return, for each row, group and code, the code that is stored for it, in float32."""
    maxq = 2 ** case.parameters["bits"] - 1
    s, z = scale.astype(np.float32)[..., None], zero_point.astype(np.float32)[..., None]
    values = s * (np.arange(maxq + 1, dtype=np.float32) - z)
    rounded = values.astype(case.inputs["weights"].dtype).astype(np.float32)
    return np.asarray(np.clip(np.rint((rounded + s * z) / s), 0, maxq))


def _in_half(case: Case) -> bool:
    half = case.inputs["weights"].dtype.name in ("float16", "bfloat16")
    return "refused" not in case.expected and half


def _changes_codes(case: Case) -> bool:
    """Tell whether codes of SPEC.md are stored as other ones."""
    if not _in_half(case):
        return False
    made = gptq_quantize(
        case.inputs["weights"], case.inputs["hessian"], gptq_config(case.parameters),
        block_size=case.parameters["block_size"],
    )  # fmt: skip
    stored, codes = _stored(case, made.scale, made.zero_point), made.codes.astype(np.intp)
    rows = np.arange(len(codes))[:, None]
    return bool((stored[rows, made.g_idx, codes] != codes).any())


CAUSES = (Cause(codes_of_values_in_half_precision, ("gptq_quantize",), _changes_codes),)
