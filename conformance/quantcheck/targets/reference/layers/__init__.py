"""The reference's answers about layers (SPEC.md, section 12).  [VER-060]"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from quantcheck.targets.reference.layers import process
from quantcheck.targets.reference.layers.files import Layer, to_text
from quantcheck.wire.arrays import decode_array, encode_array
from quantcheck.wire.configs import Outputs, build
from quantref.inputs import Array
from quantref.layers import DENSE, GPTQDense, Int8Dense, Int8Embedding


def _reloaded(layer: Layer, inputs: Array, *, reload: bool, method: str = "call") -> Outputs:
    """Return outputs and fields after saving, and loading in a fresh process; {} if not asked."""
    if not reload:
        return {}
    given = json.dumps(encode_array(inputs))
    answer = json.loads(process.in_fresh_process(to_text(layer), given, method))
    return {"reloaded": decode_array(answer["values"]), "fields": answer["fields"]}


def dense_int8(x: Array, kernel: Array, bias: Array | None = None, **parameters: Any) -> Outputs:
    """Quantize a kernel and call the layer: Dense, or EinsumDense with an equation."""
    layer = Int8Dense.quantize(
        kernel,
        bias,
        equation=parameters.get("equation", DENSE),
        activation=parameters["activation"],
        config=build(parameters["config"]),
    )
    return {
        "values": layer(x),
        "kernel": layer.kernel,
        "kernel_scale": layer.kernel_scale,
        **_reloaded(layer, x, reload=parameters["reload"]),
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
    return {"values": layer(x), **_reloaded(layer, x, reload=parameters["reload"])}


def embedding_int8(tokens: Array, embeddings: Array, **parameters: Any) -> Outputs:
    """Quantize an embedding, and look tokens up."""
    layer = Int8Embedding.quantize(embeddings, config=build(parameters["config"]))
    return {
        "values": layer(tokens),
        "embeddings": layer.embeddings,
        "embeddings_scale": layer.embeddings_scale,
        **_reloaded(layer, tokens, reload=parameters["reload"]),
    }


def reversible_embedding_int8(
    embeddings: Array,
    x: Array | None = None,
    tokens: Array | None = None,
    reverse_embeddings: Array | None = None,
    **parameters: Any,
) -> Outputs:
    """Quantize a tied or untied embedding, and call the layer forward or in reverse."""
    layer = Int8Embedding.quantize(
        embeddings, reverse_embeddings, config=build(parameters["config"])
    )
    inputs: Any = x if parameters["reverse"] else tokens
    method = "reverse" if parameters["reverse"] else "call"
    outputs = {
        "values": layer.reverse(inputs) if parameters["reverse"] else layer(inputs),
        "embeddings": layer.embeddings,
        "embeddings_scale": layer.embeddings_scale,
        **_reloaded(layer, inputs, reload=parameters["reload"], method=method),
    }
    if reverse_embeddings is not None:
        outputs["reverse_embeddings"] = layer.reverse_embeddings
        outputs["reverse_embeddings_scale"] = layer.reverse_embeddings_scale
    return outputs


LAYER_OPERATIONS: dict[str, Callable[..., Outputs]] = {
    "dense_int8": dense_int8,
    "einsum_dense_int8": dense_int8,
    "dense_gptq": dense_gptq,
    "einsum_dense_gptq": dense_gptq,
    "embedding_int8": embedding_int8,
    "reversible_embedding_int8": reversible_embedding_int8,
}
