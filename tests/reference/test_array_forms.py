"""The plain and the fast form of AbsMax and of packing are the same: codes, scales and errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quantref
from quantref import AbsMaxQuantizer, abs_max_quantize, absmax, packing
from quantref.errors import NonFiniteError, OverflowRangeError, QuantrefError
from quantref.fast import absmax as fast_absmax
from quantref.fast import packing as fast_packing
from quantref.fast.memory import TILE, Scratch
from quantref.inputs import Array, require_float
from quantref.packing import CODES_PER_BYTE, code_bounds

from .problems import cases

Form = Callable[..., Any]
FORMS: dict[str, tuple[Form, Form]] = {
    "abs_max_quantize": (absmax.abs_max_quantize, fast_absmax.abs_max_quantize),
    "pack_codes": (packing.pack_codes, fast_packing.pack_codes),
    "unpack_codes": (packing.unpack_codes, fast_packing.unpack_codes),
}
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
    (0, 2**32 - 1, "uint32"),
)


def outcome(form: Form, *arguments: Any) -> Any:
    """Return what a form returns, or type and message of what it raises."""
    try:
        return form(*arguments)
    except QuantrefError as error:
        return type(error), str(error)


def assert_same(name: str, *arguments: Any) -> Any:
    """Both forms give the same bits, dtypes and shapes, or the same error; return the answer."""
    one, other = (outcome(form, *arguments) for form in FORMS[name])
    if isinstance(one, np.ndarray):
        one, other = (one,), (other,)
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(b, a, strict=True)
        else:
            assert b == a
    return one


def layouts(array: Array) -> list[Array]:
    """Return an array as C and Fortran hold it, backwards, with gaps, and read-only."""
    if array.ndim == 0:
        return [array]
    gaps = np.repeat(array, 2, axis=-1)[..., ::2]
    fixed = array.copy()
    fixed.flags.writeable = False
    return [array, np.asfortranarray(array), array[..., ::-1][..., ::-1], gaps, fixed]


def test_the_fast_form_is_public() -> None:
    for name, (plain, quick) in FORMS.items():
        assert plain is not quick
        assert getattr(quantref, name, quick) is quick
    assert AbsMaxQuantizer.quantize is fast_absmax.abs_max_quantize


@pytest.mark.parametrize("case", cases("abs"), ids=lambda case: case.id)
def test_vectors_of_absmax(case: Any) -> None:
    given_, asked = case.inputs, case.parameters
    if case.operation == "abs_max_quantize":
        names = ("axis", "value_range", "output_dtype", "epsilon")
        assert_same(case.operation, given_["x"], *(asked[name] for name in names))
    elif case.operation == "abs_max_quantizer":
        quantizer, axis = AbsMaxQuantizer(**asked["arguments"]), asked["call_axis"]
        axis = axis if axis is not None else -1 if quantizer.axis is None else quantizer.axis
        rest = (quantizer.value_range, quantizer.output_dtype, quantizer.epsilon)
        expected = assert_same("abs_max_quantize", given_["x"], axis, *rest)
        found = quantizer(given_["x"], asked["call_axis"])
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize(
    "case",
    [case for case in cases("pack") if case.operation in ("pack", "unpack")],
    ids=lambda case: case.id,
)
def test_vectors_of_packing(case: Any) -> None:
    asked = case.parameters
    if case.operation == "pack":
        assert_same("pack_codes", case.inputs["codes"], asked["bits"], asked["axis"])
    else:
        rest = (asked["bits"], asked["length"], asked["axis"])
        assert_same("unpack_codes", case.inputs["packed"], *rest)


@pytest.mark.parametrize("float_type", FLOATS)
@pytest.mark.parametrize(
    "shape", [(), (1,), (9,), (3, 5), (2, 3, 4), (1, 1, 300), (5, 70001), (2, 3, 70001)]
)
def test_absmax_of_every_shape_and_layout(float_type: Any, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    draws = (rng.normal(size=shape), rng.integers(-9, 10, shape) / 2, np.zeros(shape))
    axes = [a for n in range(len(shape) + 1) for a in itertools.combinations(range(len(shape)), n)]
    large = shape[-1:] > (1000,)  # more than a tile, and than what is read twice
    for draw, axis in itertools.product(draws[:1] if large else draws, [None, *axes]):
        x = np.asarray(draw).astype(float_type)
        for (lo, hi, dtype), view in itertools.product(RANGES[:2] if large else RANGES, layouts(x)):
            codes, scale = assert_same("abs_max_quantize", view, axis, (lo, hi), dtype)
            assert codes.dtype == dtype
            assert scale.dtype == (np.float64 if float_type is np.float64 else np.float32)


VALUES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "half integers": lambda rng, shape: rng.integers(-254, 255, shape) / 2,
    "all sizes": lambda rng, n: np.ldexp(rng.normal(size=n), rng.integers(-140, 99, n)),
    "large": lambda rng, shape: rng.normal(size=shape) * 1e38,
    "larger than float32": lambda rng, shape: rng.normal(size=shape) * 1e307,
    "tiny": lambda rng, shape: rng.normal(size=shape) * 1e-42,
    "zeros": lambda _rng, shape: np.zeros(shape),
}  # fmt: skip
LENGTHS = st.integers(1, 9) | st.sampled_from([TILE - 1, TILE, TILE + 1, 4 * TILE + 1])
AXES = (
    st.sampled_from([None, -1, 0, ()])
    | st.integers(-3, 2)
    | st.lists(st.integers(-3, 2), max_size=3).map(tuple)
)


@st.composite
def float_arrays(draw: st.DrawFn) -> Array:
    """Arrays of any float dtype and layout, of a few elements or of a tile and one more."""
    shape = draw(st.lists(st.integers(1, 3), max_size=2))
    if draw(st.booleans()):
        shape = draw(st.permutations([*shape, draw(LENGTHS)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32), label="seed"))
    values = VALUES[draw(st.sampled_from(sorted(VALUES)), label="values")](rng, tuple(shape))
    with np.errstate(over="ignore"):
        x = np.asarray(values).astype(draw(st.sampled_from(FLOATS)))
    x[~np.isfinite(x)] = 1.0
    if draw(st.integers(0, 9)) == 0:
        bad = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        x.reshape(-1)[draw(st.integers(0, x.size - 1))] = bad
    return draw(st.sampled_from(layouts(x)))


@given(
    x=float_arrays(),
    axis=AXES,
    bounds=st.sampled_from(RANGES),
    epsilon=st.sampled_from([1e-7, 1e-30, 1e-3, 1.0, 1e30, 0.0]),
)
@settings(max_examples=300, deadline=None)
def test_absmax_of_generated_arrays(
    x: Array, axis: Any, bounds: tuple[int, int, str], epsilon: float
) -> None:
    lo, hi, dtype = bounds
    with np.errstate(all="raise"):
        assert_same("abs_max_quantize", x, axis, (lo, hi), dtype, epsilon)


@pytest.mark.parametrize(
    "arguments",
    [
        (np.array([1], np.int8), None),
        (np.zeros((0, 3)), None),
        (np.ones(3), 1),
        (np.ones(3), (0, -1)),
        (np.ones(3), (0, 0)),
        (np.ones(3), "0"),
        (np.ones(3), None, (1, 127)),
        (np.ones(3), None, (-127, 128)),
        (np.ones(3), None, 127),
        (np.ones(3), None, (-127, 127), "int64"),
        (np.ones(3), None, (-127, 127), "int8", -1.0),
        (np.array([np.nan, np.inf]), 3),
    ],
)
def test_what_absmax_refuses(arguments: tuple[Any, ...]) -> None:
    kind, message = assert_same("abs_max_quantize", *arguments)
    assert issubclass(kind, QuantrefError)
    assert message


@pytest.mark.parametrize("form", FORMS["abs_max_quantize"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_what_is_not_finite_is_named_wherever_it_is(axis: int | None, form: Form) -> None:
    x = np.zeros((5, 70001), np.float32)
    x[4, 70000] = np.nan
    with pytest.raises(NonFiniteError, match=r"\[4, 70000\]"):
        form(x, axis)
    x[0, 0] = 2e38  # too large for a normal scale of one step: NaN is named all the same
    with pytest.raises(NonFiniteError, match=r"\[4, 70000\]"):
        form(x, axis, (-1, 1))
    x[4, 70000] = 3e38
    with pytest.raises(OverflowRangeError, match=r"max\|x\|=3\.0"):
        form(x, axis, (-1, 1))
    with pytest.raises(NonFiniteError, match=r"inputs\[\]=nan"):
        form(np.float32(np.nan), None)


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
    codes, scale = assert_same("abs_max_quantize", x, None, (-hi, hi), "int32")
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
        codes, scale = assert_same("abs_max_quantize", x, None, (-127, 127), "int8", 1e-30)
    assert scale.tolist() == [0.5]
    np.testing.assert_array_equal(codes[1:508], np.rint(ties / 2))
    assert not codes[508:].any()
    many = np.full((3, 70000), 1.0, np.float32)  # a tie in every place of a tile
    many[:, 0] = 254.0
    codes, _ = assert_same("abs_max_quantize", many, None, (-127, 127), "int8", 1e-30)
    assert set(codes[:, 1:].flat) == {0}


PACKED_SHAPES = [
    (0,), (9,), (8193,), (3, 0), (7, 16), (64, 512), (4, 6, 16), (1, 4200, 3), (600, 808),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("bits", sorted(CODES_PER_BYTE))
@pytest.mark.parametrize("shape", PACKED_SHAPES)
def test_packing_of_every_shape_and_layout(shape: tuple[int, ...], bits: int, dtype: Any) -> None:
    rng = np.random.default_rng(bits)
    lo, hi = code_bounds(bits, signed=dtype == np.int8)
    codes = rng.integers(lo, hi + 1, shape).astype(dtype)
    for axis in range(len(shape)):
        for view in layouts(codes):
            (packed,) = assert_same("pack_codes", view, bits, axis)
        for view in layouts(packed):
            (again,) = assert_same("unpack_codes", view, bits, shape[axis], axis)
            np.testing.assert_array_equal(again, codes)


@st.composite
def code_arrays(draw: st.DrawFn) -> tuple[Array, int]:
    """Codes and their bits; lengths that fill their bytes and words, and lengths that do not."""
    bits = draw(st.sampled_from(sorted(CODES_PER_BYTE)))
    dtype = draw(st.sampled_from([np.int8, np.uint8]))
    long = st.sampled_from([2048, 4096, 4097, 4100, 70001, 2**18 + 8])
    shape = draw(st.lists(st.integers(0, 4), max_size=2))
    shape = draw(st.permutations([*shape, draw(st.integers(1, 20) | long)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32), label="seed"))
    lo, hi = code_bounds(bits, signed=dtype == np.int8)
    codes = rng.integers(lo, hi + 1, shape).astype(dtype)
    if codes.size and draw(st.integers(0, 9)) == 0:  # one that may be out of range
        codes.reshape(-1)[draw(st.integers(0, codes.size - 1))] = hi + 1 if hi < 127 else hi
    return draw(st.sampled_from(layouts(codes))), bits


@given(drawn=code_arrays(), axis=st.integers(-3, 2))
@settings(max_examples=300, deadline=None)
def test_packing_of_generated_codes(drawn: tuple[Array, int], axis: int) -> None:
    codes, bits = drawn
    assert_same("pack_codes", codes, bits, axis)


@given(drawn=code_arrays(), axis=st.integers(-3, 2), change=st.integers(-8, 1))
@settings(max_examples=300, deadline=None)
def test_unpacking_of_generated_bytes(drawn: tuple[Array, int], axis: int, change: int) -> None:
    """Bytes of any content, with a length that fits them or not."""
    packed, bits = drawn
    if bits != 3:
        rng = np.random.default_rng(packed.size)
        packed = rng.integers(0, 256, packed.shape).astype(np.uint8).view(packed.dtype)
    inside = -packed.ndim <= axis < packed.ndim
    length = packed.shape[axis] * CODES_PER_BYTE[bits] + change if inside else 3
    assert_same("unpack_codes", packed, bits, length, axis)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("pack_codes", (np.array([1], np.int16), 4)),
        ("pack_codes", (np.array([1], np.int8), 5)),
        ("pack_codes", (np.array([1], np.int8), 4.0)),
        ("pack_codes", (np.int8(1), 4)),
        ("pack_codes", (np.array([1], np.int8), 4, 1)),
        ("pack_codes", (np.array([1, 8], np.int8), 4)),
        ("pack_codes", (np.array([[1, 2], [4, 3]], np.uint8), 2)),
        ("unpack_codes", (np.array([1], np.float32), 4, 1)),
        ("unpack_codes", (np.array([1], np.int8), 4, 3)),
        ("unpack_codes", (np.array([1], np.int8), 4, -1)),
        ("unpack_codes", (np.array([], np.int8), 4, 1)),
        ("unpack_codes", (np.array([4], np.int8), 3, 1)),
        ("unpack_codes", (np.array([1], np.int8), 4, True)),
    ],
)
def test_what_packing_refuses(name: str, arguments: tuple[Any, ...]) -> None:
    kind, message = assert_same(name, *arguments)
    assert issubclass(kind, QuantrefError)
    assert message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("float_type", FLOATS)
def test_what_is_not_finite_is_found_in_every_dtype(float_type: Any, bad: float) -> None:
    for shape, index in (((), ()), ((5,), (4,)), ((3, 70001), (2, 70000))):
        x = np.zeros(shape, float_type)
        x[index] = bad
        with np.errstate(all="raise"), pytest.raises(NonFiniteError) as caught:
            require_float(x, "x", "RND-030")
        assert caught.value.got == f"x{list(index)}={bad}"
        finite = np.full(shape, np.finfo(np.float16).max, float_type)
        assert require_float(finite, "x", "RND-030") is finite
    both = np.array([1.0, np.inf, -np.inf]).astype(float_type)  # whose sum is no number
    with np.errstate(all="raise"), pytest.raises(NonFiniteError, match=r"x\[1\]=inf"):
        require_float(both, "x", "RND-030")


def test_a_sum_that_overflows_is_no_infinity() -> None:
    x = np.full(9, np.finfo(np.float64).max)
    with np.errstate(all="raise"):
        assert require_float(x, "x", "RND-030") is x
    x[7] = np.nan
    with np.errstate(all="raise"), pytest.raises(NonFiniteError, match=r"x\[7\]=nan"):
        require_float(x, "x", "RND-030")
    assert require_float(np.zeros((0, 3)), "x", "RND-030").size == 0


def test_scratch_keeps_names_apart() -> None:
    scratch = Scratch()
    one, two = scratch.empty("one", (1024,), np.float32), scratch.empty("two", (1024,), np.float32)
    assert not np.shares_memory(one, two)
    assert one.ctypes.data % 64 == two.ctypes.data % 64 == 0
    assert (one.ctypes.data - two.ctypes.data) % 4096
    assert scratch.empty("one", (1024,), np.float32) is one
