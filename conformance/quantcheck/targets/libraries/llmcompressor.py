"""Target `llmcompressor`: its GPTQ, with the parameters and the packing of compressed-tensors.

The libraries store signed codes and zero-points; SPEC.md's are larger by 2^(b−1). Scales are those
of the weights as they are given, before any error. With activation order, groups of columns keep
their place in the original order, for which SPEC.md has no rule, so only whole rows are asked then.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from compressed_tensors.compressors.pack_quantized import helpers as packing
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle import forward
from llmcompressor.modifiers.gptq import helpers
from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight
from llmcompressor.observers import Observer

from quantcheck.targets.libraries.library import (
    Array,
    Inputs,
    Library,
    Outputs,
    Parameters,
    group_index,
    group_size_of,
    require,
    require_single,
    require_symmetric,
    size_of_groups,
)

torch.set_grad_enabled(False)  # weights of layers are no leaves of a graph here


def tensor(array: Array) -> Any:
    """Return a tensor that owns its memory."""
    return torch.from_numpy(np.array(array))


def arguments_of(parameters: Parameters, n_in: int, order: bool = False) -> QuantizationArgs:
    """Return the library's description of codes, scales and groups."""
    size = group_size_of(parameters["group_size"], n_in)
    whole = size == n_in
    require(whole or (n_in % max(size, 1) == 0), "group sizes divide the number of columns")
    if not parameters.get("per_channel", True):
        require(whole, "a tensor has one scale")
        kind: dict[str, Any] = {"strategy": "tensor"}
    else:
        require(whole or not order, "groups keep their place in the original order")
        kind = {"strategy": "channel"} if whole else {"strategy": "group", "group_size": size}
    return QuantizationArgs(
        num_bits=parameters["bits"], type="int", symmetric=parameters.get("symmetric", False),
        actorder="weight" if order else None, **kind,
    )  # fmt: skip


def of_rows(values: Any, rows: int, bits: int | None = None) -> Array:
    """Return parameters for every row; zero-points become unsigned."""
    array = values.numpy()
    array = np.broadcast_to(array.reshape(-1, 1), (rows, 1)) if array.ndim < 2 else array
    return np.asarray(array) if bits is None else unsigned(array, bits)


def unsigned(signed: Array, bits: int) -> Array:
    """Return codes as SPEC.md counts them, from 0."""
    return np.asarray((signed.astype(np.int64) + 2 ** (bits - 1)).astype(np.uint8))


# AFF


def observed(weights: Array, arguments: QuantizationArgs) -> tuple[Any, Any]:
    """Return scales and zero-points of the observer of weights."""
    observer = Observer.load_from_registry("memoryless_minmax", base_name="weight", args=arguments)
    made = observer(tensor(weights)).get_qparams()
    return made["scale"], made["zero_point"]


def affine_parameters(inputs: Inputs, parameters: Parameters) -> Outputs:
    """Observe weights by the observer `memoryless_minmax`."""
    weights, bits = inputs["weights"], parameters["bits"]
    require_single(weights)
    scale, zero = observed(weights, arguments_of(parameters, weights.shape[-1]))
    return {
        "scale": of_rows(scale, len(weights)),
        "zero_point": of_rows(zero, len(weights), bits),
    }


def affine_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`quantize` of compressed-tensors."""
    bits, weights, scale = parameters["bits"], inputs["weights"], inputs["scale"]
    size = size_of_groups(inputs["g_idx"], scale.shape[1])
    arguments = arguments_of({"bits": bits, "group_size": size}, weights.shape[1])
    zero = tensor((inputs["zero_point"].astype(np.int64) - 2 ** (bits - 1)).astype(np.int8))
    codes = forward.quantize(tensor(weights), tensor(scale), zero, arguments, dtype=torch.int8)
    return {"codes": unsigned(codes.numpy(), bits)}


# PACK


def pack(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`pack_to_int32`, whose words are read as bytes."""
    bits, axis, codes = parameters["bits"], parameters["axis"], inputs["codes"]
    require(bits in (2, 4), "codes of other widths share bytes, or are bytes")
    require(codes.dtype == np.uint8, "compressed-tensors stores codes from 0")
    lines = np.moveaxis(codes, axis, -1)
    rows = lines.reshape(-1, lines.shape[-1]).astype(np.int64) - 2 ** (bits - 1)
    words = packing.pack_to_int32(tensor(rows.astype(np.int8)), bits).numpy()
    count = -(-lines.shape[-1] * bits // 8)
    packed = np.ascontiguousarray(words).view(np.uint8)[:, :count]
    return {"packed": np.moveaxis(packed.reshape(*lines.shape[:-1], count), -1, axis)}


def pack_layer(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`pack_to_int32` along the columns, and along the rows for zero-points."""
    require(parameters["format"] == "compressed_tensors", "compressed-tensors packs as it does")
    bits = parameters["bits"]
    codes, zero = (
        tensor((inputs[n].astype(np.int64) - 2 ** (bits - 1)).astype(np.int8))
        for n in ("codes", "zero_point")
    )
    return {
        "packed": packing.pack_to_int32(codes, bits).numpy(),
        "packed_zero_point": packing.pack_to_int32(zero, bits, packed_dim=0).numpy(),
    }


def unpack_layer(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`unpack_from_int32`."""
    require(parameters["format"] == "compressed_tensors", "compressed-tensors packs as it does")
    bits, n_out, n_in = (parameters[name] for name in ("bits", "n_out", "n_in"))
    groups = inputs["packed_zero_point"].shape[1]
    codes, zero = (
        packing.unpack_from_int32(tensor(inputs[name]), bits, torch.Size(shape), packed_dim=axis)
        for name, shape, axis in (
            ("packed", (n_out, n_in), 1), ("packed_zero_point", (n_out, groups), 0)
        )
    )  # fmt: skip
    return {"codes": unsigned(codes.numpy(), bits), "zero_point": unsigned(zero.numpy(), bits)}


# HES, GPTQ


def hessian(inputs: Inputs, _: Parameters) -> Outputs:
    """`accumulate_hessian`, and `prepare_batch`; a token alone, or in a matrix, is a sequence."""
    n_in = inputs["batches"][0].shape[-1]
    layer = torch.nn.Linear(n_in, 1)
    total, count = helpers.make_empty_hessian(layer), torch.zeros(())
    for batch in inputs["batches"]:
        x = tensor(batch.reshape(-1, 1, n_in) if batch.ndim < 3 else batch)
        total, count = helpers.accumulate_hessian(x, layer, total, count)
    one = torch.ones((1, 1))
    made = {"scale": one, "zero_point": one, "global_scale": None}
    prepared = helpers.prepare_batch([layer], [made], {layer: total}, {layer: count})
    return {"hessian": prepared[1][0].numpy()}


def gptq_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`quantize_weight`, and `quantize` of its result, as a compressor does."""
    weights, bits, n_in = inputs["weights"], parameters["bits"], inputs["weights"].shape[-1]
    require_single(weights)
    require_symmetric(inputs["hessian"])
    arguments = arguments_of(parameters, n_in, parameters["activation_order"])
    scale, zero = observed(weights, arguments)
    values, _, _ = quantize_weight(
        tensor(weights[None]), tensor(inputs["hessian"][None]), scale[None], zero[None], None,
        arguments, parameters["block_size"], parameters["damping"],
    )  # fmt: skip
    codes = forward.quantize(values[0], scale, zero, arguments, dtype=torch.int8)
    return {
        "codes": unsigned(codes.numpy(), bits),
        "scale": of_rows(scale, len(weights)),
        "zero_point": of_rows(zero, len(weights), bits),
        "g_idx": group_index(n_in, group_size_of(parameters["group_size"], n_in)),
    }


FUNCTIONS = (
    affine_parameters, affine_quantize, pack, pack_layer, unpack_layer, hessian, gptq_quantize,
)  # fmt: skip
LIBRARY = Library(
    "llmcompressor",
    {function.__name__: function for function in FUNCTIONS},
    rules=(
        "add_then_round", "original_weights", "dead_in_ranges", "any_scale_of_zeros",
        "count_sequences", "scale_rounded_twice",
    ),
    refusals=(("torch", "_LinAlgError"),),
    versions=("compressed-tensors", "torch"),
)  # fmt: skip
