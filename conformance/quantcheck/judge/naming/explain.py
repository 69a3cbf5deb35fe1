"""Finds the requirement that a wrong answer breaks, by known mistakes (SPEC.md, section 12).

A wrong range makes the scale wrong, and a wrong scale makes the codes wrong. So the check that
fails first rarely shows the cause. For each requirement there are mistakes with a known result. If
an answer equals such a result, all its failures count for that requirement. Failures that no
mistake explains count for the check that failed.

Module `affine` has the mistakes of section AFF, `gptq` and `mistakes` those of section GPTQ, and
`layers` those of section LAY.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from quantcheck.judge.fields import changed
from quantcheck.judge.naming import affine, gptq, layers
from quantcheck.judge.naming.common import Explanation, Outputs, off, only
from quantcheck.judge.naming.names import NAMES
from quantcheck.judge.refusals import DOCUMENTED_BITS, WIDTHS
from quantcheck.oracle.bounds import ULP32, growth
from quantcheck.spec.requirements import choices
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import ABSMAX_DEFAULTS, absmax_arguments
from quantref.certificate import U32
from quantref.inputs import Array, resolve_axis

HALF = ("float16", "bfloat16")
COARSEST = 2.0**-7  # twice the unit roundoff of bfloat16
FIELDS = {
    "axis": "CFG-150",
    "value_range": "CFG-100",
    "epsilon": "CFG-120",
    "activation_quantizer": "CFG-060",
    "weight_quantizer": "CFG-060",
}
DOCUMENTED = {**ABSMAX_DEFAULTS, "axis": [-1]}
"""Fields of the default activation quantizer, as the docstrings of Keras have it."""


def abs_max(case: Case, outputs: Outputs) -> Explanation:
    """Explain scale and codes of section ABS."""
    other = other_axes(case, outputs)
    if other:
        return [other]
    x = case.inputs["x"]
    values, half = x.astype(np.float64), x.dtype.name in HALF
    scale, expected = outputs["scale"].astype(np.float64), case.expected["outputs"]["scale"]
    wrong = off(scale, expected.astype(np.float64), 2 * ULP32)
    if wrong.any():
        empty = np.broadcast_to(values == 0, values.shape)
        return _abs_max_scale(case, values, scale, wrong, half=half, empty=empty)
    arguments = absmax_arguments(case.parameters)
    lo, hi = arguments["value_range"]
    codes, t = outputs["codes"].astype(np.float64), values * scale
    wrong = codes != np.clip(np.rint(t), lo, hi)
    if only(wrong, values == 0):
        return ["ABS-040"]
    outside = (np.rint(t) < lo) | (np.rint(t) > hi) | (codes < lo) | (codes > hi)
    if only(wrong, outside):
        return ["ABS-070"]
    with np.errstate(over="ignore"):
        rounded = (x * outputs["scale"].astype(x.dtype)).astype(np.float64)
    if half and (codes == np.clip(np.rint(rounded), lo, hi)).all():
        return ["ABS-060"]
    return ["ABS-060"] if half and outputs["scale"].dtype == x.dtype else []


def other_axes(case: Case, outputs: Outputs) -> str:
    """Return the requirement broken by a scale that has the shape of a maximum over other axes.

    It is CFG-150 if the quantizer used the wrong one of two given axes, else ABS-050.
    """
    shape, got = case.inputs["x"].shape, np.shape(outputs.get("scale", 0.0))
    right = case.expected["outputs"]["scale"].shape
    kept = len(got) == len(shape) and all(n in (1, m) for n, m in zip(got, shape, strict=True))
    if not kept or got == right:
        return ""
    if "arguments" in case.parameters:
        named = (absmax_arguments(case.parameters)["axis"], case.parameters["call_axis"], -1, None)
        for axis in named:
            reduced = resolve_axis(axis, len(shape), "CFG-150")
            if got == tuple(1 if a in reduced else n for a, n in enumerate(shape)):
                return "CFG-150"
    return "ABS-050"


def _abs_max_scale(
    case: Case, values: Array, scale: Array, wrong: Array, *, half: bool, empty: Array
) -> Explanation:
    """Explain a wrong scale: slices of zeros, another axis, half precision."""
    arguments = absmax_arguments(case.parameters)
    axes = tuple(a for a in range(values.ndim) if scale.shape[a] == 1)
    zeros = np.broadcast_to(empty.all(axis=axes, keepdims=True), wrong.shape)
    asked = "ABS-040" in case.requirements
    if asked and only(wrong, zeros) and not np.isfinite(scale[wrong]).all():
        return ["ABS-040"]
    if not (np.isfinite(scale) & (scale > 0)).all():
        return ["ABS-060"] if half else []  # what is no scale at all breaks ABS-120 besides
    right = case.expected["outputs"]["scale"].astype(np.float64)
    hi, epsilon = arguments["value_range"][1], arguments["epsilon"]
    choices = itertools.chain.from_iterable(
        itertools.combinations(range(values.ndim), k) for k in range(values.ndim + 1)
    )
    for choice in choices:
        other = hi / (np.abs(values).max(axis=choice, keepdims=True) + epsilon)
        if other.shape != scale.shape or not off(other, right, 2 * ULP32).any():
            continue
        if not off(scale, other, 4 * ULP32).any():
            return ["CFG-150" if "arguments" in case.parameters else "ABS-050"]
    coarse = off(scale, right, COARSEST) & np.isfinite(scale)
    if half and not coarse.any():
        return ["ABS-060"]
    return []


def pack(case: Case, outputs: Outputs) -> Explanation:
    """Explain packed bytes: padding in front, fields of another width."""
    bits, axis = case.parameters["bits"], case.parameters["axis"]
    if bits != DOCUMENTED_BITS:
        return [WIDTHS[bits]]
    per_byte, codes = 8 // bits, np.moveaxis(case.inputs["codes"], axis, 0)
    padding = np.zeros((-len(codes) % per_byte, *codes.shape[1:]), codes.dtype)
    fields = np.concatenate([padding, codes]).view(np.uint8) & (2**bits - 1)
    front = sum(fields[k::per_byte].astype(np.uint8) << (bits * k) for k in range(per_byte))
    got = np.moveaxis(outputs["packed"], axis, 0).astype(np.uint8)
    if len(padding) and (got == front).all():
        return ["PACK-020"]
    right = np.moveaxis(case.expected["outputs"]["packed"], axis, 0).astype(np.uint8)
    differ = got ^ right
    used = 8 - bits * len(padding)  # bits of the last byte that hold codes
    if len(padding) and not differ[:-1].any() and not (differ[-1] & (2**used - 1)).any():
        return ["PACK-020"]
    return []


def unpack(case: Case, outputs: Outputs) -> Explanation:
    """Explain unpacked codes: wrong signs only, or another order of fields."""
    bits, axis = case.parameters["bits"], case.parameters["axis"]
    if bits != DOCUMENTED_BITS:
        return [WIDTHS[bits]]
    expected = np.moveaxis(case.expected["outputs"]["codes"], axis, 0)
    got = np.moveaxis(outputs["codes"], axis, 0)
    if ((got.astype(np.int64) - expected.astype(np.int64)) % 2**bits == 0).all():
        return ["PACK-030"]
    whole = len(got) - len(got) % (8 // bits)
    shape = (-1, 8 // bits, *got.shape[1:])
    if whole and (got[:whole].reshape(shape)[:, ::-1] == expected[:whole].reshape(shape)).all():
        return ["PACK-010"]
    return []


def hessian(case: Case, outputs: Outputs) -> Explanation:
    """Explain a sum with wrong weights of batches: N is another number, or differs by batch.

    What rounding explains has the right weights.
    """
    batches = case.inputs["batches"]
    got, tokens = outputs["hessian"].astype(np.float64), case.judging["tokens"]
    rounding = growth(tokens + 4 * len(batches) + 4, U32) * case.judging["absolute"]
    if (np.abs(got - case.expected["outputs"]["hessian"]) <= rounding).all():
        return []
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
        return ["HES-110"]
    longest = max(len(part) for part in flat) * len(flat)  # short batches counted as full ones
    per_batch = (len(batches), len(flat[-1]), len(flat[0]), longest, len(flat[0]) * len(flat))
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
    wrong = changed(got, expected)
    if case.parameters["class"] == "Int4QuantizationConfig":
        found = [_of_four_bits(key, case, got) for key in wrong]
    else:
        found = [FIELDS.get(key, "CFG-070") for key in wrong]
    return list(dict.fromkeys(found)) if set(found) <= set(case.requirements) else []


def _of_four_bits(key: str, case: Case, got: dict[str, object]) -> str:
    """Return the requirement of a field of section 13; one quantizer is that of the docstring."""
    default = case.parameters["arguments"].get(key, "default") == "default"
    if key == "activation_quantizer" and default:
        documented = {key: {"class": "AbsMaxQuantizer", "fields": DOCUMENTED}}
        return "FOUR-140" if changed(got, documented) else "FOUR-180"
    return "CFG-090" if key.endswith("quantizer") else "FOUR-140"


def taken_as_single(case: Case, outputs: Outputs) -> Explanation:
    """Explain rounded numbers: float64 inputs were taken as float32.  [RND-040]"""
    x, name = case.inputs["x"], "values" if "values" in outputs else "codes"
    if x.dtype != np.float64:
        return []
    rounded = np.rint(x.astype(np.float32).astype(np.float64))
    if name == "codes":
        info = np.iinfo(case.parameters["dtype"])
        rounded = np.clip(rounded, float(info.min), float(info.max))
    # Whole numbers of the integer's range are compared as floats: the largest int64 is none.
    return ["RND-040"] if (outputs[name].astype(np.float64) == rounded).all() else []


EXPLANATIONS: dict[str, Callable[[Case, Outputs], Explanation]] = {
    "round_half_even": taken_as_single,
    "saturating_cast": taken_as_single,
    "abs_max_quantize": abs_max,
    "abs_max_quantizer": abs_max,
    "affine_parameters": affine.affine_parameters,
    "affine_quantize": affine.affine_codes,
    "affine_dequantize": affine.affine_codes,
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


def explain(case: Case, outputs: Outputs, *, unit_roundoff: float) -> tuple[Explanation, str]:
    """Return the requirements whose violation explains a wrong answer, and the mistake's name.

    Either may be empty.  [VER-090]

    Parameters
    ----------
    case : Case
    outputs : dict
        Outputs of the answer: decoded arrays of the expected shapes.
    unit_roundoff : float
        Unit roundoff of the target.
    """
    name = ""
    with np.errstate(all="ignore"):
        if case.operation == "gptq_quantize":
            found, name = gptq.explain(case, outputs, unit_roundoff)
        elif case.operation in EXPLANATIONS:
            found = EXPLANATIONS[case.operation](case, outputs)
        else:
            return [], ""
    covered = [r for r in found if r in case.requirements or r in choices()]
    named = [NAMES[r] for r in covered if r in NAMES]
    return covered, name or ", and ".join(named)
