"""Cases of section FOUR: kernels in groups with zero-points; every decision is exact."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from quantcheck.corpus.affine.build import admissible_zero_points
from quantcheck.corpus.draw import (
    U32,
    dyadic,
    exact_list,
    floats,
    is_power_of_two,
    refused,
    shortened,
    single,
)
from quantcheck.oracle import exact
from quantcheck.wire.arrays import dtype_of
from quantcheck.wire.cases import Case
from quantref.inputs import Array

FULL: dict[str, Any] = {
    "block_size": 8,
    "value_range": [-8, 7],
    "epsilon": 1e-07,
    "output_dtype": "int8",
}
TIE_EPSILON = 2.0**-10
"""With ranges of 15/4 less this, scales of 15 steps are 1/4, and half steps are exact ties."""


def grouped_case(
    identity: str, title: str, weights: Array, *requirements: str, **changes: Any
) -> Case:
    """Return the case of a kernel; expected values are exact."""
    given = {**FULL, **changes}
    lo, hi = given["value_range"]
    size, epsilon = given["block_size"], Fraction(given["epsilon"])
    columns = exact.fractions_of(exact_list(weights.T))
    n_in, n_out = weights.shape
    of_rows, of_groups = (n_in, n_out), (-(-n_in // size), n_out)
    codes, margins, required = (np.empty(of_rows, object) for _ in range(3))
    scale, zero, zero_margins = (np.empty(of_groups, object) for _ in range(3))
    admissible = np.empty((*of_groups, 2), np.int8)
    for k, j in np.ndindex(of_groups):
        part = columns[j][k * size : (k + 1) * size]
        s, z, margin = exact.grouped_range(min(part), max(part), lo, hi, epsilon)
        scale[k, j], zero[k, j], zero_margins[k, j] = s, z, margin
        position = -min(*part, Fraction(0)) / s
        ends = admissible_zero_points(position, s, z - lo, margin, hi - lo)
        admissible[k, j] = [end + lo for end in ends]
        for i, w in enumerate(part, k * size):
            codes[i, j], distance = exact.code_and_margin(w / s, z, lo, hi)
            tie = distance == 0 and is_power_of_two(float(s))
            margins[i, j] = distance
            required[i, j] = tie or distance > 4 * U32 * (abs(w / s) + hi - lo)
    outputs = {
        "codes": codes.astype(given["output_dtype"]),
        "scale": floats(scale.tolist(), "float32"),
        "zero_point": zero.astype(np.int8),
    }
    judging = {
        "margins": shortened(margins),
        "required": required.astype(np.uint8),
        "zero_margins": shortened(zero_margins),
        "zero_admissible": admissible,
    }
    return Case(
        f"four-{identity}", "four", title, "grouped_quantize",
        tuple(dict.fromkeys((*requirements, "FOUR-010"))), given, {"weights": weights},
        {"outputs": outputs}, judging,
    )  # fmt: skip


def back_case(identity: str, title: str, inputs: dict[str, Array], *requirements: str) -> Case:
    """Return the case of codes that are dequantized; expected values are exact."""
    scale = exact.fractions_of(exact_list(inputs["scale"]))
    zero, groups = inputs["zero_point"].tolist(), inputs["g_idx"].tolist()
    values = [
        [exact.nearest_float(scale[g][j] * (code - zero[g][j])) for j, code in enumerate(row)]
        for row, g in zip(inputs["codes"].tolist(), groups, strict=True)
    ]
    return Case(
        f"four-{identity}", "four", title, "grouped_dequantize", requirements, {}, inputs,
        {"outputs": {"values": floats(values, "float32")}},
    )  # fmt: skip


def tied(zeros: list[int], halves: bool = False) -> Array:
    """Return columns of 16 weights at exact ties of the scale 1/4.

    The first two weights of column j are the ends of the range, zeros[j] steps below zero (half a
    step more with `halves`); the others are half steps.
    """
    columns = []
    for zero in zeros:
        least = -(zero + (0.5 if halves else 0)) / 4
        steps = [(k + 0.5 - zero) / 4 for k in range(14)]
        columns.append([least, least + 15 / 4 - TIE_EPSILON, *steps])
    return single(columns).T.copy()


def four_cases() -> Iterator[Case]:
    """Yield the cases of section FOUR."""
    usual = ("FOUR-030", "FOUR-040", "FOUR-050")
    for name, shape, size in (
        ("groups", (16, 4), 8), ("ragged", (10, 3), 4), ("whole", (6, 3), 100),
        ("rows", (5, 2), 1), ("last-row", (9, 2), 8),
    ):  # fmt: skip
        w = dyadic(2600 + size, shape, 2000, 10).astype(np.float32)
        first = ("FOUR-010",) if name != "groups" else ()
        yield grouped_case(name, f"shape {shape}, groups of {size}", w, *first, *usual,
                           "FOUR-020", block_size=size)  # fmt: skip
    signs = np.abs(dyadic(2620, (8, 4), 1000, 10)) + 0.5
    one_sign = single(signs * [1, -1, 1, -1] + [0, 0, 4, -4])
    yield grouped_case("one-sign", "columns of one sign", one_sign, "FOUR-020", *usual)
    constant = np.repeat(single([[0.5, -3.0, 1e-3, 7e4]]), 8, axis=0)
    yield grouped_case("constant", "constant columns", constant, "FOUR-020", *usual, block_size=3)
    zeros = dyadic(2621, (16, 4), 2000, 10).astype(np.float32)
    zeros[:8, 1], zeros[8:, 3] = 0, 0
    yield grouped_case("zeros", "groups of zeros beside others", zeros, "FOUR-070", *usual)
    ties = tied([3, 4, 7, 8])
    tie_settings: dict[str, Any] = {"block_size": 16, "epsilon": TIE_EPSILON}
    yield grouped_case("ties", "exact ties of codes, odd and even zero-points", ties, "FOUR-050",
                       "FOUR-030", **tie_settings)  # fmt: skip
    halves = tied([3, 4, 7, 8], halves=True)
    yield grouped_case("zero-ties", "exact ties of zero-points", halves, "FOUR-040", "FOUR-030",
                       "FOUR-050", **tie_settings)  # fmt: skip
    w = dyadic(2622, (16, 3), 2000, 10).astype(np.float32)
    for name, bounds, dtype in (
        ("symmetric", [-7, 7], "int8"), ("unsigned", [0, 15], "int8"), ("2bit", [-2, 1], "int8"),
        ("full", [-128, 127], "int8"), ("offset", [2, 9], "uint8"), ("wide", [-8, 7], "int32"),
    ):  # fmt: skip
        yield grouped_case(f"range-{name}", f"value range {bounds}, {dtype}", w, "FOUR-060",
                           value_range=bounds, output_dtype=dtype)  # fmt: skip
    small = (dyadic(2623, (16, 3), 2000, 10) * 2.0**-22).astype(np.float32)
    yield grouped_case("near-epsilon", "ranges near epsilon", small, *usual)
    yield grouped_case("epsilon-large", "an epsilon that matters", w, *usual, epsilon=0.25)
    outlier = w.copy()
    outlier[3] = [1e6, -1e6, 3e30]
    yield grouped_case("outliers", "one huge weight in a column", outlier, *usual)
    tiny = (dyadic(2624, (16, 3), 2000, 0) * 2.0**-149).astype(np.float32)
    yield grouped_case("subnormals", "subnormal weights", tiny, *usual)
    for dtype in ("float16", "bfloat16", "float64"):
        cast = dyadic(2625, (16, 3), 2000, 10).astype(dtype_of(dtype))
        yield grouped_case(dtype, f"{dtype}: the scale is float32", cast, "FOUR-100")
    yield from _back_cases()
    yield from _refused_cases()


def _back_cases() -> Iterator[Case]:
    inputs: dict[str, Array] = {}
    codes = (np.arange(24) % 16 - 8).astype(np.int8).reshape(8, 3)
    zero = np.array([[-8, 0, 7], [3, -5, -1]], np.int8)
    runs = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.int32)
    for name, scale in (
        ("dyadic", single([[0.25, 2, 64], [1, 0.5, 8]])),
        ("third", single([[0.2, 1e9, 0.7], [3, 1e-30, 127]])),
    ):
        inputs = {"codes": codes, "scale": scale, "zero_point": zero, "g_idx": runs}
        yield back_case(f"back-{name}", f"{name} scales", inputs, "FOUR-080", "FOUR-100")
    mixed = np.array([1, 0, 1, 1, 0, 0, 1, 0], np.int32)
    yield back_case("back-g-idx", "groups in any order", {**inputs, "g_idx": mixed}, "FOUR-090")


def _refused_cases() -> Iterator[Case]:
    good = np.ones((4, 3), np.float32)
    bad = good.copy()
    bad[2, 1] = np.nan
    changes: dict[str, Any]
    for name, title, error, weights, changes in (
        ("nan", "NaN", "NonFiniteError", bad, {}),
        ("empty", "no rows", "EmptyArrayError", good[:0], {}),
        ("rank", "weights of rank 1", "ShapeError", good[0], {}),
        ("integers", "integer weights", "DTypeError", good.astype(np.int32), {}),
        ("block", "blocks of no rows", "ConfigError", good, {"block_size": 0}),
        ("range", "a reversed range", "ValueRangeError", good, {"value_range": [7, -8]}),
        ("range-wide", "a range beyond int8", "ValueRangeError", good,
         {"value_range": [0, 255], "output_dtype": "uint8"}),
        ("epsilon", "no epsilon", "ConfigError", good, {"epsilon": 0.0}),
        ("large", "a scale beyond binary32", "OverflowRangeError",
         good.astype(np.float64) * 1e300, {}),
    ):  # fmt: skip
        yield refused("four", f"four-refuse-{name}", title, "grouped_quantize", "FOUR-120", error,
                      {**FULL, **changes}, {"weights": weights})  # fmt: skip
    inputs: dict[str, Array] = {
        "codes": np.zeros((4, 3), np.int8), "scale": good[:2], "zero_point": np.zeros((2, 3), int),
        "g_idx": np.array([0, 0, 1, 1], np.int32),
    }  # fmt: skip
    for name, title, error, changes in (
        ("scale", "a scale of 0", "NonFiniteError", {"scale": good[:2] * 0}),
        ("group", "a group without a scale", "CodeRangeError", {"g_idx": inputs["g_idx"] + 1}),
        ("shape", "scales of other columns", "ShapeError", {"scale": good[:2, :2]}),
    ):
        yield refused("four", f"four-refuse-back-{name}", title, "grouped_dequantize", "FOUR-120",
                      error, {}, {**inputs, **changes})  # fmt: skip
