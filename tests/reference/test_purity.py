"""Nothing changes its inputs, whatever their layout, precision and permission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from quantref import (
    AbsMaxQuantizer,
    HessianAccumulator,
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
from quantref.hessian import reversed_cholesky, upper_inverse
from quantref.inputs import Array

from .problems import normal_problem, plain_config

FLOATS = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32),
          np.dtype(np.float64))  # fmt: skip


def readonly(a: Array) -> Array:
    a.flags.writeable = False
    return a


def every_second(a: Array) -> Array:
    """Return a view with the same elements, none of them beside its neighbour."""
    wide = np.zeros(tuple(2 * n for n in a.shape), a.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in a.shape)]
    view[...] = a
    return readonly(view)


def backwards(a: Array) -> Array:
    flip = tuple(slice(None, None, -1) for _ in a.shape)
    return readonly(a[flip].copy()[flip])


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "read-only": lambda a: readonly(a.copy()),
    "Fortran": lambda a: readonly(np.asfortranarray(a.copy())),
    "every second": every_second,
    "backwards": backwards,
    "other byte order": lambda a: readonly(
        a if a.dtype.name == "bfloat16" else a.astype(a.dtype.newbyteorder(">"))
    ),
}
PROBLEM = normal_problem(3, 4, 12, group_size=4, activation_order=True)
H, ORDERED = PROBLEM.hessian.copy(), plain_config(group_size=4, activation_order=True)
H[[2, 7], :] = 0
H[:, [2, 7]] = 0
SCALE, ZERO = affine_parameters(PROBLEM.weights, bits=4, group_size=4)
G = group_index(12, 4)
CODES = affine_quantize(PROBLEM.weights, SCALE, ZERO, G, bits=4)
ANSWER = gptq_quantize(PROBLEM.weights, H, ORDERED)
PACKED = pack_codes(CODES, 4)


def _update(x: Array) -> Array:
    total = HessianAccumulator(12)
    total.update(x)
    return total.hessian()


Inputs = dict[str, Array]
W: Inputs = {"weights": PROBLEM.weights}
CALLS: dict[str, tuple[Callable[..., Any], Inputs]] = {
    "blocked": (lambda weights, h: gptq_quantize(weights, h, ORDERED), {**W, "h": H}),
    "textbook": (lambda weights, h: gptq_textbook(weights, h, ORDERED), {**W, "h": H}),
    "blocked, float32": (
        lambda weights, h: gptq_quantize(weights, h, ORDERED, dtype="float32"), {**W, "h": H}),
    "certify": (lambda weights, h: certify(weights, h, ANSWER, ORDERED).residual_steps,
                {**W, "h": H}),
    "prepare": (lambda h: prepare_hessian(h, activation_order=True), {"h": H}),
    "factor": (reversed_cholesky, {"hessian": PROBLEM.hessian}),
    "inverse": (upper_inverse, {"R": reversed_cholesky(PROBLEM.hessian)}),
    "accumulate": (lambda x: accumulate_hessian([x]), {"x": PROBLEM.weights}),
    "update": (_update, {"x": PROBLEM.weights}),
    "parameters": (lambda weights: affine_parameters(weights, bits=4, group_size=5), W),
    "quantize": (lambda weights, s, z, g: affine_quantize(weights, s, z, g, bits=4),
                 {**W, "s": SCALE, "z": ZERO, "g": G}),
    "dequantize": (affine_dequantize,
                   {"codes": CODES, "scale": SCALE, "zero_point": ZERO, "g_idx": G}),
    "absmax": (lambda x: abs_max_quantize(x, 0), {"x": PROBLEM.weights}),
    "absmax object": (AbsMaxQuantizer(), {"x": PROBLEM.weights}),
    "absmax back": (abs_max_dequantize, {"codes": CODES, "scale": SCALE[:, :1]}),
    "round": (round_half_even, {"x": PROBLEM.weights}),
    "cast": (lambda x: saturating_cast(x, "int8"), {"x": PROBLEM.weights}),
    "pack": (lambda codes: pack_codes(codes, 4, 1), {"codes": CODES}),
    "pack bytes": (lambda codes: pack_codes(codes, 8), {"codes": CODES}),
    "unpack": (lambda packed: unpack_codes(packed, 4, 4), {"packed": PACKED}),
    "unpack bytes": (lambda packed: unpack_codes(packed, 8, 2), {"packed": PACKED}),
}  # fmt: skip


def arrays_of(result: Any) -> list[Array]:
    """Return every array of a result."""
    if isinstance(result, tuple):
        return [np.asarray(item) for item in result]
    if isinstance(result, np.ndarray):
        return [result]
    return [value for value in vars(result).values() if isinstance(value, np.ndarray)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CALLS)
def test_layout_changes_nothing(name: str, layout: str) -> None:
    call, inputs = CALLS[name]
    expected = arrays_of(call(**inputs))
    laid = {key: LAYOUTS[layout](value) for key, value in inputs.items()}
    before = {key: value.copy() for key, value in laid.items()}
    found = arrays_of(call(**laid))
    assert len(expected) == len(found) > 0
    for a, b in zip(expected, found, strict=True):
        if b.dtype.kind == "f" and layout not in ("read-only", "other byte order"):
            np.testing.assert_allclose(a, b, rtol=1e-6)  # BLAS may add in another order
        else:
            np.testing.assert_array_equal(a, b)
    for key, value in laid.items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("name", CALLS)
def test_results_share_no_memory_with_inputs(name: str) -> None:
    call, inputs = CALLS[name]
    copies = {key: value.copy() for key, value in inputs.items()}
    for array in arrays_of(call(**copies)):
        for value in copies.values():
            assert not np.shares_memory(array, value)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_every_float_dtype(dtype: np.dtype[Any]) -> None:
    """A narrower array has the results of the same numbers in a wider one."""
    weights, hessian = PROBLEM.weights.astype(dtype), PROBLEM.hessian.astype(dtype)
    wide = weights.astype(np.float64)
    np.testing.assert_array_equal(
        gptq_quantize(weights, PROBLEM.hessian, ORDERED).codes,
        gptq_quantize(wide, PROBLEM.hessian, ORDERED).codes,
    )
    np.testing.assert_array_equal(
        prepare_hessian(hessian).damped, prepare_hessian(hessian.astype(np.float64)).damped
    )
    np.testing.assert_array_equal(accumulate_hessian([weights]), accumulate_hessian([wide]))
    for ours, theirs in zip(
        affine_parameters(weights, bits=4), affine_parameters(wide, bits=4), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    codes, scale = abs_max_quantize(weights, -1)
    np.testing.assert_allclose(
        scale.astype(np.float64), abs_max_quantize(wide, -1)[1], rtol=2.0**-24
    )
    assert scale.dtype == (np.float64 if dtype == np.float64 else np.float32)
    assert codes.dtype == np.int8
    rounded = round_half_even(weights * dtype.type(4))
    assert rounded.dtype == dtype
    np.testing.assert_array_equal(saturating_cast(weights, "int8"), saturating_cast(wide, "int8"))
