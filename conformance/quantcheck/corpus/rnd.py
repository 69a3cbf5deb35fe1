"""Cases of section RND: ties, neighbours of ties, both ends of integer dtypes."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from quantcheck.corpus.draw import exact_list, floats, refused
from quantcheck.oracle import exact
from quantcheck.wire.arrays import dtype_of
from quantcheck.wire.cases import Case


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
            ("RND-010", *(("RND-040",) if dtype == "float64" else ())),
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
            ("RND-020", *(("RND-040",) if dtype == "int32" else ())),
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
    yield refused(
        "rnd",
        "rnd-refuse-integers",
        "integers, which need no rounding",
        "saturating_cast",
        "RND-030",
        "DTypeError",
        {"dtype": "int8"},
        {"x": np.array([1, 300], dtype=np.int32)},
    )
