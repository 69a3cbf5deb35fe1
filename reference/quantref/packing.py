"""Packing 2-, 3-, 4- and 8-bit codes into bytes, the layout of Keras (SPEC.md, section 5).

p codes share a byte, each in a field of 8 / p bits: the first code in the lowest bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.inputs import require_codes, require_codes_of_bytes, require_length, require_packing

CODES_PER_BYTE = {2: 4, 3: 1, 4: 2, 8: 1}  # [PACK-010] [PACK-050] [PACK-060]


def code_bounds(bits: int, signed: bool) -> tuple[int, int]:
    """Return the smallest and the largest code of a bit width.

    Examples
    --------
    >>> code_bounds(4, signed=True), code_bounds(4, signed=False)
    ((-8, 7), (0, 15))
    """
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def pack_codes(codes: ArrayLike, bits: int, axis: int = 0) -> NDArray[np.integer]:
    """Pack codes into bytes along `axis`, the first code in the lowest bits.  [PACK-010]

    Parameters
    ----------
    codes : (...) int8 (signed) or uint8 (unsigned) array
        Within the range of `bits`.
    bits : {2, 3, 4, 8}
    axis : int, default 0

    Returns
    -------
    packed : (...) array of the dtype of `codes`
        Length along `axis`: ⌈length / codes per byte⌉; the last byte is filled with zeros.

    Raises
    ------
    DTypeError, BitsError, ShapeError, AxisError, CodeRangeError

    Examples
    --------
    >>> pack_codes(np.uint8([1, 2, 3]), bits=4)  # 0x21, 0x03
    array([33,  3], dtype=uint8)
    """
    # BAD INPUT  [PACK-080]
    q, bits, axis = require_packing(codes, bits, axis, "codes")
    require_codes(q, *code_bounds(bits, signed=q.dtype == np.int8), bits)
    p = CODES_PER_BYTE[bits]
    width = 8 // p

    # FIELDS
    lines = np.moveaxis(q, axis, 0)  # [PACK-070]
    fields = np.zeros((-(-len(lines) // p) * p, *lines.shape[1:]), np.uint8)  # [PACK-020]
    fields[: len(lines)] = lines.astype(np.uint8) & (2**width - 1)  # [PACK-030]

    # BYTES
    packed = sum(fields[k::p] << width * k for k in range(p))  # [PACK-010] [PACK-050]
    return np.moveaxis(np.asarray(packed, dtype=np.uint8), 0, axis).astype(q.dtype)


def unpack_codes(packed: ArrayLike, bits: int, length: int, axis: int = 0) -> NDArray[np.integer]:
    """Unpack the first `length` codes along `axis`: the inverse of `pack_codes`.  [PACK-040]

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
    # BAD INPUT  [PACK-080]
    array, bits, axis = require_packing(packed, bits, axis, "packed")
    signed = array.dtype == np.int8
    p = CODES_PER_BYTE[bits]
    width = 8 // p
    length = require_length(length, array.shape[axis], p)
    if p == 1:
        require_codes_of_bytes(array, *code_bounds(bits, signed))

    # FIELDS
    lines = np.moveaxis(array, axis, 0).astype(np.uint8)  # [PACK-070]
    codes = np.empty((len(lines) * p, *lines.shape[1:]), np.int16)
    for k in range(p):
        codes[k::p] = (lines >> width * k) & (2**width - 1)  # [PACK-010] [PACK-050]

    # CODES
    if signed:
        codes[codes >= 2 ** (width - 1)] -= 2**width  # [PACK-030]
    return np.moveaxis(codes[:length], 0, axis).astype(array.dtype)  # [PACK-040]
