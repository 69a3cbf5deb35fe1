"""Causes of sections AFF and GPTQ for weights of float16, bfloat16 and float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantcheck.deviations.causes.cause import Asked, Cause
from quantcheck.deviations.causes.gptq import groups_of
from quantcheck.deviations.causes.rules import Rules
from quantcheck.deviations.causes.walk import Walk
from quantcheck.wire.cases import Case
from quantref.hessian import prepare_hessian
from quantref.inputs import Array


def half_precision_refused(asked: Asked, message: str, kind: str = "TypeError") -> bool:
    """Predict that weights of half precision are refused for a mixture of dtypes.

    `message`: a part of the message, a regular expression. `kind`: the type of the exception.
    """
    return _half(asked.case) and asked.raised(kind, message)


def double_precision_refused(asked: Asked, message: str, kind: str) -> bool:
    """Predict that float64 weights are refused for a mixture of dtypes, whatever the range is.

    `message`: a part of the message, a regular expression. `kind`: the type of the exception.
    """
    return _double_concerns(asked.case) and asked.raised(kind, message)


def half_precision_weights(asked: Asked) -> bool:
    """Predict GPTQ in the dtype of half-precision weights, under the known rules of the target.

    Scales are the range divided by maxq, both in half precision, and may become zero. Each weight
    is rounded to half precision after every error that is added to it. Codes, and parameters of
    later groups, are judged given the answer's own earlier codes, with a few roundings of half
    precision allowed. Where a scale is zero, codes are quotients of zero: nothing is predicted.
    """
    case, given = asked.case, asked.case.parameters
    weights, (right, parts) = case.inputs["weights"], groups_of(case)
    if not _half(case) or len(right) != len(parts):
        return False
    rows, columns = weights.shape
    codes, g_idx = asked.array("codes", weights.shape), asked.array("g_idx", (columns,))
    scale, zero = (asked.array(name, (rows, len(right))) for name in ("scale", "zero_point"))
    if codes.dtype != np.uint8 or scale.dtype != weights.dtype or zero.dtype != np.uint8:
        return False
    profile = Rules.named(asked.rules).profile
    order = prepare_hessian(
        case.inputs["hessian"], damping=given["damping"],
        activation_order=given["activation_order"], profile=profile,
    ).order  # fmt: skip
    column_group = np.repeat(np.arange(len(right)), [g.stop - g.first for g in right])
    groups = profile.g_idx(column_group.astype(np.int32), right[0].stop)
    if not (g_idx[order] == groups).all() or g_idx.dtype != groups.dtype:
        return False
    return _half_codes(profile, asked, codes[:, order], column_group, scale, zero)


def half_precision_parameters(asked: Asked) -> bool:
    """Predict parameters of half-precision weights whose ranges have the weights' precision.

    Scales are quotients in the same precision, or in float32.
    """
    case, given = asked.case, asked.case.parameters
    weights, size = case.inputs["weights"], given["group_size"]
    if not _half(case) or weights.ndim != 2 or not weights.size or not given["per_channel"]:
        return False
    wide, half = weights.astype(np.float64), weights.dtype
    size = min(size, wide.shape[1]) if size > 0 else wide.shape[1]
    starts = np.arange(0, wide.shape[1], size)
    lo, hi = (f.reduceat(wide, starts, axis=1) for f in (np.minimum, np.maximum))
    profile, stop = Rules.named(asked.rules).profile, starts[-1] + size
    if stop > wide.shape[1]:
        lo[:, -1], hi[:, -1] = profile.ragged(lo[:, -1], hi[:, -1])
    shape = (wide.shape[0], len(starts))
    scale, zero = asked.array("scale", shape), asked.array("zero_point", shape)
    if scale.dtype not in (half, np.float32) or zero.dtype != np.uint8:
        return False
    return bool(_half_parameters(profile, (lo, hi), scale, zero, given, half, 0.0).all())


def _half_roundoff(dtype: Any) -> float:
    known = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24}
    return known[dtype.name]


def _half_parameters(
    profile: Any,
    ends: tuple[Array, Array],
    scale: Array,
    zero: Array,
    given: Any,
    half: Any,
    moved: Array | float,
) -> Array:
    """Return which parameters are those of the ends of ranges in half precision.

    `moved`: by how much the ends may be off.
    """
    lo, hi = ends
    if not given["per_channel"]:
        lo, hi = np.full_like(lo, lo.min()), np.full_like(hi, hi.max())
    lo, hi = profile.range(lo, hi, given["symmetric"])
    if given["symmetric"]:
        lo, hi = profile.mirror(lo, hi)
    lo, hi = profile.degenerate(lo, hi)
    u, maxq = _half_roundoff(scale.dtype), 2 ** given["bits"] - 1
    expected = (hi - lo).astype(half).astype(np.float64) / maxq  # a length may overflow
    got = scale.astype(np.float64)
    allowed = 3 * u * expected + _spacing(scale.dtype)
    allowed = allowed + np.where(np.asarray(moved) > 0, (2 * moved + 2 * u * (hi - lo)) / maxq, 0)
    right = (got == expected) | ((np.abs(got - expected) <= allowed) & np.isfinite(expected))
    if given["symmetric"]:
        return np.asarray(right & (zero == 2 ** (given["bits"] - 1)))
    position = np.divide(-lo, got, out=np.full_like(got, np.nan), where=got > 0)
    off = np.abs(zero.astype(np.float64) - position)
    off = np.minimum(off, np.abs(zero.astype(np.float64) - np.mod(np.rint(position), 256)))
    shift = np.divide(moved, got, out=np.zeros_like(got), where=got > 0)
    near_it = np.isnan(position) | (off <= 0.5 + 3 * u * np.abs(position) + shift)
    return np.asarray(right & near_it)


def _spacing(dtype: Any) -> float:
    """Return the spacing of subnormal numbers of a dtype; those of others are too small."""
    return 2.0**-24 if dtype == np.float16 else 0.0


def _half_codes(
    profile: Any, asked: Asked, codes: Array, column_group: Array, scale: Array, zero: Array
) -> bool:
    """Tell whether codes and parameters are those of weights that carry errors in half precision.

    Each earlier column rounds a weight once, and the code rounds w/s and w/s + z. A row in which a
    number overflows holds no numbers afterwards.
    """
    half, given = asked.case.inputs["weights"].dtype, asked.case.parameters
    u, largest = _half_roundoff(half), np.abs(asked.case.inputs["weights"].astype(float)).max(1)

    def off(j: int, column: Array) -> Array:
        steps = np.sqrt(j + 1)
        return np.asarray(4 * u * np.maximum(largest, np.abs(column)) * steps + _spacing(half))

    def allowed(j: int, column: Array, s: Array, z: Array) -> Array:
        return np.asarray(off(j, column) / s + 4 * u * (np.abs(column / s) + 2 * np.abs(z)))

    def parameters(k: int, first: int, group: Array) -> Array:
        ends = group.min(axis=1, keepdims=True), group.max(axis=1, keepdims=True)
        moved = off(first, np.abs(group).max(axis=1))[:, None] if first else 0.0
        s, z = scale[:, k : k + 1], zero[:, k : k + 1]
        return _half_parameters(profile, ends, s, z, given, half, moved)[:, 0]

    walk = Walk(asked, profile, lambda a: a.astype(half).astype(float), allowed, parameters)
    return walk.follows(codes, column_group, scale.astype(np.float64), zero.astype(np.float64))


def _half(case: Case) -> bool:
    return case.inputs["weights"].dtype.name in ("float16", "bfloat16")


def _half_concerns(case: Case, **_: Any) -> bool:
    return "refused" not in case.expected and _half(case)


def _double_concerns(case: Case, **_: Any) -> bool:
    double = case.inputs["weights"].dtype == np.float64
    return "refused" not in case.expected and bool(double)


MIXED = {"message": "Minimum as input #1.* to be a double tensor", "kind": "InvalidArgumentError"}
GPTQ = ("gptq_quantize",)
CAUSES = (
    Cause(
        half_precision_refused,
        GPTQ,
        _half_concerns,
        (
            {"message": "requires arguments to have the same dtypes"},
            {"message": "tensor but is a float tensor", "kind": "InvalidArgumentError"},
        ),
    ),
    Cause(double_precision_refused, ("affine_parameters",), _double_concerns, (MIXED,)),
    Cause(half_precision_weights, GPTQ, _half_concerns),
    Cause(half_precision_parameters, ("affine_parameters",), _half_concerns),
)
