"""AbsMax, fast: tiles that stay in the cache, and codes in single precision.

Memory is read once where a tile holds whole slices. Otherwise it is read twice, for the maximum and
for the codes. Single precision gives almost all codes, and `_rounded_product` detects the others.
`quantref.absmax` is the plain form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.config import EPSILON
from quantref.fast.memory import TILE, Scratch, tiles
from quantref.inputs import Array, Axis, require_absmax, require_float, require_normal_scale

MOST = 4 * TILE  # elements that are still in the cache when they are read again


def abs_max_quantize(
    inputs: ArrayLike,
    axis: Axis,
    value_range: tuple[int, int] = (-127, 127),
    dtype: str = "int8",
    epsilon: float = EPSILON,
) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
    """Return what `quantref.absmax.abs_max_quantize` returns."""
    # BAD INPUT
    x, axes, (lo, hi), dtype, epsilon = require_absmax(inputs, axis, value_range, dtype, epsilon)
    whole, x = x, np.atleast_1d(x)  # parts of x are views
    wide = np.float64 if x.dtype == np.float64 else np.float32
    work = np.float64 if x.dtype == np.float64 or hi >= 2**22 else np.float32
    clips = lo > -hi or hi >= 2**22  # else |x * scale| <= hi (1 + 2^-23), which rounds to hi
    smallest = np.finfo(wide).smallest_normal
    scales: Array = np.empty(_kept(x.shape, axes), wide)
    codes: Array = np.empty(x.shape, dtype)
    scratch = Scratch()
    with np.errstate(over="ignore", under="ignore"):
        for block in _blocks(x.shape, axes):
            slices = x[block]
            if slices.size <= MOST:
                slices = _contiguous(slices, scratch)  # one copy for both steps

            # SCALE
            amax = _largest(slices, axes, scratch)
            if not np.isfinite(amax).all():
                require_float(whole, "inputs", "ABS-100")  # raises, and names the place
            scale = hi / (amax + epsilon)  # [ABS-010]
            scale = np.asarray(scale, dtype=wide)  # [ABS-130] [ABS-060]
            if scale.min() < smallest:
                require_float(whole, "inputs", "ABS-100")
                amax = _largest(x, tuple(range(x.ndim)), scratch)
                require_normal_scale(scale, amax.max(), hi)
            scales[_within(block, scales)] = scale

            # CODES
            out = codes[block]
            for tile in reversed([*tiles(slices.shape)]):  # the last tile may still be in the cache
                part = _contiguous(slices[tile], scratch)
                s = scale[_within(tile, scale)].astype(work, copy=False)
                rounded = _rounded_product(part, s, scratch)  # [ABS-030]
                if clips:
                    np.clip(rounded, lo, hi, out=rounded)  # [ABS-070]
                out[tile] = rounded
    # [ABS-040]: 0 * finite scale
    return codes.reshape(whole.shape), scales.reshape(_kept(whole.shape, axes))


def _blocks(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Cut an array into blocks of whole slices: into tiles if the first axis can be cut."""
    cut = next((k for k, n in enumerate(shape) if n > 1), 0)
    return [tuple(slice(0, n) for n in shape)] if cut in axes else [*tiles(shape, most=MOST)]


def _kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an array with one element per slice."""
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def _largest(x: Array, axes: tuple[int, ...], scratch: Scratch) -> NDArray[np.float64]:
    """Return max|x| along axes that are kept with length 1; NaN and infinity propagate."""
    largest = np.zeros(_kept(x.shape, axes))
    for tile in tiles(x.shape, most=MOST):
        part, kept = _contiguous(x[tile], scratch), _within(tile, largest)
        high, low = part.max(axis=axes, keepdims=True), part.min(axis=axes, keepdims=True)
        largest[kept] = np.maximum(largest[kept], np.maximum(high, -low))
    return largest


def _contiguous(part: Array, scratch: Scratch) -> Array:
    """Return a part of an array, or a copy of it if loops over it would be slow."""
    if part.flags.c_contiguous and part.dtype.itemsize >= 4:
        return part
    copy = scratch.empty("copy", part.shape, np.promote_types(part.dtype, np.float32))
    copy[...] = part
    return copy


def _rounded_product(x: Array, s: Array, scratch: Scratch) -> Array:
    """Return rint(x * s) in the dtype of s, equal to rint of the product in float64.

    Let t = fl(fl(x s) + 1/2), in the dtype of s. Rounding is monotone, and k - 1/2 and k are
    numbers of the dtype if t is no integer: x s <= k - 1/2 gives t <= k, and x s >= k - 1/2 gives
    t >= k. So k < t < k + 1 implies k - 1/2 < x s < k + 1/2, and floor(t) is right. If t is an
    integer, which happens once in about 2^18 elements, x s may be on a tie or on either side of it.
    For these elements the product is taken in float64, which is exact for factors of 32 bits.
    """
    above = np.multiply(x, s, out=scratch.empty("above", x.shape, s.dtype))
    above += above.dtype.type(0.5)
    floor = np.floor(above, out=scratch.empty("floor", x.shape, s.dtype))
    unsure = np.equal(above, floor, out=scratch.empty("unsure", x.shape, np.bool_))
    if unsure.any():
        at = np.flatnonzero(unsure)
        product = np.multiply(x.flat[at], np.broadcast_to(s, x.shape).flat[at], dtype=np.float64)
        floor.flat[at] = np.rint(product)
    return floor


def _within(tile: tuple[slice, ...], slices: Array) -> tuple[slice, ...]:
    """Return the part of a tile in an array with one element per slice."""
    return tuple(
        slice(0, 1) if length == 1 else part
        for part, length in zip(tile, slices.shape, strict=True)
    )
