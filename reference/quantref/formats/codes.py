"""Codes of a quantized model in a file: safetensors, with the configuration in the metadata.

For a layer L the file has "L.codes" and "L.scale", and for GPTQ also "L.zero_point" and "L.g_idx".
Codes of GPTQ are packed along n_out (SPEC.md, section 5); those of int8 have shape (n_out, n_in).
The metadata hold the format's name, the mode, the configuration, and the layers' shapes and
equations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.absmax import abs_max_dequantize
from quantref.affine import affine_dequantize
from quantref.config import GPTQConfig, Int8QuantizationConfig, QuantizationConfig
from quantref.errors import OutputError, ReportError
from quantref.fast.packing import pack_codes, unpack_codes
from quantref.inputs import Array

FORMAT = "quantref codes 1"
Config = GPTQConfig | Int8QuantizationConfig


@dataclass(frozen=True, eq=False)
class LayerCodes:
    """The codes of one layer, with the shape of its kernel.

    Attributes
    ----------
    equation : str
    kernel_shape : tuple of int
    codes : (n_out, n_in) uint8 array, int8 without zero-points
    scale : (n_out, n_groups) float32 array, (n_out,) without zero-points
    zero_point : (n_out, n_groups) uint8 array, or None for int8
    g_idx : (n_in,) int32 array, or None for int8
    """

    equation: str
    kernel_shape: tuple[int, ...]
    codes: NDArray[Any]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.uint8] | None = None
    g_idx: NDArray[np.int32] | None = None

    def dequantized(self) -> NDArray[np.float32]:
        """Return the dequantized weights (n_out, n_in).  [AFF-160] [ABS-080]

        Examples
        --------
        >>> LayerCodes("ab,bc->ac", (1, 1), np.int8([[3]]), np.float32([2])).dequantized()
        array([[1.5]], dtype=float32)
        """
        if self.zero_point is None or self.g_idx is None:
            return np.asarray(abs_max_dequantize(self.codes, self.scale[:, None]), np.float32)
        return affine_dequantize(self.codes, self.scale, self.zero_point, self.g_idx)


def require_safetensors() -> Any:
    """Return the package safetensors, or raise."""
    try:
        import safetensors.numpy
    except ImportError:
        expected = "safetensors for form codes (pip install 'quantref[quantize]')"
        raise OutputError(expected, "no such module", "") from None
    return safetensors


def write_codes(path: Path, config: QuantizationConfig, layers: Mapping[str, LayerCodes]) -> None:
    """Write the codes of all layers, by name, with the configuration of the quantization."""
    module = require_safetensors()
    tensors: dict[str, Array] = {}
    described: dict[str, Any] = {}
    for name, layer in layers.items():
        n_out, n_in = layer.codes.shape
        described[name] = {
            "equation": layer.equation,
            "kernel_shape": list(layer.kernel_shape),
            "n_out": n_out,
            "n_in": n_in,
        }
        tensors[f"{name}.scale"] = layer.scale
        if layer.zero_point is None or layer.g_idx is None:
            tensors[f"{name}.codes"] = layer.codes
            continue
        bits = config.weight_bits if isinstance(config, GPTQConfig) else 8
        tensors[f"{name}.codes"] = pack_codes(layer.codes, bits, axis=0)
        tensors[f"{name}.zero_point"] = layer.zero_point
        tensors[f"{name}.g_idx"] = layer.g_idx
    settings = config.get_config()
    settings.pop("quantization_layer_structure", None)
    metadata = {
        "format": FORMAT,
        "mode": config.mode,
        "config": json.dumps(settings),
        "layers": json.dumps(described),
    }
    whole = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    module.numpy.save_file(whole, path, metadata)


def read_codes(path: Path) -> tuple[Config, dict[str, LayerCodes]]:
    """Return the configuration and the layers of a file that `write_codes` wrote.

    Raises
    ------
    ReportError
        The file is damaged, or has another format.
    """
    module = require_safetensors()
    try:
        with module.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ReportError(f"format {FORMAT!r} in {path}", f"{metadata.get('format')!r}", "")
            settings, described = json.loads(metadata["config"]), json.loads(metadata["layers"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no dict
        config: Config
        if metadata["mode"] == "int8":
            config = Int8QuantizationConfig.from_config(settings)
        else:
            config = GPTQConfig.from_config(settings)
        return config, {
            name: _layer(name, fields, arrays, config) for name, fields in described.items()
        }
    except (module.SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, ReportError):
            raise
        expected = f"codes of a quantized model in {path}"
        raise ReportError(expected, f"{type(error).__name__}: {error}", "") from None


def _layer(
    name: str, fields: dict[str, Any], arrays: dict[str, Array], config: Config
) -> LayerCodes:
    kernel = (str(fields["equation"]), tuple(fields["kernel_shape"]))
    codes, scale = arrays[f"{name}.codes"], arrays[f"{name}.scale"]
    if not isinstance(config, GPTQConfig):
        return LayerCodes(*kernel, codes, scale)
    codes = unpack_codes(codes, config.weight_bits, fields["n_out"], axis=0).astype(np.uint8)
    zero_point, g_idx = arrays[f"{name}.zero_point"], arrays[f"{name}.g_idx"]
    return LayerCodes(*kernel, codes, scale, zero_point, g_idx)
