"""Judges of sections 1 to 6: configs, rounding, affine, AbsMax, packing, and the Hessian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantcheck.judge.findings import Judging
from quantcheck.judge.naming.explain import other_axes
from quantcheck.oracle.bounds import ULP32, growth
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
    collector.dtype("scale", "ABS-020")
    double = collector.expected["scale"].dtype == np.float64 and not collector.in_single
    ulp = ULP64 if double else ULP32
    collector.within("scale", "ABS-010", scale - expected, 2 * ulp * np.abs(expected))
    usable = np.isfinite(scale) & (scale > 0)
    if not usable.all():
        blamed = "ABS-040" if "ABS-040" in case.requirements else "ABS-010"
        collector.add(blamed, False, f"scale: expected finite and positive, got {scale.min()}")
        return
    x = case.inputs["x"].astype(np.float64)
    arguments = case.parameters.get("arguments", case.parameters)
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


def values(requirement: str) -> Callable[[Judging], None]:
    """Return the judge of dequantized weights or inputs."""

    def judged(collector: Judging) -> None:
        got, expected = collector.output("values"), collector.expected["values"].astype(np.float64)
        collector.dtype("values", requirement)
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


def affine_parameters(collector: Judging) -> None:
    """Judge scales and zero-points of section 3."""
    scale, expected = collector.output("scale").astype(np.float64), collector.expected["scale"]
    collector.dtype("scale", "AFF-040")
    collector.dtype("zero_point", "AFF-060")
    collector.within("scale", "AFF-040", scale - expected, 2 * ULP32 * expected.astype(np.float64))
    admissible = collector.case.judging["zero_admissible"]  # (n_out, n_groups, 2): lowest, highest
    zero_point = collector.output("zero_point").astype(np.float64)
    outside = (zero_point < admissible[..., 0]) | (zero_point > admissible[..., 1])
    collector.equal("zero_point", "AFF-060", where=outside)


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
    collector.within("hessian", "HES-010", got - expected, gamma * judging["absolute"])
    collector.add("HES-100", bool((got == got.T).all()), "hessian: equal to its transpose")


def prepare_hessian(collector: Judging) -> None:
    """Judge dead columns, order and damping."""
    got = collector.output("damped").astype(np.float64)
    expected = collector.expected["damped"]
    collector.equal("dead", "HES-040")
    collector.equal("order", "HES-060")
    mean = float(np.mean(np.diagonal(expected)))
    bound = growth(len(got) + 4, collector.u) * (np.abs(expected) + mean * np.eye(len(got)))
    collector.within("damped", "HES-050", got - expected, bound)


def factor(collector: Judging) -> None:
    """Judge the factor by its form and its residual."""
    R = collector.output("factor").astype(np.float64)
    H = collector.case.inputs["hessian"].astype(np.float64)
    H = (H + H.T) / 2
    upper = not np.tril(R, -1).any() and bool((np.diagonal(R) > 0).all())
    collector.add("HES-070", upper, "factor: upper triangular with a positive diagonal")
    bound = growth(len(H) + 4, collector.u) * (np.abs(R) @ np.abs(R).T)
    _judge_residual(collector, R @ R.T - H, bound)


def _judge_residual(collector: Judging, difference: Array, bound: Array) -> None:
    ratio = np.abs(difference) / np.maximum(bound, 1e-300)
    index = tuple(int(i) for i in np.unravel_index(int(np.nanargmax(ratio)), ratio.shape))
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
    wrong = [key for key, value in expected.items() if got.get(key) != value]
    message = "fields: all equal after the round trip"
    details: dict[str, Any] = {}
    if wrong:
        key = wrong[0]
        details = {"got": f"{got.get(key)!r}", "expected": f"{expected[key]!r}"}
        message = f"field {key}: expected {expected[key]!r}, got {got.get(key)!r}"
    collector.add(collector.case.requirements[0], not wrong, message, **details)
