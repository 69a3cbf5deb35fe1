"""Figures of the certificate, the bound on the loss, and malformed answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantref import Certificate, GPTQResult, certificate, certify, gptq_quantize
from quantref.checks import MOST_UNDECIDED
from quantref.errors import AnswerError, ConfigError
from quantref.fast import certificate as fast
from quantref.fast.certificate.undecided import undecided_share
from quantref.hessian import prepare_hessian, reversed_cholesky, upper_inverse
from quantref.inputs import Array

from .problems import Problem, normal_problem, with_arrays

U32, U64 = 2.0**-24, 2.0**-53
BASE = normal_problem(7, 4, 24, group_size=4, block_size=8)


def certified(problem: Problem, answer: Any, u: float = U64) -> Certificate:
    return certify(
        problem.weights,
        problem.hessian,
        answer,
        problem.config,
        block_size=problem.block_size,
        unit_roundoff=u,
    )


def solve(problem: Problem) -> GPTQResult:
    return gptq_quantize(
        problem.weights, problem.hessian, problem.config, block_size=problem.block_size
    )


def given(problem: Problem) -> tuple[Any, ...]:
    """Return what a certificate is made of, with the right answer."""
    return problem.weights, problem.hessian, solve(problem), problem.config


def half_steps(share: float) -> tuple[Problem, Array]:
    """Return a correlated problem whose residuals are all `share` of a step, and the codes."""
    problem = normal_problem(5, 1, 24, damping=0.0)
    H = 8 * np.eye(24) + problem.hessian / 24
    U = upper_inverse(reversed_cholesky(H))
    rng = np.random.default_rng(0)
    codes = rng.integers(5, 11, 24).astype(np.float64)
    codes[:2] = 0, 15
    residuals = share * rng.choice([-1.0, 1.0], 24)
    residuals[:2] = 0.0  # the ends of the range, met exactly: scale 1, zero-point 0
    weights = codes + (residuals / U.diagonal()) @ U
    return Problem(weights[None, :], H, problem.parameters), codes


@pytest.mark.requirement("CERT-050")
def test_the_loss_bound_is_reached() -> None:
    problem, codes = half_steps(0.4999)
    result = solve(problem)
    assert result.codes[0].tolist() == codes.tolist()
    certificate = certified(problem, result)
    assert certificate.passed
    assert 0.999 < certificate.loss / certificate.loss_bound <= 1


def row_of(problem: Problem, i: int) -> Problem:
    return replace(problem, weights=problem.weights[i : i + 1])


@pytest.mark.requirement("CERT-050")
@pytest.mark.parametrize("row", [6, 7, 8, 15])
def test_the_loss_bound_holds_row_by_row(row: int) -> None:
    """One row of plain rounding is found, though all rows together stay below their sum."""
    problem = normal_problem(4, 16, 24, correlation=4.0)
    result = solve(problem)
    plain = np.clip(np.rint(problem.weights / result.scale) + result.zero_point, 0, 15)
    codes = result.codes.copy()
    codes[row] = plain[row].astype(np.uint8)
    certificate = certified(problem, with_arrays(result, codes=codes))
    (bound,) = (c for c in certificate.failures if c.requirement == "CERT-050")
    assert bound.worst == (row,)
    assert certificate.loss < certificate.loss_bound


def test_figures_are_sums_over_rows() -> None:
    problem = normal_problem(4, 5, 24, correlation=2.0)
    whole = certified(problem, solve(problem))
    rows = [certified(row_of(problem, i), solve(row_of(problem, i))) for i in range(5)]
    for name in ("loss", "loss_bound", "plain_loss"):
        assert getattr(whole, name) == pytest.approx(sum(getattr(row, name) for row in rows))


def test_the_damped_hessian_is_what_counts() -> None:
    problem = normal_problem(6, 2, 8, damping=1.0)
    result = solve(problem)
    difference = problem.weights - result.dequantized()
    H = prepare_hessian(problem.hessian, damping=1.0).damped
    assert certified(problem, result).loss == pytest.approx(
        float((difference @ H * difference).sum())
    )


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("codes", lambda a: a[:, :-1], "codes of shape (4, 24)"),
        ("codes", lambda a: a.T, "codes of shape (4, 24)"),
        ("codes", lambda a: a.astype(np.float32), "integer codes"),
        ("codes", lambda a: a.astype(np.int16) + 16, "codes in [0, 15]"),
        ("codes", lambda a: a.astype(np.int16) - 16, "codes in [0, 15]"),
        ("scale", lambda a: a[:, 0], "scale of shape (4, 6)"),
        ("scale", lambda a: a * np.nan, "scales finite and positive"),
        ("scale", lambda a: a * np.float32(np.inf), "scales finite and positive"),
        ("scale", lambda a: -a, "scales finite and positive"),
        ("scale", lambda a: a * 0, "scales finite and positive"),
        ("zero_point", lambda a: a[:2], "zero_point of shape (4, 6)"),
        ("zero_point", lambda a: a.astype(np.float32), "integer zero_point"),
        ("zero_point", lambda a: a.astype(np.int32) - 300, "zero_point in [0, 255]"),
        ("g_idx", lambda a: a[:-1], "g_idx of shape (24,)"),
    ],
)
def test_what_is_no_answer(name: str, change: Any, expected: str) -> None:
    result = solve(BASE)
    answer = with_arrays(result, **{name: change(getattr(result, name))})
    with pytest.raises(AnswerError) as caught:
        certified(BASE, answer)
    assert caught.value.expected == expected
    assert caught.value.got
    assert caught.value.requirement.startswith("GPTQ-")


@pytest.mark.requirement("CERT-030")
@pytest.mark.parametrize("name", ["scale", "zero_point", "g_idx"])
def test_wrong_parameters_are_found(name: str) -> None:
    result = solve(BASE)
    value = getattr(result, name).copy()
    value[(0,) * value.ndim] += 1
    certificate = certified(BASE, with_arrays(result, **{name: value}), u=U32)
    checks = {"scale": "scale", "zero_point": "zero-point", "g_idx": "group index"}
    assert checks[name] in {check.name for check in certificate.failures}


def spread_hessian(n_in: int, condition: float) -> Array:
    """Return a Hessian with eigenvalues on a logarithmic scale, in a random basis."""
    Q, _ = np.linalg.qr(np.random.default_rng(8).standard_normal((n_in, n_in)))
    H = (Q * np.logspace(0, -np.log10(condition), n_in)) @ Q.T
    return np.asarray((H + H.T) / 2)


def badly_conditioned(condition: float) -> Problem:
    """Return a problem whose damped Hessian has a condition number."""
    problem = normal_problem(8, 6, 40, damping=0.0)
    return replace(problem, hessian=spread_hessian(40, condition))


@pytest.mark.requirement("CERT-100")
def test_a_certificate_that_decides_too_little_is_weak() -> None:
    """At condition 10⁹ a factor in single precision says nothing, and one in double all."""
    problem = badly_conditioned(1e9)
    result = solve(problem)
    weak = certified(problem, result, u=U32)
    assert not weak.failures
    assert (weak.verdict, weak.passed) == ("weak", False)
    assert weak.undecided > 0.9
    decided = f"{1 - weak.undecided:.1%} of the codes decided"
    assert str(weak).startswith(f"certificate: weak: rounding errors leave {decided}")
    strong = certify(
        problem.weights,
        problem.hessian,
        result,
        problem.config,
        unit_roundoff=U32,
        factor_roundoff=U64,
    )
    assert (strong.verdict, strong.undecided) == ("passed", 0.0)


@pytest.mark.requirement("CERT-100")
@pytest.mark.parametrize("form", [certificate.certify, fast.certify])
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_certificate_that_admits_loose_scales_is_weak(form: Any, per_channel: bool) -> None:
    """All codes are decided, but scales that are off by a thousandth would pass in later blocks."""
    changes = {"block_size": 8, "group_size": 8, "per_channel": per_channel}
    problem = badly_conditioned(1e6)
    problem = replace(problem, parameters=problem.parameters | changes)
    result = solve(problem)
    given = (problem.weights, problem.hessian, result, problem.config)
    weak = form(*given, block_size=8, unit_roundoff=U32)
    assert (weak.verdict, weak.undecided) == ("weak", 0.8)  # 4 of 5 groups
    off = with_arrays(result, scale=result.scale * np.array([1, 1, 1, 1, 1.001], np.float32))
    assert not form(problem.weights, problem.hessian, off, *given[3:], block_size=8).failures
    strong = form(*given, block_size=8, unit_roundoff=U32, factor_roundoff=U64)
    assert (strong.verdict, strong.undecided) == ("passed", 0.0)


@pytest.mark.requirement("CERT-100")
@pytest.mark.parametrize(
    ("condition", "u_f", "verdict", "inverse"),
    [(1e6, U32, "weak", True), (1e6, U64, "passed", True), (1e3, U64, "passed", False)],
)
def test_weakness_is_decided_by_solves_where_they_are_enough(
    condition: float, u_f: float, verdict: str, inverse: bool
) -> None:
    """With a factor in double precision they are, unless the condition is large."""
    right = normal_problem(3, 4, 528, group_size=128, damping=0.0)
    problem = replace(right, hessian=spread_hessian(528, condition))
    quick = fast.certify(*given(problem), factor_roundoff=u_f)
    plain = certificate.certify(*given(problem), factor_roundoff=u_f)
    assert plain.verdict == quick.verdict == verdict
    assert ("U" in vars(quick.evidence.factor)) == inverse
    assert plain.undecided == quick.undecided


def cancelled(row: int, done: int, left: float) -> Problem:
    """Return a problem in which a row's errors of some columns cancel its others but for a part."""
    problem = normal_problem(4, 64, 80, group_size=8, block_size=8)
    evidence = fast.certify(*given(problem), block_size=8).evidence
    weights = problem.weights.copy()
    carried = evidence.E[row, :done] @ evidence.factor.U[:done, done:]
    weights[row, done:] = weights[row, done:] * left + carried
    return replace(problem, weights=weights)


@pytest.mark.requirement("CERT-100")
@pytest.mark.parametrize("row", [0, 1, 12, 35, 63])
def test_one_row_of_64_may_make_a_certificate_weak(row: int) -> None:
    problem = cancelled(row, 8, 2.0**-14)
    for form in (certificate.certify, fast.certify):
        made = form(*given(problem), block_size=8)
        assert (made.verdict, made.undecided) == ("weak", 72 / 64 / 80)


@pytest.mark.requirement("CERT-100")
def test_a_share_that_upper_bounds_admit_is_not_the_share() -> None:
    problem = cancelled(1, 40, 2.0**-9)
    quick = fast.certify(*given(problem), block_size=8)
    assert undecided_share(quick.evidence, MOST_UNDECIDED) == 40 / 64 / 80 < MOST_UNDECIDED
    plain = certificate.certify(*given(problem), block_size=8)
    assert (plain.verdict, plain.undecided) == (quick.verdict, quick.undecided) == ("passed", 0.0)


@pytest.mark.requirement("CERT-100")
def test_a_failed_check_is_no_weakness() -> None:
    problem = badly_conditioned(1e9)
    result = solve(problem)
    wrong = certified(problem, with_arrays(result, g_idx=result.g_idx + 1), u=U32)
    assert wrong.verdict == "failed"


@pytest.mark.requirement("CERT-090")
@pytest.mark.parametrize("name", ["unit_roundoff", "factor_roundoff"])
@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, np.nan, "float32"])
def test_precisions_are_numbers_between_0_and_1(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match="CERT-090"):
        certify(BASE.weights, BASE.hessian, solve(BASE), BASE.config, **{name: value})


@pytest.mark.requirement("CERT-100")
@pytest.mark.parametrize("form", [certificate.certify, fast.certify])
def test_a_hessian_singular_to_working_precision_leaves_nothing_decided(form: Any) -> None:
    for condition, u, decided in ((1e13, U32, False), (1e13, U64, True), (1e16, U64, False)):
        problem = badly_conditioned(condition)
        made = form(*given(problem), unit_roundoff=u)
        assert (made.verdict == "passed", made.undecided < 0.01) == (decided, decided)


@pytest.mark.parametrize("form", [certificate.certify, fast.certify])
@pytest.mark.parametrize("smallest", [1e-45, 1e-40])
def test_a_subnormal_scale_is_wrong(form: Any, smallest: float) -> None:
    result = solve(BASE)
    scale = result.scale.copy()
    scale[1, 2] = smallest
    made = form(
        BASE.weights,
        BASE.hessian,
        with_arrays(result, scale=scale),
        BASE.config,
        block_size=BASE.block_size,
    )
    assert "scale" in {check.name for check in made.failures}


@pytest.mark.parametrize("form", [certificate.certify, fast.certify])
def test_one_column_and_dead_columns_alone(form: Any) -> None:
    for n_in, hessian in ((1, np.array([[2.0]])), (6, np.zeros((6, 6)))):
        problem = replace(normal_problem(1, 3, n_in, group_size=2), hessian=hessian)
        made = form(problem.weights, hessian, solve(problem), problem.config)
        assert (made.verdict, made.undecided) == ("passed", 0.0)
