"""Recipes: the numbers, exact Hessians of many conditions, and damaged recipes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantcheck.corpus.draw import numbers
from quantcheck.wire import cases as vectors
from quantcheck.wire.cases import Case
from quantcheck.wire.recipes import HessianRule, Recipe, draws, parse, words
from quantref.errors import DamagedVectorError, QuantrefError
from quantref.hessian import prepare_hessian, reversed_cholesky

from .recipe_cases import DEFAULT, RECIPES, SIZES, recipes

pytestmark = pytest.mark.requirement("VEC-080")
SMALL = HessianRule(
    seed=3, tokens=8, noise=2, rank=2, factor=3, loading=1, shift=1,
    large=(1,), large_shift=2, dead=(4,),
)  # fmt: skip


def rule_of(case: Case) -> HessianRule:
    rule = recipes(case)["hessian"].rule
    assert isinstance(rule, HessianRule)
    return rule


def test_what_there_is() -> None:
    """Every width is asked in some way, and the files are small."""
    assert {max(case.inputs["hessian"].shape) for case in DEFAULT} == {512}
    settings = [case.parameters for case in RECIPES]
    assert {max(r.shape) for c in RECIPES for r in recipes(c).values()} > {512, 1024, 2048, 4096}
    assert {s["bits"] for s in settings} == {2, 3, 4, 8}
    assert {s["group_size"] for s in settings} >= {-1, 32, 128}
    assert {s["block_size"] for s in settings} > {128}
    for name in ("symmetric", "activation_order"):
        assert {s[name] for s in settings} == {False, True}
    assert any(rule_of(case).dead for case in DEFAULT)
    for case in RECIPES:
        text = vectors.dump(case, generator="", spec="")
        assert len(text) < 4000
        assert "GPTQ-070" not in case.requirements
        assert case.parameters["group_size"] < max(recipes(case)["hessian"].shape)


# The numbers


def test_words_are_those_of_splitmix64() -> None:
    for seed in (0, 1, 2**32):
        stream = numbers(seed)
        assert words(seed, 0, 100).tolist() == [next(stream) for _ in range(100)]
        assert words(seed, 40, 7).tolist() == words(seed, 0, 100).tolist()[40:47]


@pytest.mark.parametrize("most", [0, 1, 90, 2**24])
def test_draws_stay_within_their_limits(most: int) -> None:
    drawn = draws(5, 0, (100, 100), most)
    assert (np.abs(drawn) <= most).all()
    assert drawn.tolist() == [
        [(int(w) >> 33) % (2 * most + 1) - most for w in words(5, 100 * i, 100)] for i in range(100)
    ]


def by_hand(rule: HessianRule, n: int) -> list[list[float]]:
    """Return H in Python's integers, from the formulas of SPEC.md."""

    def draw(seed: int, k: int, most: int) -> int:
        stream = numbers(seed)
        for _ in range(k):
            next(stream)
        return (next(stream) >> 33) % (2 * most + 1) - most

    a = [[draw(rule.seed, t * n + j, rule.noise) + sum(
            draw(rule.seed + 1, t * rule.rank + r, rule.factor)
            * draw(rule.seed + 2, r * n + j, rule.loading) for r in range(rule.rank))
          for j in range(n)] for t in range(rule.tokens)]  # fmt: skip
    power = [2.0**-rule.shift * 2.0 ** (rule.large_shift * (j in rule.large)) for j in range(n)]
    live = [j not in rule.dead for j in range(n)]
    return [[sum(row[i] * row[j] for row in a) * live[i] * live[j] * power[i] * power[j]
             * 2 / rule.tokens + 0.0 for j in range(n)] for i in range(n)]  # fmt: skip


def test_a_hessian_is_that_of_its_formulas() -> None:
    made = Recipe("float32", (6, 6), SMALL).hashed().array()
    assert made.tolist() == by_hand(SMALL, 6)
    assert not np.signbit(made[4]).any()
    assert (made[4] == 0).all()
    assert (made[1, 1] > 0) and (np.diagonal(made)[[0, 2, 3, 5]] > 0).all()  # noqa: PT018


@pytest.mark.parametrize("case", DEFAULT, ids=lambda case: case.id)
def test_a_hessian_is_exact_in_any_order_of_the_sum(case: Case) -> None:
    """In single precision, forwards, backwards and by products of columns; and in integers."""
    rule, H = rule_of(case), case.inputs["hessian"]
    x = rule.integers(512, 0, rule.tokens)
    assert np.abs(x).max() <= rule.noise + rule.rank * rule.factor * rule.loading
    some = np.r_[0:32, 300, 411, 511]
    exact = x[:, some].T @ x[:, some]  # int64
    assert np.abs(exact).max() <= 2**24
    single = x[:, some].astype(np.float32)
    for order in (slice(None), slice(None, None, -1), np.argsort(-np.abs(x[:, 0]))):
        assert (single[order].T @ single[order] == exact).all()
    for i, j in ((0, 0), (5, 32), (17, 34)):
        products = single[:, i] * single[:, j]
        assert np.cumsum(products)[-1] == np.cumsum(products[::-1])[-1] == exact[i, j]
    power = np.full(512, 2.0**-rule.shift)
    power[list(rule.large)] *= 2.0**rule.large_shift
    power[list(rule.dead)] = 0
    scaled = 2 / rule.tokens * exact * np.outer(power[some], power[some])
    assert (H[np.ix_(some, some)] == scaled).all()
    assert (H == H.T).all()
    assert H.dtype == np.float32


@pytest.mark.parametrize("case", SIZES, ids=lambda case: case.id)
def test_the_factor_is_far_from_a_refusal(case: Case) -> None:
    """No pivot is so small that HES-080 allows single precision to refuse it."""
    damping, ordered = case.parameters["damping"], case.parameters["activation_order"]
    prepared = prepare_hessian(case.inputs["hessian"], damping=damping, activation_order=ordered)
    damped = prepared.damped[np.ix_(prepared.order, prepared.order)]
    n = len(damped)
    pivots = np.diagonal(reversed_cholesky(damped)) ** 2
    assert (pivots > 10 * (n + 4) * 2.0**-24 * np.diagonal(damped)).all()


def test_conditions_are_different() -> None:
    """Of the damped Hessians: about 10, and more than 10⁴."""
    damped = [prepare_hessian(c.inputs["hessian"], damping=2**-6).damped for c in DEFAULT]
    found = sorted(np.linalg.cond(H) for H in damped)
    assert found[0] < 12
    assert found[1] > 1e4


# Damage


def changed(**changes: Any) -> dict[str, Any]:
    data = Recipe("float32", (6, 6), SMALL).hashed().to_json()
    rule = {**data["recipe"], **{k: v for k, v in changes.items() if k in data["recipe"]}}
    others = {k: v for k, v in changes.items() if k not in data["recipe"]}
    return {**data, "recipe": rule, **others}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"more": 1}, "a recipe with dtype, recipe, sha256, shape"),
        ({"dtype": "int32"}, "dtype in float16, float32, float64"),
        ({"sha256": None}, "sha256 a string"),
        ({"shape": [6]}, "a shape of two numbers"),
        ({"shape": [6, 7]}, "a square shape"),
        ({"generator": "mt19937"}, "generator splitmix64"),
        ({"kind": "weights"}, "a recipe with generator, kind, seed, spread"),
        ({"seed": 1.0}, "seed an integer"),
        ({"seed": -1}, "seed in 0"),
        ({"large": 1}, "large a list of integers"),
        ({"dead": [6]}, r"columns in 0 … 5"),
        ({"tokens": 12}, "tokens a power of two"),
        ({"rank": -1}, "noise, rank, factor and loading from 0"),
        ({"noise": 2**12}, r"of at most 16777216"),
        ({"shift": 17}, r"shifts in -16 … 16"),
        ({"recipe": 3}, "a recipe with"),
    ],
)
def test_a_damaged_recipe_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(DamagedVectorError, match=expected) as refused:
        parse(changed(**changes), "x: inputs.hessian")
    assert refused.value.requirement == "VEC-080"
    assert "x: inputs.hessian" in str(refused.value)


def test_another_array_than_the_hash_says_is_refused() -> None:
    with pytest.raises(DamagedVectorError, match="hessian with SHA-256 0000"):
        parse(changed(sha256="0" * 64), "x").array()
    wide = Recipe("float16", (6, 6), replace(SMALL, shift=-8))
    with np.errstate(over="ignore"), pytest.raises(QuantrefError, match="exact in float16"):
        wide.hashed()
