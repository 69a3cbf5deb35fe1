"""Memory: tiles of large arrays that stay in the cache, and scratch arrays that are reused."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike, NDArray

from quantref.inputs import Array

TILE = 2**16  # elements: a tile and its temporaries stay in the cache
PAGE = 2**12  # bytes


def tiles(
    shape: tuple[int, ...], multiple: int = 1, *, most: int = TILE
) -> Iterator[tuple[slice, ...]]:
    """Cut an array into stretches of memory of about `most` elements.

    Several passes over a tile read memory once. Several passes over the whole array read it each
    time.

    Parameters
    ----------
    shape : tuple of int
    multiple : int
        Lengths along the axis that is cut are multiples of it, except the last one.
    most : int

    Yields
    ------
    tuple of slice
        One slice per axis. The tiles are in C order and cover the array.

    Examples
    --------
    >>> list(tiles((2, 3)))
    [(slice(0, 2, None), slice(0, 3, None))]
    >>> len(list(tiles((1, 4, TILE))))
    4
    """
    if math.prod(shape) <= most:
        yield tuple(slice(0, n) for n in shape)
        return
    cut = next(k for k, n in enumerate(shape) if n > 1)  # the first axis that can be cut
    row = math.prod(shape[cut + 1 :])
    step = max(most // row // multiple, 1) * multiple
    before = tuple(slice(0, n) for n in shape[:cut])
    rest = tuple(slice(0, n) for n in shape[cut + 1 :])
    for start in range(0, shape[cut], step):
        yield (*before, slice(start, min(start + step, shape[cut])), *rest)


def spaced(shape: tuple[int, int], dtype: DTypeLike) -> Array:
    """Return an array, not initialized, with a gap of 64 bytes after each row.

    If rows are a power of two apart, the elements of a column share few lines of the cache.

    Examples
    --------
    >>> spaced((2, 256), np.uint8).strides
    (320, 1)
    """
    rows, columns = shape
    return np.empty((rows, columns + 64 // np.dtype(dtype).itemsize), dtype)[:, :columns]


def transpose(source: Array, out: Array, columns: Array | slice = slice(None)) -> None:
    """Put some columns of `source` into the rows of `out`, in the dtype of `out`.

    They go through a small array, so that both arrays are accessed in long runs.

    Examples
    --------
    >>> out = np.empty((2, 2), np.float32)
    >>> transpose(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), out, np.array([2, 0]))
    >>> out
    array([[3., 6.],
           [1., 4.]], dtype=float32)
    """
    if source.flags.f_contiguous:
        out[...] = source.T[columns]
        return
    part = spaced((256, 128), out.dtype)
    for first in range(0, len(out), 128):
        target = out[first : first + 128]
        chosen: Array | slice
        if isinstance(columns, slice):
            begin = (columns.start or 0) + first
            chosen = slice(begin, begin + len(target))
        else:
            chosen = columns[first : first + 128]
        for top in range(0, len(source), 256):
            rows = source[top : top + 256]
            square = part[: len(rows), : len(target)]
            square[...] = (
                rows[:, chosen] if isinstance(chosen, slice) else rows.take(chosen, axis=1)
            )
            target[:, top : top + 256] = square.T


class Scratch:
    """Memory that tile after tile uses again, because new pages cost more than the arithmetic.

    Examples
    --------
    >>> scratch = Scratch()
    >>> first = scratch.empty("sum", (4, 3))
    >>> bool(np.shares_memory(first, scratch.empty("sum", (3,), np.float32)))
    True
    """

    def __init__(self) -> None:
        self._held: dict[str, NDArray[np.uint8]] = {}
        self._last: dict[str, Array] = {}

    def empty(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> Array:
        """Return an array, not initialized; the next call with the same name overwrites it."""
        last = self._last.get(name)
        if last is not None and last.shape == shape and last.dtype == dtype:
            return last
        wanted = math.prod(shape) * np.dtype(dtype).itemsize
        if name not in self._held or self._held[name].size < wanted:
            # Start at a cache line, and in another part of the page than other names: a load
            # waits for a store whose address differs by whole pages.
            raw = np.empty(wanted + PAGE, np.uint8)
            start = (1024 * (len(self._held) + 1) - raw.ctypes.data) % PAGE
            self._held[name] = raw[start : start + wanted]
        self._last[name] = self._held[name][:wanted].view(dtype).reshape(shape)
        return self._last[name]
