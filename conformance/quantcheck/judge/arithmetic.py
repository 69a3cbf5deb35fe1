"""Judges of sections 1 to 6: configs, rounding, affine, AbsMax, packing, and the Hessian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantcheck.judge import fields
from quantcheck.judge.findings import Judging
from quantcheck.judge.naming.explain import other_axes
from quantcheck.oracle.bounds import ULP32, growth
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import absmax_arguments
from quantref.affine import group_layout, range_parameters
from quantref.certificate import U64
from quantref.errors import AnswerError
from quantref.inputs import Array

ULP64 = 2.0**-52


SMALLEST_SUBNORMAL = 2.0**-149


def abs_max(collector: Judging) -> None:
    """Judge scale and codes of section 4."""
    case, outputs = collector.case, collector.outputs
    requirement = other_axes(case, outputs)
    if requirement:
        wanted, shape = collector.expected["scale"].shape, np.shape(outputs["scale"])
        message = f"scale: expected shape {wanted}, got {shape}, as of other axes"
        collector.add(requirement, False, message)
        return
    codes, scale = collector.output("codes"), collector.output("scale").astype(np.float64)
    expected = collector.expected["scale"].astype(np.float64)
    collector.dtype("codes", "ABS-030")
    collector.dtype("scale", "ABS-130")
    double = collector.expected["scale"].dtype == np.float64 and not collector.in_single
    ulp = ULP64 if double else ULP32
    usable = np.isfinite(scale) & (scale > 0)
    if not usable.all():
        blamed = "ABS-040" if "ABS-040" in case.requirements else "ABS-120"
        collector.add(blamed, False, f"scale: expected finite and positive, got {scale.min()}")
        return
    collector.within("scale", "ABS-010", scale - expected, 2 * ulp * np.abs(expected))
    x = case.inputs["x"].astype(np.float64)
    arguments = absmax_arguments(case.parameters)
    lo, hi = arguments["value_range"]
    zero = np.zeros(())
    collector.teacher_forced("ABS-030", x * scale, lo, hi, zero)
    same = np.broadcast_to(outputs["scale"].astype(np.float64) == expected, codes.shape)
    collector.equal("codes", "ABS-030", where=same & (case.judging["required"] == 1))
    t = x * scale
    inner = (codes > lo) & (codes < hi)
    # [ABS-090]: half a step if the code is not clipped
    step = np.where(inner, np.abs(t - codes.astype(np.float64)), 0.0)
    collector.within("codes", "ABS-090", step, 0.5 + 3 * collector.u * np.abs(t))


OF_DTYPE = {"AFF-160": "AFF-170", "FOUR-080": "FOUR-100"}
"""The requirement of the dtype of values, where it is another one."""


def values(requirement: str) -> Callable[[Judging], None]:
    """Return the judge of dequantized weights or inputs."""

    def judged(collector: Judging) -> None:
        got, expected = collector.output("values"), collector.expected["values"].astype(np.float64)
        collector.dtype("values", OF_DTYPE.get(requirement, requirement))
        double = collector.expected["values"].dtype == np.float64 and not collector.in_single
        ulp = ULP64 if double else ULP32
        difference = got.astype(np.float64) - expected
        bound = 2 * ulp * np.abs(expected) + SMALLEST_SUBNORMAL
        collector.within("values", requirement, difference, bound)

    return judged


def exactly(*names: str, requirement: str) -> Callable[[Judging], None]:
    """Return the judge of outputs that must equal the expected ones."""

    def judged(collector: Judging) -> None:
        for name in names:
            collector.output(name)
            collector.dtype(name, requirement)
            collector.equal(name, requirement)

    return judged


def ternary(collector: Judging) -> None:
    """Judge bytes of ternary codes; where nothing but the fill is wrong, it is that of PACK-180."""
    case, expected = collector.case, collector.expected["packed"]
    got, axis = collector.output("packed"), case.parameters["axis"]
    used = case.inputs["codes"].shape[axis] % 5  # codes in the last byte
    requirement = "PACK-170"
    if used and got.dtype.kind in "iu":
        lines, wanted = (np.moveaxis(a, axis, 0).astype(np.int64) for a in (got, expected))
        same = (lines[:-1] == wanted[:-1]).all()
        filled = same and (lines[-1] % 3**used == wanted[-1] % 3**used).all()
        requirement = "PACK-180" if filled else requirement
    collector.dtype("packed", "PACK-170")
    collector.equal("packed", requirement)


LAYOUTS = {
    "gptq_v1": "PACK-100",
    "gptq_v2": "PACK-100",
    "compressed_tensors": "PACK-120",
    "compressed_tensors_whole": "PACK-130",
    "matmulnbits": "PACK-140",
}


def packed_layer(collector: Judging) -> None:
    """Judge the arrays of a packed layer."""
    made, bits = collector.case.parameters["format"], collector.case.parameters["bits"]
    layout = LAYOUTS[made]
    for name in ("packed", "packed_zero_point"):
        requirement = "PACK-110" if (made, name) == ("gptq_v1", "packed_zero_point") else layout
        given = isinstance(collector.outputs.get(name), np.ndarray)
        got, expected = np.asarray(collector.outputs.get(name)), collector.expected[name]
        straddles = given and bits == 3 and name == "packed" and layout in ("PACK-100", "PACK-120")
        if straddles and _breaks_lines(got, expected, layout == "PACK-100"):
            requirement = "PACK-090"
        if given and got.shape != expected.shape:
            message = f"{name}: expected shape {expected.shape}, got {got.shape}"
            collector.add(requirement, False, message)
            continue
        collector.output(name)
        collector.dtype(name, requirement)
        collector.equal(name, requirement)


def _breaks_lines(got: Array, expected: Array, columns: bool) -> bool:
    """Tell whether no line of words is right, and not because they are in the other direction."""
    if got.shape != expected.shape:
        return got.shape != expected.shape[::-1]
    return not (got == expected).all(axis=0 if columns else 1).any()


def affine_parameters(collector: Judging) -> None:
    """Judge scales and zero-points of section 3."""
    if _without_groups(collector):
        return
    scale, expected = collector.output("scale").astype(np.float64), collector.expected["scale"]
    collector.output("zero_point")
    collector.dtype("scale", "AFF-170")
    collector.dtype("zero_point", "AFF-060")
    collector.within("scale", "AFF-150", scale - expected, 2 * ULP32 * expected.astype(np.float64))
    lowest, highest = _admissible_zero_points(collector, scale)
    zero_point = collector.output("zero_point").astype(np.float64)
    outside = (zero_point < lowest) | (zero_point > highest)
    collector.equal("zero_point", "AFF-060", where=outside)


def _without_groups(collector: Judging) -> bool:
    """Judge an answer with one group where rows share ranges and groups are asked.  [AFF-190]

    Its values have to be those of one range for all weights.
    """
    case, wanted = collector.case, collector.expected["scale"].shape
    given = {name: np.asarray(collector.outputs.get(name)) for name in ("scale", "zero_point")}
    one = (wanted[0], 1)
    whole = all(value.shape == one and value.dtype.kind in "iuf" for value in given.values())
    if case.parameters["per_channel"] or wanted[1] == 1 or not whole:
        return False
    weights = case.inputs["weights"].astype(np.float64)
    ends = (np.full(one, weights.min()), np.full(one, weights.max()))
    bits, symmetric = case.parameters["bits"], case.parameters["symmetric"]
    s, z = (value.astype(np.float64) for value in range_parameters(
        *ends, bits=bits, symmetric=symmetric
    ))  # fmt: skip
    off = np.abs(given["scale"].astype(np.float64) - s)
    collector.add("AFF-150", bool((off <= 2 * ULP32 * s).all()), "scale of one range for all")
    near = np.abs(given["zero_point"].astype(np.float64) - z) <= 1
    collector.add("AFF-060", bool(near.all()), "zero-point of one range for all")
    message = f"scale: expected {wanted[1]} groups, got one scale for all columns"
    collector.add("AFF-190", False, message, got=f"{one}", expected=f"{wanted}")
    return True


def _admissible_zero_points(collector: Judging, scale: Array) -> tuple[Array, Array]:
    """Return the lowest and the highest admissible zero-point of each group.  [AFF-060]

    A tie of a scale 2^k is exact for that scale alone: with another scale that AFF-150 allows, both
    neighbours are admissible.
    """
    case, expected = collector.case, collector.expected["scale"]
    given = case.judging["zero_admissible"].astype(np.float64)  # (n_out, n_groups, 2)
    moved = (case.judging["zero_margins"] == 0) & (scale != expected)
    below = np.floor(below_zero(case) / expected)
    lowest = np.where(moved, below, given[..., 0])
    return lowest, np.where(moved, below + 1, given[..., 1])


def below_zero(case: Case) -> Array:
    """Return −lo of each group after RANGE and DEGENERATE, (n_out, n_groups) float64."""
    weights, given = case.inputs["weights"].astype(np.float64), case.parameters
    ends = []
    for group in group_layout(weights.shape[1], given["group_size"]):
        part = weights[:, group.start : group.end]
        axis = 1 if given["per_channel"] else None
        low = np.where(part.any(axis=axis), np.abs(np.minimum(part.min(axis=axis), 0.0)), 1.0)
        ends.append(np.broadcast_to(low, len(weights)))
    return np.stack(ends, axis=1)


def affine_quantize(collector: Judging) -> None:
    """Judge codes of section 3 whose parameters are given."""
    inputs = collector.case.inputs
    collector.output("codes")
    collector.dtype("codes", "AFF-070")
    g = inputs["g_idx"]
    s = inputs["scale"].astype(np.float64)[:, g]
    z = inputs["zero_point"].astype(np.float64)[:, g]
    t = inputs["weights"].astype(np.float64) / s
    maxq = 2 ** collector.case.parameters["bits"] - 1
    collector.teacher_forced("AFF-070", t, 0, maxq, z)
    collector.equal("codes", "AFF-070", where=collector.case.judging["required"] == 1)
    codes = collector.outputs["codes"].astype(np.float64)
    inner = (codes > 0) & (codes < maxq)
    # [AFF-120]: half a step if the code is not clipped
    step = np.where(inner, np.abs(t + z - codes), 0.0)
    collector.within("codes", "AFF-120", step, 0.5 + collector.u * (3 * np.abs(t) + z))


def hessian(collector: Judging) -> None:
    """Judge the sum of section 6."""
    got, expected = collector.output("hessian").astype(np.float64), collector.expected["hessian"]
    judging = collector.case.judging
    gamma = growth(judging["tokens"] + 4 * judging["batches"] + 4, collector.u)
    difference, absolute = got - expected, judging["absolute"]
    collector.within("hessian", "HES-010", difference, gamma * absolute)
    if collector.findings[-1].passed:  # [HES-130]: what is wrong in any precision says nothing
        longest = max(batch.size // batch.shape[-1] for batch in collector.case.inputs["batches"])
        narrow = growth(longest + 4, collector.u) + growth(4 * judging["batches"] + 4, U64)
        collector.within("hessian", "HES-130", difference, narrow * absolute)
    collector.add("HES-100", bool((got == got.T).all()), "hessian: equal to its transpose")


def prepare_hessian(collector: Judging) -> None:
    """Judge dead columns, order and damping."""
    got = collector.output("damped").astype(np.float64)
    expected = collector.expected["damped"]
    collector.output("dead")
    collector.dtype("dead", "HES-040")
    collector.equal("dead", "HES-040")
    collector.output("order")
    collector.dtype("order", "HES-060")
    collector.equal("order", "HES-060")
    mean = float(np.mean(np.diagonal(expected)))
    bound = growth(len(got) + 4, collector.u) * (np.abs(expected) + mean * np.eye(len(got)))
    collector.within("damped", "HES-050", got - expected, bound)


def factor(collector: Judging) -> None:
    """Judge the factor by its form and its residual."""
    R = collector.output("factor").astype(np.float64)
    if not np.isfinite(R).all():
        raise AnswerError("a factor of finite numbers", "NaN or infinity", "HES-070")
    H = collector.case.inputs["hessian"].astype(np.float64)
    H = (H + H.T) / 2
    upper = not np.tril(R, -1).any() and bool((np.diagonal(R) > 0).all())
    collector.add("HES-070", upper, "factor: upper triangular with a positive diagonal")
    bound = growth(len(H) + 4, collector.u) * (np.abs(R) @ np.abs(R).T)
    _judge_residual(collector, R @ R.T - H, bound)


def _judge_residual(collector: Judging, difference: Array, bound: Array) -> None:
    ratio = np.abs(difference) / np.maximum(bound, 1e-300)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    worst = float(ratio[index])
    details: dict[str, Any] = {
        "index": index,
        "observed": float(abs(difference[index])),
        "bound": float(bound[index]),
    }
    message = f"factor: R Rᵀ off H by {worst:.3g} of the bound"
    collector.add("HES-070", worst <= 1, message, **details)


def config_round_trip(collector: Judging) -> None:
    """Judge the fields of a config that was rebuilt from its own description."""
    got, expected = collector.outputs.get("fields"), collector.expected["fields"]
    if not isinstance(got, dict):
        raise AnswerError("output 'fields', an object", f"{type(got).__name__}", collector.case.id)
    wrong = fields.changed(got, expected)
    message = "fields: all equal after the round trip"
    details: dict[str, Any] = {}
    if wrong:
        key = wrong[0]
        details = {"got": f"{got.get(key)!r}", "expected": f"{expected[key]!r}"}
        message = f"field {key}: expected {expected[key]!r}, got {got.get(key)!r}"
    collector.add(collector.case.requirements[0], not wrong, message, **details)
    fields.judge_form(collector, got, expected)
