"""Target `ai-edge-quantizer`: its GPTQ, its uniform quantization, its packing.

The library stores signed codes and zero-points; SPEC.md's are larger by 2^(b−1). Scales of blocks
are rounded to bfloat16, for which SPEC.md has no rule, so only whole rows and whole tensors are
asked.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.algorithms.uniform_quantize import gptq, uniform_quantize_tensor
from ai_edge_quantizer.transformations import transformation_utils

from quantcheck.targets.libraries.library import (
    Array,
    Inputs,
    Library,
    Outputs,
    Parameters,
    group_index,
    require,
    require_single,
    require_symmetric,
    size_of_groups,
)

GRANULARITY = qtyping.QuantGranularity


def parameters_of(
    codes: Any, bits: int, scale: Array, zero_point: Array
) -> qtyping.UniformQuantParams:
    """Return the library's parameters of whole rows; zero-points become signed."""
    signed = zero_point.astype(np.int64) - 2 ** (bits - 1)
    return qtyping.UniformQuantParams(
        num_bits=bits, quantized_dimension=0, scale=scale, zero_point=signed, symmetric=False,
        quantized_data=codes,
    )  # fmt: skip


def unsigned(signed: Array, bits: int) -> Array:
    """Return codes as SPEC.md counts them, from 0."""
    return np.asarray((signed.astype(np.int64) + 2 ** (bits - 1)).astype(np.uint8))


def require_asymmetric(parameters: Parameters, n_in: int) -> None:
    """Leave out symmetric codes, and groups of columns."""
    require(not parameters["symmetric"], "symmetric scales are m / (2^(b-1) - 1)")
    size = parameters["group_size"]
    require(size == -1 or size >= n_in, "scales of blocks are rounded to bfloat16")


# AFF


def affine_parameters(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`tensor_zp_scale_from_min_max`."""
    weights, bits = inputs["weights"], parameters["bits"]
    require_asymmetric(parameters, weights.shape[-1])
    require_single(weights)
    whole = not parameters["per_channel"]
    axis = None if whole else 1
    zero, scale = uniform_quantize_tensor.tensor_zp_scale_from_min_max(
        weights.min(axis=axis, keepdims=True), weights.max(axis=axis, keepdims=True), bits, False,
        GRANULARITY.TENSORWISE if whole else GRANULARITY.CHANNELWISE,
    )  # fmt: skip
    shape = (len(weights), 1)
    return {
        "scale": np.broadcast_to(scale, shape),
        "zero_point": np.broadcast_to(unsigned(zero, bits), shape),
    }


def affine_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`uniform_quantize`."""
    bits, scale = parameters["bits"], inputs["scale"]
    size = size_of_groups(inputs["g_idx"], scale.shape[1])
    require(size == inputs["weights"].shape[1], "scales of blocks are rounded to bfloat16")
    given = parameters_of(None, bits, scale, inputs["zero_point"])
    codes = uniform_quantize_tensor.uniform_quantize(inputs["weights"], given)
    return {"codes": unsigned(codes, bits)}


def affine_dequantize(inputs: Inputs, _: Parameters) -> Outputs:
    """`uniform_dequantize`, of codes as they are."""
    size = size_of_groups(inputs["g_idx"], inputs["scale"].shape[1])
    require(size == inputs["codes"].shape[1], "scales of blocks are rounded to bfloat16")
    zero = inputs["zero_point"].astype(np.int64)
    given = qtyping.UniformQuantParams(8, 0, inputs["scale"], zero, symmetric=False)
    codes = inputs["codes"].astype(np.int64)
    return {"values": uniform_quantize_tensor.uniform_dequantize(codes, given)}


# PACK


def pack(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`pack_data`, line by line."""
    bits, axis = parameters["bits"], parameters["axis"]
    require(bits in (2, 4), "pack_data packs 2 and 4 bits")
    lines = np.moveaxis(inputs["codes"], axis, -1)
    rows = lines.reshape(-1, lines.shape[-1])
    made = np.stack([transformation_utils.pack_data(bits, row) for row in rows])
    return {"packed": np.moveaxis(made.view(lines.dtype).reshape(*lines.shape[:-1], -1), -1, axis)}


# GPTQ


def gptq_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`gptq._apply_gptq` with parameters of `tensor_zp_scale_from_min_max`."""
    weights, bits, hessian = inputs["weights"], parameters["bits"], inputs["hessian"]
    require_asymmetric(parameters, weights.shape[-1])
    require(not parameters["activation_order"], "ai-edge-quantizer has no activation order")
    require_symmetric(hessian)
    made = affine_parameters(inputs, parameters)
    given = parameters_of(None, bits, made["scale"], made["zero_point"])
    config = qtyping.TensorQuantizationConfig(num_bits=bits, symmetric=False)
    # The damping is no argument of the functions that call this one.
    inverse = partial(gptq._prepare_hessian_inverse, damp_factor=parameters["damping"])  # noqa: SLF001
    with patch.object(gptq, "_prepare_hessian_inverse", inverse):
        answer = gptq._apply_gptq(  # noqa: SLF001 - get_tensor_quant_params needs a TFLite operator
            weights, given, {"hessian": hessian.copy()}, config, parameters["block_size"]
        )
    g_idx = group_index(weights.shape[1], weights.shape[1])
    return {"codes": unsigned(answer.quantized_data, bits), **made, "g_idx": g_idx}


FUNCTIONS = (affine_parameters, affine_quantize, affine_dequantize, pack, gptq_quantize)
LIBRARY = Library(
    "ai-edge-quantizer",
    {function.__name__: function for function in FUNCTIONS},
    rules=("add_then_round", "any_scale_of_zeros", "scale_rounded_twice"),
    absent={"hessian": "its calibration needs an operator of a TFLite model"},
)
