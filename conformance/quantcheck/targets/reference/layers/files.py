"""Quantized layers as JSON text and files (SPEC.md, section 9).

A file holds the class, the equation, the config, and the arrays in the form of section 11. Reading
it executes nothing.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from quantcheck.wire.arrays import decode, encode
from quantref.config import GPTQConfig, Int8QuantizationConfig
from quantref.errors import DamagedVectorError
from quantref.layers import GPTQDense, Int8Dense, Int8Embedding

Layer = Int8Dense | GPTQDense | Int8Embedding
LAYERS: dict[str, type[Layer]] = {
    "Int8Dense": Int8Dense,
    "GPTQDense": GPTQDense,
    "Int8Embedding": Int8Embedding,
}


def to_text(layer: Layer) -> str:
    """Return a layer as JSON.  [LAY-130] [LAY-140]

    Examples
    --------
    >>> import numpy as np
    >>> layer = Int8Dense.quantize(np.float32([[1.0, -4.0]]))
    >>> again = from_text(to_text(layer))
    >>> again.config == layer.config, again(np.float32([[2.0]]))
    (True, array([[ 2.0000005, -8.000001 ]], dtype=float32))
    """
    data: dict[str, Any] = {"layer": type(layer).__name__}
    for item in fields(layer):
        value = getattr(layer, item.name)
        is_config = isinstance(value, (GPTQConfig, Int8QuantizationConfig))
        data[item.name] = value.get_config() if is_config else encode(value)
    return json.dumps(data, allow_nan=False)


def from_text(text: str) -> Layer:
    """Return the layer that `to_text` wrote.

    Raises
    ------
    DamagedVectorError
        The text is no layer.
    """
    try:
        data = json.loads(text)
        kind = LAYERS[data.pop("layer")]
        names = {item.name for item in fields(kind)}
        if set(data) != names:
            raise KeyError(*(set(data) ^ names))
        config = GPTQConfig if kind is GPTQDense else Int8QuantizationConfig
        data["config"] = config.from_config(data["config"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedVectorError("the JSON of a layer", f"{error!r:.80}", "LAY-130") from None
    if "kernel_shape" in data:
        data["kernel_shape"] = tuple(data["kernel_shape"])
    return kind(**decode(data))


def save(layer: Layer, path: str | Path) -> None:
    """Write a layer to a file."""
    Path(path).write_text(to_text(layer), encoding="utf-8")


def load(path: str | Path) -> Layer:
    """Read the layer of a file."""
    return from_text(Path(path).read_text(encoding="utf-8"))
