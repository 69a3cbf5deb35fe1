"""Cases of section PACK: all expected values are exact, and small code spaces are exhausted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.corpus.draw import integers, refused
from quantcheck.corpus.packed import packed_layer_cases
from quantcheck.corpus.ternary import ternary_cases
from quantcheck.oracle import exact
from quantcheck.wire.cases import Case
from quantref.inputs import Array


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
    first = ("PACK-060",) if bits in (3, 8) else ()
    yield Case(
        f"pack-{identity}-back",
        "pack",
        f"{title}, unpacked",
        "unpack",
        tuple(dict.fromkeys((*first, "PACK-040", *requirements))),
        {"bits": bits, "axis": axis, "length": along},
        {"packed": packed},
        {"outputs": {"codes": codes}},
    )


def pack_cases() -> Iterator[Case]:
    """Yield the cases of section PACK."""
    yield from _byte_cases()
    yield from ternary_cases()
    yield from packed_layer_cases()


def _byte_cases() -> Iterator[Case]:
    """Yield the cases of codes in bytes."""
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
