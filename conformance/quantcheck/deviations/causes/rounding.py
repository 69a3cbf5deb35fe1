"""Causes of section RND: limits and inputs that are rounded to float32, and unchecked inputs."""

from __future__ import annotations

import numpy as np

from quantcheck.deviations.causes.cause import Asked, Cause, refused, same
from quantcheck.wire.cases import Case
from quantref.inputs import Array


def _limits(case: Case) -> tuple[int, int]:
    limits = np.iinfo(case.parameters["dtype"])
    return int(limits.min), int(limits.max)


def limits_rounded_to_float32(asked: Asked) -> bool:
    """Predict a clip to limits that were rounded to float32, and a cast of the result.

    The largest int32 becomes 2147483648, which no int32 holds: its cast is the smallest or the
    largest int32, depending on the machine.
    """
    rounded = np.rint(asked.case.inputs["x"].astype(np.float64))
    return _exceeds_limits(asked.case) and _cast(asked, rounded)


def _cast(asked: Asked, rounded: Array) -> bool:
    """Tell whether codes are casts of rounded values, clipped to limits in float32."""
    lo, hi = _limits(asked.case)
    clipped = np.clip(rounded, float(np.float32(lo)), float(np.float32(hi)))
    codes = asked.array("codes", clipped.shape)
    right = np.where(clipped > hi, (codes == lo) | (codes == hi), codes == clipped)
    return bool(right.all()) and codes.dtype == np.dtype(asked.case.parameters["dtype"])


def _exceeds_limits(case: Case) -> bool:
    if "outputs" not in case.expected:
        return False
    return _beyond(case, np.rint(case.inputs["x"].astype(np.float64)))


def _beyond(case: Case, rounded: Array) -> bool:
    """Tell whether a value lies at the upper limit in float32, and no code holds that."""
    _, hi = _limits(case)
    limit = float(np.float32(hi))
    return bool(limit > hi and (rounded >= limit).any())


def input_rounded_to_float32(asked: Asked, dtype: str = "float32") -> bool:
    """Predict the results of a float64 input that was rounded to float32 first.

    Limits of a cast are rounded to float32 too, as in `limits_rounded_to_float32`. `dtype`: that of
    rounded values.
    """
    x = asked.case.inputs["x"]
    if not _loses_digits(asked.case, dtype):
        return False
    rounded = np.rint(x.astype(np.float32).astype(np.float64))
    if asked.case.operation == "round_half_even":
        return same(asked.array("values"), rounded, np.dtype(dtype))
    return _cast(asked, rounded)


def _loses_digits(case: Case, dtype: str = "float32") -> bool:
    x = case.inputs["x"]
    if x.dtype != np.float64 or "outputs" not in case.expected:
        return False
    rounded = np.stack([np.rint(x), np.rint(x.astype(np.float32).astype(np.float64))])
    if case.operation == "round_half_even":
        return dtype == "float32" or bool((rounded[0] != rounded[1]).any())
    clipped = np.clip(rounded, *_limits(case))
    return bool((clipped[0] != clipped[1]).any()) or _beyond(case, rounded[1])


def unchecked_cast(asked: Asked, kind: str) -> bool:
    """Predict codes of bad input: integers saturate like floats, and NaN may become any code.

    `kind`: the error with which the input has to be refused.
    """
    if not refused(asked.case, kind):
        return False
    lo, hi = _limits(asked.case)
    x = asked.case.inputs["x"].astype(np.float64)
    codes = asked.array("codes", x.shape)
    right = np.isnan(x) | (codes == np.clip(np.rint(x), lo, hi))
    return bool(right.all()) and codes.dtype == np.dtype(asked.case.parameters["dtype"])


def is_refused(case: Case, kind: str) -> bool:
    """Tell whether the right answer is a refusal of this kind; for `Cause.concerns`."""
    return refused(case, kind)


def kinds(*names: str) -> tuple[dict[str, str], ...]:
    """Return parameters `kind` for proposals."""
    return tuple({"kind": name} for name in names)


def is_bad(x: Array) -> Array:
    """Return where a number is neither finite nor a plain number."""
    return np.asarray(~np.isfinite(x))


CAUSES = (
    Cause(limits_rounded_to_float32, ("saturating_cast",), _exceeds_limits),
    Cause(
        input_rounded_to_float32,
        ("round_half_even", "saturating_cast"),
        _loses_digits,
        proposals=({}, {"dtype": "float64"}),
    ),
    Cause(
        unchecked_cast,
        ("saturating_cast",),
        is_refused,
        proposals=kinds("DTypeError", "NonFiniteError"),
    ),
)
