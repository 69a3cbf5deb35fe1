"""Target `keras:BACKEND`: Keras's own quantizer code, asked through the protocol.

Nothing here computes: arrays go in with the dtype the question has, and come out with the dtype
that Keras gave. What Keras has no function for is unsupported.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.targets.worker import claim_stdout, serve, versions_of

Array = NDArray[Any]
Inputs = Mapping[str, Any]
Parameters = Mapping[str, Any]
Outputs = dict[str, Any]

ABSENT = {
    "abs_max_dequantize": "Keras divides by the scale inside its layers, it has no function for it",
    "prepare_hessian": "Keras damps and orders inside quantize_and_correct_layer",
    "factor": "Keras inverts the Hessian, it does not factor it",
}
CONFIG_CLASSES = (
    "AbsMaxQuantizer",
    "GPTQConfig",
    "Int8QuantizationConfig",
    "Int4QuantizationConfig",
    "QuantizationConfig",
    "Quantizer",
)


class Unsupported(Exception):
    """Keras does not have this."""


# Arrays


def to_numpy(tensor: Any) -> Array:
    """A tensor or variable of any backend as an array of the same dtype."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def axis_of(axis: Any) -> Any:
    """JSON has no tuples; Keras takes an int, a tuple or None."""
    return tuple(axis) if isinstance(axis, list) else axis


# RND


def round_half_even(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.ops.round`, which every quantizer of Keras rounds with."""
    import keras

    return {"values": to_numpy(keras.ops.round(keras.ops.convert_to_tensor(inputs["x"])))}


def saturating_cast(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.ops.saturate_cast` after `keras.ops.round`, as the question has rounding in it."""
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


def affine_dequantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`dequantize_with_sz_map`, as the forward pass of a GPTQ layer calls it."""
    from keras.src.quantizers.quantizers import dequantize_with_sz_map

    values = dequantize_with_sz_map(
        tensor(inputs["codes"]),
        tensor(inputs["scale"]),
        tensor(inputs["zero_point"]),
        tensor(inputs["g_idx"]),
    )
    return {"values": to_numpy(values)}


def tensor(array: Array) -> Any:
    """The array as a tensor of the backend."""
    import keras

    return keras.ops.convert_to_tensor(array)


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
    """Keras packs 4-bit codes alone."""
    if parameters["bits"] != 4:
        raise Unsupported(f"Keras packs 4 bits alone, not {parameters['bits']}")


# HES, GPTQ


def hessian(inputs: Inputs, parameters: Parameters) -> Outputs:
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
    config = keras.quantizers.GPTQConfig(
        dataset=None,
        tokenizer=None,
        weight_bits=parameters["bits"],
        per_channel=parameters["per_channel"],
        hessian_damping=parameters["damping"],
        group_size=parameters["group_size"],
        symmetric=parameters["symmetric"],
        activation_order=parameters["activation_order"],
    )
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


# CFG


def config_round_trip(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.quantizers.serialize`, JSON text, `keras.quantizers.deserialize`."""
    import keras

    name = parameters["class"]
    if name not in CONFIG_CLASSES:
        raise Unsupported(f"Keras has no {name}")
    made = build({"class": name, "arguments": parameters["arguments"]})
    text = json.dumps(keras.quantizers.serialize(made))
    return {"fields": fields_of(keras.quantizers.deserialize(json.loads(text)))}


def build(description: Any) -> Any:
    """An object of `keras.quantizers` from {"class": …, "arguments": …}."""
    import keras

    kind = getattr(keras.quantizers, description["class"])
    return kind(**keyword_arguments(description["arguments"]))


def keyword_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments from JSON: lists to tuples, nested quantizers to objects."""
    made: dict[str, Any] = {}
    for key, value in arguments.items():
        nested = isinstance(value, dict) and "class" in value
        made[key] = build(value) if nested else axis_of(value)
    return made


def fields_of(thing: Any) -> dict[str, Any]:
    """The public attributes of a quantizer or config as JSON, nested ones with their class."""
    import keras

    fields: dict[str, Any] = {}
    for key, value in vars(thing).items():
        if key.startswith("_"):
            continue
        if isinstance(value, (keras.quantizers.Quantizer, keras.quantizers.QuantizationConfig)):
            fields[key] = {"class": type(value).__name__, "fields": fields_of(value)}
        else:
            fields[key] = list(value) if isinstance(value, tuple) else value
    return fields


# Server

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
}


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Answer one wire question with what Keras gives."""
    from quantref import vectors

    operation = question["operation"]
    if operation not in OPERATIONS:
        return {"unsupported": ABSENT.get(operation, f"Keras has no {operation}")}
    inputs = {
        name: [vectors.decode_array(v) for v in value]
        if isinstance(value, list)
        else vectors.decode_array(value)
        for name, value in question["inputs"].items()
    }
    try:
        outputs = OPERATIONS[operation](inputs, question["parameters"])
    except Unsupported as error:
        return {"unsupported": str(error)}
    except (ValueError, TypeError) as error:
        return {"refused": str(error), "type": type(error).__name__}
    encoded = {
        name: vectors.encode_array(value) if isinstance(value, np.ndarray) else value
        for name, value in outputs.items()
    }
    return {"outputs": encoded}


def main(arguments: list[str] | None = None) -> None:
    """Choose the backend before Keras is imported, then serve."""
    out = claim_stdout()
    parser = argparse.ArgumentParser(prog="quantcheck.targets.keras")
    parser.add_argument("--backend", required=True)
    backend = parser.parse_args(arguments).backend
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import keras

    ready = {
        "name": "keras",
        "version": keras.__version__,
        "backend": keras.backend.backend(),
        "precision": "float32",
        "operations": sorted(OPERATIONS),
        "versions": versions_of("keras", "numpy", "jax", "tensorflow", "torch", "openvino"),
    }
    serve(answer, ready, out)


if __name__ == "__main__":
    main()
