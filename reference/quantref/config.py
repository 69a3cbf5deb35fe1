"""Quantizers and quantization configs: the documented interface (SPEC.md, section 1).

Names and defaults are those of the documentation of Keras 3. `AbsMaxQuantizer` is in `absmax`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from quantref.inputs import (
    require_arguments,
    require_bool,
    require_class_name,
    require_count,
    require_damping,
    require_default,
    require_group_size,
    require_instance,
    require_int8,
    require_layer_structure,
    require_output_dtype,
    require_weight_bits,
)

EPSILON = 1e-7
DEFAULT_ACTIVATION = {"class_name": "AbsMaxQuantizer", "config": {"axis": -1}}


class Configured:
    """Base of quantizers and configs: objects of one class with equal arguments are equal.

    ROUND TRIP: ``from_config(json.loads(json.dumps(get_config())))`` makes an equal object.
    """

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values.  [CFG-090]"""
        raise NotImplementedError

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


class Quantizer(Configured):
    """Base of quantizers.

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

    def __init__(self, output_dtype: str = "int8") -> None:
        self.output_dtype = require_output_dtype(output_dtype, "CFG-010")  # [CFG-010]

    def __call__(self, x: Any) -> Any:
        """Return `x`; subclasses return codes and scale."""
        return x  # [CFG-010]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {"output_dtype": self.output_dtype}

    def serialized(self) -> dict[str, Any]:
        """Return the name of the class and the config."""
        return {"class_name": type(self).__name__, "config": self.get_config()}


Quantizer.registry["Quantizer"] = Quantizer


def deserialize_quantizer(data: dict[str, Any] | str | None) -> Quantizer | None:
    """Make the quantizer that `serialized` described, or of a class by its name.  [CFG-160]

    Examples
    --------
    >>> deserialize_quantizer(Quantizer("int16").serialized())
    Quantizer(output_dtype='int16')
    """
    if data is None:
        return None
    data = {"class_name": data} if isinstance(data, str) else data
    name = require_class_name(data, Quantizer.registry, "CFG-090")
    return Quantizer.registry[name].from_config(data.get("config", {}))


class QuantizationConfig(Configured):
    """Base of quantization configs; each subclass has a `mode`."""

    def __init__(
        self,
        weight_quantizer: Quantizer | None = None,
        activation_quantizer: Quantizer | None = None,
    ) -> None:
        self.weight_quantizer = weight_quantizer
        self.activation_quantizer = activation_quantizer
        for name, quantizer in vars(self).items():
            if quantizer is not None:
                require_instance(quantizer, Quantizer, name, "CFG-050", " or None")  # [CFG-050]

    @property
    def mode(self) -> str:
        """Name of the quantization mode; the base class has none.  [CFG-050]"""
        raise NotImplementedError("QuantizationConfig has no mode: use a subclass")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        weights, activations = self.weight_quantizer, self.activation_quantizer
        return {
            "weight_quantizer": weights and weights.serialized(),
            "activation_quantizer": activations and activations.serialized(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the object that `get_config` described."""
        require_arguments(cls, config)
        return cls(
            deserialize_quantizer(config.get("weight_quantizer")),
            deserialize_quantizer(config.get("activation_quantizer")),
        )


class Int8QuantizationConfig(QuantizationConfig):
    """Weights and activations as int8.

    Parameters
    ----------
    weight_quantizer : Quantizer of output dtype int8, or None
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
            require_default(activation_quantizer, "activation_quantizer", "CFG-050")
            activation_quantizer = deserialize_quantizer(DEFAULT_ACTIVATION)  # [CFG-060]
        super().__init__(weight_quantizer, activation_quantizer)
        if weight_quantizer is not None:
            require_int8(weight_quantizer.output_dtype, "weight_quantizer", "CFG-060")

    @property
    def mode(self) -> str:
        """The string "int8"."""
        return "int8"


class GPTQConfig(QuantizationConfig):
    """Settings of GPTQ, with the documented names and defaults.  [CFG-070]

    Parameters
    ----------
    dataset, tokenizer
        Calibration data of section 10, or None where a Hessian is given directly.
    weight_bits : {2, 3, 4, 8}
    num_samples, sequence_length : int >= 1
        Number of calibration windows, and tokens per window.
    per_channel : bool
        True: every row (output channel) has its own range. False: all rows share one per group.
    hessian_damping : float in [0, 1]
        Fraction of the mean diagonal that is added to the diagonal.
    group_size : int >= 1, or -1
        Input columns that share a scale and a zero-point; -1: all of them.
    symmetric : bool
    activation_order : bool
        Columns are quantized in descending order of the Hessian's diagonal.
    quantization_layer_structure : dict, optional
        Keys "pre_block_layers" and "sequential_blocks", each a list of layers.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> config = GPTQConfig(None, None, weight_bits=3, group_size=-1)
    >>> config.mode, config.hessian_damping, config.dtype_policy_string()
    ('gptq', 0.01, 'gptq/3/-1')
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
        where, structure = "CFG-080", quantization_layer_structure  # [CFG-080]
        self.dataset = dataset
        self.tokenizer = tokenizer
        self.weight_bits = require_weight_bits(weight_bits, where)
        self.num_samples = require_count(num_samples, "num_samples", where)
        self.per_channel = require_bool(per_channel, "per_channel", where)
        self.sequence_length = require_count(sequence_length, "sequence_length", where)
        self.hessian_damping = require_damping(hessian_damping, where, "hessian_damping")
        self.group_size = require_group_size(group_size, where)
        self.symmetric = require_bool(symmetric, "symmetric", where)
        self.activation_order = require_bool(activation_order, "activation_order", where)
        self.quantization_layer_structure = require_layer_structure(structure, where)

    @property
    def mode(self) -> str:
        """The string "gptq"."""
        return "gptq"

    def dtype_policy_string(self) -> str:
        """Return "gptq/BITS/GROUP", as the dtype policies of Keras name it.  [CFG-070]"""
        return f"gptq/{self.weight_bits}/{self.group_size}"

    def get_config(self) -> dict[str, Any]:
        """Return all settings; dataset and tokenizer serve calibration once and become None."""
        nested = super().get_config()
        settings = {name: value for name, value in vars(self).items() if name not in nested}
        return {**settings, "dataset": None, "tokenizer": None}  # [CFG-090]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the object that `get_config` described."""
        return cls(**require_arguments(cls, config))
