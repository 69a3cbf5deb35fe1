"""Checks of arrays, and of arguments that have to fit them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.errors import (
    AxisError,
    BitsError,
    CodeRangeError,
    DTypeError,
    EmptyArrayError,
    NonFiniteError,
    OverflowRangeError,
    ShapeError,
)
from quantref.inputs.numbers import (
    FLOAT_NAMES,
    WEIGHT_BITS,
    is_float,
    normalize_axis_argument,
    require_epsilon,
    require_integer,
    require_output_dtype,
    require_value_range,
)

Array: TypeAlias = NDArray[Any]  # docstrings say which dtypes
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def require_float_dtype(x: ArrayLike, name: str, requirement: str) -> Array:
    """Return `x` as an array of one of the four float dtypes; elements are not checked."""
    array = np.asarray(x)
    if not is_float(array.dtype):
        got = f"{name} with dtype={array.dtype.name}, shape={array.shape}"
        raise DTypeError(f"{name} of dtype {', '.join(FLOAT_NAMES)}", got, requirement)
    return array


def require_float(x: ArrayLike, name: str, requirement: str) -> Array:
    """Return `x` as an array of finite floats, neither copied nor cast, or raise.

    The message names the first element that is not finite. A Python float is a float64.

    Examples
    --------
    >>> require_float([1.0, np.inf], "x", "ABS-100")
    Traceback (most recent call last):
    quantref.errors.NonFiniteError: expected finite x, got x[1]=inf [ABS-100]
    """
    array = require_float_dtype(x, name, requirement)
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum(dtype=np.float64)  # NaN and infinity stay in a sum
    if not np.isfinite(total) and not (finite := np.isfinite(array)).all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        got = f"{name}{list(index)}={float(array[index])}"
        raise NonFiniteError(f"finite {name}", got, requirement)
    return array


def require_weights(weights: ArrayLike, requirement: str) -> Array:
    """Return weights of shape (n_out, n_in), finite floats, not empty, or raise.  [AFF-110]"""
    w = require_float(weights, "weights", requirement)
    if w.ndim != 2:
        raise ShapeError("weights of shape (n_out, n_in)", f"shape={w.shape}", requirement)
    if w.size == 0:
        raise EmptyArrayError("weights with elements", f"shape={w.shape}", requirement)
    return w


def require_parameters(
    shape: tuple[int, int], scale: ArrayLike, zero_point: ArrayLike, g_idx: ArrayLike
) -> tuple[Array, Array, Array]:
    """Return scale, zero-point and g_idx if they fit (n_out, n_in), or raise.  [AFF-110]"""
    s, z, g = np.asarray(scale), np.asarray(zero_point), np.asarray(g_idx)
    s = require_float(s, "scale", "AFF-110")
    if not (s > 0).all():
        raise NonFiniteError("a positive scale", f"min={float(s.min())!r}", "AFF-110")
    for name, array in (("zero_point", z), ("g_idx", g)):
        if array.dtype.kind not in "iu":
            got = f"{name} with dtype={array.dtype.name}"
            raise DTypeError(f"integer {name}", got, "AFF-110")
    if s.ndim != 2 or s.shape[0] != shape[0] or z.shape != s.shape or g.shape != (shape[1],):
        expected = f"scale and zero_point of shape ({shape[0]}, n_groups), g_idx of ({shape[1]},)"
        got = f"scale {s.shape}, zero_point {z.shape}, g_idx {g.shape}"
        raise ShapeError(expected, got, "AFF-110")
    if g.size and not 0 <= int(g.min()) <= int(g.max()) < s.shape[1]:
        got = f"g_idx in [{int(g.min())}, {int(g.max())}]"
        raise CodeRangeError(f"g_idx in [0, {s.shape[1]})", got, "AFF-110")
    return s, z, g


def require_zero_points(zero_point: Array, maxq: int) -> None:
    """Raise if a zero-point is no code.  [AFF-110]"""
    if outside(zero_point, 0, maxq):
        got = f"zero_point in [{int(zero_point.min())}, {int(zero_point.max())}]"
        raise CodeRangeError(f"zero_point in [0, {maxq}]", got, "AFF-110")


def require_affine_codes(codes: ArrayLike) -> Array:
    """Return integer codes of shape (n_out, n_in), or raise.  [AFF-110]"""
    q = np.asarray(codes)
    if q.dtype.kind not in "iu":
        raise DTypeError("integer codes", f"codes with dtype={q.dtype.name}", "AFF-110")
    if q.ndim != 2:
        raise ShapeError("codes of shape (n_out, n_in)", f"shape={q.shape}", "AFF-110")
    return q


def require_finite_scale(scale: Array, length: Array, maxq: int) -> None:
    """Raise if a scale of ranges of these lengths is beyond float32.  [AFF-110]"""
    if not np.isfinite(scale).all():
        expected = f"(hi - lo) / {maxq} <= {LARGEST_FLOAT32:.6g}"
        raise OverflowRangeError(expected, f"hi - lo = {float(length.max()):.6g}", "AFF-110")


def require_finite_float32(values: Array) -> NDArray[np.float32]:
    """Return dequantized weights in float32, or raise if one is beyond it.  [AFF-110]"""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    if not np.isfinite(rounded).all():
        largest = float(np.abs(values).max())
        raise OverflowRangeError("|s·(q - z)| a finite float32", f"{largest:.9g}", "AFF-110")
    return rounded


def require_representable(w: Array, working: np.dtype) -> None:
    """Raise unless all weights fit the working precision.  [GPTQ-110]"""
    if w.dtype.itemsize <= working.itemsize:
        return
    largest = max(-float(w.min()), float(w.max()))
    if largest > float(np.finfo(working).max):
        expected = f"weights <= {float(np.finfo(working).max):.6g} ({working.name})"
        raise OverflowRangeError(expected, f"{largest:.6g}", "GPTQ-110")


# ABSMAX


def resolve_axis(axis: Any, ndim: int, requirement: str) -> tuple[int, ...]:
    """Return the axes over which the maximum is taken, counted from 0.  [ABS-050]

    Examples
    --------
    >>> resolve_axis(None, 3, "ABS-050"), resolve_axis((-1, 0), 3, "ABS-050")
    ((0, 1, 2), (0, 2))
    """
    axes = normalize_axis_argument(axis, requirement)
    if axes is None:
        return tuple(range(ndim))
    resolved = tuple(sorted(a + ndim if a < 0 else a for a in axes))
    if len(set(resolved)) != len(resolved) or any(not 0 <= a < ndim for a in resolved):
        raise AxisError(f"distinct axes in [-{ndim}, {ndim})", f"axis={axis!r}", requirement)
    return resolved


def require_absmax(
    inputs: ArrayLike, axis: Any, value_range: Any, dtype: Any, epsilon: Any
) -> tuple[Array, tuple[int, ...], tuple[int, int], str, float]:
    """Return the arguments of AbsMax; elements of `inputs` may not be finite yet.  [ABS-100]"""
    output = require_output_dtype(dtype, "ABS-100")
    lo, hi = require_value_range(value_range, output, "ABS-100")
    epsilon = require_epsilon(epsilon, hi, "ABS-100")
    x = require_float_dtype(inputs, "inputs", "ABS-100")
    if x.size == 0:
        raise EmptyArrayError("inputs with elements", f"shape={x.shape}", "ABS-100")
    axes = resolve_axis(axis, x.ndim, "ABS-100")
    return x, axes, (lo, hi), output, epsilon


def require_normal_scale(scale: Array, largest: Any, hi: int) -> None:
    """Raise if a scale is below the smallest normal number of its dtype.  [ABS-100]"""
    if scale.min() < np.finfo(scale.dtype).smallest_normal:
        expected = f"max|x| for which {hi} / max|x| is a normal {scale.dtype.name}"
        raise OverflowRangeError(expected, f"max|x|={float(largest)!r}", "ABS-100")


def require_absmax_codes(codes: ArrayLike, scale: ArrayLike) -> tuple[Array, Array]:
    """Return integer codes, and a finite, positive scale that broadcasts to them.  [ABS-110]"""
    q, s = np.asarray(codes), np.asarray(scale)
    if q.dtype.kind not in "iu":
        raise DTypeError("integer codes", f"codes with dtype={q.dtype.name}", "ABS-110")
    if s.dtype.name not in ("float32", "float64"):  # in any byte order
        got = f"scale with dtype={s.dtype.name}"
        raise DTypeError("a scale of dtype float32 or float64", got, "ABS-110")
    lengths = zip(s.shape[::-1], q.shape[::-1], strict=False)
    if s.ndim > q.ndim or any(a not in (1, b) for a, b in lengths):
        expected = "scale that broadcasts to the codes"
        raise ShapeError(expected, f"scale {s.shape}, codes {q.shape}", "ABS-110")
    if not (np.isfinite(s) & (s > 0)).all():
        raise NonFiniteError("a finite, positive scale", f"min={float(s.min())!r}", "ABS-110")
    return q, s


# PACKING


def require_packing(x: ArrayLike, bits: Any, axis: Any, name: str) -> tuple[Array, int, int]:
    """Return the array, its bit width, and the axis counted from 0, or raise.  [PACK-080]"""
    array = np.asarray(x)
    if array.dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
        raise DTypeError(f"{name} of dtype int8 or uint8", f"dtype={array.dtype.name}", "PACK-080")
    bits = require_integer(bits, "bits", "PACK-080")
    if bits not in WEIGHT_BITS:
        raise BitsError(f"bits in {WEIGHT_BITS}", f"bits={bits}", "PACK-080")
    return array, bits, _axis_of(array, axis, name, "PACK-080")


def _axis_of(array: Array, axis: Any, name: str, requirement: str) -> int:
    """Return the axis that an array is packed along, counted from 0, or raise."""
    if array.ndim == 0:
        raise ShapeError(f"{name} of rank 1 or more", "rank 0", requirement)
    number = require_integer(axis, "axis", requirement)
    if not -array.ndim <= number < array.ndim:
        expected = f"axis in [-{array.ndim}, {array.ndim})"
        raise AxisError(expected, f"axis={number}", requirement)
    return number % array.ndim


def outside(codes: Array, lo: int, hi: int) -> bool:
    """Tell whether a code is below lo or above hi."""
    return bool(codes.size) and not lo <= int(codes.min()) <= int(codes.max()) <= hi


def require_codes(
    codes: Array,
    lo: int,
    hi: int,
    bits: int,
    *,
    name: str = "codes",
    requirement: str = "PACK-080",
) -> None:
    """Raise if a code is below lo or above hi; the message names the first.  [PACK-080]"""
    if outside(codes, lo, hi):
        index = tuple(int(i) for i in np.argwhere((codes < lo) | (codes > hi))[0])
        got = f"{name}{list(index)}={int(codes[index])}"
        raise CodeRangeError(f"{name} in [{lo}, {hi}] for {bits} bits", got, requirement)


def require_ternary(
    x: ArrayLike, axis: Any, name: str, dtype: type, bounds: tuple[int, int]
) -> tuple[Array, int]:
    """Return the array and the axis counted from 0, or raise.  [PACK-200]"""
    array = np.asarray(x)
    if array.dtype != np.dtype(dtype):
        expected = f"{name} of dtype {np.dtype(dtype).name}"
        raise DTypeError(expected, f"dtype={array.dtype.name}", "PACK-200")
    if outside(array, *bounds):
        got = f"[{int(array.min())}, {int(array.max())}]"
        raise CodeRangeError(f"{name} in [{bounds[0]}, {bounds[1]}]", got, "PACK-200")
    return array, _axis_of(array, axis, name, "PACK-200")


def require_length(length: Any, n_bytes: int, per_byte: int, requirement: str = "PACK-080") -> int:
    """Return the number of codes if `n_bytes` bytes hold that many, or raise.  [PACK-080]"""
    number = require_integer(length, "length", requirement)
    if number < 0 or -(-number // per_byte) != n_bytes:
        most = n_bytes * per_byte
        expected = f"length in [{max(most - per_byte + 1, 0)}, {most}] for {n_bytes} bytes"
        raise ShapeError(expected, f"length={number}", requirement)
    return number


def require_codes_of_bytes(packed: Array, lo: int, hi: int) -> None:
    """Raise if a byte that holds one code is below lo or above hi.  [PACK-080]"""
    if outside(packed, lo, hi):
        got = f"bytes in [{int(packed.min())}, {int(packed.max())}]"
        raise CodeRangeError(f"one code in [{lo}, {hi}] per byte", got, "PACK-080")
