"""Section HES: drawn activations; dead, duplicated and tied columns, every way to batch them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from quantcheck.corpus.draw import refused
from quantcheck.corpus.hessian import factor_case, prepare_case, sum_case
from quantcheck.judge.verdict import Judgement
from quantcheck.oracle.bounds import growth
from quantcheck.properties import Answers, Sizes, law, single
from quantcheck.properties.relations import equal, within
from quantcheck.properties.sizes import hes as sizes
from quantcheck.properties.strategies import Draw, grids, hessians, token_arrays
from quantcheck.wire.cases import Case
from quantref.inputs import Array

DAMPING = (0.0, 2.0**-10, 1 / 64, 0.01, 0.25, 1.0)
WIDTHS, FREE = (8,), (1, 2, 3, 5, 8, 13)
COUNTS, FREE_COUNTS = (32,), (1, 2, 7, 16, 40)


@st.composite
def _tokens(draw: Draw, sizes: Sizes) -> Array:
    width = draw(st.sampled_from(FREE if sizes.free else WIDTHS))
    count = draw(st.sampled_from(FREE_COUNTS if sizes.free else COUNTS))
    x: Array = draw(token_arrays(width=width, count=count))
    if draw(st.booleans()):
        x = x + (draw(grids(x.size)).reshape(x.shape) * 2.0**-20).astype(np.float32)
    power = np.float32(2.0 ** draw(st.sampled_from((-20, 0, 0, 20))))
    return np.asarray(x * power)


@st.composite
def _split(draw: Draw, x: Array) -> list[Array]:
    """Draw a division of tokens into batches of rank 2 to 4."""
    cuts = sorted(draw(st.sets(st.sampled_from((1, 4, 8, 16, 24)), max_size=3)))
    parts = np.split(x, [c for c in cuts if c < len(x)])
    return [_shaped(part, draw(st.integers(2, 4))) for part in parts]


def _shaped(part: Array, rank: int) -> Array:
    n, width = part.shape
    if rank == 3 and n % 2 == 0:
        return part.reshape(2, n // 2, width)
    if rank == 4 and n % 4 == 0:
        return part.reshape(2, 2, n // 4, width)
    return part


def _sum(batches: list[Array]) -> Case:
    return sum_case("drawn", "generated activations", batches)


def _whole(sizes: Sizes) -> st.SearchStrategy[Case]:
    return _tokens(sizes).map(lambda x: _sum([x]))


def _ranked(sizes: Sizes) -> st.SearchStrategy[Case]:
    """Draw all tokens in one batch, of any rank."""
    return _tokens(sizes).flatmap(
        lambda x: st.integers(2, 4).map(lambda rank: _sum([_shaped(x, rank)]))
    )


def _batched(sizes: Sizes) -> st.SearchStrategy[Case]:
    return _tokens(sizes).flatmap(lambda x: _split(x).map(_sum))


def _alone(sizes: Sizes) -> st.SearchStrategy[Case]:
    """Draw tokens of 24 bits, one of them as a batch of rank 1, alone or before the others."""
    return _rough(sizes).flatmap(
        lambda x: st.sampled_from(([x[0]], [x[0], x[1:]] if len(x) > 1 else [x[0]])).map(_sum)
    )


@st.composite
def _rough(draw: Draw, sizes: Sizes) -> Array:
    """Draw tokens whose products have to be rounded in single precision."""
    x = draw(_tokens(sizes)).astype(np.float64)
    # Odd steps from 25 on: the simplest draw, 1 + 25/2¹⁶, has a square that is rounded by 0.4 u.
    noise = draw(grids(x.size)) + np.arange(25, 25 + 2 * x.size, 2)
    return np.asarray((x + 1) * (1 + noise.reshape(x.shape) * 2.0**-16), np.float32)


@st.composite
def _ones(draw: Draw, _: Sizes) -> Case:
    """Draw a large token and many small ones, a batch each: single precision loses these."""
    x = np.where(draw(grids(72)).reshape(24, 3) < 0, -1.0, 1.0)
    x[0] *= 2.0**12
    x = (x * 2.0 ** draw(st.integers(-8, 8))).astype(np.float32)
    return _sum([x[k : k + 1] for k in range(len(x))])


@st.composite
def _halves(draw: Draw, _: Sizes) -> Case:
    x = draw(token_arrays(width=8, count=32))
    return _sum([x.astype(np.float16)])


@st.composite
def _prepared(draw: Draw, sizes: Sizes, *, dead: bool = False, ordered: bool = False) -> Case:
    width = draw(st.sampled_from(FREE if sizes.free else WIDTHS))
    H = draw(hessians(width=width, dead=dead))
    if ordered and draw(st.booleans()):  # tied ordering metrics
        ties = draw(st.lists(st.sampled_from((4.0, 9.0)), min_size=width, max_size=width))
        H = np.diag(ties)
    damping = draw(st.sampled_from(DAMPING))
    return prepare_case("drawn", "a generated Hessian", H, damping, ordered)


@st.composite
def _ordered_dead(draw: Draw, sizes: Sizes) -> Case:
    """Draw dead columns among live ones whose diagonal lies below 1 and above it."""
    width = draw(st.sampled_from(FREE if sizes.free else WIDTHS))
    H = draw(hessians(width=width, dead=True)) * 2.0 ** -draw(st.integers(1, 8))
    return prepare_case("drawn", "dead columns in order", H, draw(st.sampled_from(DAMPING)), True)


@st.composite
def _asymmetric(draw: Draw, sizes: Sizes) -> Case:
    """Draw a Hessian that differs from its transpose, by less than what is refused."""
    width = draw(st.sampled_from(FREE if sizes.free else WIDTHS))
    H = draw(hessians(width=width, dead=draw(st.booleans())))
    size = np.sqrt(np.diagonal(H))
    drawn = np.triu(draw(grids(width * width)).reshape(width, width), 1)
    share = drawn / (max(1, int(np.abs(drawn).max())) * 2.0**17)
    return prepare_case(
        "drawn",
        "two triangles",
        H + share * size[:, None] * size,
        draw(st.sampled_from(DAMPING)),
        False,
    )


@st.composite
def _factored(draw: Draw, sizes: Sizes) -> Case:
    width = draw(st.sampled_from(FREE if sizes.free else WIDTHS))
    return factor_case("drawn", "a generated Hessian", draw(hessians(width=width, definite=True)))


@st.composite
def _refused_batches(draw: Draw, _: Sizes) -> Case:
    x: Array = draw(token_arrays(width=4, count=8))
    fault = draw(st.sampled_from(("value", "width", "empty", "integers")))
    batches, error = [x], "NonFiniteError"
    if fault == "value":
        x[draw(st.integers(0, 7)), draw(st.integers(0, 3))] = draw(
            st.sampled_from((np.nan, np.inf, -np.inf))
        )
    elif fault == "width":
        batches, error = [x, x[:, : draw(st.integers(1, 3))]], "ShapeError"
    elif fault == "empty":
        batches, error = [x[:0]], "EmptyArrayError"
    else:
        batches, error = [x.astype(draw(st.sampled_from(("int8", "int32"))))], "DTypeError"
    title, given = f"generated batches that must be refused: {fault}", {"batches": batches}
    return refused("hes", "drawn", title, "hessian", "HES-090", error, {}, given)


@st.composite
def _visible(draw: Draw, _: Sizes) -> Case:
    """Draw five tokens, a number of which is not finite."""
    x: Array = draw(token_arrays(width=4, count=5))
    bad = draw(st.sampled_from((np.nan, np.inf, -np.inf)))
    x[draw(st.integers(0, 4)), draw(st.integers(0, 3))] = bad
    title, given = "generated tokens, one number not finite", {"batches": [x]}
    return refused("hes", "drawn", title, "hessian", "HES-140", "NonFiniteError", {}, given)


@st.composite
def _refused_hessians(draw: Draw, _: Sizes) -> Case:
    H = draw(hessians(width=8, definite=True))
    place = draw(st.integers(0, 7))
    other = (place + draw(st.integers(1, 7))) % 8
    fault = draw(st.sampled_from(("rectangle", "asymmetric", "negative", "value", "damping")))
    error, damping = "ShapeError", 0.0
    if fault == "rectangle":
        H = H[: draw(st.integers(1, 7))]
    elif fault == "asymmetric":
        H[place, other] += np.sqrt(H[place, place] * H[other, other]) * draw(
            st.sampled_from((2.0**-12, 2.0**-4, 1.0))
        )
        error = "NotSymmetricError"
    elif fault == "negative":
        H[place, place] = -1.0
        error = "NotPositiveDefiniteError"
    elif fault == "value":
        H[place, place], error = draw(st.sampled_from((np.nan, np.inf))), "NonFiniteError"
    else:
        damping, error = draw(st.sampled_from((1.5, -0.01, 2.0))), "ConfigError"
    title = f"a generated Hessian that must be refused: {fault}"
    given: dict[str, Any] = {"damping": damping, "activation_order": False}
    inputs = {"hessian": H}
    return refused("hes", "drawn", title, "prepare_hessian", "HES-090", error, given, inputs)


@st.composite
def _indefinite(draw: Draw, _: Sizes) -> Case:
    H = draw(hessians(width=8, definite=True))
    place = draw(st.integers(0, 7))
    other = (place + draw(st.integers(1, 7))) % 8
    beyond = np.sqrt(H[place, place] * H[other, other]) * 1.25
    H[place, other] = H[other, place] = beyond
    inputs = {"hessian": H}
    return refused("hes", "drawn", "a generated indefinite matrix", "factor", "HES-080",
                   "NotPositiveDefiniteError", {}, inputs)  # fmt: skip


# Laws


def _two_ways(sizes: Sizes) -> st.SearchStrategy[tuple[Case, Case]]:
    return _tokens(sizes).flatmap(
        lambda x: _split(x).map(lambda batches: (_sum([x]), _sum(batches)))
    )


def _agrees(cases: tuple[Case, ...], answers: Answers, u: float) -> list[Judgement]:
    one, other = (np.asarray(a["hessian"]).astype(np.float64) for a in answers)
    judging = [case.judging for case in cases]
    gamma = sum(growth(j["tokens"] + 4 * j["batches"] + 4, u) for j in judging)
    bound = gamma * judging[0]["absolute"]
    return [within(cases[1], "HES-030", "Hessian of other batches", other - one, bound)]


@st.composite
def _reordered(draw: Draw, sizes: Sizes) -> tuple[Case, Case]:
    x = draw(_tokens(sizes))
    order = np.array(draw(st.permutations(range(x.shape[1]))), np.int32)
    moved = _sum([x[:, order]])
    moved.judging["columns"] = order
    return _sum([x]), moved


def _reorders(cases: tuple[Case, ...], answers: Answers, u: float) -> list[Judgement]:
    order = cases[1].judging["columns"]
    one, other = (np.asarray(a["hessian"]).astype(np.float64) for a in answers)
    gamma = 2 * growth(cases[0].judging["tokens"] + 8, u)
    difference = other - one[np.ix_(order, order)]
    bound = gamma * cases[1].judging["absolute"]
    found = within(cases[1], "HES-010", "Hessian of permuted columns", difference, bound)
    return [found, equal(cases[1], "HES-100", "transpose", other.T, other)]


# General properties come first, then one topic after another: the first failure names the cause.
PROPERTIES = (
    single("prop-hes-sum", "The sum over generated tokens.", ("HES-010", "HES-100"), _whole, 15),
    single("prop-hes-ranks", "The sum over one batch of any rank.", ("HES-110",), _ranked, 8),
    single("prop-hes-batches", "The sum over batches of any rank and size.",
           ("HES-030",), _batched, 12),
    single("prop-hes-token", "A batch of rank 1 is one token.", ("HES-120",), _alone, 5),
    single("prop-hes-many", "Batches are summed in float64.", ("HES-130",), _ones, 2),
    law("prop-hes-split", "How tokens are batched does not change the sum.",
        ("HES-030",), _two_ways, _agrees, 10),
    single("prop-hes-half", "float16 activations.", ("HES-010", "HES-100"), _halves, 5),
    single("prop-hes-damping", "Damping by the mean diagonal.",
           ("HES-050", "HES-040", "HES-060"), _prepared, 12),
    single("prop-hes-dead", "Dead columns get a diagonal of 1 before the mean is taken.",
           ("HES-040", "HES-050", "HES-060"), lambda s: _prepared(s, dead=True), 12),
    single("prop-hes-order", "A stable descending order of the undamped diagonal.",
           ("HES-060", "HES-050"), lambda s: _prepared(s, ordered=True), 20),
    single("prop-hes-order-dead", "Dead columns are ordered as 1.",
           ("HES-060", "HES-040", "HES-050"), _ordered_dead, 12),
    single("prop-hes-asymmetric", "Both triangles of a Hessian that is not quite symmetric count.",
           ("HES-090", "HES-050", "HES-040", "HES-060"), _asymmetric, 8),
    single("prop-hes-factor", "The factor of generated definite matrices.",
           ("HES-070",), _factored, 12),
    single("prop-hes-refused-batches", "Bad batches are refused.",
           ("HES-090",), _refused_batches, 12),
    single("prop-hes-visible", "Tokens that are not finite are refused, or seen in the sum.",
           ("HES-140",), _visible, 4),
    single("prop-hes-refused", "Bad Hessians are refused.", ("HES-090",), _refused_hessians, 12),
    single("prop-hes-indefinite", "Indefinite matrices have no factor.",
           ("HES-080",), _indefinite, 6),
    law("prop-hes-columns", "Permuted columns have a permuted Hessian.",
        ("HES-010", "HES-100"), _reordered, _reorders, 8),
    *sizes.PROPERTIES,
)  # fmt: skip
