"""Causes of section ABS: other precisions of the scale, lost dimensions, and unchecked inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from quantcheck.deviations.causes.cause import Asked, Cause, UnlikeError, near, refused, rounds
from quantcheck.wire.arrays import dtype_of
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import absmax_arguments
from quantref.inputs import Array, resolve_axis

RELATIVE32 = 2.0**-22
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
COARSE = 2.0  # codes: a few roundings of half precision of 127
SPACING = {"float16": 2.0**-24}  # of subnormal numbers; others do not come near theirs


def _settings(case: Case) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = absmax_arguments(case.parameters)
    return settings


def axes_of(case: Case) -> tuple[int, ...]:
    """Return the axes that share a scale, not negative and in order."""
    axis = case.parameters.get("call_axis")
    axis = _settings(case)["axis"] if axis is None else axis
    if axis is None and "arguments" in case.parameters:  # of a quantizer  [CFG-150]
        axis = -1
    if isinstance(axis, list):  # an axis that is named twice counts once
        return tuple(sorted({a % case.inputs["x"].ndim for a in axis}))
    return tuple(resolve_axis(axis, case.inputs["x"].ndim, "ABS-050"))


def quantized(asked: Asked, x: Array, dtype: str, *, dimensions: bool = True) -> bool:
    """Tell whether scale and codes are those of x (float64), with a scale of a dtype.

    Codes are judged for the answer's own scale. Where slices hold NaN, nothing is predicted.
    """
    settings, axes = _settings(asked.case), axes_of(asked.case)
    lo, hi = settings["value_range"]
    u = max(ROUNDOFF[dtype], asked.unit_roundoff)
    epsilon = np.asarray(settings["epsilon"], dtype_of(dtype)).astype(np.float64)
    unrounded = hi / (np.abs(x).max(axis=axes, keepdims=True) + epsilon)
    expected = unrounded.astype(dtype_of(dtype)).astype(np.float64)
    got = asked.array("scale", expected.shape if dimensions else ())
    codes = asked.array("codes", x.shape)
    if got.dtype != dtype_of(dtype) or codes.dtype != np.dtype(settings["output_dtype"]):
        return False
    scale = got.astype(np.float64).reshape(expected.shape)
    relative = 4 * u if u > ROUNDOFF["float32"] else RELATIVE32
    if not near(scale, expected, relative * np.abs(expected) + SPACING.get(dtype, 0.0)):
        return False
    t = np.where(np.isnan(expected), np.nan, x * scale)
    ends = min(lo, hi), max(lo, hi)
    if np.isinf(scale).any() and rounds(codes, x * unrounded, *ends, COARSE):
        return True  # codes from the scale before it was rounded, which is not infinite
    return rounds(codes, t, *ends, 3 * u * np.abs(np.clip(t, -256, 256)))


def scale_in_dtype_of_input(asked: Asked) -> bool:
    """Predict a scale that is computed and returned in half precision, as the input is.

    Digits are lost, ε may vanish, and in float16 the scale of small inputs becomes infinite.
    """
    x = asked.case.inputs["x"]
    return _is_half(asked.case) and quantized(asked, x.astype(np.float64), x.dtype.name)


def _is_half(case: Case) -> bool:
    return "outputs" in case.expected and case.inputs["x"].dtype.name in ("float16", "bfloat16")


def absmax_in_float32(asked: Asked) -> bool:
    """Predict scale and codes of a float64 input that was rounded to float32 first."""
    x = asked.case.inputs["x"]
    single = x.astype(np.float32).astype(np.float64)
    return x.dtype == np.float64 and quantized(asked, single, "float32")


def _is_double(case: Case) -> bool:
    return "outputs" in case.expected and case.inputs["x"].dtype == np.float64


def scale_without_dimensions(asked: Asked) -> bool:
    """Predict the right scale and codes, where the scale of all axes has no dimension."""
    x = asked.case.inputs["x"]
    if x.ndim == 0 or len(axes_of(asked.case)) < x.ndim:
        return False
    wide = x.astype(np.float64)
    narrowed = _narrowed(asked) or asked
    return any(quantized(a, wide, x.dtype.name, dimensions=False) for a in (asked, narrowed))


def _of_all_axes(case: Case) -> bool:
    return "outputs" in case.expected and len(axes_of(case)) == case.inputs["x"].ndim > 0


WIDENED = {"uint16": "int32", "uint32": "int64"}
"""By dtype: the signed one in which PyTorch returns its codes."""


def unsigned_codes_widened(asked: Asked) -> bool:
    """Predict the right codes of uint16 or uint32 in the next wider signed dtype."""
    narrowed, x = _narrowed(asked), asked.case.inputs["x"]
    if narrowed is None:
        return False
    wide = x.astype(np.float64)
    return any(quantized(narrowed, wide, dtype) for dtype in {"float32", x.dtype.name})


def _narrowed(asked: Asked) -> Asked | None:
    """Return the answer with codes in the dtype that was asked for, if they are in a wider one."""
    dtype, codes = str(_settings(asked.case)["output_dtype"]), asked.array("codes")
    if codes.dtype.name != WIDENED.get(dtype):
        return None
    outputs = {**asked.outputs, "codes": codes.astype(dtype)}
    same = bool((outputs["codes"] == codes).all())
    return replace(asked, answer={"outputs": outputs}) if same else None


def _widened(case: Case) -> bool:
    return "outputs" in case.expected and _settings(case)["output_dtype"] in WIDENED


def scalar_not_converted(asked: Asked) -> bool:
    """Predict ValueError where a bfloat16 tensor of rank 0 is turned into an array."""
    return _is_half_scalar(asked.case) and asked.raised(
        "ValueError", "__array__ method not producing an array"
    )


def _is_half_scalar(case: Case) -> bool:
    x = case.inputs["x"]
    return "outputs" in case.expected and x.ndim == 0 and x.dtype.name == "bfloat16"


def unchecked_absmax(asked: Asked, kind: str) -> bool:
    """Predict the scale and the codes of bad input by the formulas of section 4, unchecked.

    Integers count as float32. Any value range is taken, an axis named twice counts once, and the
    maximum of an empty array is the lowest float32. Where a slice holds NaN, nothing is
    predicted. `kind`: the error with which the input has to be refused.
    """
    if not refused(asked.case, kind):
        return False
    x = asked.case.inputs["x"]
    axes = axes_of(asked.case)
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    if x.size == 0:
        lowest = _settings(asked.case)["value_range"][1] / float(np.finfo(np.float32).max)
        scale = np.abs(asked.array("scale", shape))
        return asked.array("codes").shape == x.shape and near(scale, 0 * scale + lowest, 1e-43)
    if np.isnan(x.astype(np.float64)).any():
        hole = np.isnan(x.astype(np.float64)).any(axis=axes, keepdims=True)
        whole = np.where(hole, np.nan, x.astype(np.float64))
    else:
        whole = x.astype(np.float64)
    lo, hi = _settings(asked.case)["value_range"]
    if lo > hi:
        return _reversed(asked, lo, hi, shape)
    if not -128 <= lo <= hi <= 127:
        return _wrapped(asked, whole)
    for dtype in (x.dtype.name, "float32"):
        try:
            if dtype in ROUNDOFF and quantized(asked, whole, dtype):
                return True
        except UnlikeError:
            continue
    return x.dtype.kind in "iu" and _integer_scale(asked, whole)


def _reversed(asked: Asked, lo: int, hi: int, shape: tuple[int, ...]) -> bool:
    """Predict codes at one end of a reversed range, and a scale of its second number."""
    codes, scale = asked.array("codes"), asked.array("scale", shape)
    one_end = (codes == lo).all() or (codes == hi).all()
    return bool(one_end) and bool((np.sign(scale) == np.sign(hi)).all())


def _wrapped(asked: Asked, x: Array) -> bool:
    """Predict a scale of the range as given, and codes that a cast to bytes wraps or saturates."""
    settings, axes = _settings(asked.case), axes_of(asked.case)
    hi = settings["value_range"][1]
    expected = hi / (np.abs(x).max(axis=axes, keepdims=True) + settings["epsilon"])
    scale, codes = asked.array("scale", expected.shape), asked.array("codes", x.shape)
    t = np.clip(np.rint(x * scale.astype(np.float64)), *settings["value_range"])
    limits = np.iinfo(settings["output_dtype"])
    wrapped = np.mod(t - limits.min, 2**limits.bits) + limits.min
    right = (codes == wrapped) | (codes == np.clip(t, limits.min, limits.max))
    return near(scale, expected, RELATIVE32 * expected) and bool(right.all())


def _integer_scale(asked: Asked, x: Array) -> bool:
    """Predict the codes of integers whose scale is cast to integers too."""
    settings, axes = _settings(asked.case), axes_of(asked.case)
    lo, hi = settings["value_range"]
    expected = np.trunc(hi / (np.abs(x).max(axis=axes, keepdims=True) + settings["epsilon"]))
    scale, codes = asked.array("scale", expected.shape), asked.array("codes", x.shape)
    if not near(scale, expected, RELATIVE32 * expected) or scale.dtype.kind not in "iu":
        return False
    products = x * scale.astype(np.float64)
    if scale.dtype.kind == "i" or (codes == np.clip(products, lo, hi)).all():
        return bool((codes == np.clip(products, lo, hi)).all())
    # The lower limit of unsigned integers wraps too, to one above the upper limit: codes are the
    # limit that is taken last.
    return bool((codes == lo).all() or (codes == hi).all())


def _refuses(case: Case, kind: str) -> bool:
    return refused(case, kind)


OPERATIONS = ("abs_max_quantize", "abs_max_quantizer")
BAD = ("DTypeError", "NonFiniteError", "ValueRangeError", "AxisError", "EmptyArrayError")
CAUSES = (
    Cause(scale_in_dtype_of_input, OPERATIONS, _is_half),
    Cause(absmax_in_float32, OPERATIONS, _is_double),
    Cause(scale_without_dimensions, OPERATIONS, _of_all_axes),
    Cause(unsigned_codes_widened, OPERATIONS, _widened),
    Cause(scalar_not_converted, OPERATIONS, _is_half_scalar),
    Cause(unchecked_absmax, OPERATIONS, _refuses, tuple({"kind": kind} for kind in BAD)),
)
