"""Checks of kernels in groups, the four-bit mode (SPEC.md, section 13)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from quantref.errors import (
    CodeRangeError,
    ConfigError,
    DTypeError,
    EmptyArrayError,
    NonFiniteError,
    OverflowRangeError,
    ShapeError,
    ValueRangeError,
)
from quantref.inputs.arrays import Array, require_float
from quantref.inputs.numbers import require_integer, require_number, require_output_dtype

SMALLEST_NORMAL = float(np.finfo(np.float32).smallest_normal)
LARGEST = float(np.finfo(np.float32).max)
ZERO_POINTS = np.iinfo(np.int8)


def require_block_size(block_size: Any) -> int | None:
    """Return a block size of at least 1, −1 or None, or raise.  [FOUR-150]"""
    if block_size is None:
        return None
    size = require_integer(block_size, "block_size", "FOUR-150")
    if size < 1 and size != -1:
        raise ConfigError("block_size >= 1, -1 or None", f"{size}", "FOUR-150")
    return size


def require_no_quantizers(block_size: int, **quantizers: Any) -> None:
    """Raise if a config of groups has a quantizer.  [FOUR-160]"""
    for name, quantizer in quantizers.items():
        if quantizer is not None:
            expected = f"no {name} with block_size {block_size}"
            raise ConfigError(expected, f"{quantizer!r}", "FOUR-160")


def require_four_bits(quantizer: Any, name: str) -> None:
    """Raise unless a quantizer gives int8 codes of four bits.  [FOUR-170]"""
    bounds = getattr(quantizer, "value_range", None)
    if bounds != (-8, 7) or quantizer.output_dtype != "int8":
        expected = f"{name} with value_range (-8, 7) and output_dtype int8"
        raise ConfigError(expected, f"{bounds} and {quantizer.output_dtype}", "FOUR-170")


def require_kernel(weights: ArrayLike) -> Array:
    """Return a kernel of shape (n_in, n_out), finite floats, not empty, or raise.  [FOUR-120]"""
    w = require_float(weights, "weights", "FOUR-120")
    if w.ndim != 2:
        raise ShapeError("weights of shape (n_in, n_out)", f"shape={w.shape}", "FOUR-120")
    if w.size == 0:
        raise EmptyArrayError("weights with elements", f"shape={w.shape}", "FOUR-120")
    return w


def require_levels(value_range: Any, dtype: Any) -> tuple[int, int, str]:
    """Return lo, hi and the output dtype; zero-points are int8, so that the range is.  [FOUR-120]

    Examples
    --------
    >>> require_levels((-8, 7), "int8")
    (-8, 7, 'int8')
    """
    name = require_output_dtype(dtype, "FOUR-120")
    try:
        lo, hi = value_range
    except (TypeError, ValueError):
        got = f"{value_range!r}"
        raise ValueRangeError("value_range of two integers", got, "FOUR-120") from None
    lo = require_integer(lo, "value_range[0]", "FOUR-120")
    hi = require_integer(hi, "value_range[1]", "FOUR-120")
    bounds = np.iinfo(name)
    least, most = max(ZERO_POINTS.min, bounds.min), min(ZERO_POINTS.max, bounds.max)
    if not least <= lo < hi <= most:
        expected = f"value_range with {least} <= lo < hi <= {most} ({name})"
        raise ValueRangeError(expected, f"({lo}, {hi})", "FOUR-120")
    return lo, hi, name


def require_range_epsilon(epsilon: Any, levels: int) -> float:
    """Return an epsilon whose share of a scale is a normal float32, or raise.  [FOUR-120]"""
    number = require_number(epsilon, "epsilon", "FOUR-120")
    if not SMALLEST_NORMAL <= number / levels <= LARGEST:
        expected = f"epsilon with epsilon / {levels} a normal float32"
        raise ConfigError(expected, f"epsilon={number!r}", "FOUR-120")
    return number


def require_float32_scale(scale: Array, length: Array, levels: int) -> None:
    """Raise if a scale of ranges of these lengths is beyond float32.  [FOUR-120]"""
    if not np.isfinite(scale).all():
        expected = f"(hi - lo + epsilon) / {levels} <= {LARGEST:.6g}"
        raise OverflowRangeError(expected, f"hi - lo = {float(length.max()):.6g}", "FOUR-120")


def require_grouped_codes(
    codes: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, g_idx: ArrayLike
) -> tuple[Array, Array, Array, Array]:
    """Return codes (n_in, n_out), and parameters that fit them, or raise.  [FOUR-120]"""
    q, z, g = np.asarray(codes), np.asarray(zero_point), np.asarray(g_idx)
    s = require_float(scale, "scale", "FOUR-120")
    for name, array in (("codes", q), ("zero_point", z), ("g_idx", g)):
        if array.dtype.kind not in "iu":
            got = f"{name} with dtype={array.dtype.name}"
            raise DTypeError(f"integer {name}", got, "FOUR-120")
    if q.ndim != 2 or s.ndim != 2 or s.shape[1:] != q.shape[1:] or z.shape != s.shape:
        expected = "codes (n_in, n_out), scale and zero_point (n_groups, n_out)"
        got = f"codes {q.shape}, scale {s.shape}, zero_point {z.shape}"
        raise ShapeError(expected, got, "FOUR-120")
    if g.shape != q.shape[:1]:
        raise ShapeError(f"g_idx of shape ({q.shape[0]},)", f"{g.shape}", "FOUR-120")
    if not (s > 0).all():
        raise NonFiniteError("a positive scale", f"min={float(s.min())!r}", "FOUR-120")
    if g.size and not 0 <= int(g.min()) <= int(g.max()) < len(s):
        got = f"g_idx in [{int(g.min())}, {int(g.max())}]"
        raise CodeRangeError(f"g_idx in [0, {len(s)})", got, "FOUR-120")
    return q, s, z, g
