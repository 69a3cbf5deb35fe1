"""The operations of the protocol as calls of Keras's own quantizer code.

This module computes nothing itself. Arrays have the dtype of the question, and results have the
dtype that Keras gives.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from quantcheck.targets.keras import models, releases
from quantcheck.targets.keras.config import (
    Inputs,
    Outputs,
    Parameters,
    Unsupported,
    axis_of,
    keyword_arguments,
)
from quantcheck.targets.keras.grouped import grouped_dequantize, grouped_quantize
from quantcheck.targets.keras.layers import LAYER_OPERATIONS
from quantcheck.targets.keras.round_trips import config_round_trip
from quantcheck.targets.keras.routes import called, of_release, tensor
from quantcheck.targets.keras.tensors import to_numpy
from quantcheck.wire.configs import gptq_fields

# RND


def round_half_even(inputs: Inputs, _: Parameters) -> Outputs:
    """`keras.ops.round`, which every quantizer of Keras rounds with."""
    import keras

    return {"values": to_numpy(keras.ops.round(keras.ops.convert_to_tensor(inputs["x"])))}


def saturating_cast(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.ops.saturate_cast` after `keras.ops.round`, since the question includes rounding."""
    import keras

    rounded = keras.ops.round(keras.ops.convert_to_tensor(inputs["x"]))
    return {"codes": to_numpy(keras.ops.saturate_cast(rounded, parameters["dtype"]))}


# ABS


def abs_max_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.quantizers.abs_max_quantize`."""
    import keras

    left_out = parameters.get("left_out", ())
    values = {
        "value_range": ("value_range", tuple(parameters["value_range"])),
        "output_dtype": ("dtype", parameters["output_dtype"]),
        "epsilon": ("epsilon", parameters["epsilon"]),
    }
    given = {to: value for name, (to, value) in values.items() if name not in left_out}
    axis = axis_of(parameters["axis"])
    return _by_route(
        lambda x, **options: keras.quantizers.abs_max_quantize(x, axis=axis, **given, **options),
        inputs["x"],
        parameters.get("route", ""),
    )


def abs_max_quantizer(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.quantizers.AbsMaxQuantizer(**arguments)(x, axis=call_axis)`."""
    import keras

    arguments = keyword_arguments(parameters["arguments"])
    axis = axis_of(parameters.get("call_axis"))
    releases.current().require_quantizer(arguments, axis)
    quantizer = keras.quantizers.AbsMaxQuantizer(**arguments)
    given = {} if axis is None and not _given_as_none(parameters) else {"axis": axis}
    return _by_route(
        lambda x, **options: quantizer(x, **given, **options),
        inputs["x"],
        parameters.get("route", ""),
    )


def _given_as_none(parameters: Parameters) -> bool:
    """Tell whether a call gives its axis as None; some releases have no such argument."""
    import keras

    call = inspect.signature(keras.quantizers.AbsMaxQuantizer.__call__).parameters
    return "call_axis" not in parameters.get("left_out", ()) and "axis" in call


def _by_route(call: Callable[..., Any], x: NDArray[Any], route: str) -> Outputs:
    """Call a function with an array, a tensor, `to_numpy`, or compiled.  [ABS-150]"""
    codes, scale = called(call, x, route)
    return {"codes": to_numpy(codes), "scale": to_numpy(scale)}


# AFF


def affine_parameters(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`compute_quantization_parameters`, unsigned, as GPTQ calls it."""
    scale, zero = releases.current().affine_parameters(tensor(inputs["weights"]), parameters)
    return {"scale": to_numpy(scale), "zero_point": to_numpy(zero)}


def affine_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`quantize_with_sz_map`, cast as `quantize_and_correct_layer` casts: int32, then uint8."""
    import keras
    from keras.src.quantizers.quantizers import quantize_with_sz_map

    codes = quantize_with_sz_map(
        tensor(inputs["weights"]),
        tensor(inputs["scale"]),
        tensor(inputs["zero_point"]),
        tensor(inputs["g_idx"]),
        2 ** parameters["bits"] - 1,
    )
    codes = keras.ops.cast(keras.ops.cast(codes, "int32"), "uint8")
    return {"codes": to_numpy(codes)}


def affine_dequantize(inputs: Inputs, _: Parameters) -> Outputs:
    """`dequantize_with_sz_map`, as the forward pass of a GPTQ layer calls it."""
    from keras.src.quantizers.quantizers import dequantize_with_sz_map

    values = dequantize_with_sz_map(
        tensor(inputs["codes"]),
        tensor(inputs["scale"]),
        tensor(inputs["zero_point"]),
        tensor(inputs["g_idx"]),
    )
    return {"values": to_numpy(values)}


# PACK


def pack(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.quantizers.pack_int4`; `pack_int2` where Keras has it."""
    codes = inputs["codes"]
    packed, _, _ = _packing("pack", parameters["bits"])(
        codes, axis=parameters["axis"], dtype=str(codes.dtype)
    )
    return {"packed": to_numpy(packed)}


def unpack(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.quantizers.unpack_int4`; `unpack_int2` where Keras has it."""
    packed = inputs["packed"]
    codes = _packing("unpack", parameters["bits"])(
        tensor(packed), parameters["length"], axis=parameters["axis"], dtype=str(packed.dtype)
    )
    return {"codes": to_numpy(codes)}


def pack_ternary(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.quantizers.pack_ternary`, which Keras has from 3.16 on."""
    packed, _, _ = of_release("pack_ternary")(inputs["codes"], axis=parameters["axis"])
    return {"packed": to_numpy(packed)}


def unpack_ternary(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.quantizers.unpack_ternary`, which Keras has from 3.16 on."""
    codes = of_release("unpack_ternary")(
        tensor(inputs["packed"]), parameters["length"], axis=parameters["axis"]
    )
    return {"codes": to_numpy(codes)}


def _packing(verb: str, bits: int) -> Any:
    """Return the function of `keras.quantizers` that packs or unpacks codes of some bits."""
    import keras

    function = getattr(keras.quantizers, f"{verb}_int{bits}", None)
    if function is None:
        raise Unsupported(
            f"Keras {keras.__version__} does not {verb} codes of {bits} bits, only of 4 bits"
        )
    return function


# HES, GPTQ


def hessian(inputs: Inputs, _: Parameters) -> Outputs:
    """Give the batches to what observes the inputs of a built Dense layer."""
    import keras

    batches = inputs["batches"]
    layer = keras.layers.Dense(1, use_bias=False)
    layer.build((None, batches[0].shape[-1] if batches and batches[0].ndim else 1))
    return {"hessian": to_numpy(releases.current().hessian(layer, [tensor(b) for b in batches]))}


def gptq_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """Solve for a Dense layer in GPTQ mode, and read back what it stores."""
    import keras

    weights = inputs["weights"]  # (n_out, n_in)
    units, features = weights.shape
    config = keras.quantizers.GPTQConfig(None, None, **gptq_fields(parameters))
    layer = keras.layers.Dense(units, use_bias=False, dtype=str(weights.dtype))
    layer.build((None, features))
    layer.kernel.assign(weights.T)
    layer.quantize("gptq", config=config)
    line = releases.current()
    line.solve(layer, config, tensor(inputs["hessian"]), parameters["block_size"])
    return line.stored(layer, parameters["bits"])


OPERATIONS: dict[str, Callable[[Inputs, Parameters], Outputs]] = {
    "round_half_even": round_half_even,
    "saturating_cast": saturating_cast,
    "abs_max_quantize": abs_max_quantize,
    "abs_max_quantizer": abs_max_quantizer,
    "affine_parameters": affine_parameters,
    "affine_quantize": affine_quantize,
    "affine_dequantize": affine_dequantize,
    "pack": pack,
    "unpack": unpack,
    "pack_ternary": pack_ternary,
    "unpack_ternary": unpack_ternary,
    "grouped_quantize": grouped_quantize,
    "grouped_dequantize": grouped_dequantize,
    "hessian": hessian,
    "gptq_quantize": gptq_quantize,
    "config_round_trip": config_round_trip,
    **LAYER_OPERATIONS,
    **models.OPERATIONS,
}
