"""Cases of the sections CFG, RND and PACK: small, exact, often exhaustive."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref import exact
from quantref.arrays import Array
from quantref.corpus.draw import exact_list, floats, integers, refused
from quantref.vectors import Case, dtype_of

DEFAULT_ABSMAX: dict[str, Any] = {
    "axis": None,
    "value_range": [-127, 127],
    "epsilon": 1e-07,
    "output_dtype": "int8",
}
DEFAULT_GPTQ: dict[str, Any] = {
    "mode": "gptq",
    "weight_bits": 4,
    "num_samples": 128,
    "per_channel": True,
    "sequence_length": 512,
    "hessian_damping": 0.01,
    "group_size": 128,
    "symmetric": False,
    "activation_order": False,
}


def _config(
    identity: str, title: str, requirement: str, name: str, arguments: Any, fields: Any
) -> Case:
    return Case(
        f"cfg-{identity}",
        "cfg",
        title,
        "config_round_trip",
        (requirement,) if identity.endswith("-default") else (requirement, "CFG-090"),
        {"class": name, "arguments": arguments},
        {},
        {"outputs": {"fields": fields}},
    )


def _bad_config(identity: str, title: str, requirement: str, name: str, arguments: Any) -> Case:
    error = "ValueRangeError" if "range" in identity else "ConfigError"
    return refused(
        "cfg",
        f"cfg-refuse-{identity}",
        title,
        "config_round_trip",
        requirement,
        error,
        {"class": name, "arguments": arguments},
        {},
    )


def cfg_cases() -> Iterator[Case]:
    """Yield the cases of section CFG."""
    quantizer = {"class": "AbsMaxQuantizer", "fields": {**DEFAULT_ABSMAX, "axis": [-1]}}
    int8 = {"mode": "int8", "weight_quantizer": None, "activation_quantizer": quantizer}
    yield _config(
        "absmax-default",
        "defaults of AbsMaxQuantizer",
        "CFG-020",
        "AbsMaxQuantizer",
        {},
        DEFAULT_ABSMAX,
    )
    yield _config(
        "absmax-axis",
        "an integer axis is stored as a tuple",
        "CFG-020",
        "AbsMaxQuantizer",
        {"axis": 0},
        {**DEFAULT_ABSMAX, "axis": [0]},
    )
    yield _config(
        "absmax-axes",
        "several axes",
        "CFG-020",
        "AbsMaxQuantizer",
        {"axis": [0, -1]},
        {**DEFAULT_ABSMAX, "axis": [0, -1]},
    )
    arguments: dict[str, Any] = {"axis": -1, "value_range": [-8, 7], "epsilon": 1e-05}
    yield _config(
        "absmax-range",
        "range and epsilon survive",
        "CFG-030",
        "AbsMaxQuantizer",
        arguments,
        {**DEFAULT_ABSMAX, **arguments, "axis": [-1]},
    )
    full: dict[str, Any] = {
        "axis": [1],
        "value_range": [-128, 127],
        "epsilon": 0.001,
        "output_dtype": "int8",
    }
    yield _config("absmax-full", "every argument", "CFG-040", "AbsMaxQuantizer", full, full)
    yield _config(
        "int8-default",
        '"default" is AbsMaxQuantizer with axis -1',
        "CFG-060",
        "Int8QuantizationConfig",
        {},
        int8,
    )
    yield _config(
        "int8-no-activation",
        "None leaves activations alone",
        "CFG-060",
        "Int8QuantizationConfig",
        {"activation_quantizer": None},
        {**int8, "activation_quantizer": None},
    )
    nested = {
        "weight_quantizer": {"class": "AbsMaxQuantizer", "arguments": {"axis": 0}},
        "activation_quantizer": {
            "class": "AbsMaxQuantizer",
            "arguments": {"axis": [-1], "value_range": [-100, 100], "epsilon": 1e-06},
        },
    }
    yield _config(
        "int8-nested",
        "nested quantizers keep axis and ranges",
        "CFG-060",
        "Int8QuantizationConfig",
        nested,
        {
            "mode": "int8",
            "weight_quantizer": {
                "class": "AbsMaxQuantizer",
                "fields": {**DEFAULT_ABSMAX, "axis": [0]},
            },
            "activation_quantizer": {
                "class": "AbsMaxQuantizer",
                "fields": {
                    "axis": [-1],
                    "value_range": [-100, 100],
                    "epsilon": 1e-06,
                    "output_dtype": "int8",
                },
            },
        },
    )
    yield _config("gptq-default", "documented defaults", "CFG-070", "GPTQConfig", {}, DEFAULT_GPTQ)
    other = {
        "weight_bits": 3,
        "num_samples": 7,
        "per_channel": False,
        "sequence_length": 33,
        "hessian_damping": 0.25,
        "group_size": -1,
        "symmetric": True,
        "activation_order": True,
    }
    yield _config(
        "gptq-full",
        "every setting survives",
        "CFG-070",
        "GPTQConfig",
        other,
        {"mode": "gptq", **other},
    )
    for name, title, arguments in (
        ("bits", "5 bits", {"weight_bits": 5}),
        ("samples", "no samples", {"num_samples": 0}),
        ("length", "sequences of length 0", {"sequence_length": 0}),
        ("damping-high", "damping above 1", {"hessian_damping": 1.5}),
        ("damping-low", "negative damping", {"hessian_damping": -0.01}),
        ("group-zero", "groups of 0 columns", {"group_size": 0}),
        ("group-low", "groups of -2 columns", {"group_size": -2}),
    ):
        yield _bad_config(f"gptq-{name}", title, "CFG-080", "GPTQConfig", arguments)
    for name, title, bounds in (
        ("range-outside", "-129 is no int8", [-129, 127]),
        ("range-above", "128 is no int8", [-127, 128]),
        ("range-reversed", "127 … -127", [127, -127]),
    ):
        yield _bad_config(name, title, "CFG-030", "AbsMaxQuantizer", {"value_range": bounds})
    yield _bad_config("epsilon", "an epsilon of 0", "CFG-040", "AbsMaxQuantizer", {"epsilon": 0.0})


def rnd_cases() -> Iterator[Case]:
    """Yield the cases of section RND."""
    ties = [k + 0.5 for k in range(-6, 6)] + [0.0, 0.25, -0.75, 126.5, 127.5, -127.5, -128.5]
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        x = np.array(ties).astype(dtype_of(dtype))
        values = [Fraction(round(v)) for v in exact.fractions_of(exact_list(x))]
        yield Case(
            f"rnd-ties-{dtype}",
            "rnd",
            f"ties of both parities and signs, {dtype}",
            "round_half_even",
            ("RND-010",),
            {},
            {"x": x},
            {"outputs": {"values": floats(values, dtype)}},
        )
    near = [0.49999997, 0.50000006, 1.4999999, 8388607.5, 8388609.0, -2.4999998, 1e-45, 3e38]
    x = np.array(near, dtype=np.float32)
    values = [Fraction(round(v)) for v in exact.fractions_of(exact_list(x))]
    yield Case(
        "rnd-near-ties",
        "rnd",
        "neighbours of ties, and where floats run out of fractions",
        "round_half_even",
        ("RND-010",),
        {},
        {"x": x},
        {"outputs": {"values": floats(values, "float32")}},
    )
    for dtype in ("int8", "uint8", "int16", "int32"):
        info = np.iinfo(dtype)
        raw = [
            -1e30,
            info.min - 1,
            info.min - 0.5,
            info.min,
            -0.5,
            0.5,
            1.5,
            info.max - 0.5,
            info.max,
            info.max + 0.5,
            info.max + 1,
            1e30,
        ]
        x = np.array(raw, dtype=np.float64)
        codes = [
            min(max(round(v), int(info.min)), int(info.max))
            for v in exact.fractions_of(exact_list(x))
        ]
        yield Case(
            f"rnd-saturate-{dtype}",
            "rnd",
            f"beyond both ends of {dtype}",
            "saturating_cast",
            ("RND-020",),
            {"dtype": dtype},
            {"x": x},
            {"outputs": {"codes": np.array(codes, dtype=dtype)}},
        )
    for name, value in (("nan", np.nan), ("infinity", np.inf)):
        yield refused(
            "rnd",
            f"rnd-refuse-{name}",
            f"{name} among the elements",
            "saturating_cast",
            "RND-030",
            "NonFiniteError",
            {"dtype": "int8"},
            {"x": np.array([0.0, value], dtype=np.float32)},
        )


def _lines(array: Array, axis: int) -> tuple[list[list[int]], tuple[int, ...]]:
    """Return the lines of an array along an axis, and the shape of the other axes."""
    front = np.moveaxis(array, axis, -1)
    return front.reshape(-1, front.shape[-1]).tolist(), front.shape[:-1]


def _assemble(
    lines: list[list[int]], others: tuple[int, ...], axis: int, dtype: Any
) -> NDArray[np.integer]:
    """Return the array whose lines along an axis are given; codes wrap to the dtype's bytes."""
    wrapped = np.array(lines, dtype=np.int64).astype(np.uint8).view(dtype)
    return np.ascontiguousarray(np.moveaxis(wrapped.reshape(*others, -1), -1, axis))


def _pack_pair(
    identity: str, title: str, codes: Array, bits: int, axis: int, requirement: str
) -> Iterator[Case]:
    lines, others = _lines(codes, axis)
    packed = _assemble([exact.pack(line, bits) for line in lines], others, axis, codes.dtype)
    along = codes.shape[axis]
    pads = (along * bits) % 8 and bits in (2, 4)
    requirements = (requirement, *(("PACK-020",) if pads else ()), "PACK-070")
    if codes.dtype == np.int8:
        requirements = (*requirements, "PACK-030")
    yield Case(
        f"pack-{identity}",
        "pack",
        title,
        "pack",
        tuple(dict.fromkeys(requirements)),
        {"bits": bits, "axis": axis},
        {"codes": codes},
        {"outputs": {"packed": packed}},
    )
    yield Case(
        f"pack-{identity}-back",
        "pack",
        f"{title}, unpacked",
        "unpack",
        tuple(dict.fromkeys(("PACK-040", *requirements))),
        {"bits": bits, "axis": axis, "length": along},
        {"packed": packed},
        {"outputs": {"codes": codes}},
    )


def pack_cases() -> Iterator[Case]:
    """Yield the cases of section PACK."""
    for k, (signed, shape, axis) in enumerate(
        [
            (True, (4, 3), 0),
            (True, (5, 3), 0),
            (True, (1, 4), 0),
            (True, (3, 5), 1),
            (True, (3, 5), -1),
            (True, (2, 3, 5), 1),
            (True, (7,), 0),
            (False, (4, 3), 0),
            (False, (5, 3), 0),
            (False, (3, 5), -1),
            (False, (2, 3, 5), 2),
        ]
    ):
        lo, hi = (-8, 7) if signed else (0, 15)
        count = int(np.prod(shape))
        codes = np.array(integers(100 + k, count, lo, hi), np.int8 if signed else np.uint8)
        name = f"int4-{'signed' if signed else 'unsigned'}-{'x'.join(map(str, shape))}-axis{axis}"
        title = f"4 bits, {'signed' if signed else 'unsigned'}, shape {shape}, axis {axis}"
        yield from _pack_pair(name, title, codes.reshape(shape), 4, axis, "PACK-010")
    for k, (signed, shape, axis) in enumerate(
        [
            (True, (6, 2), 0),
            (False, (4, 2), 0),
            (False, (5, 2), 0),
            (False, (2, 7), 1),
        ]
    ):
        lo, hi = (-2, 1) if signed else (0, 3)
        codes = np.array(
            integers(200 + k, int(np.prod(shape)), lo, hi), np.int8 if signed else np.uint8
        )
        name = f"int2-{'signed' if signed else 'unsigned'}-{'x'.join(map(str, shape))}-axis{axis}"
        title = f"2 bits, {'signed' if signed else 'unsigned'}, shape {shape}, axis {axis}"
        yield from _pack_pair(name, title, codes.reshape(shape), 2, axis, "PACK-050")
    quads = np.array([(k >> shift) & 3 for k in range(256) for shift in (0, 2, 4, 6)], np.uint8)
    yield from _pack_pair("int2-all", "every quad of 2-bit codes", quads, 2, 0, "PACK-050")
    pairs = np.array([(a - 8, b - 8) for a in range(16) for b in range(16)], np.int8)
    yield from _pack_pair(
        "int4-all",
        "every pair of signed 4-bit codes, every byte",
        pairs.reshape(-1),
        4,
        0,
        "PACK-010",
    )
    bytes_ = np.arange(256, dtype=np.uint8)
    yield from _pack_pair(
        "int4-all-unsigned",
        "every pair of unsigned 4-bit codes, every byte",
        np.array([c for b in bytes_.tolist() for c in (b % 16, b // 16)], np.uint8),
        4,
        0,
        "PACK-010",
    )
    yield from _pack_pair(
        "int3", "3 bits: one code a byte", np.arange(8, dtype=np.uint8), 3, 0, "PACK-060"
    )
    yield from _pack_pair("int8", "8 bits: bytes as they are", bytes_, 8, 0, "PACK-060")
    for name, title, error, operation, parameters, inputs in (
        (
            "range",
            "8 is no signed 4-bit code",
            "CodeRangeError",
            "pack",
            {"bits": 4, "axis": 0},
            {"codes": np.array([7, 8], np.int8)},
        ),
        (
            "range-low",
            "-9 is no signed 4-bit code",
            "CodeRangeError",
            "pack",
            {"bits": 4, "axis": 0},
            {"codes": np.array([-9, 0], np.int8)},
        ),
        (
            "range-unsigned",
            "16 is no unsigned 4-bit code",
            "CodeRangeError",
            "pack",
            {"bits": 4, "axis": 0},
            {"codes": np.array([15, 16], np.uint8)},
        ),
        (
            "length",
            "5 codes are not in 2 bytes",
            "ShapeError",
            "unpack",
            {"bits": 4, "axis": 0, "length": 5},
            {"packed": np.array([1, 2], np.uint8)},
        ),
        (
            "axis",
            "axis 2 of a matrix",
            "AxisError",
            "pack",
            {"bits": 4, "axis": 2},
            {"codes": np.zeros((2, 2), np.int8)},
        ),
        (
            "dtype",
            "int32 codes",
            "DTypeError",
            "pack",
            {"bits": 4, "axis": 0},
            {"codes": np.array([1, 2], np.int32)},
        ),
    ):
        yield refused(
            "pack", f"pack-refuse-{name}", title, operation, "PACK-080", error, parameters, inputs
        )
