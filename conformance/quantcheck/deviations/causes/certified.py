"""Answers of sections GPTQ and CAL as rules predict them, judged by the certificate."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from quantcheck.deviations.causes.affine import RELATIVE32, parameters_near
from quantcheck.deviations.causes.cause import Asked, UnlikeError, in_groups, near, same
from quantcheck.deviations.causes.live import straddle, straddling_right
from quantcheck.deviations.causes.rules import (
    Rules,
    mirror_without_abs,
    order_with_any_ties,
    positive,
)
from quantcheck.wire.arrays import decode
from quantcheck.wire.configs import gptq_config
from quantref import rules as of
from quantref.affine import SMALLEST_SCALE
from quantref.hessian import prepare_hessian
from quantref.inputs import Array


# GPTQ
def gptq(asked: Asked, rules: Rules) -> bool:
    """Certify the answer under the rules; dtypes are part of it."""
    case, parameters = asked.case, asked.case.parameters
    arrays = {name: asked.array(name) for name in ("codes", "scale", "zero_point", "g_idx")}
    weights = case.inputs["weights"]
    return certified(asked, rules, weights, case.inputs["hessian"], arrays, parameters)


def certified(
    asked: Asked,
    rules: Rules,
    weights: Array,
    hessian: Array,
    arrays: Any,
    parameters: Any,
    hessian_error: float = 0.0,
) -> bool:
    """Tell whether the codes, parameters and groups of one matrix are those of the rules.

    `hessian_error`: η of section 10, of a Hessian that the target computes.
    """
    fractional = rules.profile.g_idx is of.g_idx_fractional
    dtypes = {
        "codes": np.uint8,
        "scale": _dtype_of_scale(rules, weights),
        "zero_point": np.uint8,
        "g_idx": np.float32 if fractional else np.int32,
    }
    unlike = any(arrays[name].dtype != dtype for name, dtype in dtypes.items())
    if unlike or not in_groups(arrays["g_idx"], arrays["scale"]):
        return False
    profile = _profile_of(rules, arrays, parameters)
    if "hessian_of_lower_triangle" in rules.others and is_asymmetric(hessian):
        hessian = _of_lower_triangle(hessian, parameters, profile)
    if "hessian_as_given" in rules.others and is_asymmetric(hessian):
        profile = replace(profile, rows=rows_as_given(hessian, parameters, profile))
    answer, config = SimpleNamespace(**arrays), gptq_config(parameters)
    factor_roundoff = _factor_roundoff(asked, rules, hessian)
    failing = asked.certifying.failing(
        weights,
        hessian,
        answer,
        config,
        profile=profile,
        block_size=_block_size(rules, parameters),
        unit_roundoff=asked.unit_roundoff,
        factor_roundoff=factor_roundoff,
        hessian_error=hessian_error,
    )
    straddling = set(straddle(weights.shape[1], parameters) if _is_live(rules) else ())

    def right(check: Any) -> bool:
        if check.name not in ("scale", "zero-point"):
            return False
        beyond = [place for place in check.places if place[1] in straddling]
        if beyond:
            problem = (weights, hessian, config, profile)
            block = int(parameters.get("block_size", 128))
            if not straddling_right(asked, problem, answer, beyond, block, factor_roundoff):
                return False
        rest = [place for place in check.places if place[1] not in straddling]
        if "any_scale_of_zeros" in rules.others:
            kept = _scales_of_zeros(weights, hessian, arrays, parameters)
            rest = [(i, k) for i, k in rest if not kept[i, k]]
        if rest and "dead_in_ranges" in rules.others:
            kept = _ranges_of_given(asked, rules, weights, arrays)
            rest = [(i, k) for i, k in rest if not kept[i, k]]
        return not rest or (
            check.name == "zero-point" and _first_zero_points(rest, arrays, asked, rules, weights)
        )

    return all(right(check) for check in failing) and _ties_right(
        profile, weights, hessian, arrays, parameters
    )


def _scales_of_zeros(weights: Array, hessian: Array, arrays: Any, parameters: Any) -> Array:
    """Return which groups of zeros, to which no error was carried, have parameters that can be."""
    s, z, groups = arrays["scale"], arrays["zero_point"], arrays["g_idx"].astype(np.int64)
    live = (weights != 0) & (np.diagonal(hessian) != 0)
    if not parameters["per_channel"]:
        live = live | live.any(axis=0)
    count = s.shape[1]
    zeros = np.stack([~live[:, groups == k].any(axis=1) for k in range(count)], axis=1)
    first = np.arange(count) * max(int(parameters["group_size"]), 0) < parameters["block_size"]
    possible = (s > 0) & np.isfinite(s) & (z <= 2 ** parameters["bits"] - 1)
    return np.asarray(zeros & first & possible)


def _ranges_of_given(asked: Asked, rules: Rules, weights: Array, arrays: Any) -> Array:
    """Return which groups have the parameters of the weights as they are given."""
    given, groups = asked.case.parameters, arrays["g_idx"].astype(np.int64)
    w, count = weights.astype(np.float64), arrays["scale"].shape[1]
    lo, hi = (
        np.stack([f(w[:, groups == k], axis=1) for k in range(count)], axis=1)
        for f in (np.min, np.max)
    )
    if not given["per_channel"]:
        lo, hi = lo.min(axis=0) + 0 * lo, hi.max(axis=0) + 0 * hi
    s, z = arrays["scale"], arrays["zero_point"]
    return parameters_near(rules, lo, hi, s, z, given, asked.unit_roundoff)


def _profile_of(rules: Rules, arrays: Any, parameters: Any) -> of.Profile:
    """Return the profile of the rules, with what an answer shows: its order, and its fractions."""
    profile, fractional = rules.profile, rules.profile.g_idx is of.g_idx_fractional
    if profile.order is order_with_any_ties and parameters["activation_order"]:
        shown = _order_of if fractional else _order_in_groups
        profile = replace(profile, order=shown(arrays["g_idx"]))
    if fractional:
        profile = replace(profile, g_idx=_quotients_near(arrays["g_idx"]))
    if "abs_of_minimum_lost" in rules.others and parameters["group_size"] == -1:
        mirror, scale = mirror_without_abs(profile.mirror), positive(profile.scale)
        profile = replace(profile, mirror=mirror, scale=scale)
    if "scale_rounded_to_storage" in rules.others:
        profile = replace(profile, scale=_rounded(profile.scale, arrays["scale"].dtype))
    return profile


def _is_live(rules: Rules) -> bool:
    return "live_groups" in rules.others


def _ties_right(
    profile: of.Profile, weights: Array, hessian: Array, arrays: Any, parameters: Any
) -> bool:
    """Tell whether exact ties fall as the rules say, where no error has been carried.

    That is the first column, and every column if H is diagonal. The certificate admits both
    neighbours of a tie.
    """
    prepared = prepare_hessian(
        hessian, damping=parameters["damping"], activation_order=parameters["activation_order"],
        profile=profile,
    )  # fmt: skip
    first = np.arange(weights.shape[1]) == prepared.order[0]
    coupled = (hessian - np.diag(np.diagonal(hessian))).any()
    groups = np.floor(arrays["g_idx"]).astype(np.int64)
    s, z = (arrays[name].astype(np.float64)[:, groups] for name in ("scale", "zero_point"))
    w, maxq = weights.astype(np.float64), 2 ** parameters["bits"] - 1
    t = w / s + z
    ties = (t - np.floor(t) == 0.5) & ((t - z) * s == w) & (first | ~coupled)
    return bool((~ties | (arrays["codes"] == profile.code(w, s, z, maxq))).all())


def _dtype_of_scale(rules: Rules, weights: Array) -> np.dtype[Any]:
    """Return the dtype in which the rules store scales."""
    double = weights.dtype == np.float64 and "scale_in_dtype_of_weights" in rules.others
    if double or "scale_rounded_to_storage" in rules.others:
        return weights.dtype
    return np.dtype(np.float32)


def _rounded(scale: Any, dtype: Any) -> Any:
    """Return a rule of scales that are rounded to a dtype."""

    def rounded(lo: Array, hi: Array, maxq: int) -> Array:
        exact = scale(lo, hi, maxq).astype(np.float32)
        return np.asarray(exact.astype(dtype).astype(np.float32))

    return rounded


def _of_lower_triangle(hessian: Array, parameters: Any, profile: of.Profile) -> Array:
    """Return the symmetric Hessian that has the lower triangle of H in the order of processing."""
    order = prepare_hessian(
        hessian, damping=parameters["damping"], activation_order=parameters["activation_order"],
        profile=profile,
    ).order  # fmt: skip
    permuted = hessian[np.ix_(order, order)]
    lower = np.tril(permuted)
    made = np.empty_like(hessian)
    made[np.ix_(order, order)] = lower + np.tril(permuted, -1).T
    return made


def _order_in_groups(g_idx: Array) -> Any:
    """Return the order of a sort that is not stable: equal groups as g_idx shows them.

    Among equal diagonals in one group the order is that of NumPy's sort here.
    """

    def order(diagonal: Array, damped: Array) -> Any:  # noqa: ARG001
        key = damped.astype(np.float32)
        shown = np.argsort(-key)
        groups = g_idx[shown]
        if (np.diff(groups) < 0).any():
            shown = np.lexsort((np.arange(len(key)), -key, g_idx))
        if (np.diff(key[shown]) > 0).any():
            raise UnlikeError("an order that does not sort the diagonal")
        return shown

    return order


def _quotients_near(g_idx: Array) -> Any:
    """Return the rule of fractions as an answer has them: quotients may be off by 2⁻²² of them."""
    shown = np.sort(g_idx)

    def fractions(column_group: Array, size: int) -> Array:
        exact = of.g_idx_fractional(column_group, size)
        return shown if near(shown, exact, RELATIVE32 * exact) else exact

    return fractions


def _order_of(g_idx: Array) -> Any:
    """Return the order that fractions in g_idx show, if it sorts the damped diagonal in float32.

    A sort that is not stable leaves ties in an order that depends on the processor.
    """
    shown = np.argsort(g_idx, kind="stable")

    def order(diagonal: Array, damped: Array) -> Any:  # noqa: ARG001
        if (np.diff(damped.astype(np.float32)[shown]) > 0).any():
            raise UnlikeError("an order that does not sort the diagonal")
        return shown

    return order


def rows_as_given(hessian: Array, parameters: Any, profile: of.Profile) -> Any:
    """Return the rule of rows of the inverse of a Hessian whose triangles differ."""
    prepared = prepare_hessian(
        hessian, damping=parameters["damping"], activation_order=parameters["activation_order"],
        profile=profile,
    )  # fmt: skip
    difference = (hessian - hessian.T)[np.ix_(prepared.order, prepared.order)]
    inverse = np.linalg.inv(prepared.permuted() + difference / 2)
    return lambda _: np.triu(inverse)


def _factor_roundoff(asked: Asked, rules: Rules, hessian: Array) -> float | None:
    """Return that of the target; an explicit inverse multiplies it by 4 n_in or 8 n_in.

    The bounds of section 8 follow the rounding errors of a Cholesky factor. The error of an inverse
    by elimination grows with n_in times the condition of H (Higham, Accuracy and Stability of
    Numerical Algorithms, section 14.3), and each element passes four triangular systems. If H is
    asymmetric, its two factors differ, and so do their errors.
    """
    if rules.profile.rows is of.rows_of_cholesky:
        return asked.factor_roundoff
    uneven = "hessian_as_given" in rules.others and is_asymmetric(hessian)
    return (asked.factor_roundoff or asked.unit_roundoff) * (8 if uneven else 4) * len(hessian)


def is_asymmetric(hessian: Array) -> bool:
    """Tell whether the triangles of a Hessian differ."""
    return bool((hessian != hessian.T).any())


def _first_zero_points(
    places: Any, arrays: Any, asked: Asked, rules: Rules, weights: Array
) -> bool:
    """Tell whether zero-points of groups of one column, before any error, are near-ties.

    The certificate knows the position of a zero-point within 0 … maxq alone. Where scales are
    rounded to storage, zero-points are those of scales before that, of groups of any length.
    """
    if "scale_rounded_to_storage" in rules.others:
        return _zero_points_before_storage(places, arrays, asked, rules, weights)
    given, order = asked.case.parameters, np.argsort(arrays["g_idx"], kind="stable")
    if given["symmetric"] or given["group_size"] != 1:
        return False
    block = _block_size(rules, given)
    for i, k in places:
        if k >= block:
            return False
        w = weights[i : i + 1, order[k] : order[k] + 1].astype(np.float64)
        s, z = (arrays[name][i : i + 1, k : k + 1] for name in ("scale", "zero_point"))
        if not parameters_near(rules, w, w, s, z, given, asked.unit_roundoff).all():
            return False
    return True


def _zero_points_before_storage(
    places: Any, arrays: Any, asked: Asked, rules: Rules, weights: Array
) -> bool:
    """Tell whether zero-points are those of scales in float32, of ranges without errors."""
    given, profile, groups = asked.case.parameters, rules.profile, arrays["g_idx"]
    maxq, first = 2 ** given["bits"] - 1, _block_size(rules, given)
    for i, k in places:
        if k * given["group_size"] >= first:  # errors have been carried to the group
            return False
        w = weights[i if given["per_channel"] else slice(None)].astype(np.float64)
        w = w[..., groups == k]
        lo, hi = profile.range(w.min(keepdims=True), w.max(keepdims=True), given["symmetric"])
        lo, hi = profile.degenerate(lo, hi)
        s = np.maximum(profile.scale(lo, hi, maxq), SMALLEST_SCALE).astype(np.float64)
        position = float(np.clip(-lo / s, 0, maxq).item())  # from a float32 quotient of float32
        off = abs(float(arrays["zero_point"][i, k]) - position)
        if off > 0.5 + 2 * asked.unit_roundoff * position:
            return False
    return True


def _block_size(rules: Rules, parameters: Any) -> int:
    """Return the block size: ranges of live weights are those of blocks of one column."""
    return 1 if "live_groups" in rules.others else int(parameters.get("block_size", 128))


# MODELS
def model(asked: Asked, rules: Rules) -> bool:
    """Compare each layer with an answer of GPTQ for a Hessian of zeros: nothing is calibrated."""
    weights = asked.case.inputs["weights"]
    names = ("codes", "scale", "zero_point", "g_idx")
    lists = [asked.outputs.get(name) for name in names]
    if not all(isinstance(some, list) and len(some) == len(weights) - 1 for some in lists):
        return False
    if not same(asked.array("head"), weights[-1], weights[-1].dtype):
        return False
    layers = zip(weights, *(decode(some) for some in lists), strict=False)
    return all(
        certified(
            asked, rules, w, np.zeros((w.shape[1],) * 2), dict(zip(names, answer, strict=True)),
            asked.case.parameters,
        )
        for w, *answer in layers
    )  # fmt: skip
