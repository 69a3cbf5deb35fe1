"""Packing, fast: tiles that stay in the cache, and codes moved in machine words.

Along the last axis the codes of a byte are neighbours in memory. They move within words of several
bytes instead of one by one. `quantref.packing` is the plain form.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.fast.memory import Scratch, tiles
from quantref.inputs import (
    Array,
    require_codes,
    require_codes_of_bytes,
    require_length,
    require_packing,
)
from quantref.packing import CODES_PER_BYTE, code_bounds

BYTES = 2**18  # size of a tile of codes
MANY = 2**12  # smallest number of codes or bytes for which words are faster


def pack_codes(codes: ArrayLike, bits: int, axis: int = 0) -> NDArray[np.integer]:
    """Return what `quantref.packing.pack_codes` returns."""
    array, bits, axis = require_packing(codes, bits, axis, "codes")
    lo, hi = code_bounds(bits, signed=array.dtype == np.int8)
    per_byte = CODES_PER_BYTE[bits]
    packed = np.empty(_lengthened(array, axis, -(-array.shape[axis] // per_byte)), array.dtype)
    scratch = Scratch()
    for tile in tiles(array.shape, per_byte, most=BYTES):
        part = array[tile]
        outside = part.size and (int(part.max()) > hi or (lo < 0 and int(part.min()) < lo))
        if outside:
            require_codes(array, lo, hi, bits)  # raises, and names the place
        _pack(part, packed[_shortened(tile, axis, per_byte)], bits, axis, scratch)
    return packed


def _pack(codes: Array, packed: Array, bits: int, axis: int, scratch: Scratch) -> None:
    """Pack codes that are in range into the bytes of `packed`."""
    per_byte = CODES_PER_BYTE[bits]
    if per_byte == 1:
        packed[...] = codes  # [PACK-060]
        return

    mask = np.uint8(2**bits - 1)
    fields = codes.view(np.uint8)
    if codes.dtype == np.int8:
        fields = np.bitwise_and(
            fields, mask, out=scratch.empty("fields", fields.shape)
        )  # [PACK-030]
    if _in_words(fields, axis) and codes.shape[axis] % per_byte == 0:
        words = fields.view(f"<u{per_byte}")
        together = scratch.empty("together", words.shape, words.dtype)
        moved = scratch.empty("moved", words.shape, words.dtype)
        before = words
        for k in range(1, per_byte):
            np.right_shift(words, (8 - bits) * k, out=moved)  # bit 8k to bit bits·k
            before = np.bitwise_or(before, moved, out=together)
        packed.view(np.uint8)[...] = together
        return

    fields, bytes_ = np.moveaxis(fields, axis, 0), np.moveaxis(packed, axis, 0).view(np.uint8)
    bytes_[...] = 0
    for k in range(per_byte):
        every = fields[k::per_byte]
        moved = np.multiply(every, np.uint8(1 << bits * k), out=scratch.empty("moved", every.shape))
        bytes_[: len(every)] |= moved  # [PACK-010] [PACK-020] [PACK-050] [PACK-070]


def _in_words(array: Array, axis: int) -> bool:
    """Tell whether codes of a byte are neighbours in memory, and enough for words to be faster."""
    return axis == array.ndim - 1 and array.flags.c_contiguous and array.size >= MANY


def _lengthened(array: Array, axis: int, length: int) -> tuple[int, ...]:
    return (*array.shape[:axis], length, *array.shape[axis + 1 :])


def _shortened(tile: tuple[slice, ...], axis: int, per_byte: int) -> tuple[slice, ...]:
    """Return the packed part of a tile of codes."""
    part = slice(tile[axis].start // per_byte, -(-tile[axis].stop // per_byte))
    return (*tile[:axis], part, *tile[axis + 1 :])


def unpack_codes(packed: ArrayLike, bits: int, length: int, axis: int = 0) -> NDArray[np.integer]:
    """Return what `quantref.packing.unpack_codes` returns."""
    array, bits, axis = require_packing(packed, bits, axis, "packed")
    per_byte = CODES_PER_BYTE[bits]
    length = require_length(length, array.shape[axis], per_byte)
    if per_byte == 1:
        require_codes_of_bytes(array, *code_bounds(bits, signed=array.dtype == np.int8))
        return array.copy()  # [PACK-060]

    codes = np.empty(_lengthened(array, axis, length), array.dtype)
    scratch = Scratch()
    for tile in tiles(codes.shape, per_byte, most=BYTES):
        _unpack(array[_shortened(tile, axis, per_byte)], codes[tile], bits, axis, scratch)
    return codes


def _unpack(packed: Array, codes: Array, bits: int, axis: int, scratch: Scratch) -> None:
    """Undo `_pack`, for codes that share bytes."""
    per_byte = CODES_PER_BYTE[bits]
    bytes_, fields = packed.view(np.uint8), codes.view(np.uint8)
    mask, sign = 2**bits - 1, np.uint8(2 ** (bits - 1))
    if _in_words(fields, axis) and codes.shape[axis] % per_byte == 0:
        apart = fields.view(f"<u{per_byte}")
        words = scratch.empty("words", apart.shape, apart.dtype)
        moved = scratch.empty("moved", apart.shape, apart.dtype)
        words[...] = bytes_
        for k in range(per_byte // 2, 0, -1):  # first pairs of codes, then single codes
            words |= np.left_shift(words, (8 - bits) * k, out=moved)  # bit bits·k to bit 8k
        np.bitwise_and(words, _in_every_byte(mask, apart.dtype), out=apart)
    else:
        word = "<u8" if axis < codes.ndim - 1 and _in_eights(packed, codes) else "u1"
        lines = np.moveaxis(bytes_.view(word), axis, 0)
        front = np.moveaxis(fields.view(word), axis, 0)
        every_mask = _in_every_byte(mask, front.dtype)
        for k in range(per_byte):
            every = front[k::per_byte]
            moved = scratch.empty("moved", every.shape, every.dtype)
            np.right_shift(lines[: len(every)], every.dtype.type(bits * k), out=moved)
            np.bitwise_and(moved, every_mask, out=every)
    if packed.dtype == np.int8:
        np.bitwise_xor(fields, sign, out=fields)
        np.subtract(fields, sign, out=fields)  # [PACK-030]: sign extension


def _in_every_byte(mask: int, dtype: np.dtype) -> Any:
    """Return the number of an unsigned dtype that has `mask` in each of its bytes."""
    return dtype.type(int.from_bytes(bytes([mask] * dtype.itemsize), "little"))


def _in_eights(*arrays: Array) -> bool:
    """Tell whether the bytes of the last axis can be taken eight at a time."""
    return all(a.size and a.strides[-1] == 1 and a.shape[-1] % 8 == 0 for a in arrays)
