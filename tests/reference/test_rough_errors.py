"""Errors in float32 settle most codes of large matrices, and change no verdict.  [CERT-010]"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from quantref import GPTQConfig, GPTQResult, gptq_quantize
from quantref.certificate import U32, U64
from quantref.checks import Check, evenly_spaced
from quantref.fast.certificate import errors, ranges
from quantref.fast.certificate.bounds import Factor, Roundoffs
from quantref.fast.certificate.checks import check_loss, check_parameters, check_residuals
from quantref.fast.certificate.errors import LAST, RoughErrors, times_upper
from quantref.fast.certificate.evidence import Evidence
from quantref.fast.certificate.gathering import gather
from quantref.fast.certificate.ranges import rough_ranges
from quantref.fast.certificate.undecided import undecided_share
from quantref.fast.problem import GPTQProblem, prepare_problem
from quantref.inputs import Array

from .problems import with_arrays

N_OUT, N_IN = 448, 600


def problem(seed: int, group_size: int = 128, *, activation_order: bool = False) -> GPTQProblem:
    """Return a problem with correlated columns of different size; some rows are large or 0."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(2 * N_IN, N_IN)) + rng.normal(size=(2 * N_IN, 1))
    X *= np.exp(rng.normal(size=N_IN))
    W = rng.normal(size=(N_OUT, N_IN)).astype(np.float32)
    W[3] *= 1e3
    W[5] = 0
    W[7] *= 1e-6
    W[9, 11] = 40.0
    config = GPTQConfig(
        None, None, weight_bits=4, group_size=group_size, activation_order=activation_order
    )
    return prepare_problem(W, X.T @ X / N_IN, config, dtype=np.float32)


def solved(given: GPTQProblem, dtype: str = "float32") -> GPTQResult:
    W = given.weights[:, given.prepared.place]
    return gptq_quantize(W, given.prepared.hessian, given.config, dtype=dtype)


def answers(right: GPTQResult) -> Iterator[Any]:
    """Yield a right answer, and wrong ones."""
    yield right
    for i, j in ((0, 0), (3, 300), (9, 11), (447, 599)):
        codes = right.codes.copy()
        codes[i, j] ^= 1
        yield with_arrays(right, codes=codes)
    for factor in (1 + 1e-3, 1 + 1e-5, 1.5):
        scale = right.scale.copy()
        scale[200, -1] *= np.float32(factor)
        yield with_arrays(right, scale=scale)
    zero = right.zero_point.copy()
    zero[100, -1] ^= 1
    yield with_arrays(right, zero_point=zero)
    yield with_arrays(right, codes=15 - right.codes)
    yield with_arrays(right, codes=right.codes[::-1].copy())


def judged(evidence: Evidence) -> list[Check]:
    return [*check_residuals(evidence), *check_parameters(evidence), *check_loss(evidence)]


def assert_same(rough: Evidence, exact: Evidence) -> None:
    for one, other in zip(judged(rough), judged(exact), strict=True):
        assert (one.requirement, one.passed) == (other.requirement, other.passed)
        if one.requirement != "CERT-110":  # its sums are computed in another way
            assert one.places == other.places
            assert one.observed == pytest.approx(other.observed, rel=1e-6, abs=1e-9)
            assert (one.worst, one.message) == (other.worst, other.message)


@pytest.mark.requirement("CERT-010", "CERT-020", "CERT-030", "CERT-050")
@pytest.mark.parametrize(
    ("group_size", "activation_order"), [(128, False), (96, True), (-1, False)]
)
def test_verdicts_and_messages_are_those_of_float64(
    group_size: int, activation_order: bool
) -> None:
    given = problem(1, group_size, activation_order=activation_order)
    roundoffs, factor = Roundoffs.declared(U32), Factor(given.R)
    for answer in answers(solved(given)):
        rough = gather(given, answer, roundoffs, factor, rough=True)
        exact = gather(given, answer, roundoffs, factor)
        assert isinstance(rough.known, RoughErrors)
        assert not isinstance(exact.known, RoughErrors)
        assert_same(rough, exact)
        assert undecided_share(rough) == undecided_share(exact)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_right_answers_are_settled_by_float32(seed: int, dtype: str) -> None:
    """Neither all errors in float64 nor the inverse are computed for a verdict."""
    given = problem(seed)
    evidence = gather(given, solved(given, dtype), Roundoffs.declared(U32), rough=True)
    assert all(check.passed for check in judged(evidence))
    assert not {"E", "ranges"} & set(vars(evidence))
    assert "U" not in vars(evidence.factor)


@pytest.mark.parametrize("seed", range(3))
def test_the_deviation_of_rough_errors_is_bounded(seed: int) -> None:
    """Also in rows with one large weight; and the bound is approached."""
    given = problem(seed)
    evidence = gather(given, solved(given), Roundoffs.declared(U32), rough=True)
    rough = evidence.rough
    assert rough is not None
    deviation = np.abs(rough.residuals - evidence.E * evidence.U_jj)
    assert not deviation[5].any()  # a row of zeros
    share = np.delete(deviation / rough.of_column, 5, axis=0).max(axis=1) / np.delete(
        rough.of_row, 5
    )
    assert 0.05 < share.max() < 1


def farther(evidence: Evidence, lowest: Array, highest: Array) -> Array:
    """Return how far ranges are from those that E gives, (n_out, n_groups)."""
    low, high = evidence.ranges
    return np.maximum(np.abs(lowest - low), np.abs(highest - high))


@pytest.mark.parametrize(("group_size", "activation_order"), [(128, False), (96, True)])
def test_the_deviation_of_rough_ranges_is_bounded(group_size: int, activation_order: bool) -> None:
    """Of each group, in rows of every size; and the bound is approached."""
    given = problem(1, group_size, activation_order=activation_order)
    evidence = gather(given, solved(given), Roundoffs.declared(U32), rough=True)
    lowest, highest, slack = rough_ranges(evidence)
    off = farther(evidence, lowest, highest)
    assert not off[5].any()  # a row of zeros
    assert (off <= slack).all()
    later = evidence.compensated_groups
    assert (slack[:, ~later] == 0).all()
    share = np.delete(off[:, later], 5, axis=0) / np.delete(slack[:, later], 5, axis=0)
    assert (share.max(axis=0) > 0.03).all()


def on_a_grid(*rows: int) -> GPTQProblem:
    """Return a problem in which the weights of rows are multiples of a power of two."""
    given = problem(2)
    W = given.weights[:, given.prepared.place].copy()
    codes = np.random.default_rng(0).integers(0, 16, W.shape)
    codes[:, ::128], codes[:, 1::128] = 0, 15
    W[list(rows)] = (codes[list(rows)] - 7) * np.float32(0.125)
    return prepare_problem(W, given.prepared.hessian, given.config, dtype=np.float32)


@pytest.mark.parametrize("rows", [range(N_OUT), range(0, N_OUT, 2)], ids=["all", "half"])
def test_weights_that_need_no_rounding(rows: range) -> None:
    """Rows without an error have exact ranges, and nothing is divided by zero."""
    given = on_a_grid(*rows)
    evidence = gather(given, solved(given), Roundoffs.declared(U32), rough=True)
    lowest, highest, slack = rough_ranges(evidence)
    assert not farther(evidence, lowest, highest)[list(rows)].any()
    assert not slack[list(rows)].any()
    assert all(check.passed for check in judged(evidence))


def test_a_huge_scale_is_judged_in_float64() -> None:
    """Its codes are all z, so that W − Ŵ is what it was."""
    given = on_a_grid(*range(N_OUT))
    right = solved(given)
    codes, scale = right.codes.copy(), right.scale.astype(np.float64)
    codes[3, 512:], scale[3, -1] = right.zero_point[3, -1], 1e30
    answer = with_arrays(right, codes=codes, scale=scale)
    roundoffs = Roundoffs.declared(U32)
    rough, exact = (gather(given, answer, roundoffs, rough=r) for r in (True, False))
    assert not isinstance(rough.known, RoughErrors)
    assert_same(rough, exact)
    codes[3, 599] ^= 1  # now a displacement is beyond float32, too
    assert not judged(gather(given, with_arrays(answer, codes=codes), roundoffs, rough=True))[
        0
    ].passed


def test_lengths_of_rough_errors_are_upper_bounds() -> None:
    """Of the rows whose undecided codes are counted; and nearly the lengths themselves."""
    given = problem(0)
    evidence = gather(given, solved(given), Roundoffs.declared(U32), rough=True)
    counted = evenly_spaced(N_OUT)
    most = evidence.most_lengths(counted)
    assert "E" not in vars(evidence)
    ratio = most / np.linalg.norm(evidence.E[counted], axis=1)
    assert 1 <= ratio.min() <= ratio.max() < 1.001
    others = np.setdiff1d(np.arange(N_OUT), counted)
    evidence = gather(given, solved(given), Roundoffs.declared(U32), rough=True)
    exact = np.linalg.norm(evidence.errors_of(others), axis=1)
    np.testing.assert_allclose(evidence.most_lengths(others), exact, rtol=1e-12)


def coarse(matrix: Array, upper: Array) -> Array:
    """Multiply as GPUs do it: with 10 bits of each float32 number."""
    if matrix.dtype == np.float32:
        bits = upper.view(np.uint32) + np.uint32(2**12)
        upper = (bits & np.uint32(0xFFFFE000)).view(np.float32)
    return times_upper(matrix, upper)


def test_bad_arithmetic_in_float32_settles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product with few bits has a large measured deviation."""
    given = problem(0)
    answer = solved(given)
    fine = gather(given, answer, Roundoffs.declared(U32), rough=True)
    monkeypatch.setattr(errors, "times_upper", coarse)
    evidence = gather(given, answer, Roundoffs.declared(U32), rough=True)
    assert isinstance(fine.known, RoughErrors)
    assert isinstance(evidence.known, RoughErrors)
    by_float32 = slice(0, N_IN - LAST)
    assert (evidence.known.of_column > 100 * fine.known.of_column)[by_float32].all()
    assert_same(evidence, fine)


def test_bad_arithmetic_in_float32_settles_no_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product that makes base weights is measured, too."""
    given = problem(0)
    answer = solved(given)
    fine, evidence = (gather(given, answer, Roundoffs.declared(U32), rough=True) for _ in "12")
    slack = rough_ranges(fine)[2]
    monkeypatch.setattr(ranges, "times_upper", coarse)
    lowest, highest, wide = rough_ranges(evidence)
    judged_in_float32 = judged(evidence)
    monkeypatch.undo()
    assert (wide > 30 * slack)[slack > 0].mean() > 0.9
    off = farther(evidence, lowest, highest)
    assert (off > slack).any()
    assert (off <= wide).all()
    assert all(check.passed for check in judged_in_float32)


@pytest.mark.parametrize(
    ("change", "u"),
    [({}, U64), ({"weights": 2.0**60}, U32), ({"hessian": 2.0**-60}, U32)],
    ids=["float64 declared", "large weights", "small Hessian"],
)
def test_where_float32_is_not_enough(change: dict[str, float], u: float) -> None:
    given = problem(0)
    given = prepare_problem(
        given.weights * np.float32(change.get("weights", 1)),
        given.prepared.hessian * change.get("hessian", 1),
        given.config,
        dtype=np.float32,
    )
    evidence = gather(given, solved(given), Roundoffs.declared(u), rough=True)
    assert not isinstance(evidence.known, RoughErrors)
