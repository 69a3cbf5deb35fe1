"""Section ABS: drawn arrays of every dtype, rank and axis; slices of zeros, ties, extremes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from quantcheck.corpus.absmax import FULL, absmax_case
from quantcheck.corpus.draw import exact_list, floats, refused
from quantcheck.judge.verdict import Judgement
from quantcheck.oracle.exact import fractions_of, nearest_float
from quantcheck.properties import Answers, Sizes, law, single
from quantcheck.properties.crossed.arrays import PROPERTIES as CROSSED
from quantcheck.properties.forced import codes_of
from quantcheck.properties.relations import alike
from quantcheck.properties.sizes import abs as sizes
from quantcheck.properties.strategies import (
    EXTREME_KINDS,
    ROW_KINDS,
    Draw,
    cast,
    grids,
    matrices,
    rows,
)
from quantcheck.wire.cases import Case
from quantref.inputs import Array

RANGES = (
    ([0, 255], "uint8"), ([-128, 127], "int8"), ([-8, 7], "int8"), ([-3, 100], "int8"),
    ([-127, 127], "int8"), ([-1, 1], "int8"), ([-32767, 32767], "int16"),
    ([-90000, 90000], "int32"),
)  # fmt: skip
CORE = ("ABS-010", "ABS-030", "ABS-090", "ABS-120", "ABS-130")
SHAPES = ((4, 8), (2, 3, 4), (6,))
FREE = (*SHAPES, (1,), (5,), (1, 1), (3, 7), (2, 1, 3, 2))


def _case(x: Array, **changes: Any) -> Case:
    return absmax_case("drawn", f"generated {x.dtype.name} of shape {x.shape}", x, **changes)


@st.composite
def _tied(draw: Draw) -> Array:
    """Draw (4, 8) float32 with exact ties: the largest magnitude is 127 over a power of two.

    Epsilon is negligible, so that the scale is that power.
    """
    made = []
    for _ in range(4):
        scale = 2.0 ** draw(st.integers(-3, 1))
        steps = draw(grids(8, spread=126)) + 0.5
        steps[0] = draw(st.sampled_from((127.0, -127.0)))
        made.append(np.clip(steps, -127, 127) / scale)
    return np.array(made, np.float32)


def _values(sizes: Sizes) -> st.SearchStrategy[Case]:
    kinds = (*ROW_KINDS, *EXTREME_KINDS)
    shapes = sizes.matrices() if sizes.free else [(4, 8)]
    return matrices(shapes=shapes, kinds=kinds, bits=8).map(_case)


def _ties(_: Sizes) -> st.SearchStrategy[Case]:
    return _tied().map(_case)


@st.composite
def _halves(draw: Draw, _: Sizes) -> Case:
    dtype = draw(st.sampled_from(("float16", "bfloat16")))
    x = draw(matrices(shapes=[(4, 8)], kinds=("plain", "small", "constant", "negative")))
    return _case(cast(x, dtype), quantizer=draw(st.booleans()))


@st.composite
def _doubles(draw: Draw, _: Sizes) -> Case:
    x = draw(matrices(shapes=[(4, 8)], kinds=("plain", "outlier", "positive")))
    return _case(x.astype(np.float64) + draw(grids(32)).reshape(4, 8) * 2.0**-44)


@st.composite
def _zeros(draw: Draw, _: Sizes) -> Case:
    x = draw(matrices(shapes=[(4, 8)], kinds=("plain", "zero")))
    x[draw(st.integers(0, 3))] = 0
    return _case(x, axis=draw(st.sampled_from((-1, [1]))))


@st.composite
def _axes(draw: Draw, sizes: Sizes) -> Case:
    shape = draw(st.sampled_from(FREE if sizes.free else SHAPES))
    x = (draw(grids(int(np.prod(shape)))) / 64.0).reshape(shape).astype(np.float32)
    single_axis = st.integers(-len(shape), len(shape) - 1)
    several = st.lists(
        st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape), unique=True
    ).map(lambda axes: [a - len(shape) if draw(st.booleans()) else a for a in axes])
    axis = draw(st.one_of(st.none(), single_axis, several))
    return _case(x, axis=axis, quantizer=draw(st.booleans()))


@st.composite
def _clips(draw: Draw, _: Sizes) -> Case:
    bounds, dtype = draw(st.sampled_from(RANGES))
    x = draw(matrices(shapes=[(4, 8)], kinds=("plain", "negative", "outlier")))
    x[:, 0] = -8.0  # the element of largest magnitude may be negative: the lower clip acts
    return _case(x, value_range=bounds, output_dtype=dtype, quantizer=draw(st.booleans()))


@st.composite
def _epsilons(draw: Draw, _: Sizes) -> Case:
    x = draw(matrices(shapes=[(4, 8)], kinds=("plain", "small", "zero")))
    return _case(
        x * np.float32(2.0 ** draw(st.integers(-24, 0))),
        epsilon=draw(st.sampled_from((1e-7, 1e-6, 1e-3, 0.25, 2.0**-20, 3e-9))),
        quantizer=draw(st.booleans()),
    )


@st.composite
def _called(draw: Draw, _: Sizes) -> Case:
    x = draw(matrices(shapes=[(4, 8)], kinds=("plain",)))
    stored = draw(st.sampled_from((None, [0], [-1], [0, 1])))
    call = draw(st.sampled_from((None, 0, -1)))
    return _case(x, quantizer=True, call_axis=call, axis=stored)


@st.composite
def _dequantized(draw: Draw, _: Sizes) -> Case:
    codes = np.clip(draw(grids(32, spread=127)), -127, 127).reshape(4, 8).astype(np.int8)
    scale = np.abs(draw(rows(length=4, kinds=("plain", "small", "large"))))[:, None]
    scale = np.where(scale == 0, np.float32(1), scale)
    values = [
        [nearest_float(q / s) for q in row]
        for row, (s,) in zip(
            fractions_of(codes.tolist()), fractions_of(exact_list(scale)), strict=True
        )
    ]
    outputs = {"values": floats(values, "float32")}
    given = {"codes": codes, "scale": scale}
    title = "generated codes and scales"
    return Case("drawn", "abs", title, "abs_max_dequantize", (), {}, given, {"outputs": outputs})


@st.composite
def _refused(draw: Draw, _: Sizes) -> Case:
    x: Array = draw(matrices(shapes=[(2, 3)], kinds=("plain",)))
    given = dict(FULL)
    fault = draw(st.sampled_from(("value", "empty", "integers", "axis", "twice", "range")))
    error = "NonFiniteError"
    if fault == "value":
        x[draw(st.integers(0, 1)), draw(st.integers(0, 2))] = draw(
            st.sampled_from((np.nan, np.inf, -np.inf))
        )
    elif fault == "empty":
        x, error = np.zeros(draw(st.sampled_from(((0, 3), (2, 0)))), np.float32), "EmptyArrayError"
    elif fault == "integers":
        x, error = x.astype(draw(st.sampled_from(("int8", "int32", "uint8")))), "DTypeError"
    elif fault == "axis":
        given["axis"], error = draw(st.sampled_from((2, -3, [0, 5]))), "AxisError"
    elif fault == "twice":
        given["axis"], error = draw(st.sampled_from(([1, -1], [0, 0]))), "AxisError"
    else:
        bounds = st.sampled_from(([127, -127], [-127, 300], [-200, 127], [5, 5], [-5, -1]))
        given["value_range"], error = draw(bounds), "ValueRangeError"
    title = f"a generated input that must be refused: {fault}"
    name = "abs_max_quantize"
    if draw(st.booleans()):
        name, given = "abs_max_quantizer", {"arguments": given, "call_axis": None}
    return refused("abs", "drawn", title, name, "ABS-100", error, given, {"x": x})


@st.composite
def _routes(draw: Draw, _: Sizes) -> Case:
    """Draw the same call by each of its routes."""
    x = draw(matrices(shapes=[(4, 8)], kinds=("plain", "outlier", "negative", "zero")))
    case = _case(x, **({"quantizer": True, "call_axis": -1} if draw(st.booleans()) else {}))
    case.parameters["route"] = draw(st.sampled_from(("numpy", "tensor", "compiled")))
    return case


@st.composite
def _visible(draw: Draw, _: Sizes) -> Case:
    """Draw NaN or infinity in one of five rows."""
    x: Array = draw(matrices(shapes=[(5, 6)], kinds=("plain",)))
    x = cast(x, draw(st.sampled_from(("float32", "float32", "float16", "bfloat16"))))
    bad = draw(st.sampled_from((np.nan, np.inf, -np.inf)))
    x[draw(st.integers(0, 4)), draw(st.integers(0, 5))] = bad
    title = "a generated array, one number not finite"
    return refused("abs", "drawn", title, "abs_max_quantize", "ABS-140", "NonFiniteError",
                   dict(FULL), {"x": x})  # fmt: skip


@st.composite
def _refused_codes(draw: Draw, _: Sizes) -> Case:
    """Draw codes and scales that cannot be dequantized."""
    codes: Array = np.clip(draw(grids(12, spread=99)), -99, 99).reshape(3, 4).astype(np.int8)
    scale: Array = np.abs(draw(rows(length=3, kinds=("plain",))))[:, None] + np.float32(0.5)
    fault = draw(st.sampled_from(("floats", "half", "value", "zero", "negative", "shape")))
    place = draw(st.integers(0, 2))
    error = "NonFiniteError"
    if fault == "floats":
        codes, error = codes.astype(np.float32), "DTypeError"
    elif fault == "half":
        scale, error = cast(scale, draw(st.sampled_from(("float16", "bfloat16")))), "DTypeError"
    elif fault == "value":
        scale[place] = draw(st.sampled_from((np.nan, np.inf)))
    elif fault in ("zero", "negative"):
        scale[place] *= 0 if fault == "zero" else -1
    else:
        scale, error = draw(st.sampled_from((scale[:2], scale.T, scale[None]))), "ShapeError"
    title = f"generated codes or scales that must be refused: {fault}"
    given = {"codes": codes, "scale": scale}
    return refused("abs", "drawn", title, "abs_max_dequantize", "ABS-110", error, {}, given)


# Laws


@st.composite
def _scaled(draw: Draw, _: Sizes) -> tuple[Case, Case]:
    x = draw(matrices(shapes=[(4, 8)], kinds=("plain", "positive", "outlier", "zero")))
    power = 2.0 ** draw(st.integers(-8, 8))
    return _case(x), _case(x * np.float32(power), epsilon=1e-7 * power)


def _scales(cases: tuple[Case, ...], answers: Answers, u: float) -> list[Judgement]:
    power = cases[1].parameters["epsilon"] / cases[0].parameters["epsilon"]
    one, other = answers
    return [
        alike(cases[1], "ABS-010", "scales, times 2^k", other["scale"] * power, one["scale"]),
        codes_of(cases, "ABS-030", "codes", one, other["codes"], u),
    ]


def _flipped(sizes: Sizes) -> st.SearchStrategy[tuple[Case, Case]]:
    return _values(sizes).map(lambda case: (case, _case(-case.inputs["x"])))


def _flips(cases: tuple[Case, ...], answers: Answers, u: float) -> list[Judgement]:
    one, other = answers
    negated = -np.asarray(other["codes"]).astype(np.int64)
    return [
        alike(cases[1], "ABS-010", "scales", other["scale"], one["scale"]),
        codes_of(cases, "ABS-030", "codes of -x, negated", one, negated, u),
    ]


@st.composite
def _permuted(draw: Draw, sizes: Sizes) -> tuple[Case, Case]:
    case = draw(_values(sizes))
    order = draw(st.permutations(range(len(case.inputs["x"]))))
    moved = _case(case.inputs["x"][list(order)])
    moved.judging["rows"] = np.array(order, np.int32)
    return case, moved


def _permutes(cases: tuple[Case, ...], answers: Answers, u: float) -> list[Judgement]:
    one, other = answers
    place = np.argsort(cases[1].judging["rows"])
    scale, codes = (np.asarray(other[name])[place] for name in ("scale", "codes"))
    return [
        alike(cases[1], "ABS-050", "scales of permuted rows", scale, one["scale"]),
        codes_of(cases, "ABS-050", "codes of permuted rows", one, codes, u),
    ]


# General properties come first, then one topic after another: the first failure names the cause.
PROPERTIES = (
    single("prop-abs-values", "Scales and codes of generated rows, subnormal to huge.",
           (*CORE, "ABS-050"), _values, 25),
    single("prop-abs-ties", "Exact ties go to the even code.", CORE, _ties, 12),
    single("prop-abs-zeros", "Slices of zeros have codes 0.", ("ABS-040", *CORE), _zeros, 8),
    single("prop-abs-axes", "Any rank, any axes.", ("ABS-050", *CORE), _axes, 20),
    single("prop-abs-half", "float16 and bfloat16 inputs get float32 scales.",
           ("ABS-060", "ABS-120"), _halves, 10),
    single("prop-abs-double", "float64 inputs get float64 scales.",
           CORE, _doubles, 8),
    single("prop-abs-ranges", "Codes are clipped to the range as given.",
           ("ABS-070", *CORE), _clips, 16),
    single("prop-abs-epsilon", "Epsilon matters for small magnitudes.", CORE, _epsilons, 10),
    single("prop-abs-quantizer", "The axis of the call comes before the stored one.",
           ("CFG-150", *CORE), _called, 10),
    single("prop-abs-dequantize", "Dequantization divides codes.", ("ABS-080",), _dequantized, 10),
    single("prop-abs-refused", "Bad inputs are refused.", ("ABS-100",), _refused, 20),
    single("prop-abs-routes", "Tensors, `to_numpy` and compiled functions give the same.",
           ("ABS-150",), _routes, 12),
    single("prop-abs-visible", "What is not finite is refused, or seen in the scale.",
           ("ABS-140",), _visible, 10),
    single("prop-abs-refused-codes", "Codes and scales that are none are not dequantized.",
           ("ABS-110",), _refused_codes, 24),
    *CROSSED,
    law("prop-abs-scaling", "x and ε times 2^k: scale over 2^k, the same codes.",
        ("ABS-010", "ABS-030"), _scaled, _scales, 8),
    law("prop-abs-sign", "−x has the same scale and the negated codes.",
        ("ABS-010", "ABS-030"), _flipped, _flips, 8),
    law("prop-abs-rows", "Permuted slices have permuted answers.",
        ("ABS-050",), _permuted, _permutes, 8),
    *sizes.PROPERTIES,
)  # fmt: skip
