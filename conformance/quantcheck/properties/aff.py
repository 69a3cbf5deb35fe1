"""Section AFF: drawn ranges, groups and codes; one sign, ties, zeros, denormal scales."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from quantcheck.corpus.affine.build import FULL, parameters_case, quantize_case
from quantcheck.corpus.draw import exact_list, floats, refused
from quantcheck.judge.verdict import Judgement, judgement_of
from quantcheck.oracle.exact import fractions_of, nearest_float
from quantcheck.properties import Answers, Sizes, law, single
from quantcheck.properties.forced import zero_points
from quantcheck.properties.relations import alike, equal
from quantcheck.properties.sizes import aff as sizes
from quantcheck.properties.strategies import BITS, ROW_KINDS, Draw, grids, matrices, two_sided
from quantcheck.wire.cases import Case
from quantref.affine import group_layout
from quantref.inputs import Array

CORE = ("AFF-150", "AFF-060")
CODES = ("AFF-070", "AFF-120")
GROUPS = (-1, 1, 4, 6, 16, 100)


def _parameters(weights: Array, **changes: Any) -> Case:
    return parameters_case("drawn", f"generated weights of shape {weights.shape}", weights,
                           **changes)  # fmt: skip


@st.composite
def _drawn(draw: Draw, /, sizes: Sizes, *kinds: str, **fixed: Any) -> Case:
    """Draw rows of these kinds, and the settings that are not fixed."""
    bits = fixed.pop("bits", None) or draw(st.sampled_from((2, 3, 4, 8, 5)))
    settings = {
        "symmetric": draw(st.booleans()),
        "per_channel": draw(st.sampled_from((True, True, False))),
        "group_size": draw(st.sampled_from((-1, 8))),
        **fixed,
    }
    shapes = sizes.matrices() if sizes.free else [(4, 16)]
    weights = draw(matrices(shapes=shapes, bits=bits, kinds=kinds or ROW_KINDS))
    return _parameters(weights, bits=bits, **settings)


@st.composite
def _plain(draw: Draw, sizes: Sizes) -> Case:
    """Draw rows of both signs, asymmetric, each with its own range."""
    kinds = ("plain", "fine", "ties", "near ties", "outlier", "small", "large")
    case = draw(_drawn(sizes, *kinds, symmetric=False, per_channel=True, group_size=-1))
    return _parameters(two_sided(case.inputs["weights"]), **case.parameters)


def _values(sizes: Sizes) -> st.SearchStrategy[Case]:
    return _drawn(sizes)


def _one_sign(sizes: Sizes) -> st.SearchStrategy[Case]:
    kinds = ("positive", "negative", "constant")
    return _drawn(sizes, *kinds, symmetric=False, per_channel=True)


def _zeros(sizes: Sizes) -> st.SearchStrategy[Case]:
    return _drawn(sizes, "zero", "zero", "plain", symmetric=False, per_channel=True)


def _mirrored(sizes: Sizes) -> st.SearchStrategy[Case]:
    return _drawn(sizes, "positive", "negative", "plain", "outlier", symmetric=True)


def _floor(sizes: Sizes) -> st.SearchStrategy[Case]:
    return _drawn(sizes, "subnormal", "tiny", per_channel=True)


@st.composite
def _layouts(draw: Draw, sizes: Sizes) -> Case:
    size, one = draw(st.sampled_from(GROUPS)), draw(st.booleans())
    return draw(_drawn(sizes, "plain", "outlier", "small", group_size=size, per_channel=one))


# Codes


@st.composite
def _maps(draw: Draw, *, bits: int, dyadic: bool) -> tuple[Array, Array, Array]:
    """Draw scale (4, 3), zero-point (4, 3) and g_idx (16,), groups in any order."""
    maxq = 2**bits - 1
    if dyadic:
        scale = 2.0 ** draw(grids(12, spread=6)).astype(np.float64)
    else:
        scale = (np.abs(draw(grids(12))) + 1) / 3000.0
    zero = np.abs(draw(grids(12, spread=255))) % (maxq + 1)
    g_idx = np.abs(draw(grids(16, spread=2)))
    return (
        scale.reshape(4, 3).astype(np.float32),
        zero.reshape(4, 3).astype(np.uint8),
        g_idx.astype(np.int32),
    )


@st.composite
def _codes(draw: Draw, _: Sizes, *, ties: bool = False) -> Case:
    bits = draw(st.sampled_from(BITS))
    scale, zero, g_idx = draw(_maps(bits=bits, dyadic=ties))
    if ties:
        steps = draw(grids(64, spread=2**bits)).reshape(4, 16) + 0.5
        weights = (steps * scale[:, g_idx]).astype(np.float32)
    else:
        weights = draw(matrices(shapes=[(4, 16)], bits=bits))
    title = f"generated weights, {bits} bits, groups in any order"
    return quantize_case("drawn", title, weights, scale, zero, g_idx, bits=bits)


@st.composite
def _neighbours(draw: Draw, _: Sizes) -> Case:
    """Draw weights one float below and above ties of scales that are not dyadic."""
    bits = draw(st.sampled_from(BITS))
    scale, zero, g_idx = draw(_maps(bits=bits, dyadic=False))
    steps = draw(grids(64, spread=2**bits)).reshape(4, 16) + 0.5
    weights = (steps * scale[:, g_idx].astype(np.float64)).astype(np.float32)
    towards = np.where(draw(grids(64)).reshape(4, 16) % 2, np.inf, -np.inf).astype(np.float32)
    moved = np.nextafter(weights, towards)
    return quantize_case("drawn", "generated near-ties", moved, scale, zero, g_idx, bits=bits)


@st.composite
def _dequantized(draw: Draw, _: Sizes) -> Case:
    bits = draw(st.sampled_from(BITS))
    scale, zero, g_idx = draw(_maps(bits=bits, dyadic=False))
    codes = (np.abs(draw(grids(64, spread=255))) % 2**bits).reshape(4, 16).astype(np.uint8)
    S = fractions_of(exact_list(scale))
    values = [
        [
            nearest_float(S[i][g] * (int(codes[i, j]) - int(zero[i, g])))
            for j, g in enumerate(g_idx.tolist())
        ]
        for i in range(4)
    ]
    given = {"codes": codes, "scale": scale, "zero_point": zero, "g_idx": g_idx}
    outputs = {"values": floats(values, "float32")}
    title = f"generated {bits}-bit codes back to weights"
    return Case("drawn", "aff", title, "affine_dequantize", (), {}, given, {"outputs": outputs})


@st.composite
def _refused(draw: Draw, _: Sizes) -> Case:
    W: Array = draw(matrices(shapes=[(2, 4)], kinds=("plain",)))
    given = dict(FULL)
    fault = draw(st.sampled_from(("bits", "group", "rank", "empty", "value", "integers")))
    if fault == "bits":
        given["bits"], error = draw(st.sampled_from((0, 1, 9, 16, -4))), "BitsError"
    elif fault == "group":
        given["group_size"], error = draw(st.sampled_from((0, -2, -128))), "ConfigError"
    elif fault == "rank":
        W, error = draw(st.sampled_from((W[0], W[None]))), "ShapeError"
    elif fault == "empty":
        W, error = W[:, :0], "EmptyArrayError"
    elif fault == "value":
        W[1, draw(st.integers(0, 3))] = draw(st.sampled_from((np.nan, np.inf)))
        error = "NonFiniteError"
    else:
        W, error = W.astype(draw(st.sampled_from(("int8", "int32")))), "DTypeError"
    title = f"generated weights that must be refused: {fault}"
    inputs = {"weights": W}
    return refused("aff", "drawn", title, "affine_parameters", "AFF-110", error, given, inputs)


@st.composite
def _doubles(draw: Draw, sizes: Sizes) -> Case:
    """Draw float64 weights: the scale is float32 all the same."""
    case = draw(_drawn(sizes, "plain", symmetric=False, per_channel=True, group_size=-1))
    wide = two_sided(case.inputs["weights"]).astype(np.float64)
    return _parameters(wide + draw(grids(wide.size)).reshape(wide.shape) * 2.0**-40,
                       **case.parameters)  # fmt: skip


@st.composite
def _visible(draw: Draw, _: Sizes) -> Case:
    """Draw NaN or infinity in one of five rows."""
    W: Array = draw(matrices(shapes=[(5, 6)], kinds=("plain",)))
    bad = draw(st.sampled_from((np.nan, np.inf, -np.inf)))
    W[draw(st.integers(0, 4)), draw(st.integers(0, 5))] = bad
    given = {**FULL, "symmetric": draw(st.booleans()), "group_size": draw(st.sampled_from((-1, 4)))}
    title = "generated weights, one not finite"
    return refused("aff", "drawn", title, "affine_parameters", "AFF-200", "NonFiniteError", given,
                   {"weights": W})  # fmt: skip


@st.composite
def _refused_maps(draw: Draw, _: Sizes) -> Case:
    """Draw weights and parameters that do not fit each other, or are none."""
    weights = draw(matrices(shapes=[(4, 16)], kinds=("plain",)))
    scale, zero, g_idx = draw(_maps(bits=3, dyadic=False))
    fault = draw(st.sampled_from(("negative", "zero", "value", "code", "group", "shape")))
    place = draw(st.integers(0, 3)), draw(st.integers(0, 2))
    error = "NonFiniteError"
    if fault == "negative":
        scale[place] *= -1
    elif fault in ("zero", "value"):
        scale[place] = 0.0 if fault == "zero" else draw(st.sampled_from((np.nan, np.inf)))
    elif fault == "code":
        zero[place], error = draw(st.integers(8, 255)), "CodeRangeError"
    elif fault == "group":
        g_idx[draw(st.integers(0, 15))] = draw(st.sampled_from((-1, 3, 4)))
        error = "CodeRangeError"
    else:
        g_idx, error = g_idx[:-1], "ShapeError"
    title = f"generated parameters that must be refused: {fault}"
    inputs = {"weights": weights, "scale": scale, "zero_point": zero, "g_idx": g_idx}
    return refused("aff", "drawn", title, "affine_quantize", "AFF-110", error, {"bits": 3}, inputs)


# Laws


@st.composite
def _scaled(draw: Draw, sizes: Sizes) -> tuple[Case, Case]:
    case = draw(_drawn(sizes, "plain", "positive", "negative", "constant", "outlier"))
    power = np.float32(2.0 ** draw(st.integers(-10, 10)))
    given = case.parameters
    moved = _parameters(case.inputs["weights"] * power, **given)
    moved.judging["power"] = float(power)
    return case, moved


def _all_zero(case: Case) -> Array:
    """Whether a group is all zeros; its range −1 … 1 does not scale with the weights."""
    weights, given = case.inputs["weights"], case.parameters
    groups = group_layout(weights.shape[1], given["group_size"])
    live = np.stack([weights[:, g.start : g.end].any(axis=1) for g in groups], axis=1)
    return np.asarray(~(live if given["per_channel"] else live.any(axis=0) | np.zeros_like(live)))


def _scales(cases: tuple[Case, ...], answers: Answers, u: float) -> list[Judgement]:
    one, other = answers
    empty = _all_zero(cases[0])
    if np.shape(one["scale"]) != empty.shape:
        message = f"scale: expected {empty.shape[1]} groups, got shape {np.shape(one['scale'])}"
        blamed = "AFF-180" if cases[0].parameters["per_channel"] else "AFF-190"
        return [judgement_of(blamed, False, message, cases[0].id)]
    power = np.where(empty, 1.0, cases[1].judging["power"])
    used = np.asarray(one["scale"]).astype(np.float64) * power
    return [
        alike(cases[1], "AFF-150", "scales of 2^k W", other["scale"], used),
        zero_points(cases, "AFF-060", one, other["zero_point"], u),
    ]


@st.composite
def _returned(draw: Draw, sizes: Sizes) -> tuple[Case, Case]:
    """Draw codes; the second question quantizes the expected answer to the first one."""
    case = draw(_dequantized(sizes))
    maps = [case.inputs[name] for name in ("scale", "zero_point", "g_idx")]
    values = case.expected["outputs"]["values"]
    return case, quantize_case("drawn", "generated codes, quantized again", values, *maps, bits=8)


def _returns(cases: tuple[Case, ...], answers: Answers, _: float) -> list[Judgement]:
    codes = cases[0].inputs["codes"]
    return [equal(cases[1], "AFF-070", "codes of dequantized codes", answers[1]["codes"], codes)]


@st.composite
def _permuted(draw: Draw, sizes: Sizes) -> tuple[Case, Case]:
    case = draw(_drawn(sizes, per_channel=True))
    order = np.array(draw(st.permutations(range(len(case.inputs["weights"])))), np.int32)
    moved = _parameters(case.inputs["weights"][order], **case.parameters)
    moved.judging["rows"] = order
    return case, moved


def _permutes(cases: tuple[Case, ...], answers: Answers, u: float) -> list[Judgement]:
    one, other = answers
    place = np.argsort(cases[1].judging["rows"])
    scale, zero_point = (np.asarray(other[name])[place] for name in ("scale", "zero_point"))
    return [
        alike(cases[1], "AFF-180", "scales of permuted rows", scale, one["scale"]),
        zero_points(cases, "AFF-180", one, zero_point, u),
    ]


# General properties come first, then one topic after another: the first failure names the cause.
PROPERTIES = (
    single("prop-aff-plain", "Scales and zero-points of rows of both signs.",
           (*CORE, "AFF-180"), _plain, 20),
    single("prop-aff-one-sign", "Rows of one sign: the range reaches to zero.",
           ("AFF-010", *CORE), _one_sign, 12),
    single("prop-aff-zeros", "Groups of zeros get the range −1 … 1.",
           ("AFF-020", *CORE), _zeros, 10),
    single("prop-aff-symmetric", "Symmetric ranges mirror the larger magnitude.",
           ("AFF-130", *CORE, "AFF-010", "AFF-140"), _mirrored, 12),
    single("prop-aff-floor", "Scales stop at the smallest normal number.",
           ("AFF-050", *CORE), _floor, 8),
    single("prop-aff-groups", "Groups of any size, ragged ones, one range for all rows.",
           ("AFF-180", *CORE, "AFF-010", "AFF-190"), _layouts, 20),
    single("prop-aff-values", "Everything at once.",
           (*CORE, "AFF-010", "AFF-020", "AFF-130", "AFF-050", "AFF-180"), _values, 20),
    single("prop-aff-codes", "Codes of generated weights for given parameters.",
           (*CODES, "AFF-100"), _codes, 25),
    single("prop-aff-ties", "Exact ties round first and shift then.", CODES,
           lambda sizes: _codes(sizes, ties=True), 15),
    single("prop-aff-near-ties", "One float next to a tie: either neighbour or the nearer one.",
           CODES, _neighbours, 10),
    single("prop-aff-dequantize", "Codes go back by s·(q − z).",
           ("AFF-160", "AFF-100", "AFF-170"), _dequantized, 12),
    single("prop-aff-refused", "Bad weights and settings are refused.",
           ("AFF-110",), _refused, 20),
    single("prop-aff-double", "Scales of float64 weights are float32.",
           ("AFF-170", *CORE), _doubles, 5),
    single("prop-aff-visible", "What is not finite is refused, or seen in a scale.",
           ("AFF-200",), _visible, 8),
    single("prop-aff-refused-maps", "Bad scales, zero-points and group indices are refused.",
           ("AFF-110",), _refused_maps, 24),
    law("prop-aff-scaling", "Weights times 2^k: scales times 2^k, zero-points that fit them.",
        CORE, _scaled, _scales, 10),
    law("prop-aff-idempotent", "Dequantized codes quantize to themselves.",
        ("AFF-070",), _returned, _returns, 12),
    law("prop-aff-rows", "Permuted rows have permuted parameters.",
        ("AFF-180",), _permuted, _permutes, 8),
    *sizes.PROPERTIES,
)  # fmt: skip
