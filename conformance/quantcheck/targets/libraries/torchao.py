"""Target `torchao`: affine quantization, packing of four bits, and the Hessian of its GPTQ.

Its GPTQ itself runs on CUDA alone, and answers of libraries are those of the CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torchao.prototype.gptq.observer import GPTQObserverTensor
from torchao.prototype.mx_formats import kernels
from torchao.quantization import quant_primitives
from torchao.quantization.quant_primitives import MappingType

from quantcheck.targets.libraries.library import (
    Array,
    Inputs,
    Library,
    Outputs,
    Parameters,
    group_size_of,
    require,
    require_single,
    size_of_groups,
)


def tensor(array: Array) -> Any:
    """Return a tensor that owns its memory."""
    return torch.from_numpy(np.array(array))


# AFF


def affine_parameters(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`choose_qparams_affine`."""
    weights, maxq = inputs["weights"], 2 ** parameters["bits"] - 1
    require_single(weights)
    size = group_size_of(parameters["group_size"], weights.shape[-1])
    require(weights.shape[-1] % max(size, 1) == 0, "blocks divide the tensor")
    kind = MappingType.SYMMETRIC if parameters["symmetric"] else MappingType.ASYMMETRIC
    rows = 1 if parameters["per_channel"] else len(weights)
    scale, zero = quant_primitives.choose_qparams_affine(
        tensor(weights), kind, (rows, size), torch.uint8, 0, maxq, keepdim=True
    )
    shape = (len(weights), weights.shape[1] // size)
    return {
        "scale": np.broadcast_to(scale.numpy(), shape),
        "zero_point": np.broadcast_to(zero.numpy(), shape).astype(np.uint8),
    }


def affine_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`quantize_affine`."""
    weights, scale = inputs["weights"], inputs["scale"]
    size = size_of_groups(inputs["g_idx"], scale.shape[1])
    require(weights.shape[1] % size == 0, "blocks divide the tensor")
    codes = quant_primitives.quantize_affine(
        tensor(weights), (1, size), tensor(scale), tensor(inputs["zero_point"].astype(np.int32)),
        torch.uint8, 0, 2 ** parameters["bits"] - 1,
    )  # fmt: skip
    return {"codes": codes.numpy()}


def affine_dequantize(inputs: Inputs, _: Parameters) -> Outputs:
    """`dequantize_affine`, of codes as they are."""
    codes, scale = inputs["codes"], inputs["scale"]
    size = size_of_groups(inputs["g_idx"], scale.shape[1])
    require(codes.size > 0 and codes.shape[1] % size == 0, "blocks divide the tensor")
    values = quant_primitives.dequantize_affine(
        tensor(codes), (1, size), tensor(scale), tensor(inputs["zero_point"].astype(np.int32)),
        tensor(codes).dtype, 0, 255, output_dtype=tensor(scale).dtype,
    )  # fmt: skip
    return {"values": values.numpy()}


# PACK


def four_bits(array: Array, bits: int, axis: int) -> Array:
    """Return lines of unsigned codes or bytes, with the axis of packing last."""
    require(bits == 4 and array.dtype == np.uint8, "pack_uint4 packs unsigned codes of 4 bits")
    return np.moveaxis(array, axis, -1)


def pack(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`pack_uint4`."""
    lines = four_bits(inputs["codes"], parameters["bits"], parameters["axis"])
    require(lines.shape[-1] % 2 == 0, "pack_uint4 packs pairs")
    packed = kernels.pack_uint4(tensor(lines)).numpy()
    return {"packed": np.moveaxis(packed, -1, parameters["axis"])}


def unpack(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`unpack_uint4`."""
    lines = four_bits(inputs["packed"], parameters["bits"], parameters["axis"])
    require(2 * lines.shape[-1] == parameters["length"], "pack_uint4 packs pairs")
    codes = kernels.unpack_uint4(tensor(lines).contiguous()).numpy()
    return {"codes": np.moveaxis(codes, -1, parameters["axis"])}


# HES


def hessian(inputs: Inputs, _: Parameters) -> Outputs:
    """`GPTQObserverTensor.update_2d`; a token alone, or in a matrix, is a sequence."""
    n_in = inputs["batches"][0].shape[-1]
    observer = GPTQObserverTensor.from_hp(torch.zeros((1, n_in)))
    for batch in inputs["batches"]:
        observer.update_2d(tensor(batch.reshape(-1, 1, n_in) if batch.ndim < 3 else batch))
    return {"hessian": observer.hessian.numpy()}


FUNCTIONS = (affine_parameters, affine_quantize, affine_dequantize, pack, unpack, hessian)
LIBRARY = Library(
    "torchao",
    {function.__name__: function for function in FUNCTIONS},
    rules=("scale_rounded_twice", "any_scale_of_zeros", "count_sequences"),
    absent={"gptq_quantize": "GPTQ of torchao runs on CUDA alone"},
    versions=("torch",),
)
