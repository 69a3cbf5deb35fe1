"""The documented signatures as data: every argument, its default, and its kinds of value.

The five classes in `DOCUMENTED`, their arguments and defaults are those of the page "Quantizer
classes" of the documentation of Keras. Other classes, functions and methods are those of Keras
3.15.1: all of `keras.quantizers`, `Layer.quantize` and `Model.quantize`. Tests compare all of them
with the installed Keras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quantcheck.interface import kinds as k
from quantcheck.interface.kinds import Kind

DOCUMENTED = (
    "Quantizer", "AbsMaxQuantizer", "QuantizationConfig", "Int8QuantizationConfig", "GPTQConfig",
)  # fmt: skip
REQUIRED = k.Special("required")


@dataclass(frozen=True)
class Argument:
    """An argument.

    Attributes
    ----------
    name : str
    default : object
        `REQUIRED` if it has none.
    kinds : tuple of Kind
        Kinds of value, that of a value left out included.
    reaches : tuple of str
        The operations that the argument has an effect on, or has to survive; see `axes`.
    """

    name: str
    default: Any
    kinds: tuple[Kind, ...]
    reaches: tuple[str, ...]


@dataclass(frozen=True)
class Signature:
    """A class, a function or a method.

    Attributes
    ----------
    name : str
        As in `keras.quantizers`; methods are CLASS.METHOD.
    arguments : tuple of Argument
    outside : bool
        Whether SPEC.md leaves it out.
    """

    name: str
    arguments: tuple[Argument, ...] = ()
    outside: bool = False


def _required(name: str, reaches: tuple[str, ...], *kinds: Kind) -> Argument:
    return Argument(name, REQUIRED, kinds, reaches)


def _optional(name: str, default: Any, reaches: tuple[str, ...], *kinds: Kind) -> Argument:
    return Argument(name, default, (k.LEFT, *kinds), reaches)


def _outside(name: str, **defaults: Any) -> Signature:
    """Return a signature that SPEC.md leaves out; its kinds are given and, if it may, left out."""
    given = Kind("given", lambda _: True)
    arguments = (
        Argument(key, value, (given,) if value is REQUIRED else (k.LEFT, given), ("array",))
        for key, value in defaults.items()
    )
    return Signature(name, tuple(arguments), outside=True)


# Arguments of quantizers and configs

ARRAY, DESCRIBED = ("array",), ("described",)
HELD = ("described", "array", "weights", "activations")
OF_LAYERS = ("described", "layer", "model")
CALIBRATED = ("described", "windows", "model")
SOLVED = ("described", "algorithm", "model")
STORED = ("described", "algorithm", "layer", "model")
BOOLEANS = (k.TRUE, k.FALSE)
COUNTS = (
    k.integers("1", 1, 1),
    k.integers("several", 2),
    k.integers("0 or negative", high=0, refused=True),
)
QUANTIZER = k.objects("an AbsMaxQuantizer", "AbsMaxQuantizer")
BASE_QUANTIZER = k.objects("a Quantizer of the base class", "Quantizer")
NO_QUANTIZER = Kind("no quantizer", lambda v: isinstance(v, str | int | list), refused=True)
ACTIVATION = (
    k.one_of('"default"', "default"), k.NONE, QUANTIZER, BASE_QUANTIZER,
    Kind(
        "another string, or no quantizer",
        lambda v: isinstance(v, str | int | list) and v != "default",
        refused=True,
    ),
)  # fmt: skip
TO_NUMPY = _optional("to_numpy", False, ARRAY, *BOOLEANS)
ARRAYS = (
    k.one_of("a scalar", "rank 0"),
    k.one_of("a vector", "rank 1"),
    k.one_of("a matrix", "rank 2"),
    k.one_of("an array of higher rank", "rank 3"),
    Kind("no floats, no elements, NaN or infinity", lambda v: v is k.BAD_VALUES, refused=True),
)
CODES = (
    k.one_of("int8 codes", "int8"),
    k.one_of("uint8 codes", "uint8"),
    Kind("another dtype, or codes beyond 4 bits", lambda v: v is k.BAD_VALUES, refused=True),
)
PACKED_AXIS = _optional(
    "axis", 0, ARRAY,
    k.integers("counted from the front", low=0), k.integers("counted from the end", high=-1),
    k.REFUSED_AXIS,
)  # fmt: skip
PACKED_DTYPE = _optional(
    "dtype", "int8", ARRAY, k.one_of("int8", "int8"), k.one_of("uint8", "uint8"),
)  # fmt: skip

GPTQ_ARGUMENTS = (
    _required(
        "dataset", ("windows", "model"), k.NONE,
        k.one_of("a list of arrays", "list of arrays"),
        k.one_of("a generator of arrays", "generator of arrays"),
        k.one_of("one NumPy array", "one array"),
        k.one_of("a list of strings", "list of strings"),
        k.one_of("a generator of strings", "generator of strings"),
        k.one_of("a single string", "one string", refused=True),
        Kind("values that are no tokens, or too few", lambda v: v is k.BAD_VALUES, refused=True),
    ),
    _required(
        "tokenizer", ("windows", "model"), k.NONE,
        k.one_of("an object with a method tokenize", "object"),
        k.one_of("a callable", "callable"),
        k.one_of("None, with strings", "none for strings", refused=True),
    ),
    _optional(
        "weight_bits", 4, STORED,
        *(k.integers(f"{bits}", bits, bits) for bits in (2, 3, 4, 8)),
        Kind("another width", lambda v: isinstance(v, int) and v not in (2, 3, 4, 8), refused=True),
    ),
    _optional("num_samples", 128, CALIBRATED, *COUNTS),
    _optional("per_channel", True, STORED, *BOOLEANS),
    _optional("sequence_length", 512, CALIBRATED, *COUNTS),
    _optional(
        "hessian_damping", 0.01, SOLVED,
        k.one_of("0", 0, 0.0), k.numbers("between 0 and 1", 0, 1), k.one_of("1", 1, 1.0),
        Kind("outside [0, 1]", lambda v: isinstance(v, float) and not 0 <= v <= 1, refused=True),
    ),
    _optional(
        "group_size", 128, STORED,
        k.integers("-1, one group", -1, -1), k.integers("1", 1, 1),
        k.integers("several columns", 2),
        Kind("0 or below -1", lambda v: isinstance(v, int) and (v == 0 or v < -1), refused=True),
    ),
    _optional("symmetric", False, SOLVED, *BOOLEANS),
    _optional("activation_order", False, SOLVED, *BOOLEANS),
    _optional(
        "quantization_layer_structure", None, ("described", "model"), k.NONE,
        k.lists("pre-block layers and blocks", bool),
        k.lists("no blocks", lambda v: not v, refused=True),
    ),
)  # fmt: skip
MODES = (k.NONE, k.one_of('"int8"', "int8"), k.one_of('"gptq"', "gptq"))
CONFIGS = (
    k.NONE,
    k.objects("an Int8QuantizationConfig", "Int8QuantizationConfig"),
    k.objects("a GPTQConfig", "GPTQConfig"),
    k.one_of("a config of the other mode", "other mode", refused=True),
)

SIGNATURES = (
    Signature(
        "Quantizer",
        (_optional("output_dtype", "int8", ("described", "array"), *k.OUTPUT_DTYPES),),
    ),
    Signature("Quantizer.__call__", (_required("x", ARRAY, *ARRAYS),)),
    Signature(
        "AbsMaxQuantizer",
        (
            _optional("axis", None, HELD, *k.AXES, k.REFUSED_AXIS),
            _optional("value_range", (-127, 127), HELD, *k.RANGES),
            _optional("epsilon", 1e-07, HELD, *k.EPSILONS),
            _optional("output_dtype", "int8", HELD, *k.OUTPUT_DTYPES),
        ),
    ),
    Signature(
        "AbsMaxQuantizer.__call__",
        (
            _required("x", ARRAY, *ARRAYS),
            _optional("axis", None, ARRAY, *k.AXES, k.REFUSED_AXIS),
            TO_NUMPY,
        ),
    ),
    Signature(
        "QuantizationConfig",
        tuple(
            _optional(name, None, DESCRIBED, k.NONE, QUANTIZER, BASE_QUANTIZER, NO_QUANTIZER)
            for name in ("weight_quantizer", "activation_quantizer")
        ),
    ),
    Signature(
        "Int8QuantizationConfig",
        (
            _optional(
                "weight_quantizer", None, OF_LAYERS,
                k.NONE, QUANTIZER, BASE_QUANTIZER, NO_QUANTIZER,
            ),
            _optional("activation_quantizer", "default", OF_LAYERS, *ACTIVATION),
        ),
    ),
    Signature(
        "Int4QuantizationConfig",
        (
            _optional("weight_quantizer", None, DESCRIBED, k.NONE, QUANTIZER, NO_QUANTIZER),
            _optional("activation_quantizer", "default", DESCRIBED, *ACTIVATION),
            _optional(
                "block_size", 128, DESCRIBED,
                k.NONE, k.integers("-1, per channel", -1, -1), COUNTS[0],
                k.integers("several rows", 2),
                Kind("0 or below -1", lambda v: isinstance(v, int) and (v == 0 or v < -1),
                     refused=True),
            ),
        ),
    ),
    Signature("GPTQConfig", GPTQ_ARGUMENTS),
    Signature(
        "abs_max_quantize",
        (
            _required("inputs", ARRAY, *ARRAYS),
            _required("axis", ARRAY, *k.AXES, k.REFUSED_AXIS),
            _optional("value_range", (-127, 127), ARRAY, *k.RANGES),
            _optional("dtype", "int8", ARRAY, *k.OUTPUT_DTYPES),
            _optional("epsilon", 1e-07, ARRAY, *k.EPSILONS),
            TO_NUMPY,
        ),
    ),
    Signature(
        "abs_max_quantize_grouped_with_zero_point",
        (
            _required("inputs", ARRAY, ARRAYS[2], ARRAYS[4]),
            _required("block_size", ARRAY, *COUNTS),
            _optional("value_range", (-8, 7), ARRAY, *k.LEVELS),
            _optional("dtype", "int8", ARRAY, *k.OUTPUT_DTYPES),
            _optional("epsilon", 1e-07, ARRAY, *k.EPSILONS),
            TO_NUMPY,
        ),
    ),
    Signature("pack_int4", (_required("arr", ARRAY, *CODES), PACKED_AXIS, PACKED_DTYPE)),
    Signature(
        "unpack_int4",
        (
            _required("packed", ARRAY, *CODES[:2]),
            _required(
                "orig_len", ARRAY,
                Kind("even", lambda v: isinstance(v, int) and v % 2 == 0),
                Kind("odd", lambda v: isinstance(v, int) and v % 2 == 1),
                Kind("more codes than there are", lambda v: v is k.BAD_VALUES, refused=True),
            ),
            PACKED_AXIS,
            PACKED_DTYPE,
        ),
    ),
    Signature("serialize", (_required("initializer", DESCRIBED, QUANTIZER, BASE_QUANTIZER),)),
    Signature(
        "deserialize",
        (
            _required(
                "config", DESCRIBED,
                k.one_of("what serialize returns", "serialized"), k.one_of("a name", "name"),
            ),
            _optional("custom_objects", None, DESCRIBED, k.one_of("a dict of classes", "classes")),
        ),
    ),
    Signature(
        "get",
        (
            _required(
                "identifier", DESCRIBED, k.NONE, QUANTIZER, BASE_QUANTIZER,
                k.one_of("a name", "name"),
                k.one_of("what serialize returns", "serialized"),
            ),
            _optional("kwargs", REQUIRED, DESCRIBED, k.one_of("arguments of the class", "given")),
        ),
    ),
    Signature(
        "Layer.quantize",
        (
            _optional("mode", None, ("layer",), *MODES),
            _optional("type_check", True, ("layer",), *BOOLEANS),
            _optional("config", None, ("layer",), *CONFIGS),
        ),
    ),
    Signature(
        "Model.quantize",
        (
            _optional("mode", None, ("model",), *MODES),
            _optional("config", None, ("model",), *CONFIGS),
            _optional(
                "filters", None, ("model",), k.NONE,
                k.one_of("a name or several", "names"), k.one_of("a function", "function"),
            ),
            _optional("kwargs", REQUIRED, ("model",), k.one_of("further arguments", "given")),
        ),
    ),
    # The rest of keras.quantizers.
    _outside(
        "AWQConfig", dataset=REQUIRED, tokenizer=REQUIRED, weight_bits=4, num_samples=128,
        sequence_length=512, group_size=128, num_grid_points=20, quantization_layer_structure=None,
    ),
    _outside("Float8QuantizationConfig"),
    _outside("compute_float8_amax_history", x=REQUIRED, amax_history=REQUIRED),
    _outside(
        "compute_float8_scale", amax=REQUIRED, scale=REQUIRED, dtype_max=REQUIRED, margin=0
    ),
    _outside(
        "fake_quant_with_min_max_vars", inputs=REQUIRED, min_vals=REQUIRED, max_vals=REQUIRED,
        num_bits=8, narrow_range=False, axis=None,
    ),
    _outside(
        "quantize_and_dequantize", inputs=REQUIRED, scale=REQUIRED, quantized_dtype=REQUIRED,
        compute_dtype=REQUIRED,
    ),
)  # fmt: skip
"""Signatures in the order of the page; those that SPEC.md leaves out come last."""
