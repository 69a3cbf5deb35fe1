"""Quantizers and configs as JSON: {"class", "arguments"} in, {"class", "fields"} out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantref.absmax import AbsMaxQuantizer
from quantref.config import GPTQConfig, Int8QuantizationConfig, QuantizationConfig, Quantizer
from quantref.errors import ConfigError
from quantref.inputs import require_arguments
from quantref.int4 import Int4QuantizationConfig

Outputs = dict[str, Any]
NAMES = {"bits": "weight_bits", "damping": "hessian_damping"}
"""Names in GPTQConfig that are others than in questions."""
SETTINGS = (
    "bits", "per_channel", "damping", "group_size", "symmetric", "activation_order",
    "num_samples", "sequence_length",
)  # fmt: skip
ABSMAX_DEFAULTS: dict[str, Any] = {
    "axis": None, "value_range": [-127, 127], "epsilon": 1e-7, "output_dtype": "int8",
}  # fmt: skip
CLASSES: dict[str, type] = {
    "Quantizer": Quantizer,
    "AbsMaxQuantizer": AbsMaxQuantizer,
    "QuantizationConfig": QuantizationConfig,
    "Int8QuantizationConfig": Int8QuantizationConfig,
    "Int4QuantizationConfig": Int4QuantizationConfig,
    "GPTQConfig": GPTQConfig,
}
ATTRIBUTES = {
    "Quantizer": ("output_dtype",),
    "AbsMaxQuantizer": ("axis", "value_range", "epsilon", "output_dtype"),
    "QuantizationConfig": ("weight_quantizer", "activation_quantizer"),
    "Int8QuantizationConfig": ("mode", "weight_quantizer", "activation_quantizer"),
    "Int4QuantizationConfig": (
        "mode", "weight_quantizer", "activation_quantizer", "block_size",
    ),
    "GPTQConfig": (
        "mode", "weight_bits", "num_samples", "per_channel", "sequence_length", "hessian_damping",
        "group_size", "symmetric", "activation_order",
    ),
}  # fmt: skip


def build(description: Any) -> Any:
    """Make the object that {"class", "arguments"} describes, nested quantizers included.

    Examples
    --------
    >>> build({"class": "Quantizer", "arguments": {}})
    Quantizer(output_dtype='int8')

    Raises
    ------
    ConfigError
        There is no such class, or it has no such argument.
    """
    if not isinstance(description, dict) or not {"class", "arguments"} <= set(description):
        raise ConfigError('{"class": …, "arguments": …}', f"{description!r:.80}", "CFG-090")
    name, given = description["class"], description["arguments"]
    if not isinstance(name, str) or name not in CLASSES:
        raise ConfigError(f"class in {sorted(CLASSES)}", f"{name!r}", "CFG-090")
    given = require_arguments(CLASSES[name], given)
    arguments = {
        key: build(value) if isinstance(value, dict) and "class" in value else value
        for key, value in given.items()
    }
    if name == "GPTQConfig":
        arguments = {"dataset": None, "tokenizer": None, **arguments}
    return CLASSES[name](**arguments)


def describe(value: Any) -> Any:
    """Return the attributes of an object as JSON values, quantizers as {"class", "fields"}.

    Examples
    --------
    >>> describe(Quantizer())
    {'class': 'Quantizer', 'fields': {'output_dtype': 'int8'}}
    """
    if isinstance(value, (Quantizer, QuantizationConfig)):
        name = type(value).__name__
        fields = {key: describe(getattr(value, key)) for key in ATTRIBUTES[name]}
        return {"class": name, "fields": fields}
    return list(value) if isinstance(value, tuple) else value


def absmax_arguments(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of AbsMax in a question, with defaults for those that are left out.

    Examples
    --------
    >>> absmax_arguments({"arguments": {"epsilon": 0.25}, "call_axis": None})["value_range"]
    [-127, 127]
    """
    return {**ABSMAX_DEFAULTS, **parameters.get("arguments", parameters)}


def gptq_fields(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a question on GPTQ under their names in GPTQConfig.

    Examples
    --------
    >>> gptq_fields({"bits": 3, "symmetric": True, "block_size": 8})
    {'weight_bits': 3, 'symmetric': True}
    """
    return {NAMES.get(k, k): parameters[k] for k in SETTINGS if k in parameters}


def settings_of(config: GPTQConfig) -> dict[str, Any]:
    """Return the fields of a GPTQConfig under their names in questions on GPTQ.

    Examples
    --------
    >>> settings_of(GPTQConfig(None, None, weight_bits=3))["bits"]
    3
    """
    return {name: getattr(config, NAMES.get(name, name)) for name in SETTINGS}


def gptq_config(parameters: Mapping[str, Any]) -> GPTQConfig:
    """Return the GPTQConfig for the parameters of a question."""
    return GPTQConfig(None, None, **gptq_fields(parameters))
