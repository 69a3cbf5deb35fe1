"""Draws inputs of the corpus, the same on every machine, and makes arrays of exact results."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.wire.arrays import dtype_of
from quantcheck.wire.cases import Case
from quantref.inputs import Array

U32, U64 = Fraction(1, 2**24), Fraction(1, 2**53)
ULP32 = Fraction(1, 2**23)


def numbers(seed: int) -> Iterator[int]:
    """Yield 64-bit numbers (SplitMix64), the same for a seed on every machine.

    Examples
    --------
    >>> stream = numbers(0)
    >>> next(stream) == 0xE220A8397B1DCDAF
    True
    """
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        yield z ^ (z >> 31)


def integers(seed: int, count: int, lo: int, hi: int) -> list[int]:
    """Return integers in lo … hi.

    Examples
    --------
    >>> integers(1, 4, -2, 2)
    [-2, 2, -2, -2]
    """
    stream = numbers(seed)
    return [lo + next(stream) % (hi - lo + 1) for _ in range(count)]


def dyadic(seed: int, shape: tuple[int, ...], spread: int, bits: int) -> NDArray[np.float64]:
    """Return integers in −spread … spread over 2^bits: short decimals, exact in float32."""
    count = int(np.prod(shape))
    values = [Fraction(k, 2**bits) for k in integers(seed, count, -spread, spread)]
    return np.array([float(v) for v in values]).reshape(shape)


def single(values: Any) -> NDArray[np.float32]:
    """Return nested numbers as a float32 array."""
    return np.array(values, dtype=np.float32)


def small(values: Any) -> NDArray[np.uint8]:
    """Return nested integers as a uint8 array."""
    return np.array(values, dtype=np.uint8)


def alternating(weights: Array) -> Array:
    """Return weights of the same magnitudes whose columns alternate in sign.

    Examples
    --------
    >>> alternating(np.float32([[1, 2, -3]]))
    array([[ 1., -2.,  3.]], dtype=float32)
    """
    signs = np.where(np.arange(weights.shape[1]) % 2, -1, 1).astype(weights.dtype)
    return np.asarray(np.abs(weights) * signs)


def is_power_of_two(scale: float) -> bool:
    """Tell whether division by the scale is exact in every binary arithmetic.

    Examples
    --------
    >>> is_power_of_two(0.25), is_power_of_two(0.75)
    (True, False)
    """
    return math.frexp(scale)[0] == 0.5


def floats(nested: Any, dtype: str) -> Array:
    """Return nested fractions as an array; the dtype must represent each of them exactly."""
    return np.array(_to_float(nested), dtype=np.float64).astype(dtype_of(dtype))


def _to_float(nested: Any) -> Any:
    if isinstance(nested, list):
        return [_to_float(item) for item in nested]
    return float(nested)


def exact_list(array: Array) -> Any:
    """Return an array of floats as nested lists of Python floats (exact for every float dtype)."""
    return array.astype(np.float64).tolist()


def shortened(nested: Any) -> NDArray[np.float64]:
    """Return margins as floats of four significant digits."""
    short = np.vectorize(lambda v: float(f"{float(v):.3e}"), otypes=[float])
    return np.asarray(short(np.array(nested, dtype=object)))


def refused(
    section: str,
    identity: str,
    title: str,
    operation: str,
    requirement: str,
    error: str,
    parameters: dict[str, Any],
    inputs: dict[str, Any],
) -> Case:
    """Return a case that must be refused."""
    return Case(
        identity, section, title, operation, (requirement,), parameters, inputs, {"refused": error}
    )
