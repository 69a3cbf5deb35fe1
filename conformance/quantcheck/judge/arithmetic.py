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


def abs_max(judge: Judging) -> None:
    """Judge scale and codes of section 4."""
    case, outputs = judge.case, judge.outputs
    requirement = other_axes(case, outputs)
    if requirement:
        wanted, shape = judge.expected["scale"].shape, np.shape(outputs["scale"])
        message = f"scale: expected shape {wanted}, got {shape}, as of other axes"
        judge.add(requirement, False, message)
        return
    codes, scale = judge.output("codes"), judge.output("scale").astype(np.float64)
    expected = judge.expected["scale"].astype(np.float64)
    judge.dtype("codes", "ABS-030")
    judge.dtype("scale", "ABS-020")
    double = judge.expected["scale"].dtype == np.float64 and not judge.in_single
    ulp = ULP64 if double else ULP32
    judge.within("scale", "ABS-010", scale - expected, 2 * ulp * np.abs(expected))
    usable = np.isfinite(scale) & (scale > 0)
    if not usable.all():
        blamed = "ABS-040" if "ABS-040" in case.requirements else "ABS-010"
        judge.add(blamed, False, f"scale: expected finite and positive, got {scale.min()}")
        return
    x = case.inputs["x"].astype(np.float64)
    arguments = case.parameters.get("arguments", case.parameters)
    lo, hi = arguments["value_range"]
    zero = np.zeros(())
    judge.teacher_forced("ABS-030", x * scale, lo, hi, zero)
    same = np.broadcast_to(outputs["scale"].astype(np.float64) == expected, codes.shape)
    judge.equal("codes", "ABS-030", where=same & (case.judging["required"] == 1))
    t = x * scale
    inner = (codes > lo) & (codes < hi)
    # [ABS-090]: half a step if the code is not clipped
    step = np.where(inner, np.abs(t - codes.astype(np.float64)), 0.0)
    judge.within("codes", "ABS-090", step, 0.5 + 3 * judge.u * np.abs(t))


def values(requirement: str) -> Callable[[Judging], None]:
    """Return the judge of dequantized weights or inputs."""

    def judged(judge: Judging) -> None:
        got, expected = judge.output("values"), judge.expected["values"].astype(np.float64)
        judge.dtype("values", requirement)
        double = judge.expected["values"].dtype == np.float64 and not judge.in_single
        ulp = ULP64 if double else ULP32
        difference = got.astype(np.float64) - expected
        bound = 2 * ulp * np.abs(expected) + SMALLEST_SUBNORMAL
        judge.within("values", requirement, difference, bound)

    return judged


def exactly(*names: str, requirement: str) -> Callable[[Judging], None]:
    """Return the judge of outputs that must equal the expected ones."""

    def judged(judge: Judging) -> None:
        for name in names:
            judge.output(name)
            judge.dtype(name, requirement)
            judge.equal(name, requirement)

    return judged


def affine_parameters(judge: Judging) -> None:
    """Judge scales and zero-points of section 3."""
    scale, expected = judge.output("scale").astype(np.float64), judge.expected["scale"]
    judge.dtype("scale", "AFF-040")
    judge.dtype("zero_point", "AFF-060")
    judge.within("scale", "AFF-040", scale - expected, 2 * ULP32 * expected.astype(np.float64))
    admissible = judge.case.judging["zero_admissible"]  # (n_out, n_groups, 2): lowest, highest
    zero_point = judge.output("zero_point").astype(np.float64)
    outside = (zero_point < admissible[..., 0]) | (zero_point > admissible[..., 1])
    judge.equal("zero_point", "AFF-060", where=outside)


def affine_quantize(judge: Judging) -> None:
    """Judge codes of section 3 whose parameters are given."""
    inputs = judge.case.inputs
    judge.output("codes")
    judge.dtype("codes", "AFF-070")
    g = inputs["g_idx"]
    s = inputs["scale"].astype(np.float64)[:, g]
    z = inputs["zero_point"].astype(np.float64)[:, g]
    t = inputs["weights"].astype(np.float64) / s
    maxq = 2 ** judge.case.parameters["bits"] - 1
    judge.teacher_forced("AFF-070", t, 0, maxq, z)
    judge.equal("codes", "AFF-070", where=judge.case.judging["required"] == 1)
    codes = judge.outputs["codes"].astype(np.float64)
    inner = (codes > 0) & (codes < maxq)
    # [AFF-120]: half a step if the code is not clipped
    step = np.where(inner, np.abs(t + z - codes), 0.0)
    judge.within("codes", "AFF-120", step, 0.5 + judge.u * (3 * np.abs(t) + z))


def hessian(judge: Judging) -> None:
    """Judge the sum of section 6."""
    got, expected = judge.output("hessian").astype(np.float64), judge.expected["hessian"]
    judging = judge.case.judging
    gamma = growth(judging["tokens"] + 4 * judging["batches"] + 4, judge.u)
    judge.within("hessian", "HES-010", got - expected, gamma * judging["absolute"])
    judge.add("HES-100", bool((got == got.T).all()), "hessian: equal to its transpose")


def prepare_hessian(judge: Judging) -> None:
    """Judge dead columns, order and damping."""
    got = judge.output("damped").astype(np.float64)
    expected = judge.expected["damped"]
    judge.equal("dead", "HES-040")
    judge.equal("order", "HES-060")
    mean = float(np.mean(np.diagonal(expected)))
    bound = growth(len(got) + 4, judge.u) * (np.abs(expected) + mean * np.eye(len(got)))
    judge.within("damped", "HES-050", got - expected, bound)


def factor(judge: Judging) -> None:
    """Judge the factor by its form and its residual."""
    R = judge.output("factor").astype(np.float64)
    H = judge.case.inputs["hessian"].astype(np.float64)
    H = (H + H.T) / 2
    upper = not np.tril(R, -1).any() and bool((np.diagonal(R) > 0).all())
    judge.add("HES-070", upper, "factor: upper triangular with a positive diagonal")
    bound = growth(len(H) + 4, judge.u) * (np.abs(R) @ np.abs(R).T)
    _judge_residual(judge, R @ R.T - H, bound)


def _judge_residual(judge: Judging, difference: Array, bound: Array) -> None:
    ratio = np.abs(difference) / np.maximum(bound, 1e-300)
    index = tuple(int(i) for i in np.unravel_index(int(np.nanargmax(ratio)), ratio.shape))
    worst = float(ratio[index])
    details: dict[str, Any] = {
        "index": index,
        "observed": float(abs(difference[index])),
        "bound": float(bound[index]),
    }
    message = f"factor: R Rᵀ off H by {worst:.3g} of the bound"
    judge.add("HES-070", worst <= 1, message, **details)


def config_round_trip(judge: Judging) -> None:
    """Judge the fields of a config that was rebuilt from its own description."""
    got, expected = judge.outputs.get("fields"), judge.expected["fields"]
    if not isinstance(got, dict):
        raise AnswerError("output 'fields', an object", f"{type(got).__name__}", judge.case.id)
    wrong = [key for key, value in expected.items() if got.get(key) != value]
    message = "fields: all equal after the round trip"
    details: dict[str, Any] = {}
    if wrong:
        key = wrong[0]
        details = {"got": f"{got.get(key)!r}", "expected": f"{expected[key]!r}"}
        message = f"field {key}: expected {expected[key]!r}, got {got.get(key)!r}"
    judge.add(judge.case.requirements[0], not wrong, message, **details)
