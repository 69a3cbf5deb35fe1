"""Quantizers and configs of Keras from JSON, and back."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping
from typing import Any

Inputs = Mapping[str, Any]
Parameters = Mapping[str, Any]
Outputs = dict[str, Any]


class Unsupported(Exception):  # noqa: N818 - an answer, not a failure
    """Raised for an operation or class that Keras does not have."""


def axis_of(axis: Any) -> Any:
    """Return an axis from JSON, which has no tuples, as int, tuple or None."""
    return tuple(axis) if isinstance(axis, list) else axis


def build(description: Any) -> Any:
    """Make an object of `keras.quantizers` from {"class": …, "arguments": …}."""
    import keras

    kind = getattr(keras.quantizers, description["class"], None)
    if kind is None:
        raise Unsupported(f"Keras {keras.__version__} has no {description['class']}")
    four_bits = description["class"] == "Int4QuantizationConfig"
    if four_bits and "block_size" not in inspect.signature(kind).parameters:
        raise Unsupported(f"Keras {keras.__version__} has no groups in its mode int4")
    arguments = keyword_arguments(description["arguments"])
    if description["class"] == "GPTQConfig":
        arguments = {"dataset": None, "tokenizer": None, **arguments}
    return kind(**arguments)


def keyword_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Read constructor arguments from JSON: lists to tuples, nested quantizers to objects."""
    made: dict[str, Any] = {}
    for key, value in arguments.items():
        nested = isinstance(value, dict) and "class" in value
        made[key] = build(value) if nested else axis_of(value)
    return made


def fields_of(thing: Any) -> dict[str, Any]:
    """Return the public attributes of a quantizer or config as JSON, nested ones with class."""
    import keras

    fields: dict[str, Any] = {}
    with contextlib.suppress(AttributeError, NotImplementedError):
        fields["mode"] = thing.mode
    names = ("Quantizer", "QuantizationConfig")  # Keras 3.12 has the first alone
    kinds = tuple(getattr(keras.quantizers, n) for n in names if hasattr(keras.quantizers, n))
    for key, value in vars(thing).items():
        if key.startswith("_"):
            continue
        if isinstance(value, kinds):
            fields[key] = {"class": type(value).__name__, "fields": fields_of(value)}
        else:
            fields[key] = list(value) if isinstance(value, tuple) else value
    return fields
