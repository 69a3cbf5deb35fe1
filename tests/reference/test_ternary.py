"""Ternary codes in base 3, digit by digit.  [PACK-170]"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from quantref import QuantrefError
from quantref.formats.ternary import pack_ternary, unpack_ternary

EVERY = np.array(list(product((-1, 0, 1), repeat=5)), np.int8)


@pytest.mark.requirement("PACK-170", "PACK-190")
def test_every_byte_has_its_digits() -> None:
    packed = pack_ternary(EVERY.reshape(-1))
    assert sorted(packed.tolist()) == list(range(243))
    for byte, codes in zip(packed.tolist(), EVERY.tolist(), strict=True):
        assert np.base_repr(byte, 3).zfill(5)[::-1] == "".join(str(c + 1) for c in codes)
    np.testing.assert_array_equal(unpack_ternary(packed, 1215), EVERY.reshape(-1), strict=True)


@pytest.mark.requirement("PACK-180", "PACK-190")
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("length", [0, 1, 4, 5, 6, 11])
def test_any_axis_and_length(axis: int, length: int) -> None:
    shape = [2, 3, 4]
    shape[axis] = length
    codes = np.random.default_rng(length).integers(-1, 2, shape).astype(np.int8)
    packed = pack_ternary(codes, axis)
    assert (packed.dtype.name, packed.shape[axis]) == ("uint8", -(-length // 5))
    fill = [(0, -length % 5 if k == axis % 3 else 0) for k in range(3)]
    np.testing.assert_array_equal(pack_ternary(np.pad(codes, fill), axis), packed)
    np.testing.assert_array_equal(unpack_ternary(packed, length, axis), codes, strict=True)


@pytest.mark.requirement("PACK-200")
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pack_ternary(np.array([0, 2], np.int8)), r"codes in \[-1, 1\], got \[0, 2\]"),
        (lambda: pack_ternary(np.array([0, 1], np.uint8)), "codes of dtype int8, got dtype=uint8"),
        (lambda: pack_ternary(np.int8(1)), "codes of rank 1 or more, got rank 0"),
        (lambda: pack_ternary(np.array([1], np.int8), axis=1), r"axis in \[-1, 1\), got axis=1"),
        (lambda: pack_ternary(np.array([1], np.int8), axis=True), "axis"),
        (lambda: unpack_ternary(np.array([243], np.uint8), 5), r"packed in \[0, 242\]"),
        (lambda: unpack_ternary(np.array([1], np.int8), 5), "packed of dtype uint8"),
        (
            lambda: unpack_ternary(np.array([1], np.uint8), 6),
            r"length in \[1, 5\] for 1 bytes, got length=6",
        ),
    ],
)
def test_refused(call: Any, words: str) -> None:
    with pytest.raises(QuantrefError, match=words + r".*\[PACK-200\]"):
        call()
