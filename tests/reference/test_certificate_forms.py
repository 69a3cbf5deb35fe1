"""The plain certificate and the fast one say the same of right and of wrong answers.

Both compute in float64, in another order. What rounding of float64 changes in a residual is at most
the bound β of CERT-090 for u = 2⁻⁵³ in each form, which is 2⁻²⁹ of that for u = 2⁻²⁴. So observed /
bound differs by at most 2·2⁻²⁹ for a residual, and by twice as much for a loss, which is a sum of
squares. The fast form may keep Θ in float32, which moves a variance by at most its 2⁻²⁴th part and
β by half of that. `CLOSE` is the sum of both. Where u = 2⁻⁵³ the same argument gives 1 alone; the
worst that these problems reach is below 2⁻²⁰, and `CLOSE_IN_DOUBLE` is larger than that.
The loss identity observes nothing but rounding: both forms have to be within its bound.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantcheck.wire.cases import Case
from quantref import (
    DEFAULT_PROFILE,
    KERAS_PROFILE,
    ORIGINAL_PROFILE,
    Profile,
    certificate,
    gptq_textbook,
)
from quantref import certify as public
from quantref.certificate import U32, U64
from quantref.checks import Certificate, Check
from quantref.errors import AnswerError, ConfigError
from quantref.fast import certificate as fast

from .problems import Problem, answered, normal_problem, problem_of, problems, with_arrays

CLOSE, CLOSE_IN_DOUBLE = 2.0**-27 + 2.0**-25, 2.0**-16
DIGITS = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")
EDGES = [1, 7, 8, 9, 127, 128, 129, 257]  # of tiles, and of sums of rows


def solve(problem: Problem, profile: Profile | None = None) -> Any:
    return gptq_textbook(
        problem.weights,
        problem.hessian,
        problem.config,
        profile=profile or DEFAULT_PROFILE,
        block_size=problem.block_size,
    )


def certified(
    form: Any, problem: Problem, answer: Any, u: float, profile: Profile | None, eta: float
) -> Certificate:
    certificate: Certificate = form(
        problem.weights,
        problem.hessian,
        answer,
        problem.config,
        profile=profile or DEFAULT_PROFILE,
        block_size=problem.block_size,
        unit_roundoff=u,
        hessian_error=eta,
    )
    return certificate


def assert_same(
    problem: Problem, answer: Any, u: float, profile: Profile | None = None, eta: float = 0.0
) -> Certificate:
    """Compare the two forms, and return the plain one."""
    plain, quick = (
        certified(form.certify, problem, answer, u, profile, eta) for form in (certificate, fast)
    )
    close = CLOSE if u == U32 else CLOSE_IN_DOUBLE
    for one, other in zip_longest(plain.checks, quick.checks):
        assert_same_check(one, other, close)
    assert plain.plain_rounding == quick.plain_rounding
    assert plain.clipped == quick.clipped
    assert plain.undecided == pytest.approx(quick.undecided, abs=2 / problem.weights.size)
    for name in ("loss", "loss_bound", "plain_loss"):
        assert getattr(plain, name) == pytest.approx(getattr(quick, name), rel=1e-9, abs=1e-25)
    np.testing.assert_allclose(plain.residual_steps, quick.residual_steps, rtol=1e-9, atol=1e-9)
    assert plain.verdict == quick.verdict
    return plain


def assert_same_check(one: Check, other: Check, close: float) -> None:
    fields = ("name", "requirement", "passed", "bound", "places")
    assert [getattr(one, f) for f in fields] == [getattr(other, f) for f in fields]
    if one.requirement == "CERT-110":
        assert max(one.observed, other.observed) <= one.bound
    else:
        assert one.observed == pytest.approx(other.observed, rel=close, abs=close)
        assert one.passed == (one.observed <= one.bound)
    # Two places may be equally far from their bounds, up to `close`; counts come before a place.
    count = one.message.partition(";")[0], other.message.partition(";")[0]
    rounding_errors = 0 < max(one.observed, other.observed) <= close
    if one.worst == other.worst and not rounding_errors:
        assert_same_text(one.message, other.message)
    if ";" in one.message:
        assert count[0] == count[1]


def assert_same_text(one: str, other: str) -> None:
    """Compare the words, and the numbers up to one unit of their last digit."""
    assert DIGITS.sub("#", one) == DIGITS.sub("#", other)
    for a, b in zip(DIGITS.findall(one), DIGITS.findall(other), strict=True):
        if a != b:
            significant = a.partition("e")[0].lstrip("-0.").replace(".", "")
            unit = abs(float(a)) * 10.0 ** (1 - len(significant))
            assert float(a) == pytest.approx(float(b), rel=0, abs=1.001 * unit), (one, other)


def wrong_answers(problem: Problem, right: Any, seed: int) -> Iterator[tuple[str, Any]]:
    """Yield answers with something wrong, by name."""
    rng = np.random.default_rng(seed)
    maxq, (n_out, n_in) = 2**problem.config.weight_bits - 1, right.codes.shape
    i, j, k = rng.integers(n_out), rng.integers(n_in), rng.integers(right.scale.shape[1])
    codes, scale, zero = right.codes.astype(np.int64), right.scale, right.zero_point.astype(int)

    one_code = codes.copy()
    one_code[i, j] = np.clip(one_code[i, j] + rng.choice([-1, 1]), 0, maxq)
    yield "one code", with_arrays(right, codes=one_code)
    row = codes.copy()
    row[i] = rng.integers(0, maxq + 1, n_in)
    yield "a row of codes", with_arrays(right, codes=row)
    yield "mirrored codes", with_arrays(right, codes=maxq - codes)
    other = scale.copy()
    other[i, k] *= np.float32(1 + 2.0 ** -int(rng.integers(4, 24)))
    yield "one scale", with_arrays(right, scale=other)
    yield "all scales", with_arrays(right, scale=scale * np.float32(1.5))
    shifted = zero.copy()
    shifted[i, k] = np.clip(shifted[i, k] + rng.choice([-1, 1]), 0, maxq)
    yield "one zero-point", with_arrays(right, zero_point=shifted)
    zeros = scale.copy()
    zeros[i] = np.float32(2 / maxq)
    yield "the scale of zeros", with_arrays(right, scale=zeros)
    yield "groups", with_arrays(right, g_idx=right.g_idx[::-1] + 1)
    groups = right.g_idx.astype(int)
    s, z = scale[:, groups].astype(np.float64), zero[:, groups]
    plain = np.clip(np.rint(problem.weights / s) + z, 0, maxq).astype(np.uint8)
    yield "plain rounding", with_arrays(right, codes=plain)
    yield "processing order", with_arrays(right, codes=right.codes[:, right.order])
    yield "another order", with_arrays(right, codes=right.codes[:, ::-1])
    identity = replace(problem, hessian=np.eye(n_in))
    yield "another Hessian", solve(identity)
    block = {"block_size": problem.parameters["block_size"] + 3}
    yield "another block size", solve(replace(problem, parameters=problem.parameters | block))


def assert_same_of_all(problem: Problem, seed: int) -> None:
    right = solve(problem)
    for u in (U32, U64):
        assert assert_same(problem, right, u).passed
        for _, wrong in wrong_answers(problem, right, seed):
            assert_same(problem, wrong, u)


@pytest.mark.parametrize("case", answered("gptq"), ids=lambda case: case.id)
def test_the_vectors_with_right_and_wrong_answers(case: Case) -> None:
    assert_same_of_all(problem_of(case), zlib.crc32(case.id.encode()))


@st.composite
def larger_problems(draw: st.DrawFn) -> Problem:
    """Return normal problems across the edges of tiles, with dead columns among them."""
    n_in = draw(st.sampled_from(EDGES), label="n_in")
    problem = normal_problem(
        draw(st.integers(0, 2**32), label="seed"),
        draw(st.sampled_from(EDGES), label="n_out"),
        n_in,
        correlation=draw(st.sampled_from([0.0, 1.0, 4.0]), label="correlation"),
        bits=draw(st.sampled_from([2, 3, 4, 8]), label="bits"),
        symmetric=draw(st.booleans(), label="symmetric"),
        per_channel=draw(st.booleans(), label="per_channel"),
        activation_order=draw(st.booleans(), label="activation_order"),
        group_size=draw(st.sampled_from([16, -1]), label="group_size"),
        block_size=draw(st.sampled_from([1, 16, 24, 128]), label="block_size"),
    )
    dead = np.arange(n_in) % draw(st.sampled_from([n_in + 1, 5]), label="dead") == 1
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]), label="dtype")
    hessian = problem.hessian * np.outer(~dead, ~dead)
    return replace(problem, weights=problem.weights.astype(dtype), hessian=hessian)


def assert_same_of_one(problem: Problem, seed: int, data: st.DataObject) -> None:
    right = solve(problem)
    wrong = dict(wrong_answers(problem, right, seed))
    kind = data.draw(st.sampled_from(sorted(wrong)), label="wrong")
    for u in (U32, U64):
        assert not assert_same(problem, right, u).failures
        assert_same(problem, wrong[kind], u)


@given(problem=problems(), seed=st.integers(0, 2**32), data=st.data())
def test_generated_problems(problem: Problem, seed: int, data: st.DataObject) -> None:
    assert_same_of_one(problem, seed, data)


@pytest.mark.everything
@given(problem=larger_problems(), seed=st.integers(0, 2**32), data=st.data())
def test_generated_problems_across_tiles(problem: Problem, seed: int, data: st.DataObject) -> None:
    assert_same_of_one(problem, seed, data)


def test_more_rows_than_a_tile_has() -> None:
    assert_same_of_all(normal_problem(0, 530, 140, group_size=16, block_size=32), 0)


@pytest.mark.parametrize("profile", [ORIGINAL_PROFILE, KERAS_PROFILE], ids=lambda p: p.name)
@pytest.mark.parametrize("ordered", [False, True])
def test_what_released_code_declares(profile: Profile, ordered: bool) -> None:
    problem = normal_problem(9, 4, 140, group_size=48, activation_order=ordered)
    right = solve(problem, profile)
    assert assert_same(problem, right, U64, profile).passed
    for _, wrong in wrong_answers(problem, right, 0):
        if wrong.scale.shape == right.scale.shape:
            assert_same(problem, wrong, U32, profile)


def test_a_hessian_known_up_to_an_error() -> None:
    problem = normal_problem(3, 5, 24, group_size=8, block_size=8)
    right = solve(problem)
    for eta in (1e-9, 1e-5):
        assert assert_same(problem, right, U32, eta=eta).passed
    told = []
    for form in (certificate.certify, fast.certify):
        for eta in (0.5, -1.0):
            with pytest.raises(ConfigError) as caught:
                certified(form, problem, right, U32, None, eta)
            told.append(str(caught.value))
    assert told[:2] == told[2:]


@pytest.mark.parametrize("name", ["codes", "scale", "zero_point", "g_idx"])
def test_what_is_no_answer(name: str) -> None:
    problem = normal_problem(3, 5, 24, group_size=8)
    right = solve(problem)
    told = []
    for form in (certificate.certify, fast.certify):
        answer = with_arrays(right, **{name: getattr(right, name)[:-1]})
        with pytest.raises(AnswerError) as caught:
            certified(form, problem, answer, U32, None, 0.0)
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_rows_that_share_a_range_share_its_parameters() -> None:
    """A row of zeros is no group of zeros where its group has other rows.  [CERT-030]"""
    base = normal_problem(0, 1, 1).parameters | {"bits": 2, "per_channel": False}
    problem = Problem(np.array([[0, 0], [1, 3]], np.float32), np.eye(2), base)
    right = solve(problem)
    scale, zero, codes = right.scale.copy(), right.zero_point.copy(), right.codes.copy()
    scale[0], zero[0], codes[0] = 2 / 3, 2, 2  # what the row would have by itself
    wrong = assert_same(problem, with_arrays(right, scale=scale, zero_point=zero, codes=codes), U32)
    assert [check.name for check in wrong.failures] == ["scale", "zero-point"]
    assert wrong.failures[0].places == ((0, 0),)


def test_base_weights_that_vanish_up_to_rounding() -> None:
    """Exactly, no error is left of w₁; in float32 3·f32(1/3) is 1, and w₁ stays.  [CERT-030]"""
    H = np.array([[1.0625, 0.25], [0.25, 1.0]])
    changes = {"bits": 2, "group_size": 1, "block_size": 1, "damping": 0.0}
    parameters = normal_problem(0, 1, 1).parameters | changes
    problem = Problem(np.array([[1.0, 2.0**-27]], np.float32), H, parameters)
    scales = []
    for dtype, u in (("float64", U64), ("float32", U32)):
        answer = gptq_textbook(
            problem.weights,
            problem.hessian,
            problem.config,
            block_size=problem.block_size,
            dtype=dtype,
        )
        scales.append(float(answer.scale[0, 1]))
        assert assert_same(problem, answer, u).verdict == ("passed" if u == U64 else "weak")
        wrong = with_arrays(answer, scale=(answer.scale * [1, 1.5 / scales[-1]]).astype(np.float32))
        checks = assert_same(problem, wrong, u).failures
        assert "scale" in {check.name for check in checks}
    assert scales[0] > 0.6
    assert scales[1] < 1e-8


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_row_of_zeros_in_arithmetic_of_few_bits(symmetric: bool) -> None:
    """With few bits many codes are undecided, and nothing is lost of a row of zeros.  [CERT-090]"""
    problem = normal_problem(2, 3, 100, group_size=16, block_size=16, symmetric=symmetric)
    problem.weights[1] = 0
    right = solve(problem)
    judged = assert_same(problem, right, 2.0**-8)
    assert judged.verdict == "weak"
    assert 0.3 < judged.undecided < 2 / 3  # of three rows
    wrong = with_arrays(right, scale=right.scale * np.float32(1.5))
    failed = {check.name: check.places for check in assert_same(problem, wrong, U32).failures}
    assert {(1, k) for k in range(7)} <= set(failed["scale"])
    assert not symmetric or "zero-point" not in failed


def test_the_fast_form_is_public() -> None:
    assert public is fast.certify
