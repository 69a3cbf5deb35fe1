"""Quantizers and configs of Keras from JSON, and back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

Inputs = Mapping[str, Any]
Parameters = Mapping[str, Any]
Outputs = dict[str, Any]
CONFIG_CLASSES = (
    "AbsMaxQuantizer",
    "GPTQConfig",
    "Int8QuantizationConfig",
    "Int4QuantizationConfig",
    "QuantizationConfig",
    "Quantizer",
)


class Unsupported(Exception):  # noqa: N818 - an answer, not a failure
    """Raised for an operation or class that Keras does not have."""


def axis_of(axis: Any) -> Any:
    """Return an axis from JSON, which has no tuples, as int, tuple or None."""
    return tuple(axis) if isinstance(axis, list) else axis


def config_round_trip(_: Inputs, parameters: Parameters) -> Outputs:
    """Serialize a config to JSON text as layers do when a model is saved, and deserialize it."""
    import keras

    name = parameters["class"]
    if name not in CONFIG_CLASSES:
        raise Unsupported(f"Keras has no {name}")
    made = build({"class": name, "arguments": parameters["arguments"]})
    text = json.dumps(keras.saving.serialize_keras_object(made))
    return {"fields": fields_of(keras.saving.deserialize_keras_object(json.loads(text)))}


def build(description: Any) -> Any:
    """Make an object of `keras.quantizers` from {"class": …, "arguments": …}."""
    import keras

    kind = getattr(keras.quantizers, description["class"])
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
    for key, value in vars(thing).items():
        if key.startswith("_"):
            continue
        if isinstance(value, (keras.quantizers.Quantizer, keras.quantizers.QuantizationConfig)):
            fields[key] = {"class": type(value).__name__, "fields": fields_of(value)}
        else:
            fields[key] = list(value) if isinstance(value, tuple) else value
    return fields
