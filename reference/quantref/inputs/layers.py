"""Checks of layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.errors import AxisError, CodeRangeError, ConfigError, DTypeError, ShapeError
from quantref.inputs.arrays import Array, outside, require_float, resolve_axis

LAYER_ACTIVATIONS = (None, "relu")


def require_activation(activation: Any) -> str | None:
    """Return None or "relu", or raise.  [LAY-150]"""
    if activation not in LAYER_ACTIVATIONS:
        raise ConfigError(f"activation in {LAYER_ACTIVATIONS}", f"{activation!r}", "LAY-150")
    return activation  # type: ignore[no-any-return]


def require_bias(bias: ArrayLike | None) -> NDArray[np.float32] | None:
    """Return a float32 bias, or None.  [LAY-150]"""
    return None if bias is None else require_float(bias, "bias", "LAY-150").astype(np.float32)


def require_broadcast_bias(bias: Array, shape: tuple[int, ...]) -> None:
    """Raise unless a bias broadcasts to the outputs.  [LAY-150]"""
    lengths = zip(bias.shape[::-1], shape[::-1], strict=False)
    if bias.ndim > len(shape) or any(a not in (1, b) for a, b in lengths):
        raise ShapeError(f"a bias that broadcasts to {shape}", f"{bias.shape}", "LAY-150")


def require_rank(shape: tuple[int, ...], rank: int, name: str, use: str) -> None:
    """Raise unless an array has the rank that its use needs.  [LAY-150]"""
    if len(shape) != rank:
        raise ShapeError(f"{name} of rank {rank} for {use}", f"{shape}", "LAY-150")


def require_matrix(array: Any, columns: int, name: str) -> None:
    """Raise unless an array has rank 2 and this number of columns.  [LAY-150]"""
    if np.ndim(array) != 2 or np.shape(array)[1] != columns:
        raise ShapeError(f"{name} of {columns} columns", f"{np.shape(array)}", "LAY-150")


def require_packed(packed: Any, columns: int) -> None:
    """Raise unless a packed kernel is a uint8 matrix of so many columns.  [LAY-150]"""
    require_matrix(packed, columns, "a packed kernel")
    dtype = np.asarray(packed).dtype
    if dtype != np.uint8:
        raise DTypeError("a packed kernel of dtype uint8", dtype.name, "LAY-150")


def require_shape(array: Any, shape: tuple[int, ...], name: str) -> None:
    """Raise unless an array has a shape.  [LAY-150]"""
    if np.shape(array) != shape:
        raise ShapeError(f"{name} of shape {shape}", f"{np.shape(array)}", "LAY-150")


def require_contracted_axes(
    axis: tuple[int, ...] | None, ndim: int, contracted: tuple[int, ...]
) -> None:
    """Raise if a weight quantizer stores other axes than the contracted ones.  [LAY-150]"""
    if axis is not None and resolve_axis(axis, ndim, "LAY-150") != contracted:
        raise AxisError(f"a weight quantizer of axis {contracted}", f"{axis}", "LAY-150")


def require_tokens(tokens: ArrayLike, n_tokens: int) -> Array:
    """Return integer tokens in 0 … n_tokens − 1, or raise.  [LAY-150]"""
    t = np.asarray(tokens)
    if t.dtype.kind not in "iu":
        raise DTypeError("integer tokens", f"tokens with dtype={t.dtype.name}", "LAY-150")
    if outside(t, 0, n_tokens - 1):
        got = f"tokens in [{int(t.min())}, {int(t.max())}]"
        raise CodeRangeError(f"tokens in [0, {n_tokens})", got, "LAY-150")
    return t
