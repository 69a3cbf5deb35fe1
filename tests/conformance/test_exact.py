"""Rational arithmetic, the textbook and the fast form are one algorithm."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from tests.reference.problems import Problem, answered, normal_problem, problem_of, problems

from quantcheck.corpus.gptq.build import _required
from quantcheck.oracle.bounds import for_exact
from quantcheck.wire.cases import Case
from quantref import GPTQResult, gptq_quantize, gptq_textbook
from quantref.certificate import error_bound, rounding_noise
from quantref.checks import horizons
from quantref.hessian import upper_inverse
from quantref.inputs import Array

FORMS = {"textbook": gptq_textbook, "blocked": gptq_quantize}
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24}


def solve(form: str, problem: Problem, dtype: str = "float64") -> GPTQResult:
    return FORMS[form](
        problem.weights, problem.hessian, problem.config, block_size=problem.block_size, dtype=dtype
    )


@pytest.mark.requirement("VEC-050")
@pytest.mark.parametrize("case", answered("gptq"), ids=lambda case: case.id)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("form", FORMS)
def test_required_codes_of_the_vectors(case: Case, form: str, dtype: str) -> None:
    expected, required = case.expected["outputs"], case.judging[f"required_{dtype}"] == 1
    result = solve(form, problem_of(case), dtype)
    np.testing.assert_array_equal(result.codes[required], expected["codes"][required])
    np.testing.assert_array_equal(result.g_idx, expected["g_idx"])
    np.testing.assert_array_equal(result.order, case.judging["order"])
    rows = required.all(axis=1)
    np.testing.assert_array_equal(result.zero_point[rows], expected["zero_point"][rows])
    assert result.codes.dtype == result.zero_point.dtype == np.uint8
    assert result.scale.dtype == np.float32
    assert result.g_idx.dtype == np.int32
    assert result.dtype == dtype


@pytest.mark.parametrize("case", answered("gptq"), ids=lambda case: case.id)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_scales_lie_within_the_published_bound(case: Case, dtype: str) -> None:
    """If every code is required, both forms give the same codes."""
    rows = (case.judging[f"required_{dtype}"] == 1).all(axis=1)
    for form in FORMS:
        scale = solve(form, problem_of(case), dtype).scale.astype(np.float64)
        off = np.abs(scale - case.expected["outputs"]["scale"])[rows]
        np.testing.assert_array_less(off, np.nextafter(case.judging["scale_bound"][rows], 1))


def test_nearly_all_codes_are_required() -> None:
    """Else equality above would say little."""
    shares: dict[str, list[Any]] = {"float64": [], "float32": []}
    for case in answered("gptq"):
        for dtype, found in shares.items():
            found.extend(case.judging[f"required_{dtype}"].ravel().tolist())
    assert np.mean(shares["float64"]) > 0.9
    assert np.mean(shares["float32"]) > 0.5


@pytest.mark.requirement("VEC-050")
@given(problem=problems())
def test_generated_problems(problem: Problem) -> None:
    """Where every margin before it exceeds its bound, a code is that of exact arithmetic."""
    answer = problem.exact()
    place = np.argsort(answer.order)
    bounds = for_exact(answer)
    for dtype, u in ROUNDOFF.items():
        required, allowed = _required(answer, bounds, u, problem.parameters)
        sure = required.astype(bool)
        for form in FORMS:
            result = solve(form, problem, dtype)
            np.testing.assert_array_equal(result.order, answer.order)
            np.testing.assert_array_equal(result.g_idx, np.array(answer.group)[place])
            codes = result.codes[:, result.order]
            np.testing.assert_array_equal(codes[sure], np.array(answer.codes)[sure])
            _same_parameters(result, answer, sure, allowed)


def _same_parameters(result: GPTQResult, answer: Any, sure: Array, allowed: Array) -> None:
    """Parameters are decided where the first code of their group is, and its row before it."""
    for k, first in enumerate(np.unique(answer.group, return_index=True)[1]):
        rows = sure[:, first]
        expected = np.array([[float(s) for s in row] for row in answer.scale])[:, k]
        np.testing.assert_array_equal(
            result.zero_point[rows, k], np.array(answer.zero_point)[rows, k]
        )
        assert (np.abs(result.scale[rows, k] - expected[rows]) <= allowed[rows, k]).all()


def required_equal(problem: Problem) -> None:
    """Compare both forms, in both precisions, with the codes that the oracle calls required."""
    answer = problem.exact()
    for dtype, u in ROUNDOFF.items():
        required, _ = _required(answer, for_exact(answer), u, problem.parameters)
        sure = required.astype(bool)
        for form in FORMS:
            result = solve(form, problem, dtype)
            codes = result.codes[:, result.order]
            np.testing.assert_array_equal(codes[sure], np.array(answer.codes)[sure])


def test_a_shared_range_is_decided_by_all_rows() -> None:
    """Row 1 is a near-tie: which way it goes decides the range that row 0 shares after it."""
    weights = np.array([[1 / 32, 0.0], [1 / 64, 0.0]], np.float32)
    hessian = np.array([[0.06640625, 0.001953125], [0.001953125, 0.0634765625]])
    changes = {"bits": 2, "per_channel": False, "group_size": 1, "block_size": 1, "damping": 0.0}
    required_equal(Problem(weights, hessian, normal_problem(0, 1, 1).parameters | changes))


def test_errors_that_cancel_are_rounded_nonetheless() -> None:
    """The errors of columns 0 and 1 sum up to 0 in column 2, an exact tie, but not in float32."""
    M = np.eye(5)
    M[:2, 2] = 7
    hessian = M @ np.diag([3.75, 6.0, 1.0, 1.0, 1.0]) @ M.T
    small = 443220 / 2**22
    weights = np.array([[small, -small, 0.5, -1.0, 2.0]], np.float32)
    changes = {"bits": 2, "damping": 0.0}
    required_equal(Problem(weights, hessian, normal_problem(0, 1, 1).parameters | changes))


@given(problem=problems(largest=8))
def test_the_loss_is_the_sum_of_squared_errors(problem: Problem) -> None:
    """tr((W − Ŵ) H (W − Ŵ)ᵀ) = Σ r_j² R_jj², without any rounding."""
    answer = problem.exact()
    H, place = answer.hessian, range(len(answer.order))
    for i, row in enumerate(answer.residuals):
        errors: list[Fraction] = []  # w_j − ŵ_j, from residuals by w'_j = w_j + Σ (w_k − ŵ_k) M_kj
        for j in place:
            carried = sum(d * answer.factor.unit(k, j) for k, d in enumerate(errors))
            errors.append(row[j] - carried)
        loss = sum(errors[a] * H[a][b] * errors[b] for a in place for b in place)
        assert loss == sum(r**2 * p for r, p in zip(row, answer.factor.pivots, strict=True))
        dead = problem.hessian.diagonal()[answer.order] == 0
        w = np.where(dead, 0, problem.weights[i, answer.order]).astype(np.float64)
        for j in place:
            k = answer.group[j]
            value = answer.scale[i][k] * (answer.codes[i][j] - answer.zero_point[i][k])
            assert errors[j] == Fraction(float(w[j])) - value


@pytest.mark.requirement("CERT-090")
@given(problem=problems(largest=24))
def test_both_forms_of_the_bounds_are_equal(problem: Problem) -> None:
    assert_same_bounds(problem)


@pytest.mark.requirement("CERT-090")
def test_both_forms_look_as_far_for_displacements() -> None:
    """In columns after the first 128 too, where the largest displacement is another one."""
    problem = normal_problem(0, 1, 136)
    off = np.abs(np.subtract.outer(np.arange(136), np.arange(136)))
    assert_same_bounds(replace(problem, hessian=np.maximum(3.0 - off, 0)))


def assert_same_bounds(problem: Problem) -> None:
    answer = problem.exact()
    n = len(answer.order)
    unit = [[float(answer.factor.unit(k, j)) if k < j else 0.0 for j in range(n)] for k in range(n)]
    R = (np.array(unit) + np.eye(n)) * np.sqrt([float(p) for p in answer.factor.pivots])
    residuals = np.array([[float(r) for r in row] for row in answer.residuals])
    weights = np.array([[float(w) for w in row] for row in answer.weights])
    targets = np.array([[float(t) for t in row] for row in answer.targets])
    U, u = upper_inverse(R), ROUNDOFF["float32"]
    E = residuals * R.diagonal()
    noise = [rounding_noise(weights, E[:, :c], R, U, u=u, u_f=2 * u) for c in horizons(n)]
    no_shift = np.zeros(len(weights)), np.zeros(n)
    beta = error_bound(noise, no_shift, R, U, np.diag(U.diagonal()), np.arange(n) + 1)
    beta += 3 * u * np.abs(targets)
    ours = for_exact(answer)
    np.testing.assert_allclose(ours.target(u, 2 * u), beta, rtol=1e-7, atol=1e-9 * beta.max())
    for c in range(0, n, 5 if n <= 24 else 64):
        taken = U * (np.arange(n)[:, None] >= c)
        base = error_bound(noise, no_shift, R, U, taken, np.full(n, c))[:, c:]
        np.testing.assert_allclose(
            ours.base(u, range(c, n), c, 2 * u), base, rtol=1e-7, atol=1e-9 * beta.max()
        )
