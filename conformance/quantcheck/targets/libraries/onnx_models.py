"""Models of ONNX Runtime with few nodes, for its adapter; and its packing."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper
from onnxruntime.quantization import quant_utils

from quantcheck.targets.libraries.library import Array, Inputs, Outputs, Parameters, require

OPSET = 21  # the first with blocks and four bits


def run(nodes: list[Any], inputs: Inputs, dtype: Any, constants: list[Any] | None = None) -> Array:
    """Run nodes, the last of which gives `y` of a dtype, in ONNX Runtime."""
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for name, x in inputs.items()
    ]
    result = helper.make_tensor_value_info(
        "y", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None
    )
    graph = helper.make_graph(nodes, "one", given, [result], constants or [])
    versions = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=10)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, dict(inputs))[0])


def pack(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`pack_bytes_to_4bit`, line by line."""
    require(parameters["bits"] == 4, "quant_utils packs four bits")
    lines = np.moveaxis(inputs["codes"], parameters["axis"], -1)
    rows = lines.reshape(-1, lines.shape[-1])
    made = [quant_utils.pack_bytes_to_4bit(row.tobytes()) for row in rows]
    packed = np.frombuffer(b"".join(made), lines.dtype).reshape(*lines.shape[:-1], -1)
    return {"packed": np.moveaxis(packed, -1, parameters["axis"])}


def unpack(inputs: Inputs, parameters: Parameters) -> Outputs:
    """Run Cast on a constant of four bits."""
    require(parameters["bits"] == 4, "ONNX packs four bits")
    lines = np.moveaxis(inputs["packed"], parameters["axis"], -1)
    require(-(-parameters["length"] // 2) == lines.shape[-1], "bytes that hold no codes")
    code = TensorProto.INT4 if lines.dtype == np.int8 else TensorProto.UINT4
    shape = (*lines.shape[:-1], 2 * lines.shape[-1])
    data = helper.make_tensor("packed", code, shape, lines.tobytes(), raw=True)
    to = helper.np_dtype_to_tensor_dtype(lines.dtype)
    codes = run([helper.make_node("Cast", ["packed"], ["y"], to=to)], {}, lines.dtype, [data])
    return {"codes": np.moveaxis(codes[..., : parameters["length"]], -1, parameters["axis"])}


def unpack_layer(inputs: Inputs, parameters: Parameters) -> Outputs:
    """Run MatMulNBits on the identity with scales of 1, with these zero-points and with 0."""
    require(parameters["format"] == "matmulnbits", "ONNX Runtime multiplies with MatMulNBits")
    n_out, n_in, size = (parameters[name] for name in ("n_out", "n_in", "group_size"))
    groups = -(-n_in // size)
    node = helper.make_node(
        "MatMulNBits", ["a", "b", "scale", "zero"], ["y"], domain="com.microsoft",
        K=n_in, N=n_out, bits=parameters["bits"], block_size=size,
    )  # fmt: skip
    zero = inputs["packed_zero_point"]
    given = {"a": np.eye(n_in, dtype=np.float32), "b": inputs["packed"]}
    given["scale"] = np.ones((n_out, groups), np.float32)
    codes, less = (run([node], {**given, "zero": z}, np.float32).T for z in (zero * 0, zero))
    first = np.arange(groups) * size
    return {
        "codes": codes.astype(np.uint8),
        "zero_point": (codes - less)[:, first].astype(np.uint8),
    }
