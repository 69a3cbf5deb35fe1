"""Ternary codes as digits in base 3, five to a byte, as in Keras 3.16 (SPEC.md, section 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.inputs import require_length, require_ternary

TRITS_PER_BYTE = 5
LARGEST_TERNARY_BYTE = 3**TRITS_PER_BYTE - 1  # 242


def pack_ternary(codes: ArrayLike, axis: int = 0) -> NDArray[np.uint8]:
    """Pack codes −1, 0 and 1 as digits in base 3, five to a byte, the first the lowest.  [PACK-170]

    Parameters
    ----------
    codes : (...) int8 array of −1, 0 and 1
    axis : int, default 0

    Returns
    -------
    packed : (...) uint8 array
        Length along `axis`: ⌈length / 5⌉; the last byte is filled with codes 0.

    Raises
    ------
    DTypeError, ShapeError, AxisError, CodeRangeError

    Examples
    --------
    >>> pack_ternary(np.int8([1, -1, 0]))  # the digits 2, 0, 1, and 1, 1 behind them
    array([119], dtype=uint8)
    """
    # BAD INPUT  [PACK-200]
    q, axis = require_ternary(codes, axis, "codes", np.int8, (-1, 1))

    # DIGITS
    lines = np.moveaxis(q, axis, 0)
    digits = np.ones((-(-len(lines) // TRITS_PER_BYTE) * TRITS_PER_BYTE, *lines.shape[1:]), int)
    digits[: len(lines)] = lines + 1  # [PACK-180]: 1 behind them

    # BYTES
    packed = sum(digits[k::TRITS_PER_BYTE] * 3**k for k in range(TRITS_PER_BYTE))  # [PACK-170]
    return np.moveaxis(np.asarray(packed, np.uint8), 0, axis)


def unpack_ternary(packed: ArrayLike, length: int, axis: int = 0) -> NDArray[np.int8]:
    """Unpack the first `length` ternary codes: the inverse of `pack_ternary`.  [PACK-190]

    Parameters
    ----------
    packed : (...) uint8 array, at most 242
    length : int
        Codes along `axis` before padding; must match the packed length.
    axis : int, default 0

    Returns
    -------
    codes : (...) int8 array of −1, 0 and 1
        Length `length` along `axis`. Digits of the padding are ignored.

    Raises
    ------
    DTypeError, ShapeError, AxisError, CodeRangeError

    Examples
    --------
    >>> unpack_ternary(np.uint8([119]), length=3)
    array([ 1, -1,  0], dtype=int8)
    """
    # BAD INPUT  [PACK-200]
    array, axis = require_ternary(packed, axis, "packed", np.uint8, (0, LARGEST_TERNARY_BYTE))
    length = require_length(length, array.shape[axis], TRITS_PER_BYTE, "PACK-200")

    # DIGITS
    lines = np.moveaxis(array, axis, 0).astype(np.int16)
    codes = np.empty((len(lines) * TRITS_PER_BYTE, *lines.shape[1:]), np.int8)
    for k in range(TRITS_PER_BYTE):
        codes[k::TRITS_PER_BYTE] = lines // 3**k % 3 - 1  # [PACK-190]
    return np.moveaxis(codes[:length], 0, axis)
