"""Checks of numbers, dtypes and other arguments that are no arrays."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Collection
from typing import Any, TypeAlias

import numpy as np

from quantref.errors import BitsError, ConfigError, DTypeError, ValueRangeError

FLOAT_NAMES = ("float16", "bfloat16", "float32", "float64")
INTEGER_NAMES = ("int8", "uint8", "int16", "uint16", "int32", "uint32")
WEIGHT_BITS = (2, 3, 4, 8)

Axis: TypeAlias = int | tuple[int, ...] | None


def require_integer(value: Any, name: str, requirement: str) -> int:
    """Return `value` as an int; booleans and floats are refused.

    Examples
    --------
    >>> require_integer(np.int64(3), "bits", "GPTQ-110")
    3
    """
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise ConfigError(f"{name} to be an integer", f"{value!r}", requirement)
    return operator.index(value)


def require_count(value: Any, name: str, requirement: str) -> int:
    """Return a count of at least 1, or raise."""
    count = require_integer(value, name, requirement)
    if count < 1:
        raise ConfigError(f"{name} >= 1", f"{count}", requirement)
    return count


def require_bool(value: Any, name: str, requirement: str) -> bool:
    """Return `value` as a bool; integers are refused."""
    if not isinstance(value, (bool, np.bool_)):
        raise ConfigError(f"{name} to be True or False", f"{value!r}", requirement)
    return bool(value)


def require_number(value: Any, name: str, requirement: str) -> float:
    """Return `value` as a finite float; booleans and strings are refused.

    Examples
    --------
    >>> require_number(1, "epsilon", "CFG-130")
    1.0
    """
    if isinstance(value, (bool, str, np.bool_)) or not hasattr(value, "__float__"):
        raise ConfigError(f"{name} to be a number", f"{value!r}", requirement)
    number = float(value)
    if not math.isfinite(number):
        raise ConfigError(f"{name} to be finite", f"{number!r}", requirement)
    return number


def require_damping(damping: Any, requirement: str, name: str = "damping") -> float:
    """Return the damping fraction in [0, 1], or raise.  [CFG-080] [HES-090]"""
    value = require_number(damping, name, requirement)
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} in [0, 1]", f"{value}", requirement)
    return value


def require_group_size(group_size: Any, requirement: str) -> int:
    """Return a group size of at least 1, or -1, or raise.  [CFG-080] [AFF-110]"""
    size = require_integer(group_size, "group_size", requirement)
    if size == 0 or size < -1:
        raise ConfigError("group_size >= 1, or -1", f"{size}", requirement)
    return size


def require_weight_bits(weight_bits: Any, requirement: str) -> int:
    """Return 2, 3, 4 or 8, or raise.  [CFG-080]"""
    bits = require_integer(weight_bits, "weight_bits", requirement)
    if bits not in WEIGHT_BITS:
        raise ConfigError(f"weight_bits in {WEIGHT_BITS}", f"{bits}", requirement)
    return bits


def require_layer_structure(structure: Any, requirement: str) -> dict[str, Any] | None:
    """Return None, or a dict that has no keys but the two documented ones.  [CFG-080]"""
    keys = {"pre_block_layers", "sequential_blocks"}
    if structure is not None and not (isinstance(structure, dict) and set(structure) <= keys):
        expected = 'a dict with keys "pre_block_layers" and "sequential_blocks", or None'
        raise ConfigError(expected, f"{structure!r}", requirement)
    return structure


def require_instance(value: Any, kind: type, name: str, requirement: str, other: str = "") -> None:
    """Raise unless `value` is an object of a class; `other` ends the message's expectation."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIO" else "a"
        expected = f"{name} to be {article} {kind.__name__}{other}"
        raise ConfigError(expected, f"{value!r}", requirement)


def require_rule(name: str, rule: Any, known: tuple[Any, ...], advice: str = "") -> None:
    """Raise unless a rule of a profile is one that an algorithm knows.  [GPTQ-130]"""
    if rule not in known:
        names = " or ".join(function.__name__ for function in known)
        got = getattr(rule, "__name__", repr(rule))
        raise ConfigError(f"rule {name} to be {names}{advice}", got, "GPTQ-130")


def require_arguments(kind: type, arguments: Any) -> dict[str, Any]:
    """Return arguments by name if a class has all of these names, or raise.  [CFG-090]

    Examples
    --------
    >>> from quantref import Quantizer
    >>> require_arguments(Quantizer, {"bits": 4})
    Traceback (most recent call last):
    quantref.errors.ConfigError: expected arguments of Quantizer: output_dtype, got bits [CFG-090]
    """
    known = list(inspect.signature(kind).parameters)
    expected = f"arguments of {kind.__name__}: {', '.join(known)}"
    if not isinstance(arguments, dict):
        raise ConfigError(expected, f"{arguments!r}", "CFG-090")
    unknown = [str(name) for name in arguments if name not in known]
    if unknown:
        raise ConfigError(expected, ", ".join(unknown), "CFG-090")
    return arguments


def require_class_name(data: Any, known: Collection[str], requirement: str) -> str:
    """Return the name of a known class out of {"class_name", "config"}, or raise.  [CFG-090]"""
    name = data.get("class_name") if isinstance(data, dict) else None
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"class_name in {sorted(known)}", f"{data!r}", requirement)
    return name


def require_default(value: str, name: str, requirement: str) -> None:
    """Raise unless a string in the place of a quantizer is "default".  [CFG-050]"""
    if value != "default":
        expected = f'{name} to be a Quantizer, None or "default"'
        raise ConfigError(expected, f"{value!r}", requirement)


def require_int8(output_dtype: str, name: str, requirement: str) -> None:
    """Raise unless a quantizer gives int8 codes.  [CFG-060]"""
    if output_dtype != "int8":
        raise ConfigError(f"{name} with output_dtype int8", output_dtype, requirement)


def require_affine_bits(bits: Any) -> int:
    """Return bits in 2 … 8, or raise.  [AFF-110]"""
    width = require_integer(bits, "bits", "AFF-110")
    if not 2 <= width <= 8:
        raise BitsError("bits in 2 … 8", f"bits={width}", "AFF-110")
    return width


def is_float(dtype: np.dtype) -> bool:
    """Tell whether `dtype` is one of float16, bfloat16, float32 and float64.

    Examples
    --------
    >>> is_float(np.dtype(np.float16)), is_float(np.dtype(np.int8))
    (True, False)
    """
    return dtype.name in FLOAT_NAMES


def require_integer_dtype(dtype: Any, requirement: str) -> np.dtype:
    """Return an integer dtype of any size, or raise.  [RND-030]"""
    try:
        target: np.dtype = np.dtype(dtype)
    except TypeError:
        raise DTypeError("an integer dtype", f"dtype={dtype!r}", requirement) from None
    if target.kind not in "iu":
        raise DTypeError("an integer dtype", f"dtype={target.name}", requirement)
    return target


def require_working_precision(dtype: Any, requirement: str) -> np.dtype:
    """Return float32 or float64 as a dtype, or raise.  [GPTQ-100] [HES-090]"""
    try:
        working: np.dtype = np.dtype(dtype)
    except TypeError:
        raise DTypeError("dtype float32 or float64", f"{dtype!r}", requirement) from None
    if working not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise DTypeError("dtype float32 or float64", working.name, requirement)
    return working


def require_output_dtype(dtype: Any, requirement: str) -> str:
    """Return the name of an integer dtype of at most 32 bits.  [CFG-010]

    Examples
    --------
    >>> require_output_dtype(np.int8, "CFG-010")
    'int8'
    """
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = repr(dtype)
    if name not in INTEGER_NAMES:
        raise DTypeError(f"output_dtype in {', '.join(INTEGER_NAMES)}", name, requirement)
    return str(name)


def require_value_range(value_range: Any, dtype: str, requirement: str) -> tuple[int, int]:
    """Return (lo, hi) with lo <= 0 < hi, inside the output dtype.  [CFG-110]

    Examples
    --------
    >>> require_value_range([-127, 127], "int8", "CFG-110")
    (-127, 127)
    """
    try:
        lo, hi = value_range
    except (TypeError, ValueError):
        got = f"{value_range!r}"
        raise ValueRangeError("value_range of two integers", got, requirement) from None
    lo = require_integer(lo, "value_range[0]", requirement)
    hi = require_integer(hi, "value_range[1]", requirement)
    bounds = np.iinfo(dtype)
    if not bounds.min <= lo <= 0 < hi <= bounds.max:  # [CFG-110]
        expected = f"value_range with {bounds.min} <= lo <= 0 < hi <= {bounds.max} ({dtype})"
        raise ValueRangeError(expected, f"({lo}, {hi})", requirement)
    return lo, hi


def fits_float32(number: float) -> bool:
    """Tell whether a number is finite once it is rounded to float32.

    Examples
    --------
    >>> fits_float32(3.4028235e38), fits_float32(3.4028236e38)
    (True, False)
    """
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.float32(number)))


def require_epsilon(epsilon: Any, hi: int, requirement: str) -> float:
    """Return a positive epsilon for which hi / epsilon is a finite float32.  [CFG-130]"""
    number = require_number(epsilon, "epsilon", requirement)
    if number <= 0 or not fits_float32(hi / number):  # [CFG-130]
        smallest = hi / float(np.finfo(np.float32).max)
        expected = f"epsilon > 0 with {hi} / epsilon a finite float32 (epsilon >= {smallest:.3g})"
        raise ConfigError(expected, f"epsilon={number!r}", requirement)
    return number


def normalize_axis_argument(axis: Any, requirement: str) -> tuple[int, ...] | None:
    """Return None, or a tuple of distinct integers; ranges are checked against arrays later.

    Examples
    --------
    >>> normalize_axis_argument(-1, "CFG-150"), normalize_axis_argument([0, 2], "CFG-150")
    ((-1,), (0, 2))
    """
    if axis is None:
        return None
    given = axis if isinstance(axis, (list, tuple)) else (axis,)
    axes = tuple(require_integer(a, "axis", requirement) for a in given)
    if len(set(axes)) != len(axes):
        raise ConfigError("each axis once", f"axis={axis!r}", requirement)
    return axes
