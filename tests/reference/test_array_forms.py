"""AbsMax and packing take tiles, machine words and single precision: the same to the bit."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from quantref import abs_max_quantize, pack_codes, unpack_codes
from quantref.errors import NonFiniteError, OverflowRangeError
from quantref.fast.memory import Scratch
from quantref.inputs import Array
from quantref.packing import CODES_PER_BYTE, code_bounds

FLOATS = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)
RANGES: tuple[tuple[int, int, str], ...] = (
    (-127, 127, "int8"),
    (-128, 127, "int8"),
    (-100, 127, "int8"),
    (0, 255, "uint8"),
    (-1, 1, "int8"),
    (-32767, 32767, "int16"),
    (0, 2**22 - 1, "int32"),
    (-(2**22), 2**22, "int32"),
    (-(2**31), 2**31 - 1, "int32"),
)


def layouts(array: Array) -> list[Array]:
    """Return an array as C and Fortran hold it, backwards, with gaps, and read-only."""
    if array.ndim == 0:
        return [array]
    gaps = np.repeat(array, 2, axis=-1)[..., ::2]
    fixed = array.copy()
    fixed.flags.writeable = False
    return [array, np.asfortranarray(array), array[..., ::-1][..., ::-1], gaps, fixed]


def rounded_in_double(x: Array, scale: Array, lo: int, hi: int, dtype: str) -> Array:
    """Return the codes of SPEC.md, section 4: products of 32-bit factors are exact in float64."""
    products = x.astype(np.float64) * scale.astype(np.float64)
    return np.clip(np.rint(products), lo, hi).astype(dtype)


def scale_in_double(x: Array, axis: tuple[int, ...] | None, hi: int) -> Array:
    """Return the scale of SPEC.md, section 4, from the whole array at once."""
    wide = np.float64 if x.dtype == np.float64 else np.float32
    largest = np.abs(x.astype(np.float64)).max(axis=axis, keepdims=True)
    return np.asarray(hi / (largest + 1e-7), wide)


@pytest.mark.parametrize("float_type", FLOATS)
@pytest.mark.parametrize(
    "shape", [(), (1,), (9,), (3, 5), (2, 3, 4), (1, 1, 300), (5, 70001), (2, 3, 70001)]
)
def test_codes_are_those_of_double_precision(float_type: Any, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    draws = (rng.normal(size=shape), rng.integers(-9, 10, shape) / 2, np.zeros(shape))
    axes = [a for n in range(len(shape) + 1) for a in itertools.combinations(range(len(shape)), n)]
    large = shape[-1:] > (1000,)  # more than a tile, and than what is read twice
    for draw, axis in itertools.product(draws[:1] if large else draws, [None, *axes]):
        x = np.asarray(draw).astype(float_type)
        for (lo, hi, dtype), view in itertools.product(RANGES[:2] if large else RANGES, layouts(x)):
            codes, scale = abs_max_quantize(view, axis, (lo, hi), dtype)
            assert codes.dtype == dtype
            np.testing.assert_array_equal(scale, scale_in_double(x, axis, hi), strict=True)
            np.testing.assert_array_equal(codes, rounded_in_double(x, scale, lo, hi, dtype))


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_what_is_not_finite_is_named_wherever_it_is(axis: int | None) -> None:
    x = np.zeros((5, 70001), np.float32)
    x[4, 70000] = np.nan
    with pytest.raises(NonFiniteError, match=r"\[4, 70000\]"):
        abs_max_quantize(x, axis)
    x[0, 0] = 2e38  # too large for a normal scale of one step: NaN is named all the same
    with pytest.raises(NonFiniteError, match=r"\[4, 70000\]"):
        abs_max_quantize(x, axis, (-1, 1))
    x[4, 70000] = 3e38
    with pytest.raises(OverflowRangeError, match=r"max\|x\|=3\.0"):
        abs_max_quantize(x, axis, (-1, 1))
    with pytest.raises(NonFiniteError, match=r"inputs\[\]=nan"):
        abs_max_quantize(np.float32(np.nan), None)


def around_ties(top: float, hi: int) -> Array:
    """Return the float32 numbers whose product with the scale is a tie or next to one."""
    _, scale = abs_max_quantize(np.array([top], np.float32), None, (-hi, hi), "int32")
    codes = np.arange(-hi, hi) if hi < 1000 else np.arange(-hi, hi, 97)
    up = down = ((codes + 0.5) / float(scale[0])).astype(np.float32)
    near = [up]
    for _ in range(3):
        up, down = np.nextafter(up, np.float32(np.inf)), np.nextafter(down, np.float32(-np.inf))
        near += [up, down]
    x = np.concatenate([np.array([top], np.float32), *near])
    return np.asarray(x[np.abs(x) <= x[0]])


@pytest.mark.parametrize("hi", [1, 7, 127, 32767, 2**22 - 1])
@pytest.mark.parametrize("top", [1.0, 0.7123, 3.0, 1e30, 2.5e-3, 1e-5])
def test_products_that_become_ties_when_they_are_rounded(top: float, hi: int) -> None:
    """fl(x s) is half an integer on both sides of one; only the exact product tells them apart."""
    x = around_ties(top, hi)
    codes, scale = abs_max_quantize(x, None, (-hi, hi), "int32")
    exact = x.astype(np.float64) * float(scale[0])
    single = x * scale
    if hi > 1:
        assert (np.rint(single) != np.rint(exact)).any()
    np.testing.assert_array_equal(codes, np.rint(exact).astype(np.int32))


def test_exact_ties_and_tiny_products() -> None:
    """A scale of one half; products of half integers, of subnormals and of zeros."""
    ties = np.arange(-253, 254, dtype=np.float32)
    x = np.array([254.0, *ties, 1e-45, -1e-45, 1e-38, 0.0, -0.0], np.float32)
    with np.errstate(all="raise"):
        codes, scale = abs_max_quantize(x, None, epsilon=1e-30)
    assert scale.tolist() == [0.5]
    np.testing.assert_array_equal(codes[1:508], np.rint(ties / 2))
    assert not codes[508:].any()
    many = np.full((3, 70000), 1.0, np.float32)  # a tie in every place of a tile
    many[:, 0] = 254.0
    assert set(abs_max_quantize(many, None, epsilon=1e-30)[0][:, 1:].flat) == {0}


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("bits", sorted(CODES_PER_BYTE))
@pytest.mark.parametrize(
    "shape", [(0,), (9,), (8193,), (3, 0), (7, 16), (64, 512), (4, 6, 16), (1, 4200, 3), (600, 808)]
)
def test_packing_is_that_of_the_specification(
    shape: tuple[int, ...], bits: int, dtype: Any
) -> None:
    rng = np.random.default_rng(bits)
    lo, hi = code_bounds(bits, signed=dtype == np.int8)
    per_byte = CODES_PER_BYTE[bits]
    codes = rng.integers(lo, hi + 1, shape).astype(dtype)
    for axis in range(len(shape)):
        fields = np.moveaxis(codes, axis, 0).astype(int) % (2**bits if per_byte > 1 else 256)
        padded = np.zeros((-(-len(fields) // per_byte) * per_byte, *fields.shape[1:]), int)
        padded[: len(fields)] = fields
        sums = sum(padded[k::per_byte] << bits * k for k in range(per_byte))
        expected = np.moveaxis(np.asarray(sums).astype(dtype), 0, axis)
        for view in layouts(codes):
            np.testing.assert_array_equal(pack_codes(view, bits, axis), expected)
        for view in layouts(expected):
            np.testing.assert_array_equal(unpack_codes(view, bits, shape[axis], axis), codes)


def test_scratch_keeps_names_apart() -> None:
    scratch = Scratch()
    one, two = scratch.empty("one", (1024,), np.float32), scratch.empty("two", (1024,), np.float32)
    assert not np.shares_memory(one, two)
    assert one.ctypes.data % 64 == two.ctypes.data % 64 == 0
    assert (one.ctypes.data - two.ctypes.data) % 4096
    assert scratch.empty("one", (1024,), np.float32) is one
