"""The operations of the protocol as calls of Keras's own quantizer code.

This module computes nothing itself. Arrays have the dtype of the question, and results have the
dtype that Keras gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.targets.keras import models
from quantcheck.targets.keras.config import (
    Inputs,
    Outputs,
    Parameters,
    Unsupported,
    axis_of,
    config_round_trip,
    keyword_arguments,
)
from quantcheck.targets.keras.layers import LAYER_OPERATIONS
from quantcheck.wire.configs import gptq_fields

# Arrays


def to_numpy(tensor: Any) -> NDArray[Any]:
    """Turn a tensor or variable of any backend into an array of the same dtype."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def tensor(array: NDArray[Any]) -> Any:
    """Turn the array into a tensor of the backend."""
    import keras

    return keras.ops.convert_to_tensor(array)


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

    codes, scale = keras.quantizers.abs_max_quantize(
        inputs["x"],
        axis=axis_of(parameters["axis"]),
        value_range=tuple(parameters["value_range"]),
        dtype=parameters["output_dtype"],
        epsilon=parameters["epsilon"],
    )
    return {"codes": to_numpy(codes), "scale": to_numpy(scale)}


def abs_max_quantizer(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.quantizers.AbsMaxQuantizer(**arguments)(x, axis=call_axis)`."""
    import keras

    quantizer = keras.quantizers.AbsMaxQuantizer(**keyword_arguments(parameters["arguments"]))
    codes, scale = quantizer(inputs["x"], axis=axis_of(parameters.get("call_axis")))
    return {"codes": to_numpy(codes), "scale": to_numpy(scale)}


# AFF


def affine_parameters(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`compute_quantization_parameters`, unsigned, as `GPTQQuantizer.find_params` calls it."""
    from keras.src.quantizers.quantizers import compute_quantization_parameters

    scale, zero, _ = compute_quantization_parameters(
        tensor(inputs["weights"]),
        bits=parameters["bits"],
        symmetric=parameters["symmetric"],
        per_channel=parameters["per_channel"],
        group_size=parameters["group_size"],
    )
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
    """`keras.quantizers.pack_int4`."""
    import keras

    need_four_bits(parameters)
    codes = inputs["codes"]
    packed, _, _ = keras.quantizers.pack_int4(
        codes, axis=parameters["axis"], dtype=str(codes.dtype)
    )
    return {"packed": to_numpy(packed)}


def unpack(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.quantizers.unpack_int4`."""
    import keras

    need_four_bits(parameters)
    packed = inputs["packed"]
    codes = keras.quantizers.unpack_int4(
        tensor(packed), parameters["length"], axis=parameters["axis"], dtype=str(packed.dtype)
    )
    return {"codes": to_numpy(codes)}


def need_four_bits(parameters: Parameters) -> None:
    """Raise unless codes have 4 bits, the only width that Keras packs."""
    if parameters["bits"] != 4:
        raise Unsupported(f"Keras packs only 4 bits, not {parameters['bits']}")


# HES, GPTQ


def hessian(inputs: Inputs, _: Parameters) -> Outputs:
    """`GPTQ(layer).update_hessian_with_batch(batch)` on a built Dense layer, batch by batch."""
    import keras
    from keras.src.quantizers.gptq import GPTQ

    batches = inputs["batches"]
    layer = keras.layers.Dense(1, use_bias=False)
    layer.build((None, batches[0].shape[-1] if batches and batches[0].ndim else 1))
    gptq = GPTQ(layer)
    for batch in batches:
        gptq.update_hessian_with_batch(tensor(batch))
    return {"hessian": to_numpy(gptq.hessian)}


def gptq_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`GPTQ.quantize_and_correct_layer` on a Dense layer in GPTQ mode, read back as stored."""
    import keras
    from keras.src.quantizers.gptq import GPTQ

    weights = inputs["weights"]  # (n_out, n_in)
    units, features = weights.shape
    config = keras.quantizers.GPTQConfig(None, None, **gptq_fields(parameters))
    layer = keras.layers.Dense(units, use_bias=False, dtype=str(weights.dtype))
    layer.build((None, features))
    layer.kernel.assign(weights.T)
    layer.quantize("gptq", config=config)
    gptq = GPTQ(layer, config)
    gptq.hessian = keras.ops.cast(tensor(inputs["hessian"]), gptq.hessian.dtype)
    gptq.quantize_and_correct_layer(blocksize=parameters["block_size"])

    codes = to_numpy(layer.quantized_kernel)  # (n_out, n_in), or (ceil(n_out / 2), n_in)
    if parameters["bits"] == 4:
        codes = np.stack([codes & 0x0F, codes >> 4], axis=1)  # (ceil(n_out / 2), 2, n_in)
        codes = codes.reshape(-1, features)[:units]
    return {
        "codes": codes,
        "scale": to_numpy(layer.kernel_scale),
        "zero_point": to_numpy(layer.kernel_zero),
        "g_idx": to_numpy(layer.g_idx),
    }


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
    "hessian": hessian,
    "gptq_quantize": gptq_quantize,
    "config_round_trip": config_round_trip,
    **LAYER_OPERATIONS,
    **models.OPERATIONS,
}
