"""Sizes of section PACK: codes and bytes around powers of two, along both axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantcheck.corpus.draw import refused
from quantcheck.corpus.ternary import ternary_pair
from quantcheck.oracle import wide
from quantcheck.properties.sizes import PAIRS, SIZES, integers, swept
from quantcheck.wire.cases import Case
from quantref.inputs import Array
from quantref.packing import code_bounds

Size = tuple[str, tuple[int, ...]]  # operation, shape
LINES = [(n,) for n in SIZES]
TERNARY_WHOLE = ((5,), (65, 3), (255,), (2, 4095))
TERNARY = ((1,), (64,), (129, 3), (1024,), (4097,), (2, 4096))
ACROSS = [s for s in PAIRS if s[0] < s[1]]


def _codes(shape: tuple[int, ...], seed: int, bits: int) -> Array:
    signed = (sum(shape) + seed) % 2 == 1
    lo, hi = code_bounds(bits, signed)
    values = np.abs(integers(seed, bits, shape, 2**14)) % (hi - lo + 1) + lo
    return values.astype(np.int8 if signed else np.uint8)


def _case(operation: str, shape: tuple[int, ...], seed: int, bits: int, axis: int) -> Case:
    codes = _codes(shape, seed, bits)
    packed = wide.pack(codes, bits, axis)
    title = f"generated {bits}-bit codes of shape {shape}, axis {axis}"
    given: dict[str, Any] = {"bits": bits, "axis": axis}
    if operation == "pack":
        return Case("drawn", "pack", title, "pack", (), given, {"codes": codes},
                    {"outputs": {"packed": packed}})  # fmt: skip
    given["length"] = shape[axis]
    return Case("drawn", "pack", f"{title}, unpacked", "unpack", (), given, {"packed": packed},
                {"outputs": {"codes": codes}})  # fmt: skip


def _sizes(*shapes: tuple[int, ...]) -> list[Size]:
    """Return each shape twice, to pack and to unpack, small ones first."""
    ordered = sorted(shapes, key=lambda shape: (np.prod(shape), shape))
    return [(operation, shape) for shape in ordered for operation in ("pack", "unpack")]


def _first(bits: int) -> Callable[[Size, int], Case]:
    return lambda size, seed: _case(*size, seed, bits, 0)


def _last(size: Size, seed: int) -> Case:
    return _case(*size, seed, 4, -1)


def _bytes(size: Size, seed: int) -> Case:
    return _case(*size, seed, (3, 8)[size[1][0] % 2], 0)


def _refused(length: int, seed: int) -> Case:
    """Return a case whose last code alone is outside its range."""
    codes = np.abs(integers(seed, 4, (length,), 7)).astype(np.uint8)
    codes[-1] = 16 + seed % 99
    title = f"{length} generated codes that must be refused: the last one"
    given: dict[str, Any] = {"bits": 4, "axis": 0}
    return refused("pack", "drawn", title, "pack", "PACK-080", "CodeRangeError", given,
                   {"codes": codes})  # fmt: skip


def _ternary(shape: tuple[int, ...], seed: int) -> tuple[Array, int]:
    """Return ternary codes and the axis that they are packed along, the longer one."""
    codes = (np.abs(integers(seed, 5, shape, 2**14)) % 3 - 1).astype(np.int8)
    return codes, int(np.argmax(shape))


def _ternary_packed(shape: tuple[int, ...], seed: int) -> Case:
    return ternary_pair("drawn", *_ternary(shape, seed))[0]


def _ternary_codes(shape: tuple[int, ...], seed: int) -> Case:
    return ternary_pair("drawn", *_ternary(shape, seed))[1]


def _refused_ternary(length: int, seed: int) -> Case:
    """Return a case whose last code alone is not ternary."""
    codes, _ = _ternary((length,), seed)
    codes[-1] = 2 + seed % 99
    title = f"{length} generated codes that must be refused: the last one is not ternary"
    return refused("pack", "drawn", title, "pack_ternary", "PACK-200", "CodeRangeError",
                   {"axis": 0}, {"codes": codes})  # fmt: skip


# General properties come first, then one topic after another: the first failure names the cause.
PROPERTIES = (
    swept("prop-pack-sizes", "Numbers of codes around powers of two along the first axis.",
          ("PACK-010", "PACK-020", "PACK-030", "PACK-040"), _sizes(*PAIRS), _first(4)),
    swept("prop-pack-sizes-last", "Numbers of codes around powers of two along the last axis.",
          ("PACK-070",), _sizes(*ACROSS), _last),
    swept("prop-pack-sizes-2bit", "Many 2-bit codes.",
          ("PACK-050",), _sizes(*LINES, (127, 65), (33, 255)), _first(2)),
    swept("prop-pack-sizes-bytes", "Many 3- and 8-bit codes.",
          ("PACK-060",), _sizes(*LINES, (127, 65)), _bytes),
    swept("prop-pack-sizes-refused", "One of many codes that is outside its range is refused.",
          ("PACK-080",), (9, 65, 257, 4097), _refused),
    swept("prop-pack-sizes-ternary", "Many ternary codes, whole bytes.",
          ("PACK-170",), TERNARY_WHOLE, _ternary_packed),
    swept("prop-pack-sizes-ternary-fill", "Many ternary codes that do not fill the last byte.",
          ("PACK-180", "PACK-170"), TERNARY, _ternary_packed),
    swept("prop-pack-sizes-ternary-back", "Many bytes of ternary codes.",
          ("PACK-190",), (*TERNARY_WHOLE, *TERNARY), _ternary_codes),
    swept("prop-pack-sizes-ternary-refused", "One of many codes that is not ternary is refused.",
          ("PACK-200",), (9, 257, 4097), _refused_ternary),
)  # fmt: skip
