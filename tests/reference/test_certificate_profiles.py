"""Answers of other profiles: certified by their own semantics, told from the default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantref import (
    KERAS_PROFILE,
    ORIGINAL_PROFILE,
    Certificate,
    GPTQResult,
    Profile,
    certify,
    gptq_textbook,
)
from quantref.errors import AnswerError
from quantref.inputs import Array
from quantref.rules import (
    add_then_round,
    carry_storage_precision,
    dead_kept,
    g_idx_fractional,
    groups_per_block,
    mirror_where_negative,
    order_damped_float32,
    original_weights,
    ragged_kept,
    ragged_padded,
    raw_range,
    rows_of_inverse,
    scale_rounded_twice,
    widen_any_equal,
    zero_point_wrapped,
)

from .problems import Problem, normal_problem

U32, U64 = 2.0**-24, 2.0**-53
RAW = {"range": raw_range}


def positive(problem: Problem) -> Problem:
    """Return the problem with weights of one sign, away from zero."""
    return replace(problem, weights=np.abs(problem.weights) + np.float32(1.5))


def with_dead(problem: Problem) -> Problem:
    live = np.arange(len(problem.hessian)) % 5 > 0
    return replace(problem, hessian=problem.hessian * np.outer(live, live))


def tied(problem: Problem) -> Problem:
    """Return the problem with a diagonal of two values, still positive definite."""
    hessian = problem.hessian.copy()
    mean = float(hessian.diagonal().mean())
    hessian[np.diag_indices_from(hessian)] = [mean * 4, mean * 8] * (len(hessian) // 2)
    return replace(problem, hessian=hessian)


def near_tied(problem: Problem) -> Problem:
    problem = tied(problem)
    hessian = problem.hessian.copy()
    hessian[np.diag_indices_from(hessian)] *= 1 + np.arange(len(hessian)) * 2.0**-40
    return replace(problem, hessian=hessian)


def zero_group(problem: Problem) -> Problem:
    weights = problem.weights.copy()
    weights[1, :] = 0
    return replace(problem, weights=weights)


def half(problem: Problem) -> Problem:
    return replace(problem, weights=problem.weights.astype(np.float16))


def ties_descending(diagonal: Array, damped: Array) -> Array:
    return np.lexsort((-np.arange(len(diagonal)), -diagonal))


BASE = normal_problem(7, 4, 24, group_size=4, block_size=8)
ORDERED = normal_problem(7, 4, 24, group_size=4, block_size=8, activation_order=True)
SYMMETRIC = normal_problem(7, 4, 24, group_size=4, block_size=8, symmetric=True)
WHOLE = normal_problem(7, 4, 24, block_size=8)
RAGGED = normal_problem(7, 4, 22, group_size=4, block_size=8)
DETECTED: dict[str, tuple[Problem, dict[str, Any]]] = {
    "live": (BASE, {"block_size": 1}),
    "static": (BASE, {"base": original_weights}),
    "inverse rows": (BASE, {"rows": rows_of_inverse}),
    "raw": (positive(BASE), RAW),
    "raw, wrapped": (positive(BASE), RAW | {"zero_point": zero_point_wrapped}),
    "raw, any equal": (positive(BASE), RAW | {"degenerate": widen_any_equal}),
    "zeros not widened": (zero_group(BASE), {"degenerate": ragged_kept}),
    "mirrored if negative": (positive(SYMMETRIC), {"mirror": mirror_where_negative}),
    "anew per block": (WHOLE, {"groups": groups_per_block}),
    "ragged, zeros": (positive(RAGGED), RAW | {"ragged": ragged_padded}),
    "ties descending": (tied(ORDERED), {"order": ties_descending}),
    "damped order": (near_tied(ORDERED), {"order": order_damped_float32}),
    "dead kept": (with_dead(BASE), {"dead": dead_kept}),
    "fractional index": (BASE, {"g_idx": g_idx_fractional}),
    "block size": (BASE, {"block_size": 4}),
}
ADMITTED: dict[str, tuple[Problem, dict[str, Any]]] = {
    "two roundings": (BASE, {"scale": scale_rounded_twice}),
    "ties by sum": (BASE, {"code": add_then_round}),
}


def declared(problem: Problem, changes: dict[str, Any]) -> dict[str, Any]:
    """Return profile and block size: those of the problem, with changes."""
    rules = {name: rule for name, rule in changes.items() if name != "block_size"}
    size = changes.get("block_size", problem.block_size)
    return {"profile": Profile(**rules), "block_size": size}


def certified(
    problem: Problem, answer: Any, changes: dict[str, Any] | None = None, u: float = U64
) -> Certificate:
    return certify(
        problem.weights,
        problem.hessian,
        answer,
        problem.config,
        **declared(problem, changes or {}),
        unit_roundoff=u,
    )


def solve(problem: Problem, changes: dict[str, Any]) -> GPTQResult:
    return gptq_textbook(
        problem.weights, problem.hessian, problem.config, **declared(problem, changes)
    )


@pytest.mark.parametrize("name", [*DETECTED, *ADMITTED])
def test_every_profile_is_certified_by_itself(name: str) -> None:
    problem, fields = (DETECTED | ADMITTED)[name]
    certificate = certified(problem, solve(problem, fields), fields)
    assert certificate.passed, str(certificate)


@pytest.mark.parametrize("name", DETECTED)
def test_and_told_from_the_default_where_they_differ(name: str) -> None:
    problem, fields = DETECTED[name]
    result = solve(problem, fields)
    try:
        certificate = certified(problem, result, u=U32)
    except AnswerError as error:
        assert "shape" in str(error)  # noqa: PT017 (another number of groups is no answer at all)
        return
    assert not certificate.passed


@pytest.mark.parametrize("name", ADMITTED)
def test_and_admitted_where_the_specification_admits_both(name: str) -> None:
    problem, fields = ADMITTED[name]
    assert certified(problem, solve(problem, fields), u=U32).passed


def test_feedback_in_the_dtype_of_the_weights_is_told() -> None:
    problem = half(normal_problem(7, 8, 64, correlation=4.0, bits=8))
    stored = {"carry": carry_storage_precision}
    result = solve(problem, stored)
    assert not certified(problem, result, u=U32).passed
    certificate = certified(problem, result, stored, u=2.0**-11)
    assert certificate.verdict == "weak"  # half precision leaves most codes of 8 bits undecided
    assert not certificate.failures


@pytest.mark.parametrize("profile", [ORIGINAL_PROFILE, KERAS_PROFILE], ids=lambda p: p.name)
def test_what_released_code_declares(profile: Profile) -> None:
    problem = normal_problem(9, 4, 140, group_size=48, activation_order=True)
    rules = profile.rules()
    certificate = certified(problem, solve(problem, rules), rules)
    assert certificate.passed, str(certificate)
