"""Quantized layers of Keras: made, called, copied, saved, loaded in a fresh process, called again.

This module computes nothing itself. A layer is built with the float weights of the question and
quantized by Keras. Or it is built in GPTQ mode, and the packed kernel is assigned to it, as in
`quantize_and_correct_layer`.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.targets.keras import releases
from quantcheck.targets.keras.calibrated import CalibratedModel
from quantcheck.targets.keras.config import Inputs, Outputs, Parameters, fields_of
from quantcheck.targets.keras.places import (
    holder_class,
    layer_of,
    model_of,
    placed,
    shaped_class,
    shown,
)
from quantcheck.targets.keras.tensors import to_numpy
from quantcheck.targets.keras.uses import quantize, used
from quantcheck.wire.arrays import dtype_of
from quantcheck.wire.configs import build
from quantcheck.wire.policies import ALONE, place_of


class ReloadError(Exception):
    """The process that loads a saved model failed."""


# Layers from questions


def dense_int8(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.layers.Dense(…).quantize("int8", config=…)`."""
    layer = _built(_dense(inputs["kernel"].shape[1], inputs, parameters), inputs)
    layer.kernel.assign(inputs["kernel"])
    model = _quantized(layer, inputs["x"], parameters)
    stored = {"kernel": to_numpy(layer.kernel), "kernel_scale": to_numpy(layer.kernel_scale)}
    return _called(layer, inputs["x"], parameters, model) | stored


def einsum_dense_int8(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.layers.EinsumDense(…).quantize("int8", config=…)`."""
    layer = _built(_einsum_dense(parameters), inputs)
    layer.kernel.assign(inputs["kernel"])
    model = _quantized(layer, inputs["x"], parameters)
    outputs = _called(layer, inputs["x"], parameters, model)
    outputs["kernel"] = to_numpy(layer.kernel)
    outputs["kernel_scale"] = _kept(layer, parameters["equation"], inputs["kernel"].shape)
    return outputs


def dense_gptq(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.layers.Dense` in GPTQ mode, with the packed kernel assigned."""
    layer = _built(_dense(parameters["kernel_shape"][1], inputs, parameters), inputs)
    return _packed(layer, inputs, parameters)


def einsum_dense_gptq(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.layers.EinsumDense` in GPTQ mode, with the packed kernel assigned."""
    layer = _built(_einsum_dense(parameters), inputs)
    return _packed(layer, inputs, parameters)


def embedding_int8(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.layers.Embedding(…).quantize("int8", config=…)`."""
    import keras

    layer = keras.layers.Embedding(*inputs["embeddings"].shape, dtype=_policy(parameters))
    layer.build()
    layer.embeddings.assign(inputs["embeddings"])
    model = _quantized(layer, inputs["tokens"], parameters)
    return _called(layer, inputs["tokens"], parameters, model) | _rows(layer)


def reversible_embedding_int8(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.layers.ReversibleEmbedding(…).quantize("int8", config=…)`, either way."""
    import keras

    tied = parameters["tie_weights"]
    layer = keras.layers.ReversibleEmbedding(
        *inputs["embeddings"].shape, tie_weights=tied, dtype=_policy(parameters)
    )
    layer.build()
    layer.embeddings.assign(inputs["embeddings"])
    if not tied:
        layer.reverse_embeddings.assign(inputs["reverse_embeddings"])
    back = parameters["reverse"]
    given = inputs["x" if back else "tokens"]
    model = _quantized(layer, given, parameters, reverse=back)
    outputs = _called(layer, given, parameters, model, reverse=back)
    outputs |= _rows(layer)
    if not tied:
        for name in ("reverse_embeddings", "reverse_embeddings_scale"):
            outputs[name] = to_numpy(getattr(layer, name))
    return outputs


def _dense(units: int, inputs: Inputs, parameters: Parameters) -> Any:
    import keras

    return keras.layers.Dense(
        units,
        activation=parameters["activation"],
        use_bias="bias" in inputs,
        dtype=_policy(parameters),
    )


def _einsum_dense(parameters: Parameters) -> Any:
    import keras

    return keras.layers.EinsumDense(
        parameters["equation"],
        output_shape=tuple(parameters["output_shape"]),
        activation=parameters["activation"],
        bias_axes=parameters["bias_axes"],
        dtype=_policy(parameters),
    )


def _policy(parameters: Parameters) -> str:
    return str(parameters.get("policy", "float32"))


def _built(layer: Any, inputs: Inputs) -> Any:
    layer.build(inputs["x"].shape)
    if "bias" in inputs:
        layer.bias.assign(inputs["bias"])
    return layer


def _quantized(layer: Any, given: NDArray[Any], parameters: Parameters, **keywords: Any) -> Any:
    """Quantize a layer to int8, by itself or by the model that it is in; return that model."""
    model = placed(layer, given, parameters, keywords)
    quantize(layer if model is None else model, "int8", parameters, name=layer.name)
    return model


def _packed(layer: Any, inputs: Inputs, parameters: Parameters) -> Outputs:
    """Replace the float kernel by the packed one, as Keras does after calibration, and call it."""
    if place_of(parameters) == ALONE:
        quantize(layer, "gptq", parameters, name=layer.name)
        releases.current().store(layer, dict(inputs))
        return _called(layer, inputs["x"], parameters)
    made = CalibratedModel(layer, inputs, parameters)
    calibrated = releases.current().calibrated(layer)
    releases.current().store(layer, dict(inputs))
    outputs = _called(layer, made.tokens, parameters, made.model, made.quantization)
    if made.twice:
        outputs["second"] = made.second(outputs["values"])
    for name in {"values", "again", "reloaded"} & set(outputs):
        outputs[name] = made.first(outputs[name])
    return outputs | {"calibrated": calibrated}


def dense_calibrated(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`model.quantize("gptq", config=GPTQConfig(…))` of a Dense, its codes read back."""
    return _codes(
        _dense(inputs["kernel"].shape[1], inputs, {**PLAIN, **parameters}), inputs, parameters
    )


def einsum_dense_calibrated(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`model.quantize("gptq", config=GPTQConfig(…))` of an EinsumDense, its codes read back."""
    return _codes(_einsum_dense({**PLAIN, **parameters}), inputs, parameters)


def _codes(layer: Any, inputs: Inputs, parameters: Parameters) -> Outputs:
    """Return what a layer stores after its model was calibrated."""
    _built(layer, inputs)
    layer.kernel.assign(inputs["kernel"])
    made, line = CalibratedModel(layer, inputs, parameters), releases.current()
    bits = build(parameters["config"]).weight_bits
    return {
        "windows": np.concatenate(made.windows).astype(np.int32),
        **line.stored(layer, bits),
    }


# What layers store


def _kept(layer: Any, equation: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the stored scales, which are in output order, with the kernel's kept axes."""
    kernel, _, outputs = equation.partition(",")[2].partition("->")
    kept = [c for c in kernel if c in outputs]
    sizes = {c: n for c, n in zip(kernel, shape, strict=True) if c in kept}
    stored = [c for c in outputs if c in kept]
    scale = to_numpy(layer.kernel_scale).reshape([sizes[c] for c in stored])
    return scale.transpose([stored.index(c) for c in kept]).copy()


def _rows(layer: Any) -> Outputs:
    scale = to_numpy(layer.embeddings_scale)
    return {"embeddings": to_numpy(layer.embeddings), "embeddings_scale": scale}


# Calls, before and after a file


def _called(
    layer: Any,
    given: NDArray[Any],
    parameters: Parameters,
    model: Any = None,
    quantization_again: Callable[[], Callable[[], None]] | None = None,
    **keywords: Any,
) -> Outputs:
    """Call the layer or its model; with `reload` also save, load and call it in a new process."""
    outputs = used(layer, given, parameters, keywords, model, quantization_again)
    if not parameters["reload"]:
        return outputs
    releases.current().require_saved_config(getattr(layer, "quantization_config", None))
    model = model or model_of(layer, given, keywords)
    with tempfile.TemporaryDirectory(prefix="quantcheck-") as folder:
        model.save(Path(folder, "model.keras"))
        np.save(Path(folder, "inputs.npy"), given)
        fields = _in_fresh_process(folder)
        if "refused" in fields:
            raise ValueError(f"the saved model is not loaded: {fields['refused']}")
        again = np.load(Path(folder, "reloaded.npy")).astype(dtype_of(fields.pop("dtype")))
    return outputs | {"reloaded": again, "fields": fields}


def _in_fresh_process(folder: str) -> dict[str, Any]:
    """Return the result of `reload` in a process that has imported Keras and done nothing else.

    A server process imports Keras once, and forks a process for every file.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload(["keras"])
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as process:
        try:
            return process.submit(reload, folder).result()
        except Exception as error:  # an exception of any type is an error, not a refusal
            message = f"the saved model, in a fresh process: {type(error).__name__}: {error}"
            raise ReloadError(message) from error


def reload(folder: str) -> dict[str, Any]:
    """Load the model in a folder, call it, and write its outputs into the folder.

    Returns
    -------
    dict
        Fields of the layer's configuration, and "dtype" of the outputs; {"refused": message} where
        Keras does not load it.
    """
    import keras

    holder_class(), shaped_class()  # a file may name them
    try:
        model = keras.saving.load_model(Path(folder, "model.keras"))
    except ValueError as error:  # how Keras refuses a file
        return {"refused": str(error)}
    given = keras.ops.convert_to_tensor(np.load(Path(folder, "inputs.npy")))
    values = shown(model(given))
    np.save(Path(folder, "reloaded.npy"), values.astype(np.float32))  # exact in every policy
    return {**fields_of(layer_of(model).quantization_config), "dtype": values.dtype.name}


PLAIN: dict[str, Any] = {"activation": None, "bias_axes": None}
LAYER_OPERATIONS = {
    "dense_calibrated": dense_calibrated,
    "einsum_dense_calibrated": einsum_dense_calibrated,
    "dense_int8": dense_int8,
    "einsum_dense_int8": einsum_dense_int8,
    "dense_gptq": dense_gptq,
    "einsum_dense_gptq": einsum_dense_gptq,
    "embedding_int8": embedding_int8,
    "reversible_embedding_int8": reversible_embedding_int8,
}
