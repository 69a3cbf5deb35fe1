"""Layers in rational arithmetic, element by element: the oracle of section 9.

Arrays are dicts from index to number, so that one loop handles every rank and equation. This module
does not use NumPy's arithmetic.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from quantcheck.oracle import exact
from quantref.equations import Equation

Index = tuple[int, ...]
Numbers = dict[Index, Any]


def numbers_of(nested: Any) -> Numbers:
    """Turn nested lists into a dict from index to fraction.

    Examples
    --------
    >>> numbers_of([[0.5, 2.0]])
    {(0, 0): Fraction(1, 2), (0, 1): Fraction(2, 1)}
    """
    if not isinstance(nested, list):
        return {(): Fraction(nested)}
    return {
        (k, *index): value
        for k, item in enumerate(nested)
        for index, value in numbers_of(item).items()
    }


def without(index: Index, axes: tuple[int, ...]) -> Index:
    """Leave out the positions of an index that are in `axes`.

    Examples
    --------
    >>> without((4, 5, 6), (1,))
    (4, 6)
    """
    return tuple(i for axis, i in enumerate(index) if axis not in axes)


def abs_max(
    x: Numbers, axes: tuple[int, ...], lo: int, hi: int, epsilon: Fraction
) -> tuple[Numbers, Numbers, Numbers]:
    """Return scales (without `axes`), codes and margins of slices along `axes`.

    Examples
    --------
    >>> scale, codes, _ = abs_max(numbers_of([[63.5, 0.25]]), (1,), -127, 127, Fraction(1, 10**7))
    >>> scale, codes
    ({(0,): Fraction(2, 1)}, {(0, 0): 127, (0, 1): 0})
    """
    slices: dict[Index, list[Index]] = {}
    for index in x:
        slices.setdefault(without(index, axes), []).append(index)
    scales: Numbers = {}
    codes: Numbers = {}
    margins: Numbers = {}
    for key, members in slices.items():
        scale, found, distances = exact.abs_max([x[i] for i in members], lo, hi, epsilon)
        scales[key] = scale
        codes |= dict(zip(members, found, strict=True))
        margins |= dict(zip(members, distances, strict=True))
    return scales, codes, margins


def terms(
    equation: Equation, sizes: Mapping[str, int]
) -> Iterator[tuple[Index, list[tuple[Index, Index]]]]:
    """Yield every output index, and the pairs of input and kernel indices that it sums over.

    Examples
    --------
    >>> list(terms(Equation("b", "bc", "c"), {"b": 2, "c": 1}))
    [((0,), [((0,), (0, 0)), ((1,), (1, 0))])]
    """
    inner = equation.contracted
    for out in itertools.product(*(range(sizes[c]) for c in equation.outputs)):
        pairs = []
        for summed in itertools.product(*(range(sizes[c]) for c in inner)):
            place = dict(zip(equation.outputs + inner, out + summed, strict=True))
            pairs.append(
                (
                    tuple(place[c] for c in equation.inputs),
                    tuple(place[c] for c in equation.kernel),
                )
            )
        yield out, pairs


def contract(
    equation: Equation, sizes: Mapping[str, int], x: Numbers, kernel: Numbers
) -> tuple[Numbers, Numbers]:
    """Return the sums of products, and the sums of their magnitudes.

    Examples
    --------
    >>> contract(Equation("b", "bc", "c"), {"b": 2, "c": 1},
    ...          {(0,): 3, (1,): 1}, {(0, 0): 1, (1, 0): -2})
    ({(0,): 1}, {(0,): 5})
    """
    sums: Numbers = {}
    sizes_of: Numbers = {}
    for out, pairs in terms(equation, sizes):
        products = [x[i] * kernel[k] for i, k in pairs]
        sums[out] = sum(products)
        sizes_of[out] = sum(abs(p) for p in products)
    return sums, sizes_of


def broadcast(bias: Numbers, shape: Index, outputs: Index) -> Numbers:
    """Return a bias for every output index; its axes are the last ones, and length 1 is repeated.

    Examples
    --------
    >>> broadcast({(0,): 5, (1,): 6}, (2,), (1, 2))
    {(0, 0): 5, (0, 1): 6}
    """
    skipped = len(outputs) - len(shape)
    return {
        index: bias[tuple(0 if n == 1 else i for i, n in zip(index[skipped:], shape, strict=True))]
        for index in itertools.product(*(range(n) for n in outputs))
    }


def round_up(x: Fraction) -> float:
    """Return x rounded up to a float of three digits.

    Examples
    --------
    >>> round_up(Fraction(1, 3))
    0.334
    """
    if x == 0:
        return 0.0
    exponent = int(f"{float(x):e}".partition("e")[2]) - 2
    unit = Fraction(10) ** exponent
    return float(f"{math.ceil(x / unit)}e{exponent}")
