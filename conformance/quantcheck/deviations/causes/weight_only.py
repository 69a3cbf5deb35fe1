"""Causes of section GPTQ in libraries that quantize weights alone."""

from __future__ import annotations

import numpy as np

from quantcheck.deviations.causes.affine import RELATIVE32
from quantcheck.deviations.causes.cause import Asked, Cause, in_groups, near, refused, same
from quantcheck.deviations.causes.certified import certified
from quantcheck.deviations.causes.rules import Rules
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import gptq_config
from quantref.errors import NotPositiveDefiniteError
from quantref.fast.gptq import gptq_quantize
from quantref.inputs import Array
from quantref.rules import groups_once, mirror_where_negative, range_with_zero, widen_zeros

GPTQ = ("gptq_quantize",)
NAMES = ("codes", "scale", "zero_point", "g_idx")


def plain_rounding_quantized_again(asked: Asked) -> bool:
    """Predict plain rounding, whose values are then quantized in groups of the original order.

    No error is carried. Ranges of the first quantization have zero, and groups follow the order;
    dead columns are 0. Ranges of the second are those of the rounded values, without zero, and a
    short last group is padded with zeros. A range of one point has scale 1. Values and scales are
    float32.
    """
    case, given = asked.case, asked.case.parameters
    if not _answers(case):
        return False
    weights, maxq = case.inputs["weights"], 2 ** given["bits"] - 1
    rows, n_in = weights.shape
    size = n_in if given["group_size"] == -1 else min(given["group_size"], n_in)
    values = _rounded(case, size, maxq)
    padded = np.pad(values, ((0, 0), (0, -n_in % size))).reshape(-1, size)
    lo, hi = padded.min(axis=1, keepdims=True), padded.max(axis=1, keepdims=True)
    if given["symmetric"]:
        length = (np.maximum(np.abs(lo), np.abs(hi)) * 2.0).astype(np.float64)
        scale = np.where(length > 0, length / maxq, 1.0)
        zero = np.full(scale.shape, 2 ** (given["bits"] - 1))
    else:
        scale = np.where(lo != hi, (hi - lo).astype(np.float64) / maxq, 1.0)
        zero = np.clip(np.rint(-lo / scale), 0, maxq)
    codes = np.clip(np.rint(padded / scale + zero), 0, maxq).reshape(rows, -1)[:, :n_in]
    groups = (rows, -(-n_in // size))
    return (
        not is_right(asked)
        and same(asked.array("codes"), codes, np.uint8)
        and same(asked.array("scale"), scale.astype(weights.dtype).reshape(groups), weights.dtype)
        and same(asked.array("zero_point"), zero.reshape(groups), np.uint8)
        and same(asked.array("g_idx"), np.arange(n_in) // size, np.int32)
    )


def is_right(asked: Asked) -> bool:
    """Tell whether an answer is that of SPEC.md: rounding alone is right where nothing couples."""
    case, given = asked.case, asked.case.parameters
    made = gptq_quantize(
        case.inputs["weights"], case.inputs["hessian"], gptq_config(given),
        block_size=given["block_size"],
    )  # fmt: skip
    return all(same(asked.array(name), getattr(made, name)) for name in NAMES)


def _rounded(case: Case, size: int, maxq: int) -> Array:
    """Return the values of plain rounding, in the original order and the dtype of the weights."""
    given, diagonal = case.parameters, np.diagonal(case.inputs["hessian"])
    w = np.where(diagonal == 0, 0, case.inputs["weights"])
    if given["activation_order"]:
        order = np.argsort(np.where(diagonal == 0, 1.0, diagonal))[::-1]  # as the library sorts
    else:
        order = np.arange(len(diagonal))
    values = np.zeros_like(case.inputs["weights"])
    for group in groups_once(len(order), size, len(order)):
        part = w[:, order[group.first : group.stop]].astype(np.float64)
        lo, hi = part.min(axis=1, keepdims=True), part.max(axis=1, keepdims=True)
        lo, hi = range_with_zero(lo, hi, given["symmetric"])
        if given["symmetric"]:
            lo, hi = mirror_where_negative(lo, hi)
        lo, hi = widen_zeros(lo, hi)
        s = (hi - lo) / maxq
        z = (maxq + 1) / 2 if given["symmetric"] else np.rint(-lo / s)
        codes = np.clip(np.rint(part / s) + z, 0, maxq)
        values[:, order[group.first : group.stop]] = s * (codes - z)
    return np.asarray(values)


def nan_in_hessian_shown(asked: Asked) -> bool:
    """Predict, of a Hessian with NaN, scales of one group that are all NaN, and no refusal."""
    return _has_nan(asked.case) and bool(np.isnan(asked.array("scale").astype(np.float64)).all())


def plain_rounding_where_no_factor(asked: Asked) -> bool:
    """Predict plain rounding under the known rules, where the Hessian has no factor.

    The identity takes the place of the factor. The weights of dead columns are 0.
    """
    if not _has_no_factor(asked.case):
        return False
    weights, given = asked.case.inputs["weights"], {**asked.case.parameters, "damping": 0.0}
    dead = np.diagonal(asked.case.inputs["hessian"]) == 0
    identity = np.diag(np.where(dead, 0.0, 1.0))
    arrays = {name: asked.array(name) for name in NAMES}
    return certified(asked, Rules.named(asked.rules), weights, identity, arrays, given)


def damping_raised_where_no_factor(asked: Asked, step: float) -> bool:
    """Predict GPTQ under the known rules with the next damping for which there is a factor.

    `step`: by how much the damping is raised at a time. It stays below 1.
    """
    case, given = asked.case, asked.case.parameters
    if not refused(case, "NotPositiveDefiniteError"):
        return False
    arrays, rules = {name: asked.array(name) for name in NAMES}, Rules.named(asked.rules)
    raised = given["damping"] + step
    while raised < 1:
        try:
            return certified(
                asked, rules, case.inputs["weights"], case.inputs["hessian"], arrays,
                {**given, "damping": raised},
            )  # fmt: skip
        except NotPositiveDefiniteError:
            raised += step
    return False


def _has_no_factor(case: Case) -> bool:
    return refused(case, "NotPositiveDefiniteError") or (
        refused(case, "NonFiniteError") and bool(np.isnan(case.inputs["hessian"]).any())
    )


def steps_wrapped_to_int8(asked: Asked) -> bool:
    """Predict dequantized weights of steps q − z that are cast to int8, where they wrap."""
    inputs = asked.case.inputs
    if not in_groups(inputs["g_idx"], inputs["scale"]):
        return False
    steps, groups = _steps(asked.case), inputs["g_idx"]
    wrapped = (steps + 128) % 256 - 128
    expected = inputs["scale"].astype(np.float64)[:, groups] * wrapped
    values = asked.array("values", expected.shape)
    wraps = bool((steps != wrapped).any()) and values.dtype == np.float32
    return wraps and near(values, expected, RELATIVE32 * np.abs(expected))


def _steps(case: Case) -> Array:
    zero = case.inputs["zero_point"].astype(np.int64)[:, case.inputs["g_idx"]]
    return np.asarray(case.inputs["codes"].astype(np.int64) - zero)


def _wraps(case: Case) -> bool:
    return "refused" not in case.expected and bool((np.abs(_steps(case)) > 128).any())


def groups_of_one_fail(asked: Asked) -> bool:
    """Predict an error where a group is one weight: the range of all weights has no such shape."""
    return _has_groups_of_one(asked.case) and asked.raised(
        "RuntimeError", r"shape '\[\d+, \d+\]' is invalid for input of size 1$"
    )


def _has_groups_of_one(case: Case) -> bool:
    given, n_in = case.parameters, case.inputs["weights"].shape[-1]
    alone = given["group_size"] == 1 or n_in == 1
    return "refused" not in case.expected and bool(given["per_channel"]) and alone


def _has_nan(case: Case) -> bool:
    alone = case.parameters["group_size"] == -1
    return alone and bool(np.isnan(case.inputs["hessian"]).any())


def _answers(case: Case) -> bool:
    return "refused" not in case.expected


CAUSES = (
    Cause(plain_rounding_quantized_again, GPTQ, _answers),
    Cause(nan_in_hessian_shown, GPTQ, _has_nan),
    Cause(plain_rounding_where_no_factor, GPTQ, _has_no_factor),
    Cause(
        damping_raised_where_no_factor,
        GPTQ,
        lambda case, **_: refused(case, "NotPositiveDefiniteError"),
        ({"step": 0.01},),
    ),
    Cause(steps_wrapped_to_int8, ("affine_dequantize",), _wraps),
    Cause(groups_of_one_fail, ("affine_parameters",), _has_groups_of_one),
)
