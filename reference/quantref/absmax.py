"""AbsMax quantization: one multiplier per slice, codes half to even (SPEC.md, section 4).

The text of the section, with two ideas added: large arrays are taken in tiles that stay in the
cache, so that memory is read once where a tile holds whole slices, and else twice, for the maximum
and for the codes, not once per operation; and single precision gives all codes but a few, which it
tells apart (`_rounded_product`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.arrays import TILE, Array, Room, tiles
from quantref.config import (
    EPSILON,
    Axis,
    Quantizer,
    normalize_axis_argument,
    require_epsilon,
    require_output_dtype,
    require_value_range,
)
from quantref.errors import (
    AxisError,
    DTypeError,
    EmptyArrayError,
    NonFiniteError,
    OverflowRangeError,
    ShapeError,
)
from quantref.rounding import is_float, require_float, require_float_dtype

MOST = 4 * TILE  # elements that are read again soon enough to be in the cache still


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


def abs_max_quantize(
    inputs: ArrayLike,
    axis: Axis,
    value_range: tuple[int, int] = (-127, 127),
    dtype: str = "int8",
    epsilon: float = EPSILON,
) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
    """Quantize with scale = hi / (max|x| + epsilon), a multiplier, along `axis`.

    Parameters
    ----------
    inputs : (...) array of float16, bfloat16, float32 or float64
        Finite, not empty.
    axis : int, tuple of int, or None
        Axes over which the maximum is taken; None: all of them.
    value_range : (lo, hi), default (-127, 127)
        lo <= 0 < hi, within `dtype`.
    dtype : str, default "int8"
        Integer dtype of the codes.
    epsilon : float, default 1e-7
        Positive; keeps the scale of an all-zero slice finite.

    Returns
    -------
    codes : (...) array of `dtype`
        clip(rint(x * scale), lo, hi).
    scale : array, reduced axes kept with length 1
        float32; float64 for float64 inputs.

    Raises
    ------
    DTypeError, NonFiniteError, EmptyArrayError, AxisError, ValueRangeError, ConfigError,
    OverflowRangeError

    References
    ----------
    SPEC.md, section 4.

    Examples
    --------
    >>> codes, scale = abs_max_quantize(np.float32([[0.5, -2.0, 1.0]]), axis=-1)
    >>> codes, scale
    (array([[  32, -127,   63]], dtype=int8), array([[63.499996]], dtype=float32))
    """
    # BAD INPUT  [ABS-100]
    output = require_output_dtype(dtype, "ABS-100")
    lo, hi = require_value_range(value_range, output, "ABS-100")
    epsilon = require_epsilon(epsilon, hi, "ABS-100")
    x = require_float_dtype(inputs, "inputs", "ABS-100")
    if x.size == 0:
        raise EmptyArrayError("inputs with elements", f"shape={x.shape}", "ABS-100")
    axes = resolve_axis(axis, x.ndim, "ABS-100")

    whole, x = x, np.atleast_1d(x)  # of which parts are views
    wide = np.float64 if x.dtype == np.float64 else np.float32
    work = np.float64 if x.dtype == np.float64 or hi >= 2**22 else np.float32
    clips = lo > -hi or hi >= 2**22  # else |x * scale| <= hi (1 + 2^-23), which rounds to hi
    smallest = np.finfo(wide).smallest_normal
    scales: Array = np.empty(_kept(x.shape, axes), wide)
    codes: Array = np.empty(x.shape, output)
    room = Room()
    with np.errstate(over="ignore", under="ignore"):
        for block in _blocks(x.shape, axes):
            slices = x[block]
            if slices.size <= MOST:
                slices = _at_hand(slices, room)  # once for both steps

            # SCALE
            amax = _largest(slices, axes, room)
            if not np.isfinite(amax).all():
                require_float(whole, "inputs", "ABS-100")  # says where
            scale = hi / (amax + epsilon)  # [ABS-010]
            scale = np.asarray(scale, dtype=wide)  # [ABS-020] [ABS-060]
            if scale.min() < smallest:
                require_float(whole, "inputs", "ABS-100")
                amax = _largest(x, tuple(range(x.ndim)), room)
                expected = f"max|x| for which {hi} / max|x| is a normal {scale.dtype.name}"
                raise OverflowRangeError(expected, f"max|x|={float(amax.max())!r}", "ABS-100")
            scales[_within(block, scales)] = scale

            # CODES
            out = codes[block]
            for tile in reversed([*tiles(slices.shape)]):  # what was read last may be at hand still
                part = _at_hand(slices[tile], room)
                s = scale[_within(tile, scale)].astype(work, copy=False)
                rounded = _rounded_product(part, s, room)  # [ABS-030]
                if clips:
                    np.clip(rounded, lo, hi, out=rounded)  # [ABS-070]
                out[tile] = rounded
    # [ABS-040]: 0 * finite scale
    return codes.reshape(whole.shape), scales.reshape(_kept(whole.shape, axes))


def _blocks(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Cut an array into whole slices, each with a scale of its own: into tiles where that does."""
    cut = next((k for k, n in enumerate(shape) if n > 1), 0)
    return [tuple(slice(0, n) for n in shape)] if cut in axes else [*tiles(shape, most=MOST)]


def _kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an array with one element per slice."""
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def _largest(x: Array, axes: tuple[int, ...], room: Room) -> NDArray[np.float64]:
    """Return max|x| along axes that are kept with length 1; NaN and infinity go on."""
    largest = np.zeros(_kept(x.shape, axes))
    for tile in tiles(x.shape, most=MOST):
        part, kept = _at_hand(x[tile], room), _within(tile, largest)
        high, low = part.max(axis=axes, keepdims=True), part.min(axis=axes, keepdims=True)
        largest[kept] = np.maximum(largest[kept], np.maximum(high, -low))
    return largest


def _at_hand(part: Array, room: Room) -> Array:
    """Return a part of an array, or a copy of it where loops over it would be slow."""
    if part.flags.c_contiguous and part.dtype.itemsize >= 4:
        return part
    copy = room.of("copy", part.shape, np.promote_types(part.dtype, np.float32))
    copy[...] = part
    return copy


def _rounded_product(x: Array, s: Array, room: Room) -> Array:
    """Return rint(x * s) in the dtype of s, as if from their product in float64.

    Let t = fl(fl(x s) + 1/2), in the dtype of s. Rounding is monotone, and k - 1/2 and k are
    numbers of the dtype where t has a fraction at all: x s <= k - 1/2 makes t <= k, and
    x s >= k - 1/2 makes t >= k. So k < t < k + 1 says k - 1/2 < x s < k + 1/2, and floor(t) is
    right. Where t is an integer, once in about 2^18 elements, x s may be on either side of a tie or
    on it: there, and there alone, the product is taken in float64, exact for factors of 32 bits.
    """
    above = np.multiply(x, s, out=room.of("above", x.shape, s.dtype))
    above += above.dtype.type(0.5)
    floor = np.floor(above, out=room.of("floor", x.shape, s.dtype))
    unsure = np.equal(above, floor, out=room.of("unsure", x.shape, np.bool_))
    if unsure.any():
        at = np.flatnonzero(unsure)
        product = np.multiply(x.flat[at], np.broadcast_to(s, x.shape).flat[at], dtype=np.float64)
        floor.flat[at] = np.rint(product)
    return floor


def _within(tile: tuple[slice, ...], slices: Array) -> tuple[slice, ...]:
    """Return the part of an array with one element per slice that belongs to a tile."""
    return tuple(
        slice(0, 1) if length == 1 else part
        for part, length in zip(tile, slices.shape, strict=True)
    )


def abs_max_dequantize(codes: ArrayLike, scale: ArrayLike) -> NDArray[np.floating]:
    """Return codes / scale in the dtype of the scale.  [ABS-080]

    Parameters
    ----------
    codes : (...) integer array
    scale : array that broadcasts to the shape of the codes; float32 or float64, positive

    Returns
    -------
    values : (...) array of the dtype of `scale`

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError

    Examples
    --------
    >>> abs_max_dequantize(np.int8([-127, 64]), np.float32([63.5]))
    array([-2.      ,  1.007874], dtype=float32)
    """
    # BAD INPUT  [ABS-110]
    q, s = np.asarray(codes), np.asarray(scale)
    if q.dtype.kind not in "iu":
        raise DTypeError("integer codes", f"codes with dtype={q.dtype.name}", "ABS-110")
    if not is_float(s.dtype):
        raise DTypeError("a float scale", f"scale with dtype={s.dtype.name}", "ABS-110")
    compatible = s.ndim <= q.ndim and all(
        a in (1, b) for a, b in zip(s.shape[::-1], q.shape[::-1], strict=False)
    )
    if not compatible:
        expected = "scale that broadcasts to the codes"
        raise ShapeError(expected, f"scale {s.shape}, codes {q.shape}", "ABS-110")
    if not (np.isfinite(s) & (s > 0)).all():
        raise NonFiniteError("a finite, positive scale", f"min={float(s.min())!r}", "ABS-110")
    return np.asarray(q.astype(np.float64) / s.astype(np.float64), dtype=s.dtype)  # [ABS-080]


class AbsMaxQuantizer(Quantizer):
    """Callable form of `abs_max_quantize`, with the documented arguments.  [CFG-020]

    Parameters
    ----------
    axis : int, tuple of int, or None
        Axes over which the maximum is taken. None: the axis of the call, and -1 if that is
        None too. Stored as a tuple.
    value_range : (lo, hi), default (-127, 127)
    epsilon : float, default 1e-7
    output_dtype : str, default "int8"

    Examples
    --------
    >>> quantizer = AbsMaxQuantizer(axis=0)
    >>> codes, scale = quantizer(np.float32([[1.0, 8.0], [-2.0, 4.0]]))
    >>> codes
    array([[  63,  127],
           [-127,   64]], dtype=int8)
    >>> AbsMaxQuantizer.from_config(quantizer.get_config()) == quantizer
    True
    """

    def __init__(
        self,
        axis: Axis = None,
        value_range: tuple[int, int] = (-127, 127),
        epsilon: float = EPSILON,
        output_dtype: str = "int8",
    ) -> None:
        super().__init__(output_dtype)
        self.axis = normalize_axis_argument(axis, "CFG-020")
        self.value_range = require_value_range(value_range, self.output_dtype, "CFG-030")
        self.epsilon = require_epsilon(epsilon, self.value_range[1], "CFG-040")

    def __call__(
        self, x: ArrayLike, axis: Axis = None
    ) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
        """Return codes and scale, as `abs_max_quantize` does."""
        if axis is None:
            axis = -1 if self.axis is None else self.axis  # [CFG-020]
        return abs_max_quantize(x, axis, self.value_range, self.output_dtype, self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values.  [CFG-090]"""
        return {
            "axis": None if self.axis is None else list(self.axis),
            "value_range": list(self.value_range),
            "epsilon": self.epsilon,
            "output_dtype": self.output_dtype,
        }
