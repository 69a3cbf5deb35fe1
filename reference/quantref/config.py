"""Quantizers and quantization configs: the documented interface (SPEC.md, section 1).

Signatures and defaults follow the documentation of Keras 3 (API / Quantizers / Quantizer
classes). Every object is validated when made, compares by its configuration, and survives
``from_config(json.loads(json.dumps(get_config())))``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from quantref.errors import ConfigError
from quantref.inputs import (
    WEIGHT_BITS,
    require_arguments,
    require_bool,
    require_damping,
    require_group_size,
    require_integer,
    require_output_dtype,
)

EPSILON = 1e-7
DEFAULT_ACTIVATION = {"class_name": "AbsMaxQuantizer", "config": {"axis": -1}}


class Quantizer:
    """Base of quantizers; itself the identity.  [CFG-010]

    Parameters
    ----------
    output_dtype : str, default "int8"
        Name of an integer dtype of at most 32 bits.

    Examples
    --------
    >>> Quantizer().get_config()
    {'output_dtype': 'int8'}
    """

    registry: ClassVar[dict[str, type[Quantizer]]] = {}

    def __init_subclass__(cls) -> None:
        Quantizer.registry[cls.__name__] = cls

    def __init__(self, output_dtype: str = "int8") -> None:  # [CFG-010]
        self.output_dtype = require_output_dtype(output_dtype, "CFG-010")

    def __call__(self, x: Any) -> Any:
        """Return `x`; subclasses return codes and scale."""
        return x

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values.  [CFG-090]"""
        return {"output_dtype": self.output_dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the object that `get_config` described.  [CFG-090]"""
        return cls(**require_arguments(cls, config))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


Quantizer.registry["Quantizer"] = Quantizer


def serialize_quantizer(quantizer: Quantizer | None) -> dict[str, Any] | None:
    """Return {"class_name", "config"} for a quantizer, None for None.  [CFG-090]

    Examples
    --------
    >>> serialize_quantizer(Quantizer())
    {'class_name': 'Quantizer', 'config': {'output_dtype': 'int8'}}
    """
    if quantizer is None:
        return None
    return {"class_name": type(quantizer).__name__, "config": quantizer.get_config()}


def deserialize_quantizer(data: dict[str, Any] | None) -> Quantizer | None:
    """Make the quantizer that `serialize_quantizer` described.  [CFG-090]

    Examples
    --------
    >>> deserialize_quantizer({"class_name": "Quantizer", "config": {}})
    Quantizer(output_dtype='int8')
    """
    if data is None:
        return None
    name = data.get("class_name") if isinstance(data, dict) else None
    if not isinstance(name, str) or name not in Quantizer.registry:
        expected = f"class_name in {sorted(Quantizer.registry)}"
        raise ConfigError(expected, f"{data!r}", "CFG-090")
    return Quantizer.registry[name].from_config(data.get("config", {}))


class QuantizationConfig:
    """Base of quantization configs.  [CFG-050]

    Subclasses have a `mode`. `get_config` and `from_config` carry nested quantizers.

    Parameters
    ----------
    weight_quantizer, activation_quantizer : Quantizer, optional
    """

    def __init__(
        self,
        weight_quantizer: Quantizer | None = None,
        activation_quantizer: Quantizer | None = None,
    ) -> None:
        for name, quantizer in (
            ("weight_quantizer", weight_quantizer),
            ("activation_quantizer", activation_quantizer),
        ):
            if quantizer is not None and not isinstance(quantizer, Quantizer):
                raise ConfigError(f"{name} to be a Quantizer or None", f"{quantizer!r}", "CFG-050")
        self.weight_quantizer = weight_quantizer
        self.activation_quantizer = activation_quantizer

    @property
    def mode(self) -> str:
        """Name of the quantization mode; the base class has none.  [CFG-050]"""
        raise NotImplementedError("QuantizationConfig has no mode: use a subclass")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values.  [CFG-090]"""
        return {
            "weight_quantizer": serialize_quantizer(self.weight_quantizer),
            "activation_quantizer": serialize_quantizer(self.activation_quantizer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the object that `get_config` described.  [CFG-090]"""
        require_arguments(cls, config)
        return cls(
            deserialize_quantizer(config.get("weight_quantizer")),
            deserialize_quantizer(config.get("activation_quantizer")),
        )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class Int8QuantizationConfig(QuantizationConfig):
    """Weights and activations as int8.  [CFG-060]

    Parameters
    ----------
    weight_quantizer : Quantizer, optional
        Must have output dtype int8.
    activation_quantizer : Quantizer, None or "default"
        "default" is `AbsMaxQuantizer(axis=-1)`; None leaves activations in floating point.

    Examples
    --------
    >>> config = Int8QuantizationConfig()
    >>> config.mode, config.activation_quantizer.axis
    ('int8', (-1,))
    """

    def __init__(
        self,
        weight_quantizer: Quantizer | None = None,
        activation_quantizer: Quantizer | str | None = "default",
    ) -> None:
        if isinstance(activation_quantizer, str):
            if activation_quantizer != "default":
                expected = 'activation_quantizer to be a Quantizer, None or "default"'
                raise ConfigError(expected, f"{activation_quantizer!r}", "CFG-060")
            activation_quantizer = deserialize_quantizer(DEFAULT_ACTIVATION)  # [CFG-060]
        super().__init__(weight_quantizer, activation_quantizer)
        if weight_quantizer is not None and weight_quantizer.output_dtype != "int8":
            expected = "weight_quantizer with output_dtype int8"
            raise ConfigError(expected, weight_quantizer.output_dtype, "CFG-060")

    @property
    def mode(self) -> str:
        """The string "int8"."""
        return "int8"


class GPTQConfig(QuantizationConfig):
    """Settings of GPTQ, with the documented names and defaults.  [CFG-070]

    Parameters
    ----------
    dataset : iterable of strings or token arrays, or None
        Calibration data. None where a Hessian is given directly.
    tokenizer : callable or None
        Turns strings into tokens.
    weight_bits : {2, 3, 4, 8}, default 4
    num_samples : int >= 1, default 128
        Calibration windows.
    per_channel : bool, default True
        True: every row (output channel) has its own range. False: all rows share one per group.
    sequence_length : int >= 1, default 512
        Tokens per calibration window.
    hessian_damping : float in [0, 1], default 0.01
        Fraction of the mean diagonal that is added to the diagonal.
    group_size : int >= 1, or -1, default 128
        Input columns that share a scale and a zero-point; -1: all of them.
    symmetric : bool, default False
    activation_order : bool, default False
        Columns are quantized in descending order of the Hessian's diagonal.
    quantization_layer_structure : dict, optional
        Keys "pre_block_layers" and "sequential_blocks", each a list of layers.

    Raises
    ------
    ConfigError
        An argument is outside its domain.

    Examples
    --------
    >>> config = GPTQConfig(None, None, weight_bits=3, group_size=-1)
    >>> config.mode, config.weight_bits, config.hessian_damping
    ('gptq', 3, 0.01)
    >>> GPTQConfig.from_config(config.get_config()) == config
    True
    """

    def __init__(
        self,
        dataset: Any,
        tokenizer: Any,
        weight_bits: int = 4,
        num_samples: int = 128,
        per_channel: bool = True,
        sequence_length: int = 512,
        hessian_damping: float = 0.01,
        group_size: int = 128,
        symmetric: bool = False,
        activation_order: bool = False,
        quantization_layer_structure: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        where = "CFG-080"
        self.dataset = dataset
        self.tokenizer = tokenizer
        self.weight_bits = require_integer(weight_bits, "weight_bits", where)
        if self.weight_bits not in WEIGHT_BITS:  # [CFG-080]
            raise ConfigError(f"weight_bits in {WEIGHT_BITS}", f"{weight_bits}", where)
        self.num_samples = require_integer(num_samples, "num_samples", where)
        self.sequence_length = require_integer(sequence_length, "sequence_length", where)
        for name in ("num_samples", "sequence_length"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} >= 1", f"{getattr(self, name)}", where)
        self.per_channel = require_bool(per_channel, "per_channel", where)
        self.hessian_damping = require_damping(hessian_damping, where, "hessian_damping")
        self.group_size = require_group_size(group_size, where)
        self.symmetric = require_bool(symmetric, "symmetric", where)
        self.activation_order = require_bool(activation_order, "activation_order", where)
        structure = quantization_layer_structure
        if structure is not None and not (
            isinstance(structure, dict)
            and set(structure) <= {"pre_block_layers", "sequential_blocks"}
        ):
            expected = 'a dict with keys "pre_block_layers" and "sequential_blocks", or None'
            raise ConfigError(expected, f"{structure!r}", where)
        self.quantization_layer_structure = structure

    @property
    def mode(self) -> str:
        """The string "gptq"."""
        return "gptq"

    def dtype_policy_string(self) -> str:
        """Return "gptq/BITS/GROUP", as the dtype policies of Keras name it.  [CFG-070]

        Examples
        --------
        >>> GPTQConfig(None, None).dtype_policy_string()
        'gptq/4/128'
        """
        return f"gptq/{self.weight_bits}/{self.group_size}"

    def get_config(self) -> dict[str, Any]:
        """Return all settings; dataset and tokenizer serve calibration once and become None."""
        return {
            "dataset": None,
            "tokenizer": None,
            "weight_bits": self.weight_bits,
            "num_samples": self.num_samples,
            "per_channel": self.per_channel,
            "sequence_length": self.sequence_length,
            "hessian_damping": self.hessian_damping,
            "group_size": self.group_size,
            "symmetric": self.symmetric,
            "activation_order": self.activation_order,
            "quantization_layer_structure": self.quantization_layer_structure,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the object that `get_config` described.  [CFG-090]"""
        return cls(**require_arguments(cls, config))
