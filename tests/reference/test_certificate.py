"""The certificate accepts every correct answer and no other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantcheck.mutants import MUTANTS, Mutant, load
from quantcheck.wire.arrays import decode, encode
from quantcheck.wire.cases import Case, load_all
from quantref import (
    GPTQResult,
    affine_parameters,
    gptq_quantize,
    gptq_textbook,
    group_index,
)
from quantref.errors import AnswerError
from quantref.fast.certificate import LazyCertificate, certify
from quantref.hessian import prepare_hessian

from .problems import Problem, answered, normal_problem, problem_of, problems, with_arrays

U32, U64 = 2.0**-24, 2.0**-53
ROUNDOFF = {"float64": U64, "float32": U32}


def solve(problem: Problem, dtype: str = "float64") -> GPTQResult:
    return gptq_quantize(
        problem.weights, problem.hessian, problem.config, block_size=problem.block_size, dtype=dtype
    )


def certified(problem: Problem, answer: Any, u: float = U64) -> LazyCertificate:
    return certify(
        problem.weights,
        problem.hessian,
        answer,
        problem.config,
        block_size=problem.block_size,
        unit_roundoff=u,
    )


@pytest.mark.parametrize("case", answered("gptq"), ids=lambda case: case.id)
@pytest.mark.parametrize("dtype", ROUNDOFF)
def test_accepts_the_reference_on_the_vectors(case: Case, dtype: str) -> None:
    problem = problem_of(case)
    for form in (gptq_quantize, gptq_textbook):
        result = form(
            problem.weights,
            problem.hessian,
            problem.config,
            block_size=problem.block_size,
            dtype=dtype,
        )
        certificate = certified(problem, result, ROUNDOFF[dtype])
        assert certificate.passed, str(certificate)
        assert not certificate.plain_rounding
    exact = SimpleNamespace(**case.expected["outputs"])
    assert certified(problem, exact, ROUNDOFF[dtype]).passed


@pytest.mark.requirement("CERT-010", "CERT-020", "CERT-030")
@given(problem=problems())
def test_accepts_the_reference_on_generated_problems(problem: Problem) -> None:
    for dtype, u in ROUNDOFF.items():
        certificate = certified(problem, solve(problem, dtype), u)
        assert certificate.passed, str(certificate)
        assert not certificate.plain_rounding


@pytest.mark.parametrize("n_in", [64, 200])
@pytest.mark.parametrize("dtype", ROUNDOFF)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bits": 2, "group_size": 24, "block_size": 32},
        {"bits": 3, "group_size": 16, "activation_order": True, "symmetric": True},
        {"bits": 8, "group_size": 40, "per_channel": False, "block_size": 16},
        {"bits": 8, "group_size": 32, "block_size": 8, "damping": 2.0**-10},
    ],
    ids=str,
)
def test_accepts_the_reference_on_larger_problems(
    n_in: int, dtype: str, changes: dict[str, Any]
) -> None:
    for seed, correlation in enumerate((0.0, 1.0, 4.0)):
        problem = normal_problem(seed, 8, n_in, correlation=correlation, **changes)
        certificate = certified(problem, solve(problem, dtype), ROUNDOFF[dtype])
        assert certificate.passed, str(certificate)
        assert certificate.undecided < 0.01  # it still decides


def certificate_rejects(mutant: Any, case: Case) -> bool:
    """Tell whether the certificate alone rejects a mutant's answer to a vector."""
    problem = problem_of(case)
    with np.errstate(all="ignore"):
        outputs = decode(mutant.answer(case.question()))["outputs"]
        try:
            return not certified(problem, SimpleNamespace(**outputs), U32).passed
        except AnswerError:
            return True


# Both sides of an exact tie are half a step away: the vectors' required codes decide ties, the
# certificate admits either side (CERT-010).
TIES = {"aff-add-then-round", "gptq-ties-up"}
# It answers where it should refuse: without a factor there is no certificate (GPTQ-120).
REFUSALS = {"gptq-retry"}
# It refuses a question that it should answer: there is no answer to certify.
REFUSING = {"hes-asymmetry-refused"}


@pytest.mark.requirement("CERT-010")
@pytest.mark.parametrize(
    "mutant",
    [
        m
        for m in MUTANTS
        if "gptq" in m.sections and not m.generated and m.id not in TIES | REFUSALS | REFUSING
    ],
    ids=lambda mutant: mutant.id,
)
def test_rejects_mutants(mutant: Mutant) -> None:
    loaded = load(mutant)
    listed = [case for case in answered("gptq") if mutant.id in case.kills]
    assert any(certificate_rejects(loaded, case) for case in listed)


def test_rejects_another_mean_diagonal() -> None:
    """Half of the columns are dead; their diagonal of 1 is larger than that of the others."""
    problem = normal_problem(0, 8, 32, correlation=4.0)
    live = np.arange(32) % 2
    hessian = problem.hessian * np.outer(live, live) / 64
    question = {
        "id": "dead",
        "operation": "gptq_quantize",
        "parameters": problem.parameters,
        "inputs": encode({"weights": problem.weights, "hessian": hessian}),
    }
    problem = Problem(problem.weights, hessian, problem.parameters)
    assert certified(problem, solve(problem), U32).passed
    (mutant,) = (m for m in MUTANTS if m.id.endswith("-dead-unmended"))
    outputs = decode(load(mutant).answer(question))["outputs"]
    certificate = certified(problem, SimpleNamespace(**outputs), U32)
    assert certificate.failures[0].requirement in ("CERT-010", "CERT-020")


@pytest.mark.parametrize("mutant", sorted(REFUSALS))
def test_mutants_that_do_not_refuse_are_caught_by_refusals(mutant: str) -> None:
    loaded = load(mutant)
    listed = [case for case in load_all() if mutant in case.kills]
    assert listed
    for case in listed:
        assert "refused" in case.expected
        assert "outputs" in loaded.answer(case.question())


@pytest.mark.parametrize("mutant", sorted(TIES))
def test_admits_either_side_of_a_tie(mutant: str) -> None:
    loaded = load(mutant)
    listed = [case for case in answered("gptq") if mutant in case.kills]
    assert listed
    assert not any(certificate_rejects(loaded, case) for case in listed)


def plain(problem: Problem, result: GPTQResult) -> Any:
    """Return the answer that rounds each weight with the result's own parameters."""
    s, z = result.scale[:, result.g_idx].astype(np.float64), result.zero_point[:, result.g_idx]
    codes = np.clip(np.rint(problem.weights / s) + z, 0, 2**problem.config.weight_bits - 1)
    return with_arrays(result, codes=codes.astype(np.uint8))


@given(
    seed=st.integers(0, 2**32),
    bits=st.sampled_from([2, 3, 4, 8]),
    ordered=st.booleans(),
    group_size=st.sampled_from([-1, 8]),
)
def test_names_plain_rounding(seed: int, bits: int, ordered: bool, group_size: int) -> None:
    problem = normal_problem(
        seed, 4, 24, bits=bits, activation_order=ordered, group_size=group_size
    )
    result = solve(problem)
    certificate = certified(problem, plain(problem, result))
    assert not certificate.passed
    assert certificate.plain_rounding
    assert "plain rounding: no error was fed back" in str(certificate)
    assert certificate.loss == pytest.approx(certificate.plain_loss)
    assert certified(problem, result).plain_loss == pytest.approx(certificate.plain_loss)


@given(seed=st.integers(0, 2**32), bits=st.sampled_from([2, 3, 4, 8]))
def test_names_plain_rounding_in_single_precision(seed: int, bits: int) -> None:
    """The largest weight of a symmetric group lies on a tie, or beside it, as float32 has it."""
    problem = normal_problem(seed, 4, 24, bits=bits, symmetric=True, group_size=8)
    w = problem.weights.astype(np.float32)
    scale, zero_point = affine_parameters(w, bits=bits, symmetric=True, group_size=8)
    g = group_index(24, 8)
    steps = w / scale[:, g] + zero_point[:, g]  # all in float32
    codes = np.clip(np.rint(steps), 0, 2**bits - 1).astype(np.uint8)
    answer = with_arrays(solve(problem), codes=codes, scale=scale, zero_point=zero_point, g_idx=g)
    evidence = certified(problem, answer, U32).evidence
    assert evidence.is_plain_rounding
    other = codes.copy()
    other[1, 5] ^= 2
    found = certified(problem, with_arrays(answer, codes=other), U32).evidence
    assert found.unlike_plain(slice(0, 4), slice(0, 24)).sum() == 1


def test_plain_rounding_is_right_where_nothing_correlates() -> None:
    problem = normal_problem(1, 4, 16)
    problem = Problem(problem.weights, np.eye(16), problem.parameters)
    result = solve(problem)
    assert (plain(problem, result).codes == result.codes).all()
    certificate = certified(problem, result)
    assert certificate.passed
    assert not certificate.plain_rounding


@pytest.mark.requirement("CERT-110")
@given(problem=problems(largest=12))
def test_the_loss_is_that_of_the_answer(problem: Problem) -> None:
    """The figure equals tr((W − Ŵ) H (W − Ŵ)ᵀ), computed here from the definition."""
    result = solve(problem)
    certificate = certified(problem, result)
    prepared = prepare_hessian(
        problem.hessian,
        damping=problem.config.hessian_damping,
        activation_order=problem.config.activation_order,
    )
    weights = np.where(prepared.dead, 0.0, problem.weights.astype(np.float64))
    difference = weights - result.dequantized()
    loss = float(np.trace(difference @ prepared.damped @ difference.T))
    assert certificate.loss == pytest.approx(loss, rel=1e-9, abs=1e-25)
    (identity,) = (c for c in certificate.checks if c.requirement == "CERT-110")
    assert identity.passed
    assert certificate.loss <= certificate.loss_bound * (1 + 1e-9) + 1e-25


@pytest.mark.requirement("CERT-010", "CERT-020")
@given(seed=st.integers(0, 2**32), data=st.data())
def test_rejects_a_single_flipped_code(seed: int, data: st.DataObject) -> None:
    """One code off by one, not clipped and not near a tie, anywhere in the matrix."""
    ordered = data.draw(st.booleans(), label="activation_order")
    problem = normal_problem(seed, 3, 20, activation_order=ordered, group_size=5, block_size=8)
    result = solve(problem)
    residuals = certified(problem, result).residual_steps
    inner = (result.codes > 0) & (result.codes < 15) & (np.abs(residuals) < 0.45)
    i, j = data.draw(st.sampled_from(np.argwhere(inner).tolist()), label="place")
    codes = result.codes.astype(np.int64)
    codes[i, j] += data.draw(st.sampled_from([-1, 1]), label="step")
    certificate = certified(problem, with_arrays(result, codes=codes), U32)
    assert not certificate.passed
    flagged = [c for c in certificate.failures if c.requirement in ("CERT-010", "CERT-020")]
    assert {check.worst[0] for check in flagged} == {i}


@pytest.mark.requirement("CERT-090")
@pytest.mark.parametrize("dtype", ROUNDOFF)
def test_rounding_of_earlier_columns_is_allowed_for(dtype: str) -> None:
    """s·(q − z) of an earlier column is rounded too, and what it leaves is all there is here.

    In float32 3·f32(w/3) is w itself, and the last group is all zeros; exactly it is not.
    """
    weights = np.zeros((2, 6), np.float32)
    weights[1, 4] = 2.0**-6
    hessian = np.eye(6) / 16
    hessian[4:, 4:] = [[0.06640625, 0.00195312], [0.00195312, 0.06347656]]
    base = normal_problem(0, 1, 1).parameters
    changes = {"bits": 2, "per_channel": False, "group_size": 1, "damping": 0.0, "block_size": 1}
    problem = Problem(weights, hessian, base | changes)
    certificate = certified(problem, solve(problem, dtype), ROUNDOFF[dtype])
    assert certificate.passed, str(certificate)


def test_prints_every_check() -> None:
    problem = normal_problem(2, 4, 16)
    text = str(certified(problem, solve(problem)))
    for word in ("passed", "half step", "clipped codes", "scale", "zero-point", "group index",
                 "loss identity", "loss bound", "CERT-010", "CERT-050"):  # fmt: skip
        assert word in text
    worst = certified(problem, plain(problem, solve(problem))).worst
    assert (worst.passed, worst.requirement) == (False, "CERT-010")
    assert "steps" in worst.message
