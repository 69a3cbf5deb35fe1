"""Target `onnxruntime`: its weight-only GPTQ, its int8 and int4 quantizers, its packing.

GPTQ is `neural_compressor.weight_only.gptq` and what `gptq_quantize` there makes of its result for
MatMulNBits. Scales and zero-points are those of blocked quantization. Codes and values are those of
QuantizeLinear and DequantizeLinear as ONNX Runtime computes them.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quant_utils
from onnxruntime.quantization.neural_compressor import weight_only

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
from quantcheck.targets.libraries.onnx_models import OPSET, pack, run, unpack, unpack_layer

TYPES = {4: TensorProto.UINT4, 8: TensorProto.UINT8}


def round_half_even(inputs: Inputs, _: Parameters) -> Outputs:
    """Run Round."""
    x = inputs["x"]
    return {"values": run([helper.make_node("Round", ["x"], ["y"])], {"x": x}, x.dtype)}


def saturating_cast(inputs: Inputs, parameters: Parameters) -> Outputs:
    """Run QuantizeLinear with a scale of 1 and a zero-point of 0."""
    require("32" not in parameters["dtype"], "QuantizeLinear gives integers of 8 and 16 bits")
    x = inputs["x"]
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])
    scale, zero = np.ones((), x.dtype), np.zeros((), parameters["dtype"])
    return {"codes": run([node], {"x": x, "scale": scale, "zero": zero}, zero.dtype)}


# AFF


def affine_parameters(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`compute_scale_zp_blocked`; `compute_scale_zp` for a tensor with one scale."""
    weights, bits, symmetric = inputs["weights"], parameters["bits"], parameters["symmetric"]
    require_single(weights)
    require(bits in TYPES or bits not in range(2, 9), "ONNX Runtime has 4 and 8 bits")
    size = parameters["group_size"]
    if parameters["per_channel"]:
        size = group_size_of(size, weights.shape[-1])
        blocked = quant_utils.compute_scale_zp_blocked
        zero, scale = blocked(weights, TYPES[bits], 1, size, symmetric)
    else:
        require(size == -1, "a scale for each block of columns of all rows")
        ends = quant_utils.get_qmin_qmax_for_qType(TYPES[bits], symmetric=symmetric)
        zero, scale = quant_utils.compute_scale_zp(weights.min(), weights.max(), *ends, symmetric)
        scale, zero = (np.broadcast_to(a, (len(weights), 1)) for a in (scale, zero))
    return {"scale": scale, "zero_point": zero.astype(np.uint8)}


def affine_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """Run QuantizeLinear in blocks along the columns."""
    bits, given = parameters["bits"], dict(inputs)
    require(bits in TYPES, "QuantizeLinear has 4 and 8 bits")
    size = size_of_groups(given.pop("g_idx"), inputs["scale"].shape[1])
    code = TYPES[bits]
    nodes = [
        helper.make_node("Cast", ["zero_point"], ["zero"], to=code),
        helper.make_node(
            "QuantizeLinear", ["weights", "scale", "zero"], ["q"], axis=1, block_size=size
        ),
        helper.make_node("Cast", ["q"], ["y"], to=TensorProto.UINT8),
    ]
    return {"codes": run(nodes, given, np.uint8)}


def affine_dequantize(inputs: Inputs, _: Parameters) -> Outputs:
    """Run DequantizeLinear in blocks along the columns."""
    given = dict(inputs)
    size = size_of_groups(given.pop("g_idx"), inputs["scale"].shape[1])
    node = helper.make_node(
        "DequantizeLinear", ["codes", "scale", "zero_point"], ["y"], axis=1, block_size=size
    )
    return {"values": run([node], given, inputs["scale"].dtype)}


# HES, GPTQ


def hessian(inputs: Inputs, _: Parameters) -> Outputs:
    """Calibrate a model of one MatMul by `gptq_quantize`."""
    batches = inputs["batches"]
    require(len({b.dtype for b in batches}) < 2, "an input of a model has one dtype")
    weights = np.zeros((batches[0].shape[-1], 2), batches[0].dtype)
    kind = helper.np_dtype_to_tensor_dtype(weights.dtype)
    ends = [helper.make_tensor_value_info(name, kind, None) for name in "xy"]
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="layer")
    graph = helper.make_graph(
        [node], "one", ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    seen: list[Array] = []

    def gptq(weight: Array, hessian: Array, **_: Any) -> Array:
        seen.append(hessian)
        return weight

    with patch.object(weight_only, "gptq", gptq):  # keeps the Hessian that it is given
        weight_only.gptq_quantize(model, ((b, None) for b in batches), n_samples=-1, num_bits=8)
    return {"hessian": seen[0]}


def gptq_quantize(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`gptq`, and the three steps after it in `gptq_quantize`: pad, quantize, cast."""
    weights, bits = inputs["weights"], parameters["bits"]
    require(bits == 4 or bits not in (2, 3, 8), "codes of GPTQ are stored for four bits alone")
    require(parameters["per_channel"], "MatMulNBits has scales for every row")
    require_single(weights)
    require_symmetric(inputs["hessian"])
    scheme = "sym" if parameters["symmetric"] else "asym"
    n_in = weights.shape[-1]
    size = group_size_of(parameters["group_size"], n_in)
    values = weight_only.gptq(
        weights.T.copy(), inputs["hessian"].copy(), num_bits=bits, group_size=size, scheme=scheme,
        blocksize=parameters["block_size"], percdamp=parameters["damping"],
        actorder=parameters["activation_order"],
    )  # fmt: skip
    groups = -(-n_in // size)
    padded = weight_only.pad_tensor(values, size, groups)
    codes, scale, zero = weight_only.quant_tensor(padded.T, bits, size, scheme, "uint")
    return {
        "codes": codes.astype(np.uint8).reshape(len(weights), -1)[:, :n_in],
        "scale": scale.astype(weights.dtype).reshape(-1, groups),
        "zero_point": zero.reshape(-1, groups),
        "g_idx": group_index(n_in, size),
    }


OWN = "onnxruntime"
LIBRARY = Library(
    "onnxruntime",
    {
        f.__name__: f
        for f in (
            round_half_even, saturating_cast, affine_parameters, affine_quantize,
            affine_dequantize, pack, unpack, unpack_layer, hessian, gptq_quantize,
        )
    },
    rules=("any_scale_of_zeros", "count_sequences", "scale_rounded_twice"),
    absent={"abs_max_quantize": "int8 scales of ONNX Runtime are steps, by which it divides"},
    refusals=((OWN, "InvalidArgument"), (OWN, "Fail")),
    lacks=((OWN, "NotImplemented"), (OWN, "InvalidGraph")),  # the second for dtypes
    versions=("onnx",),
)  # fmt: skip
