"""Finds the requirement that a wrong answer breaks, by known mistakes (SPEC.md, section 12).

A wrong range makes the scale wrong, and a wrong scale makes the codes wrong. So the check that
fails first rarely shows the cause. For each requirement there are mistakes with a known result. If
an answer equals such a result, all its failures count for that requirement. Failures that no
mistake explains count for the check that failed.

Module `gptq` has the mistakes of section GPTQ, module `layers` those of section LAY.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from quantcheck.judge.naming import gptq, layers
from quantcheck.oracle.bounds import ULP32
from quantcheck.wire.cases import Case
from quantref.affine import group_layout, range_parameters
from quantref.errors import OverflowRangeError
from quantref.inputs import Array, resolve_axis
from quantref.rules import (
    Group,
    Profile,
    mirror_always,
    mirror_where_negative,
    range_with_zero,
    raw_range,
    round_then_add,
    widen_any_equal,
    widen_zeros,
    zero_point_clipped,
    zero_point_wrapped,
)

HALF = ("float16", "bfloat16")
COARSEST = 2.0**-7  # twice the unit roundoff of bfloat16
FIELDS = {
    "axis": "CFG-020",
    "value_range": "CFG-030",
    "epsilon": "CFG-040",
    "activation_quantizer": "CFG-060",
    "weight_quantizer": "CFG-060",
}
Outputs = dict[str, Any]
Explanation = list[str]


def _only(wrong: Array, where: Array) -> bool:
    """Tell whether an element is wrong, and every wrong element is in `where`."""
    return bool(wrong.any() and not (wrong & ~where).any())


def _off(got: Array, expected: Array, tolerance: float) -> Array:
    """Return where `got` differs from `expected` beyond a relative tolerance, or is NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray(~(np.abs(got - expected) <= tolerance * np.abs(expected)))


def abs_max(case: Case, outputs: Outputs) -> Explanation:
    """Explain scale and codes of section ABS."""
    other = other_axes(case, outputs)
    if other:
        return [other]
    x = case.inputs["x"]
    values, half = x.astype(np.float64), x.dtype.name in HALF
    scale, expected = outputs["scale"].astype(np.float64), case.expected["outputs"]["scale"]
    wrong = _off(scale, expected.astype(np.float64), 2 * ULP32)
    if wrong.any():
        empty = np.broadcast_to(values == 0, values.shape)
        return _abs_max_scale(case, values, scale, wrong, half=half, empty=empty)
    arguments = case.parameters.get("arguments", case.parameters)
    lo, hi = arguments["value_range"]
    codes, t = outputs["codes"].astype(np.float64), values * scale
    wrong = codes != np.clip(np.rint(t), lo, hi)
    if _only(wrong, values == 0):
        return ["ABS-040"]
    outside = (np.rint(t) < lo) | (np.rint(t) > hi) | (codes < lo) | (codes > hi)
    if _only(wrong, outside):
        return ["ABS-070"]
    with np.errstate(over="ignore"):
        rounded = (x * outputs["scale"].astype(x.dtype)).astype(np.float64)
    if half and (codes == np.clip(np.rint(rounded), lo, hi)).all():
        return ["ABS-060"]
    return []


def other_axes(case: Case, outputs: Outputs) -> str:
    """Return the requirement broken by a scale that has the shape of a maximum over other axes.

    It is CFG-020 if the quantizer used the wrong one of two given axes, else ABS-050.
    """
    shape, got = case.inputs["x"].shape, np.shape(outputs.get("scale", 0.0))
    right = case.expected["outputs"]["scale"].shape
    kept = len(got) == len(shape) and all(n in (1, m) for n, m in zip(got, shape, strict=True))
    if not kept or got == right:
        return ""
    if "arguments" in case.parameters:
        named = (case.parameters["arguments"]["axis"], case.parameters["call_axis"], -1, None)
        for axis in named:
            reduced = resolve_axis(axis, len(shape), "CFG-020")
            if got == tuple(1 if a in reduced else n for a, n in enumerate(shape)):
                return "CFG-020"
    return "ABS-050"


def _abs_max_scale(
    case: Case, values: Array, scale: Array, wrong: Array, *, half: bool, empty: Array
) -> Explanation:
    """Explain a wrong scale: slices of zeros, another axis, half precision."""
    arguments = case.parameters.get("arguments", case.parameters)
    axes = tuple(a for a in range(values.ndim) if scale.shape[a] == 1)
    zeros = np.broadcast_to(empty.all(axis=axes, keepdims=True), wrong.shape)
    if _only(wrong, zeros) and not np.isfinite(scale[wrong]).all():
        return ["ABS-040"]
    right = case.expected["outputs"]["scale"].astype(np.float64)
    hi, epsilon = arguments["value_range"][1], arguments["epsilon"]
    choices = itertools.chain.from_iterable(
        itertools.combinations(range(values.ndim), k) for k in range(values.ndim + 1)
    )
    for choice in choices:
        other = hi / (np.abs(values).max(axis=choice, keepdims=True) + epsilon)
        if other.shape != scale.shape or not _off(other, right, 2 * ULP32).any():
            continue
        if not _off(scale, other, 4 * ULP32).any():
            return ["CFG-020" if "arguments" in case.parameters else "ABS-050"]
    coarse = _off(scale, right, COARSEST) & np.isfinite(scale)
    if half and not coarse.any():
        return ["ABS-060"]
    return []


def affine_parameters(case: Case, outputs: Outputs) -> Explanation:
    """Explain scales and zero-points of section AFF, for each group and row."""
    expected, parameters = case.expected["outputs"], case.parameters
    scale = outputs["scale"].astype(np.float64)
    zero = outputs["zero_point"].astype(np.float64)
    right = expected["scale"].astype(np.float64)
    admissible = case.judging["zero_admissible"]
    scale_off = _off(scale, right, 2 * ULP32)
    wrong = scale_off | (zero < admissible[..., 0]) | (zero > admissible[..., 1])
    w = case.inputs["weights"].astype(np.float64)
    groups = group_layout(w.shape[1], parameters["group_size"])
    blamed: dict[str, None] = {}
    mistakes = [(name, s, z) for name, s, z in _mistaken_parameters(w, groups, parameters)]
    lo = np.stack([w[:, g.start : g.end].min(axis=1) for g in groups], axis=1)
    hi = np.stack([w[:, g.start : g.end].max(axis=1) for g in groups], axis=1)
    for i, k in np.argwhere(wrong).tolist():
        found = ""
        if parameters["symmetric"] and not scale_off[i, k]:
            found = "AFF-030"
        for name, s, z in mistakes:
            same = abs(scale[i, k] - s[i, k]) <= 4 * ULP32 * s[i, k]
            same &= bool(scale_off[i, k]) or zero[i, k] == z[i, k]
            found = found or (name if same else "")
        if not found and lo[i, k] == hi[i, k] == 0:
            found = "AFF-020"
        if not found and right[i, k] == 2.0**-126:
            found = "AFF-050"
        if not found:
            return []
        blamed[found] = None
    return list(blamed)


def _mistaken_parameters(
    w: Array, groups: list[Group], parameters: dict[str, Any]
) -> Iterator[tuple[str, Array, Array]]:
    """Yield requirement, scales and zero-points for every known mistake."""
    lo = np.stack([w[:, g.start : g.end].min(axis=1) for g in groups], axis=1)
    hi = np.stack([w[:, g.start : g.end].max(axis=1) for g in groups], axis=1)
    whole = w.min(axis=1)[:, None] + 0 * lo, w.max(axis=1)[:, None] + 0 * hi
    merged = lo.copy(), hi.copy()
    if len(groups) > 1:
        merged[0][:, -2] = merged[0][:, -1] = lo[:, -2:].min(axis=1)
        merged[1][:, -2] = merged[1][:, -1] = hi[:, -2:].max(axis=1)
    shared = lo.min(axis=0) + 0 * lo, hi.max(axis=0) + 0 * hi
    all_shared = lo.min() + 0 * lo, hi.max() + 0 * hi
    own = (lo, hi) if parameters["per_channel"] else shared
    ranges = [("AFF-020", own, range_with_zero), ("AFF-010", own, raw_range)]
    if parameters["symmetric"]:
        below, above = np.minimum(own[0], 0), np.maximum(own[1], 0)
        for m in (abs(own[0]), abs(own[1]), abs(below), above):
            ranges += [("AFF-030", (-m, m), range_with_zero)]
    others = (whole, merged, (lo, hi), shared, all_shared)
    ranges += [("AFF-090", other, range_with_zero) for other in others]
    choices = itertools.product(
        ranges,
        (mirror_always, mirror_where_negative),
        (widen_zeros, widen_any_equal),
        (zero_point_clipped, zero_point_wrapped),
    )
    for (name, (low, high), taken), mirror, degenerate, zero_point in choices:
        profile = Profile(range=taken, mirror=mirror, degenerate=degenerate, zero_point=zero_point)
        try:
            s, z = range_parameters(
                low,
                high,
                bits=parameters["bits"],
                symmetric=parameters["symmetric"],
                profile=profile,
            )
        except OverflowRangeError:
            continue
        lopsided = parameters["symmetric"] and mirror is not mirror_always
        yield "AFF-030" if lopsided else name, s.astype(np.float64), z.astype(np.float64)


def affine_codes(case: Case, outputs: Outputs) -> Explanation:
    """Explain codes or dequantized weights: columns that use another group's parameters."""
    inputs = case.inputs
    scale, zero = inputs["scale"].astype(np.float64), inputs["zero_point"].astype(np.float64)

    def result(columns: Array, s: Array, z: Array) -> Array:
        if "bits" not in case.parameters:
            return np.asarray(s * (columns - z))
        return round_then_add(columns, s, z, 2 ** case.parameters["bits"] - 1)

    name, source = ("values", "codes") if "codes" in inputs else ("codes", "weights")
    got, given = outputs[name].astype(np.float64), inputs[source].astype(np.float64)
    n_groups = scale.shape[1]
    for j, k in enumerate(inputs["g_idx"].tolist()):
        results = [result(given[:, j], scale[:, g], zero[:, g]) for g in range(n_groups)]
        fits = [not _off(got[:, j], r, 4 * ULP32).any() for r in results]
        if not fits[k] and not any(fits):
            return []
    return ["AFF-100"] if n_groups > 1 else []


def pack(case: Case, outputs: Outputs) -> Explanation:
    """Explain packed bytes: padding in front, fields of another width."""
    bits, axis = case.parameters["bits"], case.parameters["axis"]
    if bits in (3, 8):
        return ["PACK-060"]
    per_byte, codes = 8 // bits, np.moveaxis(case.inputs["codes"], axis, 0)
    padding = np.zeros((-len(codes) % per_byte, *codes.shape[1:]), codes.dtype)
    fields = np.concatenate([padding, codes]).view(np.uint8) & (2**bits - 1)
    front = sum(fields[k::per_byte].astype(np.uint8) << (bits * k) for k in range(per_byte))
    got = np.moveaxis(outputs["packed"], axis, 0).astype(np.uint8)
    if len(padding) and (got == front).all():
        return ["PACK-020"]
    return ["PACK-050"] if bits == 2 else []


def unpack(case: Case, outputs: Outputs) -> Explanation:
    """Explain unpacked codes: wrong signs only, or another order of fields."""
    bits, axis = case.parameters["bits"], case.parameters["axis"]
    if bits in (3, 8):
        return ["PACK-060"]
    expected = np.moveaxis(case.expected["outputs"]["codes"], axis, 0)
    got = np.moveaxis(outputs["codes"], axis, 0)
    if ((got.astype(np.int64) - expected.astype(np.int64)) % 2**bits == 0).all():
        return ["PACK-030"]
    whole = len(got) - len(got) % (8 // bits)
    shape = (-1, 8 // bits, *got.shape[1:])
    if whole and (got[:whole].reshape(shape)[:, ::-1] == expected[:whole].reshape(shape)).all():
        return ["PACK-050" if bits == 2 else "PACK-010"]
    return []


def hessian(case: Case, outputs: Outputs) -> Explanation:
    """Explain a sum with wrong weights of batches: N is another number, or differs by batch."""
    batches = case.inputs["batches"]
    got, tokens = outputs["hessian"].astype(np.float64), case.judging["tokens"]
    flat = [b.reshape(-1, b.shape[-1]).astype(np.float64) for b in batches]
    grams = np.stack([(x.T @ x).ravel() for x in flat], axis=1)  # (n_in², batches)
    size = np.abs(grams).max(axis=0)
    if not size.all() or not np.isfinite(got).all():
        return []
    weights, *_ = np.linalg.lstsq(grams / size, got.ravel(), rcond=None)
    fitted = (grams / size) @ weights
    if np.abs(fitted - got.ravel()).max() > 1e-5 * np.abs(got).max():
        return []
    factors = weights / size * tokens / 2  # 1 for a batch with the right weight
    if np.ptp(factors) > 1e-4 * np.abs(factors).max():
        return ["HES-030"]
    counted = tokens / factors[0]
    sequences = sum(b.shape[0] if b.ndim > 1 else 1 for b in batches)
    if any(b.ndim > 2 for b in batches) and abs(counted - sequences) < 1e-3 * tokens:
        return ["HES-020"]
    per_batch = (len(batches), len(flat[-1]), len(flat[0]))
    if len(batches) > 1 and any(abs(counted - n) < 1e-3 * n for n in per_batch):
        return ["HES-030"]
    return []


def prepare_hessian(case: Case, outputs: Outputs) -> Explanation:
    """Explain a damped Hessian that is wrong in dead columns only."""
    got, diagonal = np.diagonal(outputs["damped"]), np.diagonal(case.inputs["hessian"])
    dead, live = diagonal == 0, diagonal > 0
    if (outputs["dead"] != dead).any():
        return ["HES-040"]
    if not dead.any() or not live.any():
        return []
    added = float(np.median((got - diagonal)[live]))
    mean, damping = float(np.mean(diagonal)), case.parameters["damping"]
    if abs(added - damping * mean) <= 1e-5 * abs(added) < damping * float(np.mean(dead)):
        return ["HES-040"]  # the mean before dead columns became 1
    return ["HES-040"] if (np.abs(got[dead] - added - 1) > 1e-5 * np.abs(got[dead])).any() else []


def config_round_trip(case: Case, outputs: Outputs) -> Explanation:
    """Explain changed fields, by the requirement to store each of them."""
    got, expected = outputs["fields"], case.expected["outputs"]["fields"]
    wrong = [key for key, value in expected.items() if got.get(key) != value]
    found = [FIELDS.get(key, "CFG-070") for key in wrong]
    return list(dict.fromkeys(found)) if set(found) <= set(case.requirements) else []


EXPLANATIONS: dict[str, Callable[[Case, Outputs], Explanation]] = {
    "abs_max_quantize": abs_max,
    "abs_max_quantizer": abs_max,
    "affine_parameters": affine_parameters,
    "affine_quantize": affine_codes,
    "affine_dequantize": affine_codes,
    "pack": pack,
    "unpack": unpack,
    "hessian": hessian,
    "prepare_hessian": prepare_hessian,
    "config_round_trip": config_round_trip,
    "dense_int8": layers.int8,
    "einsum_dense_int8": layers.int8,
    "dense_gptq": layers.packed,
    "einsum_dense_gptq": layers.packed,
}


def explain(case: Case, outputs: Outputs, *, unit_roundoff: float) -> Explanation:
    """Return the requirements whose violation explains a wrong answer, or nothing.  [VER-010]

    Parameters
    ----------
    case : Case
    outputs : dict
        Outputs of the answer: decoded arrays of the expected shapes.
    unit_roundoff : float
        Unit roundoff of the target.
    """
    with np.errstate(all="ignore"):
        if case.operation == "gptq_quantize":
            found = gptq.explain(case, outputs, unit_roundoff)
        elif case.operation in EXPLANATIONS:
            found = EXPLANATIONS[case.operation](case, outputs)
        else:
            return []
    return [requirement for requirement in found if requirement in case.requirements]
