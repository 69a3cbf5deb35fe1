"""Packing 2-, 3-, 4- and 8-bit codes into bytes, the layout of Keras (SPEC.md, section 5).

`_pack` and `_unpack` say it as the section does. Two ideas are added to make it fast: large arrays
go through them in tiles that stay in the cache, and along the last axis, where the codes of a byte
are neighbours, they move within machine words instead of one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.arrays import Array, Room, tiles
from quantref.config import require_integer
from quantref.errors import AxisError, BitsError, CodeRangeError, DTypeError, ShapeError

CODES_PER_BYTE = {2: 4, 3: 1, 4: 2, 8: 1}
BYTES = 2**18  # of a tile of codes
MANY = 2**12  # codes or bytes from which on words are used


def _checked(x: ArrayLike, bits: Any, axis: Any, name: str) -> tuple[Array, int, int]:
    """Return the array, its bit width, and the axis counted from 0, or raise.  [PACK-080]"""
    array = np.asarray(x)
    if array.dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
        raise DTypeError(f"{name} of dtype int8 or uint8", f"dtype={array.dtype.name}", "PACK-080")
    bits = require_integer(bits, "bits", "PACK-080")
    if bits not in CODES_PER_BYTE:
        raise BitsError(f"bits in {tuple(CODES_PER_BYTE)}", f"bits={bits}", "PACK-080")
    if array.ndim == 0:
        raise ShapeError(f"{name} of rank 1 or more", "rank 0", "PACK-080")
    axis = require_integer(axis, "axis", "PACK-080")
    if not -array.ndim <= axis < array.ndim:
        expected = f"axis in [-{array.ndim}, {array.ndim})"
        raise AxisError(expected, f"axis={axis}", "PACK-080")
    return array, bits, axis % array.ndim


def code_bounds(bits: int, signed: bool) -> tuple[int, int]:
    """Return the smallest and the largest code of a bit width.

    Examples
    --------
    >>> code_bounds(4, signed=True), code_bounds(4, signed=False)
    ((-8, 7), (0, 15))
    """
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def pack_codes(codes: ArrayLike, bits: int, axis: int = 0) -> NDArray[np.integer]:
    """Pack codes into bytes along `axis`, the first code in the lowest bits.

    Parameters
    ----------
    codes : (...) int8 (signed) or uint8 (unsigned) array
        Within the range of `bits`.
    bits : {2, 3, 4, 8}
        Four 2-bit or two 4-bit codes a byte; 3- and 8-bit codes one a byte.
    axis : int, default 0

    Returns
    -------
    packed : (...) array of the dtype of `codes`
        Length along `axis`: ceil(length / codes per byte); the last byte is filled with zeros.

    Raises
    ------
    DTypeError, BitsError, ShapeError, AxisError, CodeRangeError

    Examples
    --------
    >>> pack_codes(np.uint8([1, 2, 3]), bits=4)  # 0x21, 0x03
    array([33,  3], dtype=uint8)
    """
    array, bits, axis = _checked(codes, bits, axis, "codes")
    lo, hi = code_bounds(bits, signed=array.dtype == np.int8)
    per_byte = CODES_PER_BYTE[bits]
    packed = np.empty(_lengthened(array, axis, -(-array.shape[axis] // per_byte)), array.dtype)
    room = Room()
    for tile in tiles(array.shape, per_byte, most=BYTES):
        part = array[tile]
        outside = part.size and (int(part.max()) > hi or (lo < 0 and int(part.min()) < lo))
        if outside:
            index = tuple(int(i) for i in np.argwhere((array < lo) | (array > hi))[0])
            got = f"codes{list(index)}={int(array[index])}"
            raise CodeRangeError(f"codes in [{lo}, {hi}] for {bits} bits", got, "PACK-080")
        _pack(part, packed[_shortened(tile, axis, per_byte)], bits, axis, room)
    return packed


def _pack(codes: Array, packed: Array, bits: int, axis: int, room: Room) -> None:
    """Pack codes that are in range into bytes, whatever these hold."""
    per_byte = CODES_PER_BYTE[bits]
    if per_byte == 1:
        packed[...] = codes  # [PACK-060]
        return

    mask = np.uint8(2**bits - 1)
    fields = codes.view(np.uint8)
    if codes.dtype == np.int8:
        fields = np.bitwise_and(fields, mask, out=room.of("fields", fields.shape))  # [PACK-030]
    if _in_words(fields, axis) and codes.shape[axis] % per_byte == 0:
        words = fields.view(f"<u{per_byte}")
        together = room.of("together", words.shape, words.dtype)
        moved = room.of("moved", words.shape, words.dtype)
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
        moved = np.multiply(every, np.uint8(1 << bits * k), out=room.of("moved", every.shape))
        bytes_[: len(every)] |= moved  # [PACK-010] [PACK-020] [PACK-050] [PACK-070]


def _in_words(array: Array, axis: int) -> bool:
    """Tell whether what shares a byte lies side by side in memory, and whether that is worth it."""
    return axis == array.ndim - 1 and array.flags.c_contiguous and array.size >= MANY


def _lengthened(array: Array, axis: int, length: int) -> tuple[int, ...]:
    return (*array.shape[:axis], length, *array.shape[axis + 1 :])


def _shortened(tile: tuple[slice, ...], axis: int, per_byte: int) -> tuple[slice, ...]:
    """Return the packed part of a tile of codes."""
    part = slice(tile[axis].start // per_byte, -(-tile[axis].stop // per_byte))
    return (*tile[:axis], part, *tile[axis + 1 :])


def unpack_codes(packed: ArrayLike, bits: int, length: int, axis: int = 0) -> NDArray[np.integer]:
    """Undo `pack_codes`: the first `length` codes along `axis`.  [PACK-040]

    Parameters
    ----------
    packed : (...) int8 or uint8 array
        int8: the codes are signed, uint8: unsigned.
    bits : {2, 3, 4, 8}
    length : int
        Codes along `axis` before padding; must match the packed length.
    axis : int, default 0

    Returns
    -------
    codes : (...) array of the dtype of `packed`
        Length `length` along `axis`. Bits of the padding are ignored.

    Raises
    ------
    DTypeError, BitsError, ShapeError, AxisError, CodeRangeError

    Examples
    --------
    >>> unpack_codes(np.int8([0x21, 0x0F]), bits=4, length=3)
    array([ 1,  2, -1], dtype=int8)
    """
    array, bits, axis = _checked(packed, bits, axis, "packed")
    length = require_integer(length, "length", "PACK-080")
    per_byte = CODES_PER_BYTE[bits]
    if length < 0 or -(-length // per_byte) != array.shape[axis]:
        most = array.shape[axis] * per_byte
        expected = (
            f"length in [{max(most - per_byte + 1, 0)}, {most}] for {array.shape[axis]} bytes"
        )
        raise ShapeError(expected, f"length={length}", "PACK-080")
    if per_byte == 1:
        lo, hi = code_bounds(bits, signed=array.dtype == np.int8)
        if array.size and not lo <= int(array.min()) <= int(array.max()) <= hi:
            got = f"bytes in [{int(array.min())}, {int(array.max())}]"
            raise CodeRangeError(f"one code in [{lo}, {hi}] per byte", got, "PACK-080")
        return array.copy()  # [PACK-060]

    codes = np.empty(_lengthened(array, axis, length), array.dtype)
    room = Room()
    for tile in tiles(codes.shape, per_byte, most=BYTES):
        _unpack(array[_shortened(tile, axis, per_byte)], codes[tile], bits, axis, room)
    return codes


def _unpack(packed: Array, codes: Array, bits: int, axis: int, room: Room) -> None:
    """Undo `_pack`, for codes that share bytes."""
    per_byte = CODES_PER_BYTE[bits]
    bytes_, fields = packed.view(np.uint8), codes.view(np.uint8)
    mask, sign = 2**bits - 1, np.uint8(2 ** (bits - 1))
    if _in_words(fields, axis) and codes.shape[axis] % per_byte == 0:
        apart = fields.view(f"<u{per_byte}")
        words = room.of("words", apart.shape, apart.dtype)
        moved = room.of("moved", apart.shape, apart.dtype)
        words[...] = bytes_
        for k in range(per_byte // 2, 0, -1):  # of four codes two at a time, then one
            words |= np.left_shift(words, (8 - bits) * k, out=moved)  # bit bits·k to bit 8k
        np.bitwise_and(words, _in_every_byte(mask, apart.dtype), out=apart)
    else:
        word = "<u8" if axis < codes.ndim - 1 and _in_eights(packed, codes) else "u1"
        lines = np.moveaxis(bytes_.view(word), axis, 0)
        front = np.moveaxis(fields.view(word), axis, 0)
        every_mask = _in_every_byte(mask, front.dtype)
        for k in range(per_byte):
            every = front[k::per_byte]
            moved = room.of("moved", every.shape, every.dtype)
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


def pack_int32_words(codes: ArrayLike, bits: int) -> NDArray[np.int32]:
    """Pack unsigned codes into int32 words along the last axis (a widespread other layout).

    The alternative of `PackingRule.INT32_WORDS`: 32 / bits codes a word, the first in the lowest
    bits, zeros at the end. Only widths that divide 32. Not part of the normative profile.

    Parameters
    ----------
    codes : (n_out, n_in) uint8 array
    bits : {2, 4, 8}

    Returns
    -------
    words : (n_out, ceil(n_in * bits / 32)) int32 array

    Examples
    --------
    >>> pack_int32_words(np.uint8([[1, 2, 3]]), bits=4)
    array([[801]], dtype=int32)
    """
    array, bits, _ = _checked(codes, bits, -1, "codes")
    if array.dtype != np.uint8 or bits == 3:
        got = f"dtype={array.dtype.name}, bits={bits}"
        raise BitsError("uint8 codes of 2, 4 or 8 bits", got, "PACK-080")
    packed = pack_codes(array, bits, axis=-1)
    padding = -packed.shape[-1] % 4
    widths = [(0, 0)] * (packed.ndim - 1) + [(0, padding)]
    return np.ascontiguousarray(np.pad(packed, widths)).view("<i4").astype(np.int32)
