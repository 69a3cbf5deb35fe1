"""Target `gptqmodel`: its GPTQ, and the layer `TorchLinear` that stores the result.

GPTQ is called as other libraries call it, by `hf_quantize`. The activation order is `desc_act`. The
default is `act_group_aware`, an order of groups and inside them, for which SPEC.md has no rule.
Codes are those that a layer reads back. It stores 3 bits in blocks of 32 weights, so codes of other
widths than 2, 4 and 8 bits are read from a layer of 8 bits. Scales are taken before it makes
float16 of them, as its format says.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from gptqmodel.nn_modules.qlinear.torch import TorchLinear
from gptqmodel.quantization import QuantizeConfig
from gptqmodel.quantization.gptq import GPTQ
from gptqmodel.quantization.quantizer import Quantizer
from gptqmodel.utils.model import (
    convert_gptq_v1_to_v2_format_module,
    convert_gptq_v2_to_v1_format_module,
)

from quantcheck.targets.libraries.library import (
    Array,
    Inputs,
    Library,
    Outputs,
    Parameters,
    group_size_of,
    require,
    require_order,
    require_symmetric,
)

STORED = (2, 4, 8)


def tensor(array: Array) -> Any:
    """Return a tensor that owns its memory; NumPy's bfloat16 is none of PyTorch's own."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(np.array(array).view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def config_of(bits: int, symmetric: bool = False) -> Any:
    """Return the library's description of codes; groups and order are given where it quantizes."""
    return QuantizeConfig(
        bits=bits, sym=symmetric, group_size=-1, act_group_aware=False, offload_to_disk=False
    )


def quantizer_of(parameters: Parameters) -> Quantizer:
    """Return a quantizer with its options."""
    quantizer = Quantizer(config_of(parameters["bits"], parameters["symmetric"]))
    quantizer.configure(perchannel=parameters["per_channel"])
    return quantizer


def bytes_of(values: Any) -> Array:
    """Return codes or zero-points as uint8."""
    return np.asarray(values.numpy()).astype(np.uint8)


# A layer that stores codes


def layer_of(bits: int, size: int, n_in: int, n_out: int) -> TorchLinear:
    """Return a layer for inference."""
    layer = TorchLinear(bits, size, False, False, n_in, n_out, register_buffers=True)
    return layer.eval()


def stored(values: Any, scale: Any, zero: Any, g_idx: Any, bits: int) -> TorchLinear:
    """Return a layer that stores dequantized weights, by `pack_original`."""
    layer = layer_of(bits, -1, values.shape[1], values.shape[0])
    linear = SimpleNamespace(weight=values, bias=None)
    layer.pack_original(linear, scale.float(), zero.float(), g_idx)
    layer.scales = scale.float().T.contiguous()
    return layer


def steps_of(layer: TorchLinear) -> Any:
    """Return the weights of a layer for scales of 1: codes less zero-points."""
    layer.scales = torch.ones_like(layer.scales)
    return layer.dequantize_weight().T


def codes_of(layer: TorchLinear) -> Any:
    """Return the codes of a layer: its weights for scales of 1 and zero-points of 0."""
    layer.qzeros = torch.zeros_like(layer.qzeros)
    return steps_of(layer)


# AFF


def affine_parameters(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`Quantizer.find_params` of each group."""
    weights, made = tensor(inputs["weights"]).float(), []
    size = group_size_of(parameters["group_size"], weights.shape[-1])
    for start in range(0, weights.shape[-1], size):
        quantizer = quantizer_of(parameters)
        quantizer.find_params(weights[:, start : start + size], weight=True)
        made.append((quantizer.scale, quantizer.zero))
    scale, zero = (torch.cat(part, dim=1) for part in zip(*made, strict=True))
    return {"scale": scale.numpy(), "zero_point": bytes_of(zero)}


def affine_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`Quantizer.quantize`, and `pack_original` of its result."""
    bits, g_idx = parameters["bits"], tensor(inputs["g_idx"]).long()
    scale, zero = tensor(inputs["scale"]), tensor(inputs["zero_point"])
    quantizer = quantizer_of({"bits": bits, "symmetric": False, "per_channel": True})
    quantizer.scale, quantizer.zero = scale[:, g_idx], zero[:, g_idx]
    values = quantizer.quantize(tensor(inputs["weights"]).float())
    layer = stored(values, scale, zero, g_idx, bits if bits in STORED else 8)
    return {"codes": bytes_of(codes_of(layer))}


def affine_dequantize(inputs: Inputs, _: Parameters) -> Outputs:
    """`TorchLinear.dequantize_weight`."""
    codes, zero, g_idx = (tensor(inputs[n]).long() for n in ("codes", "zero_point", "g_idx"))
    require(codes.numel() > 0, "a layer has weights")
    highest = max(int(codes.max()), int(zero.max()))
    require(min(int(codes.min()), int(zero.min())) >= 0 and highest < 256, "codes are 0 … 255")
    scale = tensor(inputs["scale"])
    layer = stored((codes - zero[:, g_idx]).float(), torch.ones_like(scale), zero, g_idx, 8)
    layer.scales = scale.float().T
    return {"values": layer.dequantize_weight().T.numpy()}


# PACK


def pack_layer(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`pack_original`, and for `gptq_v1` the conversion that follows it."""
    bits, codes, zero = (
        parameters["bits"], tensor(inputs["codes"]).float(), tensor(inputs["zero_point"]).float()
    )  # fmt: skip
    require(parameters["format"].startswith("gptq"), "GPTQModel has the formats of GPTQ")
    g_idx = layer_of(bits, parameters["group_size"], *codes.shape[::-1]).g_idx
    layer = stored(codes - zero[:, g_idx], torch.ones_like(zero), zero, g_idx, bits)
    if parameters["format"] == "gptq_v1":
        convert_gptq_v2_to_v1_format_module(layer, config_of(bits))
    return {"packed": layer.qweight.numpy(), "packed_zero_point": layer.qzeros.numpy()}


def unpack_layer(inputs: Inputs, parameters: Parameters) -> Outputs:
    """For `gptq_v1` the conversion as a file is loaded, and `dequantize_weight`."""
    bits, n_out, n_in = (parameters[name] for name in ("bits", "n_out", "n_in"))
    require(parameters["format"].startswith("gptq"), "GPTQModel has the formats of GPTQ")
    layer = layer_of(bits, parameters["group_size"], n_in, n_out)
    layer.qweight, layer.qzeros = tensor(inputs["packed"]), tensor(inputs["packed_zero_point"])
    if parameters["format"] == "gptq_v1":
        convert_gptq_v1_to_v2_format_module(layer, bits, torch.int32)
    steps, codes = steps_of(layer), codes_of(layer)
    zero = (codes - steps)[:, :: layer.group_size]
    return {"codes": bytes_of(codes), "zero_point": bytes_of(zero)}


# HES, GPTQ


def hessian(inputs: Inputs, _: Parameters) -> Outputs:
    """`GPTQ.add_batch` and `finalize_hessian`."""
    linear = torch.nn.Linear(inputs["batches"][0].shape[-1], 1, bias=False)
    solver = GPTQ(linear, config_of(4))
    for batch in inputs["batches"]:
        solver.add_batch(tensor(batch), None)
    return {"hessian": solver.finalize_hessian().numpy()}


def gptq_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`GPTQ.hf_quantize`, and `pack_original` of its result."""
    weights, bits = tensor(inputs["weights"]), parameters["bits"]
    require_symmetric(inputs["hessian"])
    if parameters["activation_order"]:
        require_order(inputs["hessian"])
    linear = torch.nn.Linear(*weights.shape[::-1], bias=False, dtype=weights.dtype)
    linear.weight.data = weights
    solver = GPTQ(linear, config_of(bits, parameters["symmetric"]))
    solver.quantizer.configure(perchannel=parameters["per_channel"])
    solver.H, solver.nsamples = tensor(inputs["hessian"]).float(), 1
    scale, zero, g_idx, *_ = solver.hf_quantize(
        parameters["block_size"], parameters["damping"], solver.qcfg.damp_auto_increment,
        parameters["group_size"], parameters["activation_order"],
    )  # fmt: skip
    layer = stored(linear.weight.data, scale, zero, g_idx, bits if bits in STORED else 8)
    return {
        "codes": bytes_of(codes_of(layer)),
        "scale": scale.numpy(),
        "zero_point": bytes_of(zero),
        "g_idx": g_idx.numpy(),
    }


FUNCTIONS = (
    affine_parameters, affine_quantize, affine_dequantize, pack_layer, unpack_layer, hessian,
    gptq_quantize,
)  # fmt: skip
LIBRARY = Library(
    "gptqmodel",
    {function.__name__: function for function in FUNCTIONS},
    rules=("mirror_where_negative", "scale_rounded_twice", "dead_in_ranges"),
    versions=("torch",),
)
