"""Arrays as JSON: dtype, shape, and numbers in C order (SPEC.md, section 11)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from quantref.errors import DamagedVectorError, DTypeError
from quantref.inputs import Array

DTYPES = (
    "float16", "bfloat16", "float32", "float64",
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
)  # fmt: skip


SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def dtype_of(name: str) -> np.dtype[Any]:
    """Return the dtype of a name in `DTYPES`; bfloat16 needs the package ml_dtypes.

    Examples
    --------
    >>> dtype_of("float16")
    dtype('float16')
    """
    if name not in DTYPES:
        raise DTypeError(f"dtype in {', '.join(DTYPES)}", f"{name!r}", "VEC-020")
    if name == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            expected = "the package ml_dtypes for bfloat16 (pip install 'quantref[bfloat16]')"
            raise DTypeError(expected, "no such package", "VEC-020") from None
        narrow: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return narrow
    return np.dtype(name)


def _number(value: Any) -> float | int | str:
    """Return a JSON number, or the name of a special value.  [VEC-020]"""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value  # type: ignore[no-any-return]


def encode_array(array: Array) -> dict[str, Any]:
    """Return an array as {"dtype", "shape", "data"}, data flat in C order.  [VEC-020]

    Examples
    --------
    >>> encode_array(np.float32([[0.5, np.inf]]))
    {'dtype': 'float32', 'shape': [1, 2], 'data': [0.5, 'Infinity']}
    """
    array = np.asarray(array)
    if array.dtype.name not in DTYPES:
        raise DTypeError(f"dtype in {', '.join(DTYPES)}", array.dtype.name, "VEC-020")
    wide = array if array.dtype.kind in "iu" else array.astype(np.float64)
    data = wide.ravel().tolist()
    if not np.isfinite(wide).all():
        data = [_number(value) for value in data]
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}


def is_array(data: Any) -> bool:
    """Tell whether JSON data looks like an encoded array.

    Examples
    --------
    >>> is_array({"dtype": "int8", "shape": [], "data": [1]}), is_array([1])
    (True, False)
    """
    return isinstance(data, dict) and {"dtype", "shape", "data"} == set(data)


def decode_array(data: Any, where: str = "array") -> Array:
    """Return the array that `encode_array` wrote.  [VEC-020]

    Raises
    ------
    DamagedVectorError
        A key is missing, the dtype is unknown, the length is wrong, or a value does not fit the
        dtype.

    Examples
    --------
    >>> decode_array({"dtype": "int8", "shape": [2], "data": [1, -2]})
    array([ 1, -2], dtype=int8)
    """
    if not is_array(data):
        raise DamagedVectorError(f"{where} with dtype, shape, data", f"{data!r:.80}", "VEC-020")
    name, shape, values = data["dtype"], data["shape"], data["data"]
    try:
        dtype = dtype_of(name)
    except DTypeError as error:
        raise DamagedVectorError(f"{where}: {error.expected}", error.got, "VEC-020") from None
    natural = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if not natural or not isinstance(values, list) or math.prod(shape) != len(values):
        got = f"shape {shape!r:.40}, {len(values) if isinstance(values, list) else 0} values"
        raise DamagedVectorError(f"{where}: as many values as the shape has", got, "VEC-020")
    stray = _stray(values, dtype)
    if stray is not None:
        raise DamagedVectorError(f"{where}: values of {name}", f"{stray[0]!r:.40}", "VEC-020")
    if dtype.kind in "iu":
        return np.array(values, dtype=dtype).reshape(shape)
    if str in set(map(type, values)):
        values = [SPECIAL[v] if isinstance(v, str) else v for v in values]
    numbers = np.array(values, np.float64)
    with np.errstate(over="ignore"):
        narrow = numbers.astype(dtype)
    beyond = np.isfinite(numbers) & ~np.isfinite(narrow)
    if beyond.any():
        got = f"{float(numbers[beyond][0])!r}"
        raise DamagedVectorError(f"{where}: values of {name}", got, "VEC-020")
    return narrow.reshape(shape)


def _stray(values: list[Any], dtype: np.dtype) -> list[Any] | None:
    """Return the first value that an array of the dtype cannot have, in a list; None if all fit."""
    integer = dtype.kind in "iu"
    if not integer and set(map(type, values)) <= {float} and all(map(math.isfinite, values)):
        return None  # soon known, for arrays of millions of numbers
    if integer and values and set(map(type, values)) == {int}:
        bounds = np.iinfo(dtype)
        if bounds.min <= min(values) and max(values) <= bounds.max:
            return None
    for value in values:
        if type(value) is int and (not integer or _fits(value, dtype)):
            continue
        special = isinstance(value, str) and value in SPECIAL
        if not integer and (special or (type(value) is float and math.isfinite(value))):
            continue
        return [value]
    return None


def _fits(value: int, dtype: np.dtype) -> bool:
    """Tell whether an integer fits an integer dtype."""
    bounds = np.iinfo(dtype)
    return bool(bounds.min <= value <= bounds.max)


def encode(value: Any) -> Any:
    """Encode the arrays inside dicts and lists; other values stay unchanged.

    Examples
    --------
    >>> encode({"x": np.int8([1])})
    {'x': {'dtype': 'int8', 'shape': [1], 'data': [1]}}
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return encode_array(np.asarray(value))
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def decode(data: Any, where: str = "array") -> Any:
    """Decode the arrays inside dicts and lists: the inverse of `encode`.

    Examples
    --------
    >>> decode({"x": {"dtype": "int8", "shape": [1], "data": [1]}, "bits": 4})
    {'x': array([1], dtype=int8), 'bits': 4}
    """
    if is_array(data):
        return decode_array(data, where)
    if isinstance(data, dict):
        return {key: decode(item, f"{where}.{key}") for key, item in data.items()}
    if isinstance(data, list):
        return [decode(item, f"{where}[{k}]") for k, item in enumerate(data)]
    return data
