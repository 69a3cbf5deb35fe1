"""Target `nncf`: GPTQ of its weight compression, and its integer weights.

Tensors are NumPy's, as with models of OpenVINO. GPTQ is what `GPTQ.apply` calls for one layer; the
layer and its model are described by the few attributes that are read there.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from nncf import CompressWeightsMode, errors
from nncf.quantization.algorithms.weight_compression import weight_lowering
from nncf.quantization.algorithms.weight_compression.config import WeightCompressionConfig
from nncf.quantization.algorithms.weight_compression.gptq import GPTQ
from nncf.tensor import Tensor

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

MODES = {4: CompressWeightsMode.INT4_ASYM, 8: CompressWeightsMode.INT8_ASYM}
MATMUL = "MatMul"


def tensor(array: Array) -> Tensor:
    """Return a tensor that owns its memory."""
    return Tensor(np.array(array))


def config_of(parameters: Parameters, n_in: int, bits: tuple[int, ...] = (4, 8)) -> Any:
    """Return the library's description of codes and groups."""
    given = parameters["bits"]
    require(given in bits or given not in range(2, 9), f"codes have {bits} bits")
    require(not parameters.get("symmetric", False), "symmetric scales have a sign")
    require(parameters.get("per_channel", True), "every row has scales")
    size = group_size_of(parameters["group_size"], n_in)
    require(n_in % max(size, 1) == 0, "group sizes divide the number of columns")
    return WeightCompressionConfig(mode=MODES[given], group_size=size)


# AFF


def grouped(array: Array, size: int) -> Tensor:
    """Return weights or codes of shape (n_out, n_groups, group size)."""
    return tensor(array.reshape(len(array), -1, size))


def affine_parameters(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`calculate_integer_quantization_params`."""
    weights = inputs["weights"]
    require_single(weights)
    config = config_of(parameters, weights.shape[-1])
    scale, zero = weight_lowering.calculate_integer_quantization_params(
        grouped(weights, config.group_size), (2,), config
    )
    return {"scale": scale.data[..., 0], "zero_point": zero.data[..., 0].astype(np.uint8)}


def affine_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`do_integer_quantization` with given parameters."""
    weights, scale = inputs["weights"], inputs["scale"]
    size = size_of_groups(inputs["g_idx"], scale.shape[1])
    config = config_of({**parameters, "group_size": size}, weights.shape[1])
    zero = inputs["zero_point"].astype(np.int32)
    made = weight_lowering.do_integer_quantization(
        grouped(weights, size), config, None, tensor(scale[..., None]), tensor(zero[..., None])
    )
    return {"codes": made.tensor.data.reshape(weights.shape)}


def affine_dequantize(inputs: Inputs, _: Parameters) -> Outputs:
    """`do_integer_dequantization`."""
    codes, scale = inputs["codes"], inputs["scale"]
    size = size_of_groups(inputs["g_idx"], scale.shape[1])
    require(codes.size > 0 and codes.shape[1] % size == 0, "group sizes divide the columns")
    zero = tensor(inputs["zero_point"].astype(np.int32)[..., None])
    given = weight_lowering.CompressedWeight(grouped(codes, size), tensor(scale[..., None]), zero)
    values = weight_lowering.do_integer_dequantization(given)
    return {"values": values.data.reshape(codes.shape)}


# HES, GPTQ


def solver_of(damping: float = 0.1, block_size: int = 128) -> GPTQ:
    """Return the algorithm, with what it asks the backend of a model."""
    solver = GPTQ(damping, block_size)
    solver._backend_entity = SimpleNamespace(  # noqa: SLF001 - set by `apply` from a model
        convolution_metatypes=[], matmul_metatypes=[MATMUL]
    )
    return solver


def layer() -> SimpleNamespace:
    """Return what is read of a node: a product with transposed weights."""
    attributes: dict[str, Any] = {"constant_attributes": {1: {"transpose": True}}}
    attributes["input_attributes"] = {"transpose": False}
    return SimpleNamespace(metatype=MATMUL, layer_attributes=SimpleNamespace(**attributes))


def hessian(inputs: Inputs, _: Parameters) -> Outputs:
    """`GPTQ._calculate_hessian`; a token alone, or in a matrix, is a sequence."""
    batches = inputs["batches"]
    require(all(batch.ndim < 4 for batch in batches), "inputs of a layer are sequences")
    n_in = batches[0].shape[-1]
    given = [tensor(b.reshape(-1, 1, n_in) if b.ndim < 3 else b) for b in batches]
    made = solver_of()._calculate_hessian(layer(), given)  # noqa: SLF001 - `apply` needs a model
    return {"hessian": made.data[0]}


def gptq_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`GPTQ._quantize_weights`, and `do_integer_quantization` of its result."""
    weights, given = inputs["weights"], inputs["hessian"]
    require_single(weights)
    require_symmetric(given)
    require(not parameters["activation_order"], "nncf has no activation order")
    n_in = weights.shape[-1]
    config = config_of(parameters, n_in, (4,))
    described = SimpleNamespace(
        node_with_weight=layer(), weight_port_id=1, compression_config=config, reduction_axes=(1,)
    )
    solver = solver_of(parameters["damping"], parameters["block_size"])
    values, scale, zero = solver._quantize_weights(  # noqa: SLF001 - as above
        described, tensor(given.astype(np.float32)), tensor(weights), []
    )
    made = weight_lowering.do_integer_quantization(values, config, (1,), scale, zero)
    return {
        "codes": made.tensor.data.reshape(weights.shape),
        "scale": scale.data[..., 0],
        "zero_point": zero.data[..., 0].astype(np.uint8),
        "g_idx": group_index(n_in, config.group_size),
    }


FUNCTIONS = (affine_parameters, affine_quantize, affine_dequantize, hessian, gptq_quantize)
LIBRARY = Library(
    "nncf",
    {function.__name__: function for function in FUNCTIONS},
    rules=(
        "add_then_round", "scale_rounded_twice", "scale_at_least_epsilon", "any_scale_of_zeros",
        "count_sequences",
    ),
    refusals=tuple(("nncf", name) for name in dir(errors) if name.endswith("Error")),
    versions=("openvino",),
)  # fmt: skip
