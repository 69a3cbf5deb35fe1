"""Section FOUR: drawn kernels in groups; one sign, zeros, ties, every value range, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from quantcheck.corpus.draw import refused
from quantcheck.corpus.int4 import FULL, TIE_EPSILON, back_case, grouped_case, tied
from quantcheck.corpus.int4_configs import (
    FOUR_BITS,
    NAME,
    config_case,
    quantizer,
    refused_config,
)
from quantcheck.properties import Sizes, single
from quantcheck.properties.cfg import BASE, BASE_FIELDS, NO_QUANTIZERS
from quantcheck.properties.strategies import Draw, cast, grids, matrices, two_sided
from quantcheck.wire.cases import Case
from quantref.inputs import Array

USUAL = ("FOUR-030", "FOUR-040", "FOUR-050")
PLAIN = ("plain", "fine", "outlier", "small", "large")
QUANTIZERS = ("weight_quantizer", "activation_quantizer")
ARGUMENTS = ("axis", "epsilon", "output_dtype")
WRONG: tuple[dict[str, Any], ...] = (
    {},
    {"value_range": [-7, 7]},
    {"value_range": [-8, 8]},
    {**FOUR_BITS, "output_dtype": "int16"},
    {**FOUR_BITS, "output_dtype": "int32", "axis": 0},
)
RANGES = ([-7, 7], [0, 15], [-2, 1], [-128, 127], [2, 9], [-8, 7])


@st.composite
def _grouped(draw: Draw, /, sizes: Sizes, *kinds: str, blocks: tuple[int, ...] = (8,),
             both: bool = True, **changes: Any) -> Case:  # fmt: skip
    """Draw a kernel whose columns have these kinds, with weights of both signs if `both`."""
    shapes = sizes.matrices() if sizes.free else [(4, 16)]
    weights = draw(matrices(shapes=shapes, kinds=kinds or PLAIN))
    weights = (two_sided(weights) if both else weights).T.copy()
    title = f"a generated kernel of shape {weights.shape}"
    size = draw(st.sampled_from(blocks))
    return grouped_case("drawn", title, weights, block_size=size, **changes)


def _plain(sizes: Sizes) -> st.SearchStrategy[Case]:
    return _grouped(sizes)


def _groups(sizes: Sizes) -> st.SearchStrategy[Case]:
    return _grouped(sizes, blocks=(1, 3, 5, 6, 7, 100))


def _one_sign(sizes: Sizes) -> st.SearchStrategy[Case]:
    return _grouped(sizes, "positive", "negative", "constant", both=False, blocks=(8, 3, 1))


def _zeros(sizes: Sizes) -> st.SearchStrategy[Case]:
    return _grouped(sizes, "zero", "zero", "plain", both=False, blocks=(8, 4))


@st.composite
def _ties(draw: Draw, _: Sizes, halves: bool) -> Case:
    zeros = draw(st.lists(st.integers(0, 14), min_size=4, max_size=4))
    weights = tied(zeros, halves=halves)
    title = f"exact ties of {'zero-points' if halves else 'codes'}"
    return grouped_case("drawn", title, weights, block_size=16, epsilon=TIE_EPSILON)


@st.composite
def _ranges(draw: Draw, sizes: Sizes) -> Case:
    bounds = list(draw(st.sampled_from(RANGES)))
    dtype = draw(st.sampled_from(("int8", "int32")))
    return draw(_grouped(sizes, value_range=bounds, output_dtype=dtype))


@st.composite
def _dtypes(draw: Draw, _: Sizes) -> Case:
    dtype = draw(st.sampled_from(("float16", "bfloat16", "float64")))
    weights = cast(draw(matrices(shapes=[(4, 16)], kinds=("plain",))).T.copy(), dtype)
    return grouped_case("drawn", f"a generated kernel of {dtype}", weights)


@st.composite
def _back(draw: Draw, _: Sizes, mixed: bool) -> Case:
    """Draw codes with scales, zero-points and groups: runs of rows, or any."""
    codes = (draw(grids(24, spread=8)) % 16 - 8).astype(np.int8).reshape(8, 3)
    zero = (draw(grids(6, spread=8)) % 16 - 8).astype(np.int8).reshape(2, 3)
    scale = ((np.abs(draw(grids(6))) + 1) / 512).astype(np.float32).reshape(2, 3)
    runs = np.repeat(np.arange(2, dtype=np.int32), 4)
    groups = draw(st.permutations(runs.tolist())) if mixed else runs
    inputs: dict[str, Array] = {"codes": codes, "scale": scale, "zero_point": zero,
              "g_idx": np.array(groups, np.int32)}  # fmt: skip
    return back_case("drawn", "generated codes", inputs)


@st.composite
def _routes(draw: Draw, _: Sizes) -> Case:
    """Draw the same call by each of its routes."""
    kinds = ("plain", "outlier", "positive", "negative", "constant")
    weights = draw(matrices(shapes=[(4, 16)], kinds=kinds)).T.copy()
    case = grouped_case("drawn", "a kernel by a route", weights)
    case.parameters["route"] = draw(st.sampled_from(("numpy", "tensor")))
    return case


@st.composite
def _visible(draw: Draw, _: Sizes) -> Case:
    """Draw NaN or infinity in one of five rows."""
    weights = draw(matrices(shapes=[(3, 5)], kinds=("plain",))).T.copy()
    bad = draw(st.sampled_from((np.nan, np.inf, -np.inf)))
    weights[draw(st.integers(0, 4)), draw(st.integers(0, 2))] = bad
    return refused("four", "drawn", "generated weights, one not finite", "grouped_quantize",
                   "FOUR-110", "NonFiniteError", dict(FULL), {"weights": weights})  # fmt: skip


@st.composite
def _refused(draw: Draw, _: Sizes) -> Case:
    """Draw a kernel with settings of which one is bad."""
    weights = draw(matrices(shapes=[(4, 16)], kinds=("plain",)))
    fault = draw(st.sampled_from(("block_size", "value_range", "epsilon", "rank", "dtype")))
    given, error = dict(FULL), "ConfigError"
    if fault == "block_size":
        given[fault] = draw(st.integers(-9, 0))
    elif fault == "value_range":
        error = "ValueRangeError"
        given[fault] = list(draw(st.sampled_from(((7, -8), (3, 3), (0, 128), (-129, 7)))))
    elif fault == "epsilon":
        given[fault] = draw(st.sampled_from((0.0, -1e-7, 1e-37, 1e300)))
    elif fault == "rank":
        weights, error = weights.reshape(2, 2, -1), "ShapeError"
    else:
        weights, error = weights.astype(np.int32), "DTypeError"
    title = f"a generated kernel that must be refused: {fault}"
    return refused("four", "drawn", title, "grouped_quantize", "FOUR-120", error, given,
                   {"weights": weights})  # fmt: skip


@st.composite
def _config(draw: Draw, _: Sizes, plain: bool) -> Case:
    """Draw a config; with quantizers it is per channel."""
    sizes = (1, 8, 32, 100, 128, 1000, -1, None) if plain else (-1, None)
    given: dict[str, Any] = {}
    changes: dict[str, Any] = {}
    if not plain or draw(st.booleans()):
        given["block_size"] = changes["block_size"] = draw(st.sampled_from(sizes))
    for name in QUANTIZERS:
        kinds = ("left out", "None") if plain else ("left out", "None", *["quantizer"] * 2, "base")
        kind = draw(st.sampled_from(kinds))
        if kind == "base" and name == "activation_quantizer":
            given[name], changes[name] = BASE, BASE_FIELDS
        elif kind in ("base", "quantizer"):
            given[name], changes[name] = quantizer(draw(_four_bits(name)))
        elif kind == "None":
            given[name] = None
    if draw(st.booleans()):
        given.setdefault("activation_quantizer", "default")
    return config_case("drawn", f"a generated {NAME}", given, changes)


@st.composite
def _four_bits(draw: Draw, name: str) -> dict[str, Any]:
    """Draw the arguments of a quantizer in this place of a config."""
    given: dict[str, Any] = dict(FOUR_BITS) if name == "weight_quantizer" else {}
    choices = {
        "axis": st.sampled_from((None, 0, -1, [0, 1])),
        "epsilon": st.sampled_from((1e-7, 0.001)),
        "output_dtype": st.just("int8"),
    }
    return given | {
        key: draw(choices[key]) for key in sorted(draw(st.sets(st.sampled_from(ARGUMENTS))))
    }


@st.composite
def _bad_block(draw: Draw, _: Sizes) -> Case:
    size = draw(st.integers(-9, 0).filter(lambda size: size != -1))
    return refused_config("drawn", f"groups of {size} rows", "FOUR-150", {"block_size": size})


@st.composite
def _bad_groups(draw: Draw, _: Sizes) -> Case:
    """Draw a config of groups with a quantizer; its block size may be left out."""
    names = draw(st.lists(st.sampled_from(QUANTIZERS), min_size=1, max_size=2, unique=True))
    given: dict[str, Any] = {name: quantizer(draw(_four_bits(name)))[0] for name in names}
    if draw(st.booleans()):
        given["block_size"] = draw(st.sampled_from((1, 32, 128)))
    return refused_config("drawn", "quantizers with groups", "FOUR-160", given)


@st.composite
def _bad_weights(draw: Draw, _: Sizes) -> Case:
    changes = draw(st.sampled_from(WRONG))
    size = draw(st.sampled_from((-1, None)))
    given = {"weight_quantizer": quantizer(changes)[0], "block_size": size}
    return refused_config("drawn", "a weight quantizer of other codes", "FOUR-170", given)


@st.composite
def _bad_objects(draw: Draw, _: Sizes) -> Case:
    """Draw what is no quantizer where a config has one."""
    given: dict[str, Any] = {draw(st.sampled_from(QUANTIZERS)): draw(NO_QUANTIZERS)}
    return refused_config("drawn", "no quantizer", "CFG-050", {**given, "block_size": -1})


# General properties come first, then one topic after another: the first failure names the cause.
PROPERTIES = (
    single("prop-four-plain", "Generated kernels with weights of both signs in a group.",
           USUAL, _plain, 12),
    single("prop-four-groups", "Groups of any size, the last one shorter.",
           ("FOUR-010", "FOUR-020", *USUAL), _groups, 10),
    single("prop-four-one-sign", "Groups of one sign, and constant ones.",
           ("FOUR-020", *USUAL), _one_sign, 12),
    single("prop-four-zero-ties", "Exact ties of zero-points.",
           ("FOUR-040", "FOUR-030", "FOUR-050"), lambda s: _ties(s, halves=True), 8),
    single("prop-four-ties", "Exact ties of codes.",
           ("FOUR-050", "FOUR-030", "FOUR-040"), lambda s: _ties(s, halves=False), 8),
    single("prop-four-ranges", "Every value range and output dtype.",
           ("FOUR-060",), _ranges, 12),
    single("prop-four-zeros", "Groups of zeros.",
           ("FOUR-070", "FOUR-020", *USUAL), _zeros, 10),
    single("prop-four-back", "Codes, scales and zero-points become weights.",
           ("FOUR-080",), lambda s: _back(s, mixed=False), 10),
    single("prop-four-back-groups", "Groups of rows in any order.",
           ("FOUR-090",), lambda s: _back(s, mixed=True), 10),
    single("prop-four-dtypes", "Kernels of every float dtype.",
           ("FOUR-100",), _dtypes, 9),
    single("prop-four-routes", "A tensor and NumPy.",
           ("FOUR-130",), _routes, 9),
    single("prop-four-visible", "What is not finite is refused, or seen in a scale.",
           ("FOUR-110",), _visible, 8),
    single("prop-four-refused", "Kernels and settings outside their domain are refused.",
           ("FOUR-120",), _refused, 12),
    single("prop-four-config", "Generated configs of groups, and per channel without quantizers.",
           ("FOUR-140", "FOUR-180", "CFG-090"), lambda s: _config(s, plain=True), 12),
    single("prop-four-config-nested", "Generated configs per channel, quantizers included.",
           ("CFG-090", "FOUR-140", "FOUR-180", "CFG-140"), lambda s: _config(s, plain=False), 15),
    single("prop-four-refused-block", "Block sizes outside their domain are refused.",
           ("FOUR-150",), _bad_block, 6),
    single("prop-four-refused-groups", "Quantizers are refused with groups.",
           ("FOUR-160",), _bad_groups, 8),
    single("prop-four-refused-weights", "Weight quantizers of other codes are refused.",
           ("FOUR-170",), _bad_weights, 8),
    single("prop-four-refused-objects", "What is no quantizer is refused.",
           ("CFG-050",), _bad_objects, 8),
)  # fmt: skip
