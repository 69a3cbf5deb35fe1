"""Causes of section FOUR: raw ranges in groups, and value ranges taken for bit widths."""

from __future__ import annotations

import math

import numpy as np

from quantcheck.deviations.causes.cause import Asked, Cause, near, rounds
from quantcheck.deviations.causes.nan import filled_groups, has_nan
from quantcheck.wire.cases import Case
from quantref.inputs import Array

RELATIVE32 = 2.0**-22
SMALLEST = float(np.finfo(np.float32).smallest_normal)


def _parameters(weights: Array, case: Case, *, widened: bool) -> tuple[Array, Array, int, int]:
    """Return scales, −a / s, and the ends of the zero-points of raw ranges.

    The last group is filled with zeros. `widened`: ranges of one point are widened by one on each
    side, and the value range is that of a bit width, ⌊log2⌋ of the number of codes.
    """
    given = case.parameters
    lo, hi = given["value_range"]
    size = given["block_size"]
    fill = -len(weights) % size
    if widened and len(weights) <= size:
        fill = 0
    padded = np.pad(weights, ((0, fill), (0, 0)))
    starts = np.arange(0, len(padded), size)
    least, most = np.minimum.reduceat(padded, starts), np.maximum.reduceat(padded, starts)
    if widened:
        bits = int(math.log2(hi - lo + 1))
        lo, hi = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        least, most = least - (least == most), most + (least == most)
    scale = (most - least + given["epsilon"]) / (hi - lo)
    return scale, -least / scale, lo, hi


def _predicted(asked: Asked, *, widened: bool) -> bool:
    """Tell whether an answer is that of raw ranges, and no right one."""
    return any(
        _differs(asked.case, weights, widened=widened)
        and _alike(asked, weights, asked.case.inputs["weights"], widened=widened)
        for weights in _read(asked.case)
    )


def _read(case: Case) -> tuple[Array, Array]:
    """Return the weights, and those that some processors read: subnormal ones as 0."""
    weights = case.inputs["weights"].astype(np.float64)
    return weights, np.where(np.abs(weights) < SMALLEST, 0, weights)


def _alike(asked: Asked, ranged: Array, weights: Array, *, widened: bool) -> bool:
    """Compare scales and zero-points with those of `ranged`, and codes with those of weights."""
    case, u = asked.case, asked.unit_roundoff
    scale, position, least, most = _parameters(ranged, case, widened=widened)
    got = asked.array("scale", scale.shape).astype(np.float64)
    zero = asked.array("zero_point", scale.shape).astype(np.float64)
    codes = asked.array("codes", weights.shape)
    if not near(got, scale, RELATIVE32 * scale):
        return False
    slack = np.abs(position) * (3 * u + RELATIVE32)
    if not rounds(zero, position + least, least, most, slack):
        return False
    lo, hi = case.parameters["value_range"]
    group = np.arange(len(weights)) // case.parameters["block_size"]
    t = weights.astype(np.float64) / got[group]
    right = codes.dtype == np.dtype(case.parameters["output_dtype"])
    bound = u * (3 * np.abs(t) + np.abs(zero[group]))
    return right and rounds(codes, t + zero[group], lo, hi, bound)


def _differs(case: Case, weights: Array, *, widened: bool) -> bool:
    """Tell whether the scales or zero-points of weights are not those of section 13."""
    if "outputs" not in case.expected or case.inputs["weights"].dtype != np.float32:
        return False
    scale, position, lo, hi = _parameters(weights, case, widened=widened)
    expected = case.expected["outputs"]
    starts = np.arange(0, len(weights), case.parameters["block_size"])
    used = np.maximum.reduceat(np.abs(case.inputs["weights"]), starts) > 0
    off = np.abs(scale - expected["scale"]) > 2 * RELATIVE32 * scale
    zero = np.clip(np.rint(position) + lo, lo, hi)
    moved = np.abs(zero - expected["zero_point"]) > 1
    return bool(((off | moved) & used).any())


def _concerns(case: Case, *, widened: bool) -> bool:
    return any(_differs(case, weights, widened=widened) for weights in _read(case))


def raw_ranges_in_groups(asked: Asked) -> bool:
    """Predict ranges without zero on the way through NumPy; the last group is filled with zeros.

    The zero-point is clipped, so that all weights of a group of one sign get one code, and those of
    a constant group a value near ε.
    """
    return _in_numpy(asked.case) and _predicted(asked, widened=False)


def value_range_as_bits(asked: Asked) -> bool:
    """Predict ranges without zero for tensors, one-point ranges widened, and ends of a bit width.

    A value range of 15 codes is taken for that of 3 bits, and any range for one around zero.
    """
    return not _in_numpy(asked.case) and _predicted(asked, widened=True)


def nan_left_out_of_groups(asked: Asked) -> bool:
    """Predict for tensors the scales and zero-points of the weights that are not NaN."""
    case = asked.case
    if _in_numpy(case) or not has_nan(case):
        return False
    weights = case.inputs["weights"].astype(np.float64)
    filled = filled_groups(weights.T, case.parameters["block_size"]).T
    return bool(np.isfinite(filled).all()) and _alike(asked, filled, weights, widened=True)


def _in_numpy(case: Case) -> bool:
    return case.parameters.get("route") == "numpy"


CAUSES = (
    Cause(
        raw_ranges_in_groups,
        ("grouped_quantize",),
        lambda case: _in_numpy(case) and _concerns(case, widened=False),
    ),
    Cause(
        value_range_as_bits,
        ("grouped_quantize",),
        lambda case: not _in_numpy(case) and _concerns(case, widened=True),
    ),
    Cause(
        nan_left_out_of_groups,
        ("grouped_quantize",),
        lambda case: not _in_numpy(case) and has_nan(case),
    ),
)
