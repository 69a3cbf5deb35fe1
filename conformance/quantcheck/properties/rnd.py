"""Section RND: rounding and saturating casts of drawn numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from quantcheck.corpus.draw import exact_list, floats, refused
from quantcheck.judge.verdict import Judgement
from quantcheck.oracle import exact
from quantcheck.properties import Answers, Sizes, law, single
from quantcheck.properties.relations import equal
from quantcheck.properties.strategies import Draw, cast, grids
from quantcheck.wire.cases import Case
from quantref.inputs import Array

DTYPES = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int8", "uint8", "int16", "int32")


@st.composite
def _numbers(draw: Draw, dtype: str) -> Array:
    """Draw ties, their neighbours, and any numbers of the dtype."""
    halves = draw(grids(12, spread=600)) / 2.0
    exponents = draw(grids(12, spread=22))
    values = cast(np.where(exponents > 10, halves * 2.0 ** (exponents - 10), halves), dtype)
    towards = cast(np.where(exponents % 3 == 0, values, np.inf), dtype)
    near = np.nextafter(values, towards) if dtype != "bfloat16" else values
    return np.asarray(near)


def _rounded(x: Array, dtype: str) -> Case:
    values = [Fraction(round(v)) for v in exact.fractions_of(exact_list(x))]
    outputs = {"values": floats(values, dtype)}
    title = f"generated {dtype} numbers around ties"
    return Case("drawn", "rnd", title, "round_half_even", (), {}, {"x": x}, {"outputs": outputs})


def _rounding(_: Sizes) -> st.SearchStrategy[Case]:
    return st.sampled_from(DTYPES).flatmap(
        lambda dtype: _numbers(dtype).map(lambda x: _rounded(x, dtype))
    )


@st.composite
def _saturating(draw: Draw, _: Sizes) -> Case:
    dtype = draw(st.sampled_from(INTEGERS))
    info = np.iinfo(dtype)
    ends = st.sampled_from([float(info.min), 0.0, float(info.max)])
    offsets = draw(grids(12, spread=9)) / 4.0
    reach = draw(st.sampled_from([1.0, 2.0**20, 2.0**40]))
    x = np.array([draw(ends) for _ in range(12)]) + offsets * reach
    codes = [
        min(max(round(v), int(info.min)), int(info.max)) for v in exact.fractions_of(exact_list(x))
    ]
    outputs = {"codes": np.array(codes, dtype=dtype)}
    title = f"generated numbers beyond both ends of {dtype}"
    given: dict[str, Any] = {"dtype": dtype}
    return Case("drawn", "rnd", title, "saturating_cast", (), given, {"x": x}, {"outputs": outputs})


@st.composite
def _refused(draw: Draw, _: Sizes) -> Case:
    x = cast(draw(grids(5)) / 8.0, draw(st.sampled_from(("float32", "float64"))))
    x[draw(st.integers(0, 4))] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    given = {"dtype": draw(st.sampled_from(INTEGERS))}
    title = "generated numbers, one of them not finite"
    return refused(
        "rnd", "drawn", title, "saturating_cast", "RND-030", "NonFiniteError", given, {"x": x}
    )


def _odd(sizes: Sizes) -> st.SearchStrategy[tuple[Case, Case]]:
    return _rounding(sizes).map(
        lambda case: (case, _rounded(-case.inputs["x"], case.inputs["x"].dtype.name))
    )


def _is_odd(cases: tuple[Case, ...], answers: Answers, _: float) -> list[Judgement]:
    plain, negated = (np.asarray(a["values"]) for a in answers)
    return [equal(cases[1], "RND-010", "rint(-x) and -rint(x)", negated, -plain)]


PROPERTIES = (
    single("prop-rnd-ties", "Generated numbers around ties round to the even integer.",
           ("RND-010", "RND-040"), _rounding, 20),
    single("prop-rnd-saturate", "Generated numbers beyond a dtype saturate.",
           ("RND-020", "RND-040"), _saturating, 20),
    single("prop-rnd-refused", "Numbers that are not finite are refused.",
           ("RND-030",), _refused, 6),
    law("prop-rnd-odd", "Rounding is odd: rint(−x) = −rint(x).", ("RND-010",), _odd, _is_odd),
)  # fmt: skip
