"""The cases of section AFF; `build` computes their expected values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantcheck.corpus.affine.build import FULL, parameters_case, quantize_case
from quantcheck.corpus.draw import (
    alternating,
    dyadic,
    exact_list,
    floats,
    integers,
    refused,
    single,
    small,
)
from quantcheck.oracle import exact
from quantcheck.wire.cases import Case
from quantref.affine import group_index
from quantref.inputs import Array


def aff_cases() -> Iterator[Case]:
    """Yield the cases of section AFF."""
    yield from _parameter_cases()
    yield from _code_cases()
    yield from _dequantize_cases()
    yield from _edge_cases()
    good = dyadic(499, (2, 4), 100, 4).astype(np.float32)
    nan = good.copy()
    nan[0, 1] = np.nan
    for name, title, error, weights, changes in (
        ("bits", "9 bits", "BitsError", good, {"bits": 9}),
        ("group", "groups of 0 columns", "ConfigError", good, {"group_size": 0}),
        ("rank", "a vector", "ShapeError", good[0], {}),
        ("empty", "no columns", "EmptyArrayError", np.zeros((2, 0), np.float32), {}),
        ("nan", "NaN", "NonFiniteError", nan, {}),
        ("integers", "integer weights", "DTypeError", good.astype(np.int32), {}),
    ):
        yield refused(
            "aff",
            f"aff-refuse-{name}",
            title,
            "affine_parameters",
            "AFF-110",
            error,
            {**FULL, **changes},
            {"weights": weights},
        )


def _parameter_cases() -> Iterator[Case]:
    core = ("AFF-150", "AFF-060")
    x = dyadic(400, (4, 16), 4000, 9).astype(np.float32)
    for bits in (2, 3, 4, 5, 6, 7, 8):
        for symmetric in (False, True):
            if bits in (5, 6, 7) and symmetric:
                continue
            name = f"{bits}bit-{'symmetric' if symmetric else 'asymmetric'}"
            requirements = ("AFF-130", *core) if symmetric else core
            yield parameters_case(
                name,
                f"{bits} bits, per row, symmetric={symmetric}",
                x,
                *requirements,
                bits=bits,
                symmetric=symmetric,
            )
    mixed = alternating(x)  # both signs in every group of two or more
    for size in (4, 6, 16, 100):
        yield parameters_case(
            f"group-{size}",
            f"groups of {size} of 16 columns",
            mixed,
            "AFF-180",
            *core,
            group_size=size,
        )
    yield parameters_case(
        "group-1", "groups of one column: one sign each", x, "AFF-010", *core, group_size=1
    )
    yield parameters_case("per-tensor", "one range in all", x, "AFF-180", *core, per_channel=False)
    yield parameters_case(
        "per-tensor-groups",
        "one range per group, all rows",
        x,
        "AFF-190",
        *core,
        per_channel=False,
        group_size=8,
    )
    positive = np.abs(x) + np.float32(0.5)
    for symmetric in (False, True):
        ending = "-symmetric" if symmetric else ""
        yield parameters_case(
            f"positive{ending}",
            "all weights positive: the range reaches down to 0",
            positive,
            *(("AFF-140",) if symmetric else ()),
            "AFF-010",
            *core,
            symmetric=symmetric,
        )
        yield parameters_case(
            f"negative{ending}",
            "all weights negative: the range reaches up to 0",
            -positive,
            *(("AFF-130",) if symmetric else ()),
            "AFF-010",
            *core,
            symmetric=symmetric,
        )
    ragged = x.copy()
    ragged[:, 12:] = np.abs(ragged[:, 12:]) + 3
    yield parameters_case(
        "ragged-positive",
        "a short last group of one sign",
        ragged,
        "AFF-180",
        "AFF-010",
        *core,
        group_size=12,
    )
    zeros = x.copy()
    zeros[1] = 0
    zeros[2, :8] = 0
    zeros = alternating(zeros)
    yield parameters_case(
        "zero-groups",
        "groups of zeros: range −1 … 1, whose zero-point is a near-tie",
        zeros,
        "AFF-020",
        *core,
        group_size=8,
    )
    yield parameters_case(
        "zero-groups-symmetric",
        "groups of zeros, symmetric",
        zeros,
        "AFF-020",
        "AFF-130",
        *core,
        group_size=8,
        symmetric=True,
    )
    constant = np.repeat(single([[0.75], [-2.0], [1e-6], [3e6]]), 16, axis=1)
    yield parameters_case(
        "constant",
        "constant rows: not degenerate, the range reaches to 0",
        constant,
        "AFF-010",
        *core,
    )
    outlier = x / 4096
    outlier[:, 5] = [1e6, -1e6, 3e38, -3e38]
    yield parameters_case("outliers", "one huge weight per row", outlier, *core)
    wide = single([[3.4e38, -3.4e38, 0, 1], [1e38, -3e38, 2, 3]])
    yield parameters_case("overflow", "hi − lo exceeds float32, the scale does not", wide, *core)
    tiny = (dyadic(401, (2, 4), 4000, 0) * 2.0**-140).astype(np.float32)
    yield parameters_case("floor", "subnormal weights: the scale stops at 2^-126", tiny, "AFF-050")
    yield parameters_case(
        "float64",
        "float64 weights: the scale is float32 still",
        dyadic(402, (4, 16), 2**40, 45),
        *core,
        "AFF-170",
    )


def _code_cases() -> Iterator[Case]:
    one_group = np.zeros(16, np.int32)
    for s, name in ((1.0, "1"), (0.25, "quarter"), (8.0, "8")):
        for z in (0, 7, 8, 15):
            ties = (np.arange(16) - z - 0.5).astype(np.float32) * np.float32(s)
            weights = np.stack([ties, ties + np.float32(s) / 4])
            scale = np.full((2, 1), s, np.float32)
            zero = np.full((2, 1), z, np.uint8)
            yield quantize_case(
                f"ties-scale-{name}-zero-{z}",
                f"exact ties across all codes, scale {s:g}, zero-point {z}",
                weights,
                scale,
                zero,
                one_group,
                "AFF-070",
            )
    for bits in (2, 3, 4, 8):
        maxq = 2**bits - 1
        weights = dyadic(420 + bits, (4, 16), 4000, 9).astype(np.float32)
        scale = dyadic(430 + bits, (4, 3), 400, 12).astype(np.float32)
        scale = np.abs(scale) + np.float32(16 / maxq)
        zero = np.array(integers(440 + bits, 12, 0, maxq), np.uint8).reshape(4, 3)
        yield quantize_case(
            f"codes-{bits}bit",
            f"{bits} bits, ragged groups, clips at both ends",
            weights,
            scale,
            zero,
            group_index(16, 6),
            "AFF-070",
            "AFF-100",
            "AFF-120",
            bits=bits,
        )
    shuffled = np.array([2, 0, 1, 1, 0, 2, 2, 0, 1, 0, 2, 1, 1, 0, 2, 0], np.int32)
    weights = dyadic(450, (4, 16), 4000, 9).astype(np.float32)
    scale = single([[0.5, 1.5, 0.7]] * 4)
    zero = small([[0, 7, 15]] * 4)
    yield quantize_case(
        "codes-shuffled-groups",
        "group index in any order",
        weights,
        scale,
        zero,
        shuffled,
        "AFF-100",
        "AFF-070",
    )
    near = single([1.5, 2.5, 3.5, 4.5]) * np.float32(0.1)
    below, above = np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(9))
    weights = np.concatenate([near, below, above, -near])[None]
    yield quantize_case(
        "codes-near-ties",
        "neighbours of ties at a scale that is not dyadic",
        weights,
        single([[0.1]]),
        small([[7]]),
        one_group,
        "AFF-070",
    )


def _dequantize_cases() -> Iterator[Case]:
    for bits in (2, 4, 8):
        maxq = 2**bits - 1
        codes = np.array(integers(460 + bits, 32, 0, maxq), np.uint8).reshape(2, 16)
        scale = np.abs(dyadic(470 + bits, (2, 3), 4000, 13)).astype(np.float32) + np.float32(0.001)
        zero = np.array(integers(480 + bits, 6, 0, maxq), np.uint8).reshape(2, 3)
        groups = group_index(16, 6)
        S = exact.fractions_of(exact_list(scale))
        values = [
            [
                exact.nearest_float(S[i][g] * (int(codes[i, j]) - int(zero[i, g])))
                for j, g in enumerate(groups.tolist())
            ]
            for i in range(2)
        ]
        yield Case(
            f"aff-dequantize-{bits}bit",
            "aff",
            f"codes back to weights, {bits} bits",
            "affine_dequantize",
            ("AFF-160", "AFF-100"),
            {},
            {"codes": codes, "scale": scale, "zero_point": zero, "g_idx": groups},
            {"outputs": {"values": floats(values, "float32")}},
        )


def _edge_cases() -> Iterator[Case]:
    """Yield the edges of the way back: nothing, any integers, the largest result."""
    edges: tuple[tuple[str, str, Array, Array, Array], ...] = (
        ("empty", "no rows, and no refusal",
         np.zeros((0, 3), np.uint8), np.zeros((0, 1), np.float32), np.zeros((0, 1), np.uint8)),
        ("any-integers", "negative codes, and a zero-point below 0",
         np.array([[5, -3]], np.int32), single([[2]]), np.array([[-7]], np.int32)),
        ("largest", "a product that rounds to the largest binary32",
         np.array([[1]], np.uint8), np.array([[3.4028235e38]]), np.array([[0]], np.uint8)),
    )  # fmt: skip
    for name, title, codes, scale, zero in edges:
        S = exact.fractions_of(exact_list(scale))
        values = [
            [exact.nearest_float(s * (code - z)) for code in row]
            for row, (s,), (z,) in zip(codes.tolist(), S, zero.tolist(), strict=True)
        ]
        yield Case(
            f"aff-dequantize-{name}",
            "aff",
            title,
            "affine_dequantize",
            ("AFF-110", "AFF-160", *(("AFF-170",) if scale.dtype == np.float64 else ())),
            {},
            {
                "codes": codes,
                "scale": scale,
                "zero_point": zero,
                "g_idx": np.zeros(codes.shape[1], np.int32),
            },
            {"outputs": {"values": floats(values, "float32").reshape(codes.shape)}},
        )
