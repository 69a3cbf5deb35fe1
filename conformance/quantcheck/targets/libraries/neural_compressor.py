"""Target `neural-compressor`: its GPTQ for PyTorch, and the layer that stores the result.

Codes are those that the library reads back from its `INCWeightOnlyLinear`. Symmetric codes are
signed there; SPEC.md's are larger by 2^(b−1). Scales are taken before that layer makes float16 of
them, as its format says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from neural_compressor.torch.algorithms.weight_only.gptq import GPTQ, Quantizer
from neural_compressor.torch.algorithms.weight_only.modules import INCWeightOnlyLinear
from neural_compressor.torch.algorithms.weight_only.utility import quant_weight_w_scale

from quantcheck.targets.libraries.library import (
    Array,
    Inputs,
    Library,
    Outputs,
    Parameters,
    group_index,
    group_size_of,
    require,
    require_order,
    require_single,
    require_symmetric,
)

BITS = (2, 4, 8)


def tensor(array: Array) -> Any:
    """Return a tensor that owns its memory."""
    return torch.from_numpy(np.array(array))


def configure(quantizer: Quantizer, parameters: Parameters) -> Quantizer:
    """Set the options of a quantizer."""
    quantizer.configure(
        {
            "bits": parameters["bits"], "sym": parameters["symmetric"], "dtype": "int",
            "perchannel": parameters["per_channel"], "mse": False, "double_quant_sym": False,
            "use_double_quant": False, "group_size": parameters["group_size"],
        }
    )  # fmt: skip
    return quantizer


def bytes_of(array: Any) -> Array:
    """Return zero-points as uint8."""
    return np.asarray(array.numpy()).astype(np.uint8)


# AFF


def affine_parameters(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`Quantizer.find_params` of each group."""
    weights = inputs["weights"]
    require_single(weights)
    size = group_size_of(parameters["group_size"], weights.shape[-1])
    made = []
    for start in range(0, weights.shape[-1], size):
        quantizer = configure(Quantizer(), parameters)
        quantizer.find_params(tensor(weights[:, start : start + size]), weight=True)
        made.append((quantizer.scale, quantizer.zero))
    scale, zero = (torch.cat(part, dim=1) for part in zip(*made, strict=True))
    return {"scale": scale.numpy(), "zero_point": bytes_of(zero)}


def affine_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`Quantizer.quantize`, and `quant_weight_w_scale` of its result."""
    bits, groups = parameters["bits"], inputs["g_idx"]
    s, z = tensor(inputs["scale"][:, groups]), tensor(inputs["zero_point"][:, groups])
    quantizer = Quantizer()
    quantizer.dtype = "int"
    values = quantizer.quantize(tensor(inputs["weights"]), s, z, 2**bits - 1)
    return {"codes": bytes_of(quant_weight_w_scale(values, s, None, z))}


def affine_dequantize(inputs: Inputs, _: Parameters) -> Outputs:
    """`INCWeightOnlyLinear.pack` and `recover`."""
    codes, zero = inputs["codes"], inputs["zero_point"]
    require(codes.size > 0, "a layer has weights")
    highest = max(int(codes.max()), int(zero.max()))
    require(min(int(codes.min()), int(zero.min())) >= 0 and highest < 256, "codes are 0 … 255")
    rows, n_in = codes.shape
    layer = INCWeightOnlyLinear(
        n_in, rows, bits=4 if highest < 16 else 8, group_size=-(-n_in // zero.shape[1]), zp=True,
        g_idx=True, use_optimum_format=False, scale_dtype=torch.float32,
    )  # fmt: skip
    require(layer.scales.shape == tuple(zero.shape), "groups have equal lengths")
    layer.pack(
        tensor(codes.astype(np.int32)), tensor(inputs["scale"]), tensor(zero.astype(np.int32)),
        None, g_idx=tensor(inputs["g_idx"]),
    )  # fmt: skip
    return {"values": layer.recover().numpy()}


# PACK


def packer(bits: int, signed: bool) -> INCWeightOnlyLinear:
    """Return a layer that packs into bytes."""
    require(bits in (2, 4), "bytes hold 2 or 4 codes")
    return INCWeightOnlyLinear(
        8, 8, bits=bits, zp=not signed, compression_dtype=torch.int8, use_optimum_format=False
    )


def pack(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`INCWeightOnlyLinear.pack_tensor`."""
    codes, axis = inputs["codes"], parameters["axis"]
    layer = packer(parameters["bits"], codes.dtype == np.int8)
    lines = np.moveaxis(codes, axis, -1)
    packed = layer.pack_tensor(tensor(lines.reshape(-1, lines.shape[-1]))).numpy()
    shape = (*lines.shape[:-1], packed.shape[-1])
    return {"packed": np.moveaxis(packed.view(codes.dtype).reshape(shape), -1, axis)}


# HES, GPTQ


def hessian(inputs: Inputs, _: Parameters) -> Outputs:
    """`GPTQ.add_batch`; a token alone, or in a matrix, is a sequence."""
    n_in = inputs["batches"][0].shape[-1]
    solver = GPTQ(torch.nn.Linear(n_in, 1), torch.zeros((1, n_in)))
    for batch in inputs["batches"]:
        require(batch.ndim < 4, "inputs of a layer are sequences")
        x = tensor(batch.reshape(-1, 1, n_in) if batch.ndim < 3 else batch)
        solver.add_batch(x, None)
    return {"hessian": solver.H.numpy()}


def gptq_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`GPTQ.fasterquant`, and the export to `INCWeightOnlyLinear` that follows it."""
    weights, bits, hessian = inputs["weights"], parameters["bits"], inputs["hessian"]
    require_single(weights)
    require_symmetric(hessian)
    require(
        bits in BITS or bits not in range(2, 9), "the formats of the layer have 2, 4 and 8 bits"
    )
    if parameters["activation_order"]:
        require_order(hessian)
    rows, n_in = weights.shape
    size = group_size_of(parameters["group_size"], n_in)
    solver = GPTQ(torch.nn.Linear(n_in, rows), tensor(weights))
    configure(solver.quantizer, parameters)
    solver.H = tensor(hessian).float()
    scale, _, zero, values = solver.fasterquant(
        tensor(weights), blocksize=parameters["block_size"], percdamp=parameters["damping"],
        groupsize=size if size < n_in else -1, act_order=parameters["activation_order"],
    )  # fmt: skip
    order = solver.perm
    codes = values if order is None else values[:, order]
    signed = parameters["symmetric"]
    codes = quant_weight_w_scale(codes, scale, None, None if signed else zero, size)
    codes = codes if order is None else codes[:, torch.argsort(order)]
    layer = INCWeightOnlyLinear(
        n_in, rows, bits=bits, group_size=size, zp=not signed, g_idx=order is not None
    )
    stored = zero.type(torch.int32).clone()
    layer.pack(codes.type(torch.int32), scale, None if signed else stored, None, g_idx=order)
    back = layer.unpack()
    return {
        "codes": bytes_of(back["int_weight"]),
        "scale": scale.numpy(),
        "zero_point": bytes_of(back["zp"]),
        "g_idx": group_index(n_in, size) if order is None else layer.g_idx.numpy(),
    }


FUNCTIONS = (
    affine_parameters, affine_quantize, affine_dequantize, pack, hessian, gptq_quantize,
)  # fmt: skip
LIBRARY = Library(
    "neural-compressor",
    {function.__name__: function for function in FUNCTIONS},
    rules=(
        "mirror_where_negative", "scale_rounded_twice", "count_sequences", "dead_in_ranges",
        "order_damped_float32",
    ),
    refusals=(("torch", "_LinAlgError"),),
    versions=("torch",),
)  # fmt: skip
