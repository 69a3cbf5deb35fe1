"""Quantizers and configs of Keras made, described, and made again."""

from __future__ import annotations

import json
from typing import Any

from quantcheck.targets.keras import releases
from quantcheck.targets.keras.config import (
    Inputs,
    Outputs,
    Parameters,
    Unsupported,
    build,
    fields_of,
    keyword_arguments,
)

CONFIG_CLASSES = (
    "AbsMaxQuantizer",
    "GPTQConfig",
    "Int8QuantizationConfig",
    "Int4QuantizationConfig",
    "QuantizationConfig",
    "Quantizer",
)


def config_round_trip(_: Inputs, parameters: Parameters) -> Outputs:
    """Serialize a config to JSON text as layers do when a model is saved, and deserialize it."""
    import keras

    name = parameters["class"]
    if name not in CONFIG_CLASSES:
        raise Unsupported(f"Keras has no {name}")
    line = releases.current()
    if name == "AbsMaxQuantizer":
        line.require_quantizer(keyword_arguments(parameters["arguments"]), None)
    made = build({"class": name, "arguments": parameters["arguments"]})
    line.require_saved_config(made)
    if "route" in parameters:
        return {"fields": fields_of(_got(made, name, parameters["route"]))}
    text = json.dumps(keras.saving.serialize_keras_object(made))
    return {"fields": fields_of(keras.saving.deserialize_keras_object(json.loads(text)))}


def _got(made: Any, name: str, route: str) -> Any:
    """Get a quantizer by the public functions; see SPEC.md, section 12, *Routes*."""
    import keras

    if route == "object":
        return keras.quantizers.get(made)
    if route == "name":
        return keras.quantizers.get(name)
    described = json.loads(json.dumps(keras.quantizers.serialize(made)))
    if route == "serialized":
        return keras.quantizers.get(described)
    return keras.quantizers.deserialize(described)
