"""Bad arrays are refused before any work; the error names the expected and the given value."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from quantref import (
    HessianAccumulator,
    QuantrefError,
    abs_max_dequantize,
    abs_max_quantize,
    accumulate_hessian,
    affine_dequantize,
    affine_parameters,
    affine_quantize,
    certify,
    gptq_quantize,
    gptq_textbook,
    group_index,
    pack_codes,
    prepare_hessian,
    round_half_even,
    saturating_cast,
    unpack_codes,
)
from quantref.errors import (
    AxisError,
    BitsError,
    CodeRangeError,
    ConfigError,
    DTypeError,
    EmptyArrayError,
    NonFiniteError,
    NotPositiveDefiniteError,
    NotSymmetricError,
    OverflowRangeError,
    ShapeError,
    ValueRangeError,
)

from .problems import plain_config

W = np.array([[1.0, -2.0, 0.5], [0.25, 4.0, -1.0]], np.float32)
H = np.array([[3.0, 2.0, 1.0], [2.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
S, Z, G = np.ones((2, 1), np.float32), np.ones((2, 1), np.uint8), np.zeros(3, np.int32)
Q = np.ones((2, 3), np.uint8)
SINGULAR = np.ones((3, 3))


def with_value(array: Any, index: tuple[int, ...], value: float) -> Any:
    changed = array.copy()
    changed[index] = value
    return changed


NAN, INF = with_value(W, (1, 2), np.nan), with_value(W, (0, 1), -np.inf)
ONE_SIDED = with_value(H, (0, 1), 2.5)
BESIDE_ZERO = np.array([[0.0, 0.5], [0.5, 1.0]])


def gptq(weights: Any, hessian: Any, form: Any = gptq_quantize, **changes: Any) -> Any:
    return form(weights, hessian, plain_config(**changes))


def certificate(weights: Any, hessian: Any) -> Any:
    return certify(weights, hessian, gptq(W, H), plain_config())


SOLVERS: list[Callable[..., Any]] = [
    gptq,
    lambda w, h: gptq(w, h, gptq_textbook),
    certificate,
]
# Weights or Hessian that every form, and the certificate, refuses alike.
PROBLEMS: list[tuple[Any, Any, type[QuantrefError], str, str]] = [
    (W[0], H, ShapeError, "weights of shape (n_out, n_in)", "(3,)"),
    (W[None], H, ShapeError, "weights of shape (n_out, n_in)", "(1, 2, 3)"),
    (np.float32(1), H, ShapeError, "weights of shape (n_out, n_in)", "shape=()"),
    (W[:0], H, EmptyArrayError, "weights with elements", "(0, 3)"),
    (W[:, :0], H[:0, :0], EmptyArrayError, "weights with elements", "(2, 0)"),
    (NAN, H, NonFiniteError, "finite weights", "weights[1, 2]=nan"),
    (INF, H, NonFiniteError, "finite weights", "weights[0, 1]=-inf"),
    (W.astype(np.int32), H, DTypeError, "weights of dtype float16", "int32"),
    (W.astype(np.complex64), H, DTypeError, "weights of dtype float16", "complex64"),
    (W > 0, H, DTypeError, "weights of dtype float16", "bool"),
    (W.astype(object), H, DTypeError, "weights of dtype float16", "object"),
    (np.array([["a", "b", "c"]]), H, DTypeError, "weights of dtype float16", "str"),
    (W, H[:2], ShapeError, "hessian of shape (3, 3)", "(2, 3)"),
    (W, H[:2, :2], ShapeError, "hessian of shape (3, 3)", "(2, 2)"),
    (W, H[0], ShapeError, "hessian of shape (3, 3)", "(3,)"),
    (W, with_value(H, (2, 2), np.nan), NonFiniteError, "finite hessian", "hessian[2, 2]=nan"),
    (W, H.astype(np.int64), DTypeError, "hessian of dtype float16", "int64"),
    (W, H.astype(np.complex128), DTypeError, "hessian of dtype float16", "complex128"),
    (W, ONE_SIDED, NotSymmetricError, "a symmetric hessian", "H[0, 1]=2.5, H[1, 0]=2"),
    (W, -H, NotPositiveDefiniteError, "a diagonal >= 0", "H[0, 0]=-3"),
    (W[:, :2], BESIDE_ZERO, NotPositiveDefiniteError, "zeros in the row and column", "H[0, 1]=0.5"),
    (W, SINGULAR, NotPositiveDefiniteError, "positive definite after damping 0", "pivot 0"),
]


@pytest.mark.parametrize(
    ("weights", "hessian", "error", "expected", "got"),
    PROBLEMS,
    ids=[": ".join(problem[3:]) for problem in PROBLEMS],
)
@pytest.mark.parametrize("solve", SOLVERS, ids=["blocked", "textbook", "certificate"])
def test_problems_that_are_refused(
    solve: Callable[..., Any],
    weights: Any,
    hessian: Any,
    error: type[QuantrefError],
    expected: str,
    got: str,
) -> None:
    before = pickle.dumps((weights, hessian))
    with pytest.raises(error) as caught:
        solve(weights, hessian)
    assert expected in caught.value.expected
    assert got in caught.value.got
    assert caught.value.requirement
    assert pickle.dumps((weights, hessian)) == before


def test_the_message_names_damping_and_smallest_pivot() -> None:
    hessian = np.diag([1.0, 2.0, 3.0])
    hessian[0, 1] = hessian[1, 0] = 1.5  # pivot of column 0: 1.0625 − 1.5² / 2.0625
    with pytest.raises(NotPositiveDefiniteError) as caught:
        gptq(W, hessian, hessian_damping=0.03125)
    assert "damping 0.03125" in caught.value.expected
    pivot = 1.0625 - 1.5**2 / 2.0625
    assert f"pivot {pivot:.6g} at column 0" in caught.value.got
    assert caught.value.requirement == "HES-080"


def unit(x: Any, **arguments: Any) -> Any:
    return abs_max_quantize(x, **{"axis": None, **arguments})


B = np.array([1, 2], np.uint8)
WIDE = np.array([7, 9], np.uint8)
CALLS: list[tuple[Callable[[], Any], type[QuantrefError], str, str]] = [
    # rounding
    (lambda: round_half_even(np.arange(3)), DTypeError, "x of dtype float16", "int64"),
    (lambda: round_half_even([np.nan]), NonFiniteError, "finite x", "x[0]=nan"),
    (lambda: saturating_cast([np.inf], "int8"), NonFiniteError, "finite x", "x[0]=inf"),
    (lambda: saturating_cast([1.0], "float32"), DTypeError, "an integer dtype", "float32"),
    (lambda: saturating_cast([1.0], "int7"), DTypeError, "an integer dtype", "int7"),
    # affine
    (lambda: affine_parameters(W, bits=1), BitsError, "bits in 2 … 8", "bits=1"),
    (lambda: affine_parameters(W, bits=9), BitsError, "bits in 2 … 8", "bits=9"),
    (lambda: affine_parameters(W, bits=4, group_size=0), ConfigError, "group_size >= 1", "0"),
    (lambda: affine_parameters(W, bits=4, group_size=-2), ConfigError, "group_size >= 1", "-2"),
    (lambda: affine_parameters(W[0], bits=4), ShapeError, "(n_out, n_in)", "(3,)"),
    (lambda: affine_parameters(NAN, bits=4), NonFiniteError, "finite weights", "[1, 2]=nan"),
    (lambda: affine_parameters(np.array([[1e300]]), bits=2), OverflowRangeError,
     "(hi - lo) / 3 <= 3.40282e+38", "1e+300"),
    (lambda: affine_parameters(np.array([[-1.7e308, 1.7e308]]), bits=2), OverflowRangeError,
     "(hi - lo) / 3 <= 3.40282e+38", "hi - lo = inf"),
    (lambda: affine_quantize(W, S[:1], Z, G, bits=4), ShapeError, "(2, n_groups)", "(1, 1)"),
    (lambda: affine_quantize(W, S, Z, G[:2], bits=4), ShapeError, "g_idx of (3,)", "g_idx (2,)"),
    (lambda: affine_quantize(W, S, Z, G + 1, bits=4), CodeRangeError, "g_idx in [0, 1)", "[1, 1]"),
    (lambda: affine_quantize(W, S, Z + 99, G, bits=4), CodeRangeError, "zero_point in [0, 15]",
     "[100, 100]"),
    (lambda: affine_quantize(W, -S, Z, G, bits=4), NonFiniteError, "a positive scale", "-1.0"),
    (lambda: affine_quantize(W, S, Z * 1.0, G, bits=4), DTypeError, "integer zero_point", "float"),
    (lambda: affine_dequantize(Q * 1.0, S, Z, G), DTypeError, "integer codes", "float64"),
    (lambda: affine_dequantize(Q[0], S, Z, G), ShapeError, "(n_out, n_in)", "(3,)"),
    (lambda: affine_dequantize(Q * 2, np.full((2, 1), 3.4028236e38), Z, G), OverflowRangeError,
     "a finite float32", "3.4028236e+38"),
    (lambda: abs_max_dequantize(Q, np.ones((2, 1), np.float16)), DTypeError,
     "float32 or float64", "float16"),
    (lambda: group_index(4, 0), ConfigError, "group_size >= 1", "0"),
    # AbsMax
    (lambda: unit(np.arange(3)), DTypeError, "inputs of dtype float16", "int64"),
    (lambda: unit(W * 1j), DTypeError, "inputs of dtype float16", "complex"),
    (lambda: unit(NAN), NonFiniteError, "finite inputs", "inputs[1, 2]=nan"),
    (lambda: unit(W[:0]), EmptyArrayError, "inputs with elements", "(0, 3)"),
    (lambda: unit(W, axis=2), AxisError, "axes in [-2, 2)", "axis=2"),
    (lambda: unit(W, axis=(0, -2)), AxisError, "distinct axes", "(0, -2)"),
    (lambda: unit(W, value_range=(127, -127)), ValueRangeError, "lo <= 0 < hi", "(127, -127)"),
    (lambda: unit(W, value_range=(-127, 128)), ValueRangeError, "hi <= 127 (int8)", "(-127, 128)"),
    (lambda: unit(W, value_range=(-129, 127)), ValueRangeError, "-128 <= lo", "(-129, 127)"),
    (lambda: unit(W, value_range=(1, 127)), ValueRangeError, "lo <= 0", "(1, 127)"),
    (lambda: unit(W, value_range=7), ValueRangeError, "two integers", "7"),
    (lambda: unit(W, dtype="float32"), DTypeError, "output_dtype in int8", "float32"),
    (lambda: unit(W, dtype="int64"), DTypeError, "output_dtype in int8", "int64"),
    (lambda: unit(W, epsilon=0.0), ConfigError, "epsilon > 0", "0.0"),
    (lambda: unit(W, epsilon=1e-40), ConfigError, "finite float32", "1e-40"),
    (lambda: abs_max_dequantize(W, S), DTypeError, "integer codes", "float32"),
    (lambda: abs_max_dequantize(Q, Z), DTypeError, "float32 or float64", "uint8"),
    (lambda: abs_max_dequantize(Q, S[:, 0]), ShapeError, "broadcasts to the codes", "(2,)"),
    (lambda: abs_max_dequantize(Q, S * 0), NonFiniteError, "a finite, positive scale", "0.0"),
    (lambda: abs_max_dequantize(Q, S * np.float32(np.nan)), NonFiniteError, "positive", "nan"),
    # packing
    (lambda: pack_codes(Q * 16, 4), CodeRangeError, "codes in [0, 15] for 4 bits", "[0, 0]=16"),
    (lambda: pack_codes(np.array([3, -9], np.int8), 4), CodeRangeError, "[-8, 7]", "codes[1]=-9"),
    (lambda: pack_codes(WIDE, 3), CodeRangeError, "[0, 7] for 3", "codes[1]=9"),
    (lambda: pack_codes(W, 4), DTypeError, "int8 or uint8", "float32"),
    (lambda: pack_codes(Q.astype(np.int16), 4), DTypeError, "int8 or uint8", "int16"),
    (lambda: pack_codes(Q, 5), BitsError, "bits in (2, 3, 4, 8)", "bits=5"),
    (lambda: pack_codes(Q, 4, 2), AxisError, "axis in [-2, 2)", "axis=2"),
    (lambda: pack_codes(np.uint8(1), 4), ShapeError, "rank 1 or more", "rank 0"),
    (lambda: unpack_codes(B, 4, 5), ShapeError, "length in [3, 4] for 2 bytes", "length=5"),
    (lambda: unpack_codes(B, 4, 2), ShapeError, "length in [3, 4] for 2 bytes", "length=2"),
    (lambda: unpack_codes(B, 2, -1), ShapeError, "length in [5, 8]", "length=-1"),
    (lambda: unpack_codes(WIDE[1:], 3, 1), CodeRangeError, "[0, 7] per byte", "[9, 9]"),
    # Hessian
    (lambda: accumulate_hessian([]), EmptyArrayError, "at least one batch", "none"),
    (lambda: accumulate_hessian([W[:0]]), EmptyArrayError, "a batch with tokens", "(0, 3)"),
    (lambda: accumulate_hessian([W, W[:, :2]]), ShapeError, "(..., 3)", "(2, 2)"),
    (lambda: accumulate_hessian([Q]), DTypeError, "batch of dtype float16", "uint8"),
    (lambda: accumulate_hessian([NAN]), NonFiniteError, "finite batch", "batch[1, 2]=nan"),
    (lambda: accumulate_hessian([np.float32(1)]), ShapeError, "(..., n_in)", "()"),
    (lambda: HessianAccumulator(0), ConfigError, "n_in >= 1", "0"),
    (lambda: HessianAccumulator("3"), ConfigError, "n_in", "'3'"),  # type: ignore[arg-type]
    (lambda: HessianAccumulator(2.5), ConfigError, "n_in", "2.5"),  # type: ignore[arg-type]
    (lambda: HessianAccumulator(True), ConfigError, "n_in", "True"),
    (lambda: HessianAccumulator(2).hessian(), EmptyArrayError, "at least one token", "none"),
    (lambda: HessianAccumulator(2).merge(HessianAccumulator(3)), ShapeError, "n_in=2", "n_in=3"),
    (lambda: prepare_hessian(H, damping=1.5), ConfigError, "damping in [0, 1]", "1.5"),
    (lambda: prepare_hessian(H, damping=-0.1), ConfigError, "damping in [0, 1]", "-0.1"),
    (lambda: prepare_hessian(H, damping=np.nan), ConfigError, "finite", "nan"),
    (lambda: prepare_hessian(H[:, :2]), ShapeError, "(n_in, n_in)", "(3, 2)"),
    # working precision
    (lambda: gptq_quantize(W, H, plain_config(), dtype="float16"), DTypeError,
     "float32 or float64", "float16"),
    (lambda: gptq_quantize(W, H, plain_config(), dtype="double-double"), DTypeError,
     "float32 or float64", "double-double"),
    (lambda: gptq_quantize(np.full((1, 3), 1e300), H, plain_config(), dtype="float32"),
     OverflowRangeError, "<= 3.40282e+38", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "expected", "got"), CALLS, ids=[": ".join(call[2:]) for call in CALLS]
)
def test_calls_that_are_refused(
    call: Callable[[], Any], error: type[QuantrefError], expected: str, got: str
) -> None:
    shared = (W, H, S, Z, G, Q, B, NAN)
    before = pickle.dumps(shared)
    with pytest.raises(error) as caught:
        call()
    assert expected in caught.value.expected
    assert got in caught.value.got
    assert caught.value.requirement
    assert f"expected {caught.value.expected}, got {caught.value.got}" in str(caught.value)
    assert pickle.dumps(shared) == before


def test_what_is_at_the_edge_and_not_refused() -> None:
    """A product is judged once it is rounded; 64-bit integers are subtracted exactly."""
    largest = affine_dequantize([[1]], np.array([[3.4028235e38]]), [[0]], [0])
    assert largest == np.finfo(np.float32).max
    one = np.ones((1, 1), np.float32)
    assert affine_dequantize([[2**60 + 1]], one, [[2**60]], [0]) == 1
    most, least = np.array([[2**64 - 1]], np.uint64), np.array([[-(2**63)]], np.int64)
    assert affine_dequantize(most, one, least, [0]) == np.float32(2**64 + 2**63)
    empty = np.zeros((0, 3), np.uint8), np.zeros((0, 1), np.float32), np.zeros((0, 1), np.uint8)
    assert affine_dequantize(*empty, G).shape == (0, 3)
