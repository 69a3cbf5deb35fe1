"""Layers in the packed arrays of other libraries, bit by bit.  [PACK-090]"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantref.errors import CodeRangeError, QuantrefError
from quantref.formats.packed import PACKED_FORMATS, pack_layer, unpack_layer
from quantref.inputs import Array

WIDTHS = [(name, bits) for name, made in PACKED_FORMATS.items() for bits in made.widths]


def drawn(shape: tuple[int, int], groups: int, bits: int) -> tuple[Array, Array]:
    """Return codes, and zero-points from 1 on."""
    rng = np.random.default_rng(bits)
    codes = rng.integers(0, 2**bits, shape).astype(np.uint8)
    return codes, rng.integers(1, 2**bits, (shape[0], groups)).astype(np.uint8)


def settings_of(name: str, bits: int, group_size: int) -> dict[str, Any]:
    return {"format": name, "bits": bits, "group_size": group_size}


@pytest.mark.requirement("PACK-090", "PACK-100", "PACK-110", "PACK-120", "PACK-130", "PACK-140")
@pytest.mark.parametrize(("name", "bits"), WIDTHS)
def test_every_bit_is_where_the_format_says(name: str, bits: int) -> None:
    """The words as one number, bit by bit, in Python's integers."""
    made = PACKED_FORMATS[name]
    codes, zero = drawn((32, 96), 6, bits)
    packed = pack_layer(codes, zero, **settings_of(name, bits, 16))
    rows = packed.weights.T if made.columns_first else packed.weights
    per_word = made.word // bits
    for line, words in zip(codes.tolist(), rows.reshape(32, -1).tolist(), strict=True):
        number = sum(int(word) % 2**made.word << made.word * i for i, word in enumerate(words))
        for k, code in enumerate(line):
            at = made.word * (k // per_word) + bits * (k % per_word) if made.whole else bits * k
            assert number >> at & (2**bits - 1) == code
    assert packed.weights.dtype == packed.zero_point.dtype == made.dtype


@pytest.mark.requirement("PACK-150")
@pytest.mark.parametrize(("name", "bits"), WIDTHS)
@pytest.mark.parametrize("group_size", [16, 32, -1])
def test_unpacking_is_the_inverse(name: str, bits: int, group_size: int) -> None:
    made = PACKED_FORMATS[name]
    shape = (32, 64) if made.columns_first else (7, 64)
    codes, zero = drawn(shape, 1 if group_size == -1 else 64 // group_size, bits)
    settings = settings_of(name, bits, group_size)
    packed = pack_layer(codes, zero, **settings)
    back = unpack_layer(packed.weights, packed.zero_point, shape=shape, **settings)
    for got, expected in zip(back, (codes, zero), strict=True):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected)


@pytest.mark.requirement("PACK-130")
def test_the_two_formats_of_compressed_tensors_differ_for_three_bits_alone() -> None:
    names = ("compressed_tensors", "compressed_tensors_whole")
    for bits in (2, 3, 4, 8):
        layer = drawn((9, 40), 1, bits)
        one, other = (pack_layer(*layer, **settings_of(n, bits, -1)) for n in names)
        same = one.weights.shape == other.weights.shape and (one.weights == other.weights).all()
        assert same == (bits != 3)


@pytest.mark.requirement("PACK-160")
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_a_zero_point_of_0_has_no_form_in_v1(bits: int) -> None:
    codes, zero = drawn((32, 32), 1, bits)
    packed = pack_layer(codes, zero, **settings_of("gptq_v2", bits, -1))
    full = np.full_like(packed.zero_point, -1)  # every field holds 2^b − 1
    settings = settings_of("gptq_v1", bits, -1)
    with pytest.raises(CodeRangeError, match=f"below {2**bits - 1}"):
        unpack_layer(packed.weights, full, shape=(32, 32), **settings)
    zero[31, 0] = 0
    with pytest.raises(CodeRangeError, match=r"z - 1 is stored.*got 0"):
        pack_layer(codes, zero, **settings)


@pytest.mark.requirement("PACK-160")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "awq"}, "a format of gptq_v1, gptq_v2"),
        ({"bits": True}, "bits to be an integer"),
        ({"bits": 4.0}, "bits to be an integer"),
        ({"group_size": 0}, "group_size >= 1, or -1"),
        ({"group_size": 2.0}, "group_size to be an integer"),
        ({"format": "matmulnbits", "group_size": 24}, "a power of two of at least 16"),
        ({"bits": 3, "format": "matmulnbits", "group_size": 16}, r"bits in \(2, 4, 8\) for matmul"),
    ],
)
def test_refused_settings(changes: dict[str, Any], words: str) -> None:
    codes, zero = drawn((32, 32), 1, 2)
    with pytest.raises(QuantrefError, match=words):
        pack_layer(codes, zero, **{**settings_of("gptq_v2", 4, -1), **changes})


@pytest.mark.requirement("PACK-160")
def test_nothing_is_packed_without_codes() -> None:
    none = np.zeros((0, 4), np.uint8)
    with pytest.raises(QuantrefError, match="not empty"):
        pack_layer(none, none, **settings_of("compressed_tensors", 4, -1))
