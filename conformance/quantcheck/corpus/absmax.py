"""Cases of section ABS: scales, codes at ties and clips, every axis and dtype."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from quantcheck.corpus.draw import U32, U64, dyadic, exact_list, floats, refused, shortened, single
from quantcheck.oracle import exact
from quantcheck.wire.arrays import dtype_of
from quantcheck.wire.cases import Case
from quantref.inputs import Array, resolve_axis

FULL: dict[str, Any] = {
    "axis": -1,
    "value_range": [-127, 127],
    "epsilon": 1e-07,
    "output_dtype": "int8",
}

EVERY = ("ABS-010", "ABS-030", "ABS-050", "ABS-090", "ABS-120", "ABS-130")
"""Requirements of every case of scale and codes."""


def absmax_case(
    identity: str,
    title: str,
    x: Array,
    *requirements: str,
    quantizer: bool = False,
    call_axis: Any = None,
    **changes: Any,
) -> Case:
    """Return the case of one array; expected values are exact."""
    parameters = {**FULL, **changes}
    axis = parameters["axis"]
    if quantizer:
        axis = call_axis if call_axis is not None else -1 if axis is None else axis
    lo, hi = parameters["value_range"]
    double = x.dtype == np.float64
    axes = resolve_axis(axis, x.ndim, "ABS-050")
    kept = [a for a in range(x.ndim) if a not in axes]
    sliced = x.transpose(*kept, *axes).reshape(
        int(np.prod([x.shape[a] for a in kept], initial=1)), -1
    )
    scales, codes, margins, required = [], [], [], []
    u = 4 * (U64 if double else U32)
    for row in exact.fractions_of(exact_list(sliced)):
        epsilon = Fraction(parameters["epsilon"])
        scale, code, margin = exact.abs_max(row, lo, hi, epsilon, double=double)
        scales.append(scale)
        codes.append(code)
        margins.append(margin)
        required.append(
            [m == 0 or m > u * abs(v * scale) for m, v in zip(margin, row, strict=True)]
        )
    shape = [x.shape[a] for a in kept] + [x.shape[a] for a in axes]
    places = [*kept, *axes]
    undo = [places.index(a) for a in range(x.ndim)]

    def restore(rows: Any, dtype: Any) -> Array:
        array = np.array(rows, dtype=dtype).reshape(shape).transpose(*undo)
        return np.ascontiguousarray(array).reshape(x.shape)  # keeps rank 0

    kept_shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    outputs = {
        "codes": restore(codes, parameters["output_dtype"]),
        "scale": floats(scales, "float64" if double else "float32").reshape(kept_shape),
    }
    judging = {
        "margins": restore(shortened(margins), np.float64),
        "required": restore(required, np.uint8),
    }
    if quantizer:
        parameters = {"arguments": parameters, "call_axis": call_axis}
    operation = "abs_max_quantizer" if quantizer else "abs_max_quantize"
    return Case(
        f"abs-{identity}",
        "abs",
        title,
        operation,
        tuple(dict.fromkeys((*requirements, *EVERY))),
        parameters,
        {"x": x},
        {"outputs": outputs},
        judging,
    )


def abs_cases() -> Iterator[Case]:
    """Yield the cases of section ABS."""
    values = ("ABS-010", "ABS-030", "ABS-090")
    for k, shape in enumerate([(4, 8), (2, 3, 4)]):
        x = dyadic(300 + k, shape, 4000, 9).astype(np.float32)
        axes: list[Any] = [None, 0, -1, [0, 1]] + ([-2, [0, 2], [1, -1]] if k else [])
        for axis in axes:
            name = "none" if axis is None else str(axis).replace(", ", "_").strip("[]")
            title = f"shape {shape}, axis {axis}"
            yield absmax_case(
                f"axis-{'x'.join(map(str, shape))}-{name}", title, x, *values, "ABS-050", axis=axis
            )
    for dtype in ("float16", "bfloat16"):
        x = dyadic(320, (4, 8), 4000, 9).astype(dtype_of(dtype))
        yield absmax_case(f"{dtype}", f"{dtype}: the scale is float32", x, "ABS-060", *values)
        tiny = (dyadic(321, (4, 8), 4000, 9) * 2.0**-20).astype(dtype_of(dtype))
        yield absmax_case(
            f"{dtype}-small",
            f"{dtype}: 127 / max|x| exceeds the largest float16",
            tiny,
            "ABS-060",
            "ABS-010",
            "ABS-030",
        )
    precise = dyadic(322, (4, 8), 2**40, 45)
    yield absmax_case(
        "float64", "float64: the scale is float64", precise, "ABS-130", "ABS-010", "ABS-030"
    )
    for name, peak in (("1", 127.0), ("2", 63.5), ("half", 254.0)):
        scale = 127.0 / peak
        steps = [k + 0.5 for k in (-126, -125, -3, -2, -1, 0, 1, 2, 3, 124, 125, 60, 61, -61, -60)]
        x = np.array([[peak, *(t / scale for t in steps)]], dtype=np.float32)
        yield absmax_case(
            f"ties-scale-{name}",
            f"exact ties of both parities and signs, scale {scale:g}",
            x,
            "ABS-030",
        )
        yield absmax_case(
            f"ties-negative-scale-{name}",
            f"the same with signs flipped, scale {scale:g}",
            -x,
            "ABS-030",
        )
    zeros = np.zeros((4, 8), np.float32)
    zeros[1] = dyadic(330, (8,), 500, 6)
    yield absmax_case("zero-slices", "all-zero slices beside others", zeros, "ABS-040", "ABS-010")
    yield absmax_case(
        "zero-tensor", "nothing but zeros", np.zeros((4, 8), np.float32), "ABS-040", axis=None
    )
    constant = np.repeat(single([[0.125], [-3.0], [1e-3], [7e4]]), 8, axis=1)
    yield absmax_case(
        "constant-slices", "constant slices of both signs", constant, "ABS-010", "ABS-030"
    )
    outlier = dyadic(331, (4, 8), 500, 9).astype(np.float32)
    outlier[:, 3] = [1e6, -1e6, 3e30, -3.4e38]
    yield absmax_case("outliers", "one huge element per slice", outlier, "ABS-010", "ABS-030")
    small = (dyadic(332, (4, 8), 2**20, 0) * 2.0**-149).astype(np.float32)
    yield absmax_case(
        "subnormals", "subnormal inputs: codes 0, scale hi / epsilon", small, "ABS-010", "ABS-030"
    )
    around = (dyadic(333, (4, 8), 4000, 9) * 2.0**-26).astype(np.float32)
    yield absmax_case(
        "near-epsilon",
        "magnitudes near epsilon, where leaving it out shows",
        around,
        "ABS-010",
        "ABS-030",
    )
    x = dyadic(334, (4, 8), 4000, 9).astype(np.float32)
    yield absmax_case(
        "epsilon-large", "an epsilon that matters", x, "ABS-010", "ABS-030", epsilon=0.25
    )
    yield absmax_case(
        "epsilon-smallest",
        "zeros, and an epsilon whose scale rounds to the largest binary32",
        np.zeros(1, np.float32),
        "ABS-100",
        "ABS-040",
        epsilon=3.732194730702872e-37,
    )
    for name, bounds, dtype in (
        ("int8-full", [-128, 127], "int8"),
        ("int4", [-8, 7], "int8"),
        ("narrow", [-3, 100], "int8"),
        ("uint8", [0, 255], "uint8"),
        ("int16", [-32767, 32767], "int16"),
        ("one", [-1, 1], "int8"),
    ):
        y = x.copy()
        y[:, 0] = -8.0  # the largest magnitude is negative: the lower clip acts
        yield absmax_case(
            f"range-{name}",
            f"value range {bounds}, {dtype}",
            y,
            "ABS-070",
            "ABS-030",
            value_range=bounds,
            output_dtype=dtype,
        )
    yield absmax_case("scalar", "rank 0", np.array(-2.5, np.float32), *values, axis=None)
    yield absmax_case("vector", "rank 1", dyadic(335, (8,), 4000, 9).astype(np.float32), *values)
    cube = dyadic(336, (2, 3, 4), 4000, 9).astype(np.float32)
    for name, axis, call in (
        ("default", None, None),
        ("stored", [0], None),
        ("call", [0], -1),
        ("call-only", None, 0),
    ):
        yield absmax_case(
            f"quantizer-{name}",
            f"AbsMaxQuantizer, axis {axis}, called with {call}",
            cube,
            "ABS-010",
            "ABS-030",
            "CFG-150",
            quantizer=True,
            call_axis=call,
            axis=axis,
        )
    yield from _dequantize_cases()
    yield from _refused_cases()


def _dequantize_cases() -> Iterator[Case]:
    codes = np.arange(-127, 129, 8, dtype=np.int16).astype(np.int8).reshape(4, 8)
    for name, scale in (
        ("dyadic", single([[2.0], [0.5], [64.0], [1.0]])),
        ("third", single([[3.0], [1e9], [0.7], [127.0]])),
    ):
        values = [
            [exact.nearest_float(Fraction(q) / s) for q in row]
            for row, (s,) in zip(codes.tolist(), exact.fractions_of(exact_list(scale)), strict=True)
        ]
        yield Case(
            f"abs-dequantize-{name}",
            "abs",
            f"codes / scale, {name} scales",
            "abs_max_dequantize",
            ("ABS-080",),
            {},
            {"codes": codes, "scale": scale},
            {"outputs": {"values": floats(values, "float32")}},
        )


def _refused_cases() -> Iterator[Case]:
    good = np.ones((2, 3), np.float32)
    bad = good.copy()
    for name, title, error, x, changes in (
        ("nan", "NaN", "NonFiniteError", _with(bad, np.nan), {}),
        ("infinity", "infinity", "NonFiniteError", _with(bad, -np.inf), {}),
        ("empty", "no elements", "EmptyArrayError", np.zeros((0, 3), np.float32), {"axis": 0}),
        ("integers", "integer inputs", "DTypeError", np.ones((2, 3), np.int32), {}),
        ("axis", "axis 2 of a matrix", "AxisError", good, {"axis": 2}),
        ("axis-twice", "an axis named twice", "AxisError", good, {"axis": [1, -1]}),
        (
            "range-reversed",
            "a reversed range",
            "ValueRangeError",
            good,
            {"value_range": [127, -127]},
        ),
        (
            "range-outside",
            "a range outside int8",
            "ValueRangeError",
            good,
            {"value_range": [-127, 300]},
        ),
    ):
        yield refused(
            "abs",
            f"abs-refuse-{name}",
            title,
            "abs_max_quantize",
            "ABS-100",
            error,
            {**FULL, **changes},
            {"x": x},
        )
    for name, title, error, scale in (
        ("shape", "scale of another shape", "ShapeError", np.ones((2, 2), np.float32)),
        ("float16", "a scale of half precision", "DTypeError", np.ones((2, 1), np.float16)),
    ):
        yield refused(
            "abs",
            f"abs-refuse-dequantize-{name}",
            title,
            "abs_max_dequantize",
            "ABS-110",
            error,
            {},
            {"codes": np.ones((2, 3), np.int8), "scale": scale},
        )


def _with(array: Array, value: float) -> Array:
    changed = array.copy()
    changed[1, 2] = value
    return changed
