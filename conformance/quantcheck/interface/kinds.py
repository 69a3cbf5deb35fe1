"""Kinds of value that an argument takes, as predicates on the value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any


@dataclass(frozen=True)
class Special:
    """A value of an argument that JSON has no form for."""

    name: str


LEFT_OUT = Special("left out")
BAD_AXIS = Special("axes that do not fit, or named twice")
BAD_VALUES = Special("values that are refused")


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes
    ----------
    name : str
    holds : callable
        Whether a value is of this kind.
    refused : bool
        Whether every value of this kind is refused. Only refused cases cover it.
    """

    name: str
    holds: Callable[[Any], bool]
    refused: bool = False


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def one_of(name: str, *values: Any, refused: bool = False) -> Kind:
    """Return the kind of these values alone; True is not 1."""
    return Kind(name, lambda v: any(type(v) is type(w) and v == w for w in values), refused)


def integers(name: str, low: float = -inf, high: float = inf, *, refused: bool = False) -> Kind:
    """Return the kind of integers from `low` to `high`."""
    return Kind(name, lambda v: _is_integer(v) and low <= v <= high, refused)


def numbers(name: str, above: float = -inf, below: float = inf, *, refused: bool = False) -> Kind:
    """Return the kind of numbers between two limits, which are not of the kind."""
    return Kind(
        name,
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and above < v < below,
        refused,
    )


def objects(name: str, of: str, *, refused: bool = False) -> Kind:
    """Return the kind of descriptions `{"class", "arguments"}` of a class.

    Examples
    --------
    >>> objects("a quantizer", "Quantizer").holds({"class": "Quantizer", "arguments": {}})
    True
    """
    return Kind(name, lambda v: isinstance(v, dict) and v.get("class") == of, refused)


def lists(name: str, test: Callable[[Sequence[Any]], bool], *, refused: bool = False) -> Kind:
    """Return the kind of lists that pass a test."""
    return Kind(name, lambda v: isinstance(v, list) and test(v), refused)


LEFT = one_of("left out", LEFT_OUT)
NONE = one_of("None", None)
TRUE, FALSE = one_of("True", True), one_of("False", False)
REFUSED_AXIS = Kind(BAD_AXIS.name, lambda v: v is BAD_AXIS, refused=True)
AXES = (
    NONE,
    integers("one axis, counted from the front", low=0),
    integers("one axis, counted from the end", high=-1),
    lists("several axes", lambda v: len(v) > 1),
    lists("one axis in a tuple", lambda v: len(v) == 1),
    lists("an empty tuple", lambda v: not v),
)
DTYPES = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
}
OUTPUT_DTYPES = (
    *(one_of(name, name) for name in DTYPES),
    Kind("no integer dtype", lambda v: isinstance(v, str) and v not in DTYPES, refused=True),
)


def _good(low: int, high: int) -> bool:
    return low <= 0 < high


def _wide(low: int, high: int) -> bool:
    return low < -128 or high > 127


WHOLE_RANGES = ([-127, 127], [-128, 127])

RANGES = (
    one_of("(-127, 127)", [-127, 127]),
    one_of("(-128, 127)", [-128, 127]),
    lists("narrower", lambda v: _good(*v) and not _wide(*v) and v not in WHOLE_RANGES),
    lists("wider than int8", lambda v: _good(*v) and _wide(*v)),
    lists("reversed or without zero", lambda v: not _good(*v), refused=True),
    lists("beyond the output dtype", lambda v: _good(*v) and _wide(*v), refused=True),
)
LEVELS = (
    one_of("(-8, 7)", [-8, 7]),
    lists("another one of int8", lambda v: -128 <= v[0] < v[1] <= 127 and v != [-8, 7]),
    lists("reversed, or beyond int8", lambda v: not -128 <= v[0] < v[1] <= 127, refused=True),
)
EPSILONS = (
    one_of("1e-07", 1e-07),
    numbers("smaller than 1e-07", above=0, below=1e-07),
    numbers("larger than 1e-07", above=1e-07),
    Kind("0 or negative", lambda v: isinstance(v, int | float) and v <= 0, refused=True),
)
