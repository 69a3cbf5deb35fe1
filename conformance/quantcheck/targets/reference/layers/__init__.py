"""The reference's answers about layers (SPEC.md, section 12).  [VER-060]"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from quantcheck.targets.reference.layers import process
from quantcheck.targets.reference.layers.files import Layer, from_text, to_text
from quantcheck.wire.arrays import decode_array, encode_array
from quantcheck.wire.configs import Outputs, build, describe
from quantcheck.wire.policies import CALLED_TWICE, COPIED, TWICE, place_of, policy_of, use_of
from quantref.errors import DTypeError
from quantref.inputs import Array
from quantref.layers import DENSE, GPTQDense, Int8Dense, Int8Embedding


def _called(layer: Layer, inputs: Array, parameters: Any, method: str = "call") -> Outputs:
    """Return the outputs of a layer and of its copies, in the compute dtype of its policy.

    The reference computes the same in training as for inference. [LAY-210]
    """
    values = _call(layer, inputs, method)
    outputs: Outputs = {"values": values}
    use = use_of(parameters)
    if parameters["reload"]:
        given = json.dumps(encode_array(inputs))
        answer = json.loads(process.in_fresh_process(to_text(layer), given, method))
        outputs |= {"reloaded": decode_array(answer["values"]), "fields": answer["fields"]}
    if use in COPIED:
        copy = from_text(to_text(layer))  # [LAY-200]
        outputs |= {"again": _call(copy, inputs, method), "fields": describe(copy.config)["fields"]}
    if use == TWICE:
        outputs["again"] = values  # [LAY-240]: it has no way to quantize codes
    if place_of(parameters) == CALLED_TWICE:  # [LAY-250]: a layer is a function, wherever it stands
        outputs["second"] = _call(layer, inputs, method)
    if "calibrated_with" in parameters:  # [CAL-090]: codes are an argument of its layers
        outputs["calibrated"] = True
    dtype = policy_of(parameters).compute_dtype  # [LAY-220]
    rounded = ("values", "second", "reloaded", "again")
    return {k: v.astype(dtype) if k in rounded else v for k, v in outputs.items()}


def _call(layer: Layer, inputs: Array, method: str) -> Array:
    if method == "reverse" and isinstance(layer, Int8Embedding):
        return layer.reverse(inputs)
    return layer(inputs)


def _require_int8(parameters: Any) -> None:
    """Refuse int8 in float16.  [LAY-230]"""
    policy = policy_of(parameters)
    if policy.compute == "float16":
        raise DTypeError(
            "a compute dtype of at least the range of binary32", policy.name, "LAY-230"
        )


def _stored(scale: Array, parameters: Any) -> Array:
    """Return scales rounded to the dtype of the policy's variables, as float32.  [LAY-220]"""
    return scale.astype(policy_of(parameters).variable_dtype).astype(np.float32)


def _shown(scale: Array, parameters: Any) -> Array:
    return scale.astype(policy_of(parameters).variable_dtype)


def dense_int8(x: Array, kernel: Array, bias: Array | None = None, **parameters: Any) -> Outputs:
    """Quantize a kernel and call the layer: Dense, or EinsumDense with an equation."""
    _require_int8(parameters)
    layer = Int8Dense.quantize(
        kernel,
        bias,
        equation=parameters.get("equation", DENSE),
        activation=parameters["activation"],
        config=build(parameters["config"]),
    )
    layer = replace(layer, kernel_scale=_stored(layer.kernel_scale, parameters))
    return {
        **_called(layer, x, parameters),
        "kernel": layer.kernel,
        "kernel_scale": _shown(layer.kernel_scale, parameters),
    }


def dense_gptq(
    x: Array,
    packed: Array,
    scale: Array,
    zero_point: Array,
    g_idx: Array,
    bias: Array | None = None,
    **parameters: Any,
) -> Outputs:
    """Call a layer with a packed kernel: Dense, or EinsumDense with an equation."""
    layer = GPTQDense(
        parameters.get("equation", DENSE),
        tuple(parameters["kernel_shape"]),
        packed,
        scale,
        zero_point,
        g_idx,
        build(parameters["config"]),
        bias,
        parameters["activation"],
    )
    return _called(layer, x, parameters)


def embedding_int8(tokens: Array, embeddings: Array, **parameters: Any) -> Outputs:
    """Quantize an embedding, and look tokens up."""
    layer = _embedding(embeddings, None, parameters)
    return _called(layer, tokens, parameters) | _rows(layer, parameters)


def reversible_embedding_int8(
    embeddings: Array,
    x: Array | None = None,
    tokens: Array | None = None,
    reverse_embeddings: Array | None = None,
    **parameters: Any,
) -> Outputs:
    """Quantize a tied or untied embedding, and call the layer forward or in reverse."""
    layer = _embedding(embeddings, reverse_embeddings, parameters)
    inputs: Any = x if parameters["reverse"] else tokens
    method = "reverse" if parameters["reverse"] else "call"
    return _called(layer, inputs, parameters, method) | _rows(layer, parameters)


def _embedding(embeddings: Array, back: Array | None, parameters: Any) -> Int8Embedding:
    _require_int8(parameters)
    layer = Int8Embedding.quantize(embeddings, back, config=build(parameters["config"]))
    layer = replace(layer, embeddings_scale=_stored(layer.embeddings_scale, parameters))
    if layer.reverse_embeddings_scale is None:
        return layer
    scale = _stored(layer.reverse_embeddings_scale, parameters)
    return replace(layer, reverse_embeddings_scale=scale)


def _rows(layer: Int8Embedding, parameters: Any) -> Outputs:
    outputs: Outputs = {
        "embeddings": layer.embeddings,
        "embeddings_scale": _shown(layer.embeddings_scale, parameters),
    }
    if layer.reverse_embeddings_scale is not None:
        outputs["reverse_embeddings"] = layer.reverse_embeddings
        outputs["reverse_embeddings_scale"] = _shown(layer.reverse_embeddings_scale, parameters)
    return outputs


LAYER_OPERATIONS: dict[str, Callable[..., Outputs]] = {
    "dense_int8": dense_int8,
    "einsum_dense_int8": dense_int8,
    "dense_gptq": dense_gptq,
    "einsum_dense_gptq": dense_gptq,
    "embedding_int8": embedding_int8,
    "reversible_embedding_int8": reversible_embedding_int8,
}
