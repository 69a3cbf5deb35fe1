"""Answers of section AFF as rules predict them."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantcheck.deviations.causes.cause import Asked, UnlikeError, in_groups, rounds
from quantcheck.deviations.causes.rules import Rules, mirror_without_abs
from quantref import rules as of
from quantref.affine import SMALLEST_SCALE
from quantref.inputs import Array

SPACING32 = 2.0**-149  # of subnormal float32
RELATIVE32 = 2.0**-22  # the relative error that section 0 allows a float32


# AFFINE PARAMETERS
def affine_parameters(asked: Asked, rules: Rules) -> bool:
    """Compare scales and zero-points with those of the ranges."""
    weights, given = asked.case.inputs["weights"], asked.case.parameters
    if weights.ndim != 2 or not weights.size:
        raise UnlikeError("an answer to weights that are no matrix")
    w, size = weights.astype(np.float64), given["group_size"]
    alone = not given["per_channel"] and "one_group_per_tensor" in rules.others
    size = w.shape[1] if size < 1 or alone else min(size, w.shape[1])
    groups = of.groups_once(w.shape[1], size, w.shape[1])
    lo, hi = (
        np.stack([f(w[:, g.first : g.stop], axis=1) for g in groups], 1) for f in (_min, _max)
    )
    last = groups[-1]
    if last.stop - last.first < size:
        lo[:, -1], hi[:, -1] = rules.profile.ragged(lo[:, -1], hi[:, -1])
    if not given["per_channel"]:
        lo, hi = lo.min(axis=0) + 0 * lo, hi.max(axis=0) + 0 * hi
    scale, zero = asked.array("scale", lo.shape), asked.array("zero_point", lo.shape)
    double = weights.dtype == np.float64 and "scale_in_dtype_of_weights" in rules.others
    if scale.dtype != (np.float64 if double else np.float32) or zero.dtype != np.uint8:
        return False
    right = parameters_near(rules, lo, hi, scale, zero, given, asked.unit_roundoff)
    if "scale_without_floor" in rules.others:
        tiny = np.maximum(np.abs(lo), np.abs(hi)) < SMALLEST_SCALE
        flushed = parameters_near(
            rules, lo * ~tiny, hi * ~tiny, scale, zero, given, asked.unit_roundoff
        )
        right |= flushed
    return bool(right.all())


def _min(part: Array, axis: int) -> Array:
    return np.asarray(part.min(axis=axis))


def _max(part: Array, axis: int) -> Array:
    return np.asarray(part.max(axis=axis))


def parameters_near(
    rules: Rules, lo: Array, hi: Array, scale: Array, zero: Array, given: Any, u: float
) -> Array:
    """Return which scales and zero-points are those of ranges with these ends."""
    profile, bits = rules.profile, given["bits"]
    maxq = 2**bits - 1
    empty = (lo == 0) & (hi == 0) & ("any_scale_of_zeros" in rules.others)
    lo, hi = profile.range(lo, hi, given["symmetric"])
    lost = given["symmetric"] and "abs_of_minimum_lost" in rules.others and lo.shape[1] == 1
    if given["symmetric"]:
        lo, hi = (mirror_without_abs(profile.mirror) if lost else profile.mirror)(lo, hi)
    lo, hi = profile.degenerate(lo, hi)
    expected = profile.scale(lo, hi, maxq).astype(np.float64)
    if "scale_without_floor" in rules.others:
        expected = np.where(expected <= 0, 1e-8, expected)
    elif lost:  # the range of a row without positive weights is not positive
        expected = np.where(expected <= 0, 1e-8, np.maximum(expected, SMALLEST_SCALE))
    else:
        expected = np.maximum(expected, SMALLEST_SCALE)
    got = scale.astype(np.float64)
    close = np.abs(got - expected) <= RELATIVE32 * np.abs(expected) + SPACING32
    right = (got == expected) | (close & np.isfinite(expected)) | np.isnan(expected)
    if "scale_without_floor" in rules.others:  # a subnormal result may be flushed to zero
        flushed = (got == 0) & (expected < SMALLEST_SCALE)
        right, got = right | flushed, np.where(flushed, expected, got)
    kept = empty & (got > 0) & np.isfinite(got) & (zero >= 0) & (zero <= maxq)
    if given["symmetric"]:
        return np.asarray(kept | right & (zero == 2 ** (bits - 1)))
    position = -lo / got
    if profile.zero_point is of.zero_point_clipped:
        position = np.clip(position, 0, maxq)
    return np.asarray(kept | right & _byte_of(zero, position, u))


def _byte_of(zero: Array, position: Array, u: float) -> Array:
    """Return where a zero-point is rint(position), cast to a byte: wrapped or saturated."""
    z, allowed = zero.astype(np.float64), 0.5 + np.abs(position) * (3 * u + RELATIVE32)
    wrapped = np.abs(np.mod(z - position + 128, 256) - 128) <= allowed
    saturated = np.abs(z - np.clip(position, 0, 255)) <= allowed
    beyond = ~np.isfinite(position) | (np.abs(position) >= 2**31)
    return np.asarray(beyond | wrapped | saturated)


# CODES
def affine_quantize(asked: Asked, rules: Rules) -> bool:
    """Compare codes with those of the given parameters; exact ties fall as the rules say."""
    inputs, maxq = asked.case.inputs, 2 ** asked.case.parameters["bits"] - 1
    groups = inputs["g_idx"]
    if not in_groups(groups, inputs["scale"]):
        return False  # the right answer is a refusal, and no rule makes another
    w = inputs["weights"].astype(np.float64)
    s, z = (inputs[name].astype(np.float64)[:, groups] for name in ("scale", "zero_point"))
    codes, t = asked.array("codes", w.shape), w / s + z
    ties = (t - np.floor(t) == 0.5) & ((t - z) * s == w)
    exact = rules.profile.code(w, s, z, maxq)
    bound = asked.unit_roundoff * (3 * np.abs(w / s) + np.abs(z))
    right = rounds(codes, t, 0, maxq, bound) and codes.dtype == np.uint8
    return right and bool((~ties | (codes == exact)).all())
