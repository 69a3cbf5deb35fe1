"""The oracle's parts against NumPy: roundings, ranges, AbsMax, packing, Hessians."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.reference.problems import BITS, hessians, integer_arrays

from quantcheck.corpus.affine.build import parameters_case
from quantcheck.oracle import exact
from quantcheck.oracle.bounds import growth
from quantref import abs_max_quantize, accumulate_hessian, pack_codes, prepare_hessian, unpack_codes
from quantref.affine import range_parameters
from quantref.errors import DTypeError
from quantref.hessian import reversed_cholesky
from quantref.inputs import Array
from quantref.packing import code_bounds

LARGEST = float(np.finfo(np.float32).max)
FORMATS = {"float16": (11, -24), "float32": (24, -149), "float64": (53, -1074)}


def ulp(x: Array) -> Array:
    return np.spacing(np.abs(x).astype(np.float32)).astype(np.float64)


@given(x=st.floats(-LARGEST, LARGEST))
def test_nearest_float_is_the_cast(x: float) -> None:
    assert exact.nearest_float(Fraction(x)) == Fraction(float(np.float32(x)))
    if abs(x) < 65504:
        half = exact.nearest_float(Fraction(x), digits=11, smallest=-24)
        assert half == Fraction(float(np.float16(x)))
    assert exact.nearest_float(Fraction(x), digits=53, smallest=-1074) == Fraction(x)


@given(bits=st.integers(0, 0x7F7FFFFE), sign=st.sampled_from([-1.0, 1.0]), data=st.data())
def test_nearest_float_at_and_near_ties(bits: int, sign: float, data: st.DataObject) -> None:
    """Half-way between two neighbours, subnormal ones included, and one double to either side."""
    low, high = (float(v) for v in np.array([bits, bits + 1], np.uint32).view(np.float32))
    tie = (low + high) / 2
    for x in (tie, np.nextafter(tie, low), np.nextafter(tie, high)):
        value = float(x) * sign
        assert exact.nearest_float(Fraction(value)) == Fraction(float(np.float32(value)))
    assert exact.nearest_float(Fraction(tie)) == Fraction(high if bits % 2 else low)


@given(p=st.integers(-(2**80), 2**80), q=st.integers(1, 2**90))
def test_nearest_double_of_a_quotient(p: int, q: int) -> None:
    """Python divides integers correctly rounded."""
    assert exact.nearest_float(Fraction(p, q), digits=53, smallest=-1074) == Fraction(p / q)


@given(
    x=hnp.arrays(
        np.float32, st.integers(1, 12), elements=st.floats(-(2.0**100), 2.0**100, width=32)
    ),
    bounds=st.sampled_from([(-127, 127), (-128, 127), (-100, 127), (0, 255), (-3, 4)]),
    double=st.booleans(),
)
def test_abs_max(x: Array, bounds: tuple[int, int], double: bool) -> None:
    lo, hi = bounds
    given_x = x.astype(np.float64) / 3 if double else x
    scale, codes, margins = exact.abs_max(
        exact.fractions_of(given_x.tolist()), lo, hi, Fraction(1e-7), double=double
    )
    q, s = abs_max_quantize(given_x, -1, bounds, "int16")
    near = np.spacing(float(scale)) if double else ulp(np.array([float(scale)]))[0]
    # Two roundings instead of one: the exact one or, seldom, its neighbour.
    assert abs(float(s[0]) - float(scale)) <= near
    if Fraction(float(s[0])) != scale:
        return
    for value, margin, got, code in zip(given_x.tolist(), margins, q.tolist(), codes, strict=True):
        if not double or margin == 0 or margin > abs(Fraction(value) * scale) / 2**52:
            assert got == code


ENDS = st.tuples(st.integers(-(2**14), 2**14), st.integers(-(2**14), 2**14))


@given(ends=ENDS, shift=st.integers(-160, 60), bits=st.integers(2, 8), symmetric=st.booleans())
def test_range_parameters_of_short_numbers(
    ends: tuple[int, int], shift: int, bits: int, symmetric: bool
) -> None:
    """Where the ends are short, double precision rounds to single as if it were exact."""
    lo, hi = (k * 2.0**shift for k in sorted(ends))
    s, z, margin = exact.affine_range(Fraction(lo), Fraction(hi), bits=bits, symmetric=symmetric)
    scale, zero = range_parameters(np.array([lo]), np.array([hi]), bits=bits,
                                   symmetric=symmetric)  # fmt: skip
    assert Fraction(float(scale[0])) == s
    if margin == 0 or margin > Fraction(1, 2**40):
        assert int(zero[0]) == z


@given(
    ends=st.tuples(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30)),
    bits=st.integers(2, 8),
    symmetric=st.booleans(),
)
def test_range_parameters_of_any_numbers(
    ends: tuple[float, float], bits: int, symmetric: bool
) -> None:
    lo, hi = sorted(ends)
    s, z, margin = exact.affine_range(Fraction(lo), Fraction(hi), bits=bits, symmetric=symmetric)
    scale, zero = range_parameters(np.array([lo]), np.array([hi]), bits=bits,
                                   symmetric=symmetric)  # fmt: skip
    assert abs(float(scale[0]) - float(s)) <= ulp(scale)[0]
    if margin > Fraction(z + 1, 2**20):
        assert int(zero[0]) == z


def packed_lines(codes: Array, bits: int, axis: int) -> Array:
    """Return the bytes 0 … 255 that the oracle packs, line by line."""
    front = np.moveaxis(codes, axis, -1)
    lines = [exact.pack(line, bits) for line in front.reshape(-1, front.shape[-1]).tolist()]
    return np.moveaxis(np.array(lines, np.uint8).reshape(*front.shape[:-1], -1), -1, axis)


@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=4, max_side=9),
    bits=st.sampled_from(BITS),
    signed=st.booleans(),
    data=st.data(),
)
def test_pack(shape: tuple[int, ...], bits: int, signed: bool, data: st.DataObject) -> None:
    dtype = np.int8 if signed else np.uint8
    codes = data.draw(hnp.arrays(dtype, shape, elements=st.integers(*code_bounds(bits, signed))))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1), label="axis")
    packed = pack_codes(codes, bits, axis)
    np.testing.assert_array_equal(packed.view(np.uint8), packed_lines(codes, bits, axis))
    front = np.moveaxis(packed.view(np.uint8), axis, -1)
    lines = front.reshape(-1, front.shape[-1]).tolist()
    length = shape[axis]
    back = [exact.unpack(line, bits, length, signed) for line in lines]
    if bits in (2, 4):
        again = np.moveaxis(unpack_codes(packed, bits, length, axis), axis, -1)
        assert again.reshape(-1, length).tolist() == back
    assert np.moveaxis(codes, axis, -1).reshape(-1, length).tolist() == back


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("signed", [False, True])
def test_unpack_every_byte(bits: int, signed: bool) -> None:
    """All 256 bytes, also those that no packing makes."""
    lo, hi = code_bounds(bits, signed)
    every = np.arange(256, dtype=np.uint8)
    if bits in (3, 8):
        values = every.view(np.int8) if signed else every
        every = every[(values >= lo) & (values <= hi)]
    packed = every.view(np.int8) if signed else every
    per_byte = {2: 4, 3: 1, 4: 2, 8: 1}[bits]
    for length in range(len(every) * per_byte - per_byte + 1, len(every) * per_byte + 1):
        expected = exact.unpack(every.tolist(), bits, length, signed)
        assert unpack_codes(packed, bits, length).tolist() == expected


@given(n_in=st.integers(1, 9), data=st.data(), ordered=st.booleans())
def test_prepared_hessian(n_in: int, data: st.DataObject, ordered: bool) -> None:
    H = data.draw(hessians(n_in, definite=False))
    damping = data.draw(st.sampled_from([2.0**-6, 0.01, 1.0]), label="damping")
    damped, dead, order = exact.prepare(
        exact.fractions_of(H.tolist()), Fraction(damping), activation_order=ordered
    )
    prepared = prepare_hessian(H, damping=damping, activation_order=ordered)
    assert prepared.dead.tolist() == dead
    assert prepared.order.tolist() == order
    expected = np.array([[float(x) for x in row] for row in damped])
    np.testing.assert_allclose(prepared.damped, expected, rtol=1e-14, atol=0)
    factor = exact.ldl([[damped[i][j] for j in order] for i in order])
    R = reversed_cholesky(prepared.permuted())
    pivots = [float(p) for p in factor.pivots]
    np.testing.assert_allclose(R.diagonal() ** 2, pivots, rtol=1e-9)
    for k in range(n_in):
        for j in range(k + 1, n_in):
            assert R[k, j] / R[j, j] == pytest.approx(float(factor.unit(k, j)), abs=1e-9)


@given(n_in=st.integers(1, 6), count=st.integers(1, 9), data=st.data())
def test_hessian_of_tokens(n_in: int, count: int, data: st.DataObject) -> None:
    x = data.draw(integer_arrays((count, n_in), 50), label="tokens") / 8
    expected = exact.hessian_of(exact.fractions_of(x.tolist()))
    found = accumulate_hessian([x])
    np.testing.assert_allclose(found, [[float(v) for v in row] for row in expected], rtol=1e-15)


@pytest.mark.parametrize("name", FORMATS)
def test_the_largest_subnormals_and_ones(name: str) -> None:
    digits, smallest = FORMATS[name]
    tiny = Fraction(2) ** smallest
    for value, expected in ((tiny / 2, 0), (tiny * 3 / 2, 2 * tiny), (tiny * 5 / 2, 2 * tiny)):
        assert exact.nearest_float(value, digits=digits, smallest=smallest) == expected
    eps = Fraction(1, 2 ** (digits - 1))
    assert exact.nearest_float(1 + eps / 2, digits=digits, smallest=smallest) == 1
    assert exact.nearest_float(1 + 3 * eps / 2, digits=digits, smallest=smallest) == 1 + 2 * eps


@pytest.mark.parametrize(
    ("end", "scale", "admissible"), [(14.0, 4.0, [4, 4]), (10.5, 3.0, [3, 4]), (17.5, 5.0, [3, 4])]
)
def test_a_tie_of_a_zero_point_is_decided_where_no_arithmetic_rounds(
    end: float, scale: float, admissible: list[int]
) -> None:
    """Position 3.5; a product with 1/3 or 1/5, which are rounded, may lie on either side."""
    case = parameters_case("tie", "a tie", np.array([[-end, end]], np.float32), bits=3)
    assert case.expected["outputs"]["scale"].tolist() == [[scale]]
    assert case.expected["outputs"]["zero_point"].tolist() == [[4]]
    assert case.judging["zero_admissible"].tolist() == [[admissible]]


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_hessian_of_single_precision_products(rows: int) -> None:
    """Products in float32, sums of batches in float64: within the bound of HES-010."""
    rng = np.random.default_rng(rows)
    tokens = rng.normal(size=(900, 11)).astype(np.float32)
    batches = [tokens[k : k + rows] for k in range(0, len(tokens), rows)]
    exactly = accumulate_hessian(batches)
    single = accumulate_hessian(batches, dtype=np.float32)
    size = accumulate_hessian([np.abs(tokens)])
    allowed = growth(len(tokens) + 4 * len(batches) + 4, 2.0**-24) * size
    assert (np.abs(single - exactly) <= allowed).all()
    assert (single == single.T).all()


@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_hessian_refuses_other_precisions(dtype: Any) -> None:
    with pytest.raises(DTypeError, match=r"float32 or float64.*HES-090"):
        accumulate_hessian([np.ones((2, 2))], dtype=dtype)
