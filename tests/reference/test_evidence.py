"""Verdicts computed with and without the bounds agree; the evidence is right."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantcheck.mutants import MUTANTS, load
from quantcheck.wire.arrays import decode
from quantref import gptq_quantize, gptq_textbook
from quantref.certificate import LIKELY, MOST_SUMS
from quantref.fast.certificate import (
    LazyCertificate,
    certify,
    certify_problem,
    failing_checks,
)
from quantref.fast.certificate.bounds import Factor, Roundoffs
from quantref.fast.certificate.checks import check_loss, failing_rows
from quantref.fast.certificate.evidence import Evidence
from quantref.fast.certificate.gathering import gather
from quantref.fast.certificate.lower import least_base, least_beta, nearer_base, nearer_beta
from quantref.fast.certificate.tiles import column_tiles
from quantref.fast.certificate.undecided import MostBounds, most_bounds_by_solves
from quantref.fast.problem import prepare_problem
from quantref.hessian import upper_inverse
from quantref.inputs import Array
from quantref.rules import (
    Profile,
    errors_of_earlier_blocks,
    groups_once,
    groups_per_block,
    original_weights,
)

from .problems import Problem, answered, normal_problem, problem_of, problems, with_arrays

U32, U64 = 2.0**-24, 2.0**-53
KINDS: dict[str, dict[str, Any]] = {
    "blocks": {"group_size": 8, "block_size": 8},
    "groups cut blocks": {"group_size": 12, "block_size": 8},
    "blocks cut groups": {"group_size": 20, "block_size": 8},
    "ragged": {"group_size": 9, "block_size": 4, "bits": 2},
    "whole": {"block_size": 8, "bits": 3},
    "ordered": {"group_size": 8, "block_size": 16, "activation_order": True, "symmetric": True},
    "one range": {"group_size": 8, "block_size": 8, "per_channel": False, "activation_order": True},
}


def evidence_of(problem: Problem, answer: Any, u: float = U64, **rules: Any) -> Evidence:
    prepared = prepare_problem(
        problem.weights,
        problem.hessian,
        problem.config,
        profile=Profile(**rules),
        block_size=problem.block_size,
    )
    return gather(prepared, answer, Roundoffs.declared(u))


def certified(problem: Problem, answer: Any, u: float) -> LazyCertificate:
    return certify(
        problem.weights,
        problem.hessian,
        answer,
        problem.config,
        block_size=problem.block_size,
        unit_roundoff=u,
    )


def solve(problem: Problem, dtype: str = "float64") -> Any:
    return gptq_quantize(
        problem.weights, problem.hessian, problem.config, block_size=problem.block_size, dtype=dtype
    )


def assert_decided_as_with_bounds(certificate: LazyCertificate) -> None:
    """The verdicts, reached on few rows, are those of the figures, which need every bound."""
    for check in certificate.checks:
        assert check.passed == (check.observed <= check.bound), (check.name, check.message)
    v = certificate.evidence
    half, lowest, highest = v.column_scale / 2, v.codes == 0, v.codes == v.problem.maxq
    inward = np.maximum(
        np.where(highest, -np.inf, v.residuals - half),
        np.where(lowest, -np.inf, -v.residuals - half),
    )
    for requirement, mask in (
        ("CERT-010", ~lowest & ~highest),
        ("CERT-020", lowest | highest),
    ):
        (check,) = (c for c in certificate.checks if c.requirement == requirement)
        assert check.passed == (inward <= v.beta)[mask].all()


def damaged(answer: Any, rng: np.random.Generator, maxq: int) -> Any:
    """Return an answer with one code, scale or zero-point off by one, or by one ulp."""
    codes, scale = answer.codes.astype(np.int64), answer.scale.copy()
    zero = answer.zero_point.astype(np.int64)
    kind, i = rng.integers(5), rng.integers(len(codes))
    j, k = rng.integers(codes.shape[1]), rng.integers(scale.shape[1])
    if kind == 0:
        codes[i, j] = np.clip(codes[i, j] + rng.choice([-1, 1]), 0, maxq)
    elif kind == 1:
        scale[i, k] *= np.float32(1 + 2.0 ** -rng.integers(4, 24))
    elif kind == 2:
        zero[i, k] = np.clip(zero[i, k] + rng.choice([-1, 1]), 0, maxq)
    elif kind == 3:
        codes[i] = rng.integers(0, maxq + 1, codes.shape[1])
    return with_arrays(answer, codes=codes, scale=scale, zero_point=zero)


@pytest.mark.requirement("CERT-010", "CERT-020")
@given(problem=problems(), seed=st.integers(0, 2**32))
def test_decides_generated_answers_as_with_all_bounds(problem: Problem, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for dtype, u in (("float64", U64), ("float32", U32)):
        answer = solve(problem, dtype)
        assert_decided_as_with_bounds(certified(problem, answer, u))
        worse = damaged(answer, rng, 2**problem.config.weight_bits - 1)
        assert_decided_as_with_bounds(certified(problem, worse, u))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_decides_larger_answers_as_with_all_bounds(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = normal_problem(seed, 40, 40, correlation=seed, **KINDS[kind])
    for dtype, u in (("float64", U64), ("float32", U32), ("float32", U64)):
        answer = solve(problem, dtype)
        assert_decided_as_with_bounds(certified(problem, answer, u))
        for _ in range(4):
            answer = damaged(answer, rng, 2**problem.config.weight_bits - 1)
            assert_decided_as_with_bounds(certified(problem, answer, u))


@pytest.mark.parametrize("seed", range(8))
def test_rows_that_fail_are_those_that_fail_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = normal_problem(seed, 6, 40, correlation=1.0, group_size=16, block_size=16)
    answer = solve(problem, "float32")
    for _ in range(2):
        answer = damaged(answer, rng, 15)
    alone = []
    for i in range(6):
        row = {name: getattr(answer, name)[i : i + 1] for name in ("codes", "scale", "zero_point")}
        one = replace(problem, weights=problem.weights[i : i + 1])
        alone.append(not certified(one, with_arrays(answer, **row), U32).passed)
    assert failing_rows(evidence_of(problem, answer, U32)).tolist() == alone


@pytest.mark.parametrize(
    "mutant", [m.id for m in MUTANTS if "gptq" in m.sections and not m.generated]
)
def test_decides_mutants_as_with_all_bounds(mutant: str) -> None:
    loaded = load(mutant)
    listed = [case for case in answered("gptq") if mutant in case.kills]
    answers = [(case, decode(loaded.answer(case.question()))) for case in listed[:3]]
    for case, outputs in ((case, a["outputs"]) for case, a in answers if "outputs" in a):
        with np.errstate(all="ignore"):
            if outputs["codes"].max() < 2 ** case.parameters["bits"]:
                certificate = certified(problem_of(case), SimpleNamespace(**outputs), U32)
                assert_decided_as_with_bounds(certificate)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_correct_answers_need_no_inverse(dtype: str) -> None:
    """Codes and scales with rounding errors need none either, so that certificates are fast."""
    problem = normal_problem(0, 256, 256, group_size=64, block_size=64)
    u = {"float32": U32, "float64": U64}[dtype]
    answer = solve(problem, dtype)
    prepared = evidence_of(problem, answer, u).problem
    factor = Factor(prepared.R)
    assert not [*failing_checks(prepared, answer, unit_roundoff=u, factor=factor)]
    assert "U" not in vars(factor)
    certificate = certified(problem, answer, u)
    assert certificate.verdict == "passed"  # whether it is weak needs one in single precision
    assert ("U" in vars(certificate.evidence.factor)) == (u == U32)
    wrong = certified(problem, with_arrays(answer, codes=15 - answer.codes), u)
    assert not wrong.passed
    assert "U" in vars(wrong.evidence.factor)


def test_a_factor_is_gone_with_its_certificate() -> None:
    """Without a cycle, which holds n_in² numbers until the collector comes."""
    problem = normal_problem(0, 8, 300, group_size=64)
    made = certified(problem, solve(problem, "float32"), U32)
    assert made.verdict == "passed"
    assert made.undecided == 0
    factor = weakref.ref(made.evidence.factor)
    gc.disable()
    try:
        del made
        assert factor() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("shared", [False, True])
def test_a_hessian_that_changes_later_changes_nothing(*, shared: bool) -> None:
    """With a factor of its own, and with one that answers share."""
    problem = normal_problem(0, 8, 40, group_size=8, block_size=8)
    prepared = evidence_of(problem, solve(problem, "float32"), U32).problem
    figures = []
    for changed in (False, True):
        factor = Factor(prepared.R, shared=True) if shared else None
        made = certify_problem(prepared, solve(problem), factor=factor)
        if changed:
            vars(prepared.prepared).update(hessian=np.eye(40))
        figures.append((made.loss_bound, made.undecided, made.checks[1].message))
    assert figures[0] == figures[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("u", [U32, U64])
def test_what_is_allowed_at_the_least(kind: str, u: float) -> None:
    problem = normal_problem(1, 12, 40, correlation=2.0, **KINDS[kind])
    v = evidence_of(problem, solve(problem, "float32"), u)
    row, column = (index.ravel() for index in np.indices(v.codes.shape))
    least, nearer = least_beta(v, row, column), nearer_beta(v, row, column)
    beta = v.beta.ravel()
    assert (least <= nearer).all()
    assert (nearer <= beta).all()
    everywhere = np.ones(v.scale.shape, bool)
    assert (least_base(v) <= nearer_base(v, everywhere)).all()
    assert (nearer_base(v, everywhere) <= v.delta).all()
    every = np.arange(12)
    for beta, delta in (v.most_bounds_of(every), most_bounds_by_solves(v, every)):
        assert (v.beta <= beta * (1 + 1e-9)).all()
        assert (v.delta <= v.shared(delta) * (1 + 1e-9)).all()
    rows = np.array([1, 4, 11])
    np.testing.assert_allclose(v.beta_of(rows), v.beta[rows], rtol=1e-9)
    if problem.config.per_channel:
        np.testing.assert_allclose(v.delta_of(rows), v.delta[rows], rtol=1e-9)


@pytest.mark.parametrize("u", [Roundoffs(U32, U64), Roundoffs(U64, U32)], ids=["u", "u_f"])
def test_bounds_by_solves_are_no_smaller_than_their_sums(u: Roundoffs) -> None:
    """With χ itself in place of its estimate, each sum that they take more of, term by term."""
    problem = normal_problem(3, 4, 40, correlation=2.0, group_size=8, block_size=8)
    v = evidence_of(problem, solve(problem, "float32"), U32)
    R, U = v.problem.R, v.factor.U
    largest, length = np.abs(v.problem.weights).max(axis=1), np.linalg.norm(v.E, axis=1)
    most = MostBounds(v.factor, largest, length, u)
    vars(most).update(_chi=v.factor.chi)
    of_factor = 41 * float(v.factor.chi @ v.factor.h)
    gradients = of_factor * (U**2 @ v.factor.h)
    roundings = np.arange(40) + 4

    def bound(moved: Array, of_gradients: Array) -> Array:
        squares = moved**2
        recurrence = np.outer(largest**2, roundings @ squares)
        recurrence += np.outer(length**2, (roundings * v.factor.chi) @ squares)
        by_factor = np.outer(length**2, of_factor * (v.factor.chi @ squares) + of_gradients)
        return LIKELY * np.sqrt(2 * u.weights * recurrence + u.matrices * by_factor)

    size = R.diagonal()
    assert (most.codes() >= bound(R / size, gradients / size**2) * (1 - 1e-9)).all()
    t = U[16:24, 16:24]
    of_gradients = (np.sqrt(gradients[16:24]) @ np.abs(t)) ** 2
    base = bound(R[:, 16:24] @ t, of_gradients)
    assert (most.base(slice(16, 24), 16) >= base * (1 - 1e-9)).all()


def base_by_definition(v: Evidence, k: int) -> Array:
    """W less all that was fed back by then; columns done stay as they were when rounded."""
    group = v.problem.groups[k]
    c = v.problem.errors_applied(group)
    base = v.problem.weights - v.E[:, :c] @ upper_inverse(v.problem.R)[:c]
    values = v.scale[:, v.problem.column_group] * (
        v.codes - v.zero_point[:, v.problem.column_group]
    )
    base[:, :c] = (values + v.residuals)[:, :c]
    return np.asarray(base[:, group.start : group.end])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("base_of", [errors_of_earlier_blocks, original_weights])
@pytest.mark.parametrize("groups", [groups_once, groups_per_block])
def test_ranges_are_those_of_the_base_weights(kind: str, base_of: Any, groups: Any) -> None:
    problem = normal_problem(2, 5, 40, correlation=1.0, **KINDS[kind])
    rules: dict[str, Any] = {"base": base_of, "groups": groups}
    answer = gptq_textbook(
        problem.weights,
        problem.hessian,
        problem.config,
        profile=Profile(**rules),
        block_size=problem.block_size,
    )
    v = evidence_of(problem, answer, **rules)
    for k in range(len(v.problem.groups)):
        base = base_by_definition(v, k)
        if not problem.config.per_channel:
            base = np.tile(base.ravel(), (len(base), 1))
        np.testing.assert_allclose(v.ranges[0][:, k], base.min(axis=1), rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(v.ranges[1][:, k], base.max(axis=1), rtol=1e-11, atol=1e-13)


@pytest.mark.requirement("CERT-110")
@pytest.mark.parametrize("n_out", [1, 7, 8, 9, 40])
def test_sums_of_rows_find_a_wrong_error(n_out: int) -> None:
    problem = normal_problem(3, n_out, 24, correlation=1.0, activation_order=True)
    v = evidence_of(problem, solve(problem))
    assert len(v.sums.loss) <= MOST_SUMS
    assert len(v.sums.loss) == n_out or n_out > MOST_SUMS
    assert check_loss(v)[0].passed
    E = v.E.copy()
    E[-1, 5] += 1e-6 * np.abs(E[-1, 5])
    (identity, _) = check_loss(replace(v, known=E))
    assert not identity.passed
    assert identity.worst[0] <= n_out - 1


def test_the_sums_are_of_the_hessian_itself() -> None:
    """An identity that only compared E with (W − Ŵ) R would not see a wrong factor."""
    problem = normal_problem(3, 40, 24, correlation=1.0)
    prepared = prepare_problem(problem.weights, problem.hessian, problem.config)
    wrong = prepare_problem(problem.weights, problem.hessian, problem.config)
    vars(wrong)["R"] = prepared.R * (1 + 1e-6)
    assert check_loss(gather(prepared, solve(problem), Roundoffs.declared(U64)))[0].passed
    assert not check_loss(gather(wrong, solve(problem), Roundoffs.declared(U64)))[0].passed


@pytest.mark.parametrize("shape", [(3, 5), (1000, 513), (70000, 2)])
def test_tiles_cover_everything_once(shape: tuple[int, int]) -> None:
    seen = np.zeros(shape, int)
    for rows, columns in column_tiles(*shape):
        seen[rows, columns] += 1
    assert (seen == 1).all()


def test_keeps_nothing_that_the_caller_may_change() -> None:
    problem = normal_problem(4, 6, 16, group_size=4)
    answer = solve(problem)
    arrays = {name: getattr(answer, name).copy() for name in ("codes", "scale", "zero_point")}
    weights, hessian = problem.weights.copy(), problem.hessian.copy()
    expected = str(certified(problem, answer, U64))
    copied = with_arrays(answer, **arrays)
    certificate = certified(replace(problem, weights=weights, hessian=hessian), copied, U64)
    for array in (*arrays.values(), weights, hessian):
        array[...] = 0
    assert str(certificate) == expected
