"""Sizes of section ABS: rows and columns, slices along both axes, every storage dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantcheck.corpus.absmax import EVERY, FULL, absmax_case
from quantcheck.corpus.draw import refused
from quantcheck.oracle import wide
from quantcheck.oracle.bounds import ULP32
from quantcheck.properties.sizes import PAIRS, integers, places, spread_over, swept
from quantcheck.wire.arrays import dtype_of
from quantcheck.wire.cases import Case
from quantref.inputs import Array

Size = tuple[int, int, int]  # rows, columns, axis
TALL = [(n, m, 0) for n, m in PAIRS if n > m]
SIZES: list[Size] = sorted([*((n, m, -1) for n, m in PAIRS), *TALL], key=lambda s: s[0] * s[1])
HALVES = [(2, 4096, -1), (7, 1025, -1), (65, 127, -1), (257, 31, 0), (1025, 7, -1)]
RANGES = [(2, 257, -1), (65, 17, -1)]
MANY = [(2, 257), (65, 17), (257, 31), (1025, 7), (2, 4097)]
DOUBLES = [(2, 257, -1), (65, 9, -1), (129, 5, 0)]


def _values(size: Size, seed: int) -> Array:
    """Return rows of different size; some have exact ties, and one in the middle is zero.

    The largest magnitude is in another column of each row, first in the last one.
    """
    rows, columns, axis = size
    x = spread_over(integers(seed, 0, (rows, columns), 2000) / 8, rows)
    if axis == 0:
        x = x.T.copy()
    lines = np.arange(len(x))
    at = lines, places(*x.shape)
    ties = lines % 8 == 3
    x[ties] = np.floor(x[ties] * 8) % 126 + 0.5
    x[at] = np.where(ties, 127.0, 251.0 - lines % 3) * np.where((lines + columns) % 2, -1, 1)
    x[ties] *= 2.0 ** (lines[ties] % 3 - 1)[:, None]
    if len(x) > 2:
        x[len(x) // 2] = 0
    return np.ascontiguousarray(x.T if axis == 0 else x)


def large_case(x: Array, axis: int, **changes: Any) -> Case:
    """Return the case of many values; expected values are exact."""
    parameters: dict[str, Any] = {**FULL, "axis": axis, **changes}
    lo, hi = parameters["value_range"]
    scale, codes, margins = wide.abs_max(x, axis, lo, hi, parameters["epsilon"])
    t = np.abs(x.astype(np.float64) * scale)
    required = (margins == 0) | (margins > 2 * ULP32 * t)
    return Case(
        "drawn",
        "abs",
        f"generated {x.dtype.name} of shape {x.shape}, axis {axis}",
        "abs_max_quantize",
        EVERY,
        parameters,
        {"x": x},
        {"outputs": {"codes": codes.astype(np.int8), "scale": scale}},
        {"margins": margins, "required": required.astype(np.uint8)},
    )


def _single(size: Size, seed: int) -> Case:
    return large_case(_values(size, seed).astype(np.float32), size[2])


def _half(size: Size, seed: int) -> Case:
    dtype = ("float16", "bfloat16")[(size[0] + seed) % 2]
    return large_case(_values(size, seed).astype(dtype_of(dtype)), size[2])


def _double(size: Size, seed: int) -> Case:
    fine = integers(seed, 1, size[:2], 2**20) * 2.0**-44
    title = f"generated float64 of shape {size[:2]}"
    return absmax_case("drawn", title, _values(size, seed) + fine, axis=size[2])


def _clipped(size: Size, seed: int) -> Case:
    """Return a case of a range that is not symmetric; the largest magnitudes are negative."""
    x = -np.abs(_values(size, seed))
    x[:, ::5] *= -0.5
    return large_case(x.astype(np.float32), size[2], value_range=[-5, 120])


def _dequantized(size: tuple[int, int], seed: int) -> Case:
    codes = integers(seed, 2, size, 127)
    scale = ((np.abs(integers(seed, 3, (size[0], 1), 900)) + 100) / 64).astype(np.float32)
    values = (codes / scale.astype(np.float64)).astype(np.float32)
    inputs = {"codes": codes.astype(np.int8), "scale": scale}
    title = f"generated codes of shape {size} back to values"
    outputs = {"values": values}
    return Case("drawn", "abs", title, "abs_max_dequantize", (), {}, inputs, {"outputs": outputs})


def _refused(size: tuple[int, int], seed: int) -> Case:
    """Return a case whose last value alone is not finite."""
    x = _values((*size, -1), seed).astype(np.float32)
    x[-1, -1] = (np.inf, np.nan)[size[0] % 2]
    title = f"generated values of shape {size}, the last one not finite"
    return refused("abs", "drawn", title, "abs_max_quantize", "ABS-100", "NonFiniteError", FULL,
                   {"x": x})  # fmt: skip


PROPERTIES = (
    swept("prop-abs-sizes", "Rows and columns around powers of two, slices along both axes.",
          (*EVERY, "ABS-040"), SIZES, _single),
    swept("prop-abs-sizes-ranges", "Codes of many columns are clipped to the range as given.",
          ("ABS-070", *EVERY), RANGES, _clipped),
    swept("prop-abs-sizes-dequantize", "Many codes back to values.",
          ("ABS-080",), MANY, _dequantized),
    swept("prop-abs-sizes-half", "Many values of float16 and bfloat16.",
          ("ABS-060",), HALVES, _half),
    swept("prop-abs-sizes-double", "Many values of float64.", EVERY, DOUBLES, _double),
    swept("prop-abs-sizes-refused", "The last of many values that is not finite is refused.",
          ("ABS-100",), ((8, 9), (65, 8), (257, 31)), _refused),
)  # fmt: skip
