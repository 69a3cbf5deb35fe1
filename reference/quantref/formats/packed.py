"""Codes and zero-points of a layer in the packed arrays of other libraries (SPEC.md, section 5).

The first code of a line is in the lowest bits. A *field* holds one code; a *word* is a number of
the array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.errors import BitsError, CodeRangeError, ConfigError, DTypeError, ShapeError
from quantref.inputs import Array, require_codes, require_group_size, require_integer


@dataclass(frozen=True)
class PackedFormat:
    """How a format stores a layer.

    Attributes
    ----------
    dtype : type
        Of a word.
    whole : bool
        A word holds whole fields; otherwise a field may begin in one word and end in the next.
    blocks : bool
        Every group of columns begins in a byte of its own.
    columns_first : bool
        Words of a row of the weights are in a column of the array.
    off_by_one : bool
        z − 1 is stored for z.
    widths : tuple of int
        Bits of a code.
    """

    dtype: type[np.int32 | np.uint8]
    whole: bool = False
    blocks: bool = False
    columns_first: bool = False
    off_by_one: bool = False
    widths: tuple[int, ...] = (2, 3, 4, 8)

    @property
    def word(self) -> int:
        """Bits of a word."""
        return 8 * np.dtype(self.dtype).itemsize


PACKED_FORMATS: Mapping[str, PackedFormat] = {
    "gptq_v1": PackedFormat(np.int32, columns_first=True, off_by_one=True),  # [PACK-110]
    "gptq_v2": PackedFormat(np.int32, columns_first=True),  # [PACK-100]
    "compressed_tensors": PackedFormat(np.int32),  # [PACK-120]
    "compressed_tensors_whole": PackedFormat(np.int32, whole=True),  # [PACK-130]
    "matmulnbits": PackedFormat(np.uint8, blocks=True, widths=(2, 4, 8)),  # [PACK-140]
}
LEAST_BLOCK = 16  # columns of a group of MatMulNBits


@dataclass(frozen=True)
class PackedLayer:
    """The arrays of a format.

    Attributes
    ----------
    weights, zero_point : int32 or uint8 arrays
        Their shapes are those of SPEC.md, section 5.
    """

    weights: NDArray[np.integer]
    zero_point: NDArray[np.integer]


def pack_layer(
    codes: ArrayLike, zero_point: ArrayLike, *, format: str, bits: int, group_size: int
) -> PackedLayer:
    """Pack the codes and zero-points of a layer as a format stores them.

    Parameters
    ----------
    codes : (n_out, n_in) uint8 array
        Columns in the order in which they are stored.
    zero_point : (n_out, n_groups) uint8 array
    format : str
        One of `PACKED_FORMATS`.
    bits : {2, 3, 4, 8}
    group_size : int
        Columns of a group; −1: all.

    Raises
    ------
    ConfigError, BitsError, DTypeError, ShapeError, CodeRangeError
        See PACK-160.

    Examples
    --------
    >>> codes, zero = np.uint8([[1, 2, 3, 4, 5, 6, 7, 8]] * 8), np.full((8, 1), 8, np.uint8)
    >>> made = pack_layer(codes, zero, format="gptq_v1", bits=4, group_size=-1)
    >>> hex(made.weights[0, 0]), hex(made.zero_point[0, 0])
    ('-0x789abcdf', '0x77777777')
    """
    # BAD INPUT  [PACK-160]
    made, size = _require_format(format, bits, group_size, np.shape(codes))
    q = _require_fields(codes, "codes", bits, np.shape(codes))
    z = _require_fields(zero_point, "zero_point", bits, (len(q), -(-q.shape[1] // size)))
    if made.off_by_one and not z.all():
        raise CodeRangeError("zero-points of at least 1, since z - 1 is stored", "0", "PACK-160")
    stored = z - np.uint8(made.off_by_one)  # [PACK-110]

    # WEIGHTS
    if made.blocks:
        lines = np.zeros((len(q), z.shape[1] * size), np.uint8)  # [PACK-140]: zeros at the end
        lines[:, : q.shape[1]] = q
        return PackedLayer(
            pack_fields(lines.reshape(len(q), z.shape[1], size), bits, made),
            pack_fields(stored, bits, made),
        )
    words = pack_fields(q, bits, made)  # (n_out, words)
    zeros = pack_fields(stored.T, bits, made)  # (n_groups, words)
    if made.columns_first:
        return PackedLayer(np.ascontiguousarray(words.T), zeros)  # [PACK-100]
    return PackedLayer(words, np.ascontiguousarray(zeros.T))  # [PACK-120]


def unpack_layer(
    weights: ArrayLike,
    zero_point: ArrayLike,
    *,
    format: str,
    bits: int,
    group_size: int,
    shape: tuple[int, int],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return codes (n_out, n_in) and zero-points (n_out, n_groups).  [PACK-150]

    It is the inverse of `pack_layer`.

    Parameters
    ----------
    weights, zero_point : int32 or uint8 arrays
        See `PackedLayer`. Bits behind the last field of a line count for nothing.
    format, bits, group_size
        See `pack_layer`.
    shape : (n_out, n_in)

    Raises
    ------
    ConfigError, BitsError, DTypeError, ShapeError, CodeRangeError
        See PACK-160.

    Examples
    --------
    >>> codes, zero = np.uint8([[1, 2, 3], [7, 6, 5]]), np.uint8([[4], [3]])
    >>> settings = {"format": "compressed_tensors", "bits": 3, "group_size": -1}
    >>> made = pack_layer(codes, zero, **settings)
    >>> unpack_layer(made.weights, made.zero_point, shape=(2, 3), **settings)[0]
    array([[1, 2, 3],
           [7, 6, 5]], dtype=uint8)
    """
    # BAD INPUT  [PACK-160]
    made, size = _require_format(format, bits, group_size, shape)
    n_out, n_in = shape
    n_groups = -(-n_in // size)
    if made.blocks:
        blocks = (n_out, n_groups, _words(size, bits, made))
        packed = _require_array(weights, "weights", made.dtype, blocks)
        of_zeros = (n_out, _words(n_groups, bits, made))
        zeros = _require_array(zero_point, "zero_point", made.dtype, of_zeros)
        codes = unpack_fields(packed, size, bits, made).reshape(n_out, -1)[:, :n_in]
        return np.ascontiguousarray(codes), unpack_fields(zeros, n_groups, bits, made)
    along_in, along_out = (n_out, _words(n_in, bits, made)), (n_groups, _words(n_out, bits, made))
    if made.columns_first:
        words = _require_array(weights, "weights", made.dtype, along_in[::-1]).T
        zeros = _require_array(zero_point, "zero_point", made.dtype, along_out)
    else:
        words = _require_array(weights, "weights", made.dtype, along_in)
        zeros = _require_array(zero_point, "zero_point", made.dtype, along_out[::-1]).T

    # CODES
    codes = unpack_fields(words, n_in, bits, made)
    stored = unpack_fields(zeros, n_out, bits, made).T
    if made.off_by_one:
        if (stored == 2**bits - 1).any():  # z = 0 or z = 2^b: programs differ
            expected = f"stored zero-points below {2**bits - 1}, which mean z of at most that"
            raise CodeRangeError(expected, f"{2**bits - 1}", "PACK-160")
        stored = stored + np.uint8(1)  # [PACK-110]
    return codes, np.ascontiguousarray(stored)


def pack_fields(lines: Array, bits: int, made: PackedFormat) -> NDArray[np.integer]:
    """Return the words (…, words) of lines (…, n): the first code in the lowest bits.  [PACK-090]

    Examples
    --------
    >>> pack_fields(np.uint8([1, 2, 3]), 4, PackedFormat(np.uint8))
    array([33,  3], dtype=uint8)
    """
    per_word = made.word // bits if made.whole else lines.shape[-1]  # or one run of fields
    fields = np.pad(lines, [(0, 0)] * (lines.ndim - 1) + [(0, -lines.shape[-1] % per_word)])
    binary = (fields[..., None] >> np.arange(bits, dtype=np.uint8)) & 1  # (…, n, bits)
    binary = binary.reshape(*lines.shape[:-1], -1, per_word * bits)
    binary = np.pad(binary, [(0, 0)] * lines.ndim + [(0, -(per_word * bits) % made.word)])
    stored = np.packbits(binary, axis=-1, bitorder="little")
    words = stored.reshape(*lines.shape[:-1], -1).view(np.dtype(made.dtype).newbyteorder("<"))
    return words.astype(made.dtype)


def unpack_fields(words: Array, count: int, bits: int, made: PackedFormat) -> NDArray[np.uint8]:
    """Return the first `count` codes of lines (…, words): the inverse of `pack_fields`.

    Examples
    --------
    >>> unpack_fields(np.uint8([33, 3]), 3, 4, PackedFormat(np.uint8))
    array([1, 2, 3], dtype=uint8)
    """
    little = np.ascontiguousarray(words.astype(np.dtype(made.dtype).newbyteorder("<")))
    binary = np.unpackbits(little.view(np.uint8), axis=-1, bitorder="little")
    if made.whole:
        per_word = made.word // bits
        binary = binary.reshape(*words.shape, made.word)[..., : per_word * bits]
    binary = binary.reshape(*words.shape[:-1], -1)[..., : count * bits]
    fields = binary.reshape(*words.shape[:-1], count, bits)
    return np.asarray((fields << np.arange(bits, dtype=np.uint8)).sum(axis=-1, dtype=np.uint8))


def _words(count: int, bits: int, made: PackedFormat) -> int:
    """Return the number of words of a line of `count` codes."""
    if made.whole:
        return -(-count // (made.word // bits))
    return -(-count * bits // made.word)


def _require_format(
    name: str, bits: int, group_size: int, shape: tuple[int, ...]
) -> tuple[PackedFormat, int]:
    """Return the format and the group size, or raise.  [PACK-160]"""
    made = PACKED_FORMATS.get(name) if isinstance(name, str) else None
    if made is None:
        raise ConfigError(f"a format of {', '.join(PACKED_FORMATS)}", repr(name), "PACK-160")
    if require_integer(bits, "bits", "PACK-160") not in made.widths:
        raise BitsError(f"bits in {made.widths} for {name}", repr(bits), "PACK-160")
    if len(shape) != 2 or min(shape) < 1:
        raise ShapeError("codes of shape (n_out, n_in), not empty", f"{shape}", "PACK-160")
    n_out, n_in = shape
    size = require_group_size(group_size, "PACK-160")
    size = n_in if size == -1 else size
    if made.blocks and (size < LEAST_BLOCK or size & (size - 1)):
        expected = f"a power of two of at least {LEAST_BLOCK} columns in a group of {name}"
        raise ConfigError(expected, f"{size}", "PACK-160")
    if made.columns_first and (n_in * bits % 32 or n_out * bits % 32):
        expected = f"rows and columns that fill words of 32 bits with {bits} bits each"
        raise ShapeError(expected, f"{shape}", "PACK-160")
    return made, size


def _require_fields(
    given: ArrayLike, name: str, bits: int, shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Return codes or zero-points of a shape, or raise.  [PACK-160]"""
    array = _require_array(given, name, np.uint8, shape)
    require_codes(array, 0, 2**bits - 1, bits, name=name, requirement="PACK-160")
    return array.astype(np.uint8, copy=False)


def _require_array(
    given: ArrayLike, name: str, dtype: type[np.integer], shape: tuple[int, ...]
) -> NDArray[np.integer]:
    """Return an array of a dtype and shape, or raise.  [PACK-160]"""
    array = np.asarray(given)
    if array.dtype != dtype:
        expected = f"{name} of {np.dtype(dtype).name}"
        raise DTypeError(expected, f"{array.dtype.name}", "PACK-160")
    if array.shape != shape:
        raise ShapeError(f"{name} of shape {shape}", f"{array.shape}", "PACK-160")
    return array
