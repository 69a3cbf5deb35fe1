"""Cases of section PACK: ternary codes as digits in base 3."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.corpus.draw import integers, refused
from quantcheck.oracle import exact
from quantcheck.wire.cases import Case
from quantref.inputs import Array

SHAPES = (((10, 2), 0), ((6, 3), 0), ((3, 6), -1), ((2, 7, 3), 1), ((4,), 0), ((1, 9), 1))


def bytes_of(codes: Array, axis: int) -> NDArray[np.uint8]:
    """Return the packed bytes of ternary codes along an axis, by exact arithmetic.

    Examples
    --------
    >>> bytes_of(np.int8([[1], [-1]]), 0)
    array([[119]], dtype=uint8)
    """
    front = np.moveaxis(codes, axis, -1)
    lines = [exact.trits(line) for line in front.reshape(-1, front.shape[-1]).tolist()]
    packed = np.array(lines, np.uint8).reshape(*front.shape[:-1], -1)
    return np.ascontiguousarray(np.moveaxis(packed, -1, axis))


def ternary_pair(identity: str, codes: Array, axis: int) -> tuple[Case, Case]:
    """Return the questions that pack and unpack ternary codes."""
    title = f"ternary codes, shape {codes.shape}, axis {axis}"
    packed, length = bytes_of(codes, axis), codes.shape[axis]
    fill = ("PACK-180",) if length % 5 else ()
    pack = Case(
        identity, "pack", title, "pack_ternary", ("PACK-170", *fill), {"axis": axis},
        {"codes": codes}, {"outputs": {"packed": packed}},
    )  # fmt: skip
    unpack = Case(
        f"{identity}-back", "pack", f"{title}, unpacked", "unpack_ternary", ("PACK-190",),
        {"axis": axis, "length": length}, {"packed": packed}, {"outputs": {"codes": codes}},
    )  # fmt: skip
    return pack, unpack


def other_fill(packed: Array, axis: int, used: int, digits: int) -> NDArray[np.uint8]:
    """Return bytes whose last ones along the axis have other digits behind `used` codes."""
    changed = packed.copy()
    last = np.moveaxis(changed, axis, 0)[-1:]
    last[...] = last % 3**used + digits % 3 ** (5 - used) * 3**used
    return changed


def ternary_cases() -> Iterator[Case]:
    """Yield the cases of ternary codes."""
    every = np.array(list(product((-1, 0, 1), repeat=5)), np.int8).reshape(-1)
    yield from ternary_pair("pack-ternary-all", every, 0)
    for k, (shape, axis) in enumerate(SHAPES):
        codes = np.array(integers(2500 + k, int(np.prod(shape)), -1, 1), np.int8).reshape(shape)
        name = f"pack-ternary-{'x'.join(map(str, shape))}-axis{axis}"
        yield from ternary_pair(name, codes, axis)
    codes = np.array(integers(2510, 14, -1, 1), np.int8).reshape(7, 2)
    packed = other_fill(bytes_of(codes, 0), 0, 2, 3**3 - 1)
    yield Case(
        "pack-ternary-fill", "pack", "ternary codes, other digits behind the last code",
        "unpack_ternary", ("PACK-190",), {"axis": 0, "length": 7}, {"packed": packed},
        {"outputs": {"codes": codes}},
    )  # fmt: skip
    yield from _refused()


def _refused() -> Iterator[Case]:
    good = np.zeros((5, 2), np.int8)
    high, low = good.copy(), good.copy()
    high[4, 1], low[0, 0] = 2, -2
    for name, title, error, given, codes in (
        ("high", "2 is no ternary code", "CodeRangeError", 0, high),
        ("low", "-2 is no ternary code", "CodeRangeError", 0, low),
        ("dtype", "uint8 codes", "DTypeError", 0, good.astype(np.uint8)),
        ("axis", "axis 2 of a matrix", "AxisError", 2, good),
        ("rank", "a single code", "ShapeError", 0, np.zeros((), np.int8)),
    ):
        parameters: dict[str, Any] = {"axis": given}
        yield refused("pack", f"pack-ternary-refuse-{name}", title, "pack_ternary", "PACK-200",
                      error, parameters, {"codes": codes})  # fmt: skip
    whole, above = np.array([121, 121], np.uint8), np.array([121, 243], np.uint8)
    for name, title, error, length, packed in (
        ("byte", "243 is no byte of ternary codes", "CodeRangeError", 10, above),
        ("length", "11 codes are not in 2 bytes", "ShapeError", 11, whole),
        ("signed", "int8 bytes", "DTypeError", 10, whole.astype(np.int8)),
    ):
        parameters = {"axis": 0, "length": length}
        yield refused("pack", f"pack-ternary-refuse-back-{name}", title, "unpack_ternary",
                      "PACK-200", error, parameters, {"packed": packed})  # fmt: skip
