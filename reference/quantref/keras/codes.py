"""Codes of a quantized model in a file: safetensors, with the configuration in the metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from quantref.config import GPTQConfig, Int8QuantizationConfig
from quantref.errors import OutputError, ReportError
from quantref.fast.packing import pack_codes, unpack_codes
from quantref.inputs import Array
from quantref.keras.int8 import Int8Answer, places_of
from quantref.keras.layers import able_layers
from quantref.keras.quantize import Quantized
from quantref.pipeline.answer import Answer

FORMAT = "quantref codes 1"


def require_safetensors() -> Any:
    """Return the package that reads and writes such files, or raise."""
    try:
        import safetensors.numpy
    except ImportError:
        expected = "safetensors for form codes (pip install 'quantref[quantize]')"
        raise OutputError(expected, "no such module", "") from None
    return safetensors


def write_codes(quantized: Quantized, path: Path) -> None:
    """Write codes, scales, zero-points and g_idx of every layer.

    Of layer L: "L.codes", packed along n_out (SPEC.md, section 5) for GPTQ and (n_out, n_in) for
    int8; "L.scale"; for GPTQ "L.zero_point", "L.g_idx". The metadata have the format's name, the
    configuration, and the layers' shapes, bits, equations.
    """
    module = require_safetensors()
    tensors: dict[str, Array] = {}
    layers: dict[str, Any] = {}
    config = quantized.config
    geometries = {
        place.name: place.geometry
        for name, layer in able_layers(quantized.model).items()
        if name in quantized.answers
        for place in places_of(layer, name)
    }
    for name, answer in quantized.answers.items():
        geometry = geometries[name]
        layers[name] = {
            "equation": geometry.equation,
            "kernel_shape": list(geometry.kernel_shape),
            "n_out": geometry.n_out,
            "n_in": geometry.n_in,
        }
        tensors[f"{name}.scale"] = answer.scale
        if isinstance(answer, Answer):
            bits = config.weight_bits if isinstance(config, GPTQConfig) else 8
            tensors[f"{name}.codes"] = pack_codes(answer.codes, bits, axis=0)
            tensors[f"{name}.zero_point"] = answer.zero_point
            tensors[f"{name}.g_idx"] = answer.g_idx
        else:
            tensors[f"{name}.codes"] = answer.codes
    settings = config.get_config()
    settings.pop("quantization_layer_structure", None)
    metadata = {
        "format": FORMAT,
        "mode": config.mode,
        "config": json.dumps(settings),
        "layers": json.dumps(layers),
    }
    whole = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    module.numpy.save_file(whole, path, metadata)


def read_codes(path: Path) -> tuple[GPTQConfig | Int8QuantizationConfig, dict[str, Any]]:
    """Return the configuration and the answers of a file that `write_codes` wrote.

    Raises
    ------
    ReportError
        The file is not what it claims to be.
    """
    module = require_safetensors()
    try:
        with module.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ReportError(f"format {FORMAT!r} in {path}", f"{metadata.get('format')!r}", "")
            settings, layers = json.loads(metadata["config"]), json.loads(metadata["layers"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no dict
        if metadata["mode"] == "int8":
            return Int8QuantizationConfig.from_config(settings), {
                name: Int8Answer(arrays[f"{name}.codes"], arrays[f"{name}.scale"])
                for name in layers
            }
        config = GPTQConfig.from_config(settings)
        return config, {
            name: Answer(
                unpack_codes(
                    arrays[f"{name}.codes"], config.weight_bits, layers[name]["n_out"], axis=0
                ).astype(np.uint8),
                arrays[f"{name}.scale"],
                arrays[f"{name}.zero_point"],
                arrays[f"{name}.g_idx"],
            )
            for name in layers
        }
    except (module.SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, ReportError):
            raise
        expected = f"codes of a quantized model in {path}"
        raise ReportError(expected, f"{type(error).__name__}: {error}", "") from None
