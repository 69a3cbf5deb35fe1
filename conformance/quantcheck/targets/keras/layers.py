"""Quantized layers of Keras: made, called, saved, loaded in a fresh process, and called again.

This module computes nothing itself. A layer is built with the float weights of the question and
quantized by Keras. Or it is built in GPTQ mode, and the packed kernel is assigned to it, as in
`quantize_and_correct_layer`.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.targets.keras.config import Inputs, Outputs, Parameters, build, fields_of


class ReloadError(Exception):
    """The process that loads a saved model failed."""


def to_numpy(tensor: Any) -> NDArray[Any]:
    """Turn a tensor or variable of any backend into an array of the same dtype."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


# Layers from questions


def dense_int8(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.layers.Dense(…).quantize("int8", config=…)`."""
    layer = _built(_dense(inputs["kernel"].shape[1], inputs, parameters), inputs)
    layer.kernel.assign(inputs["kernel"])
    layer.quantize("int8", config=build(parameters["config"]))
    stored = {"kernel": to_numpy(layer.kernel), "kernel_scale": to_numpy(layer.kernel_scale)}
    return _called(layer, inputs["x"], parameters) | stored


def einsum_dense_int8(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.layers.EinsumDense(…).quantize("int8", config=…)`."""
    layer = _built(_einsum_dense(parameters), inputs)
    layer.kernel.assign(inputs["kernel"])
    layer.quantize("int8", config=build(parameters["config"]))
    outputs = _called(layer, inputs["x"], parameters)
    outputs["kernel"] = to_numpy(layer.kernel)
    outputs["kernel_scale"] = _kept(layer, parameters["equation"], inputs["kernel"].shape)
    return outputs


def dense_gptq(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.layers.Dense` in GPTQ mode, with the packed kernel assigned."""
    layer = _built(_dense(parameters["kernel_shape"][1], inputs, parameters), inputs)
    _pack_into(layer, inputs, parameters)
    return _called(layer, inputs["x"], parameters)


def einsum_dense_gptq(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.layers.EinsumDense` in GPTQ mode, with the packed kernel assigned."""
    layer = _built(_einsum_dense(parameters), inputs)
    _pack_into(layer, inputs, parameters)
    return _called(layer, inputs["x"], parameters)


def embedding_int8(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.layers.Embedding(…).quantize("int8", config=…)`."""
    import keras

    layer = keras.layers.Embedding(*inputs["embeddings"].shape)
    layer.build()
    layer.embeddings.assign(inputs["embeddings"])
    layer.quantize("int8", config=build(parameters["config"]))
    return _called(layer, inputs["tokens"], parameters) | _rows(layer)


def reversible_embedding_int8(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`keras.layers.ReversibleEmbedding(…).quantize("int8", config=…)`, either way."""
    import keras

    tied = parameters["tie_weights"]
    layer = keras.layers.ReversibleEmbedding(*inputs["embeddings"].shape, tie_weights=tied)
    layer.build()
    layer.embeddings.assign(inputs["embeddings"])
    if not tied:
        layer.reverse_embeddings.assign(inputs["reverse_embeddings"])
    layer.quantize("int8", config=build(parameters["config"]))
    back = parameters["reverse"]
    outputs = _called(layer, inputs["x" if back else "tokens"], parameters, reverse=back)
    outputs |= _rows(layer)
    if not tied:
        for name in ("reverse_embeddings", "reverse_embeddings_scale"):
            outputs[name] = to_numpy(getattr(layer, name))
    return outputs


def _dense(units: int, inputs: Inputs, parameters: Parameters) -> Any:
    import keras

    activation = parameters["activation"]
    return keras.layers.Dense(units, activation=activation, use_bias="bias" in inputs)


def _einsum_dense(parameters: Parameters) -> Any:
    import keras

    return keras.layers.EinsumDense(
        parameters["equation"],
        output_shape=tuple(parameters["output_shape"]),
        activation=parameters["activation"],
        bias_axes=parameters["bias_axes"],
    )


def _built(layer: Any, inputs: Inputs) -> Any:
    layer.build(inputs["x"].shape)
    if "bias" in inputs:
        layer.bias.assign(inputs["bias"])
    return layer


def _pack_into(layer: Any, inputs: Inputs, parameters: Parameters) -> None:
    """Replace the float kernel by the packed one, as Keras does after calibration."""
    layer.quantize("gptq", config=build(parameters["config"]))
    del layer._kernel  # noqa: SLF001 - as Keras does
    layer.quantized_kernel.assign(inputs["packed"])
    layer.kernel_scale.assign(inputs["scale"])
    layer.kernel_zero.assign(inputs["zero_point"])
    layer.g_idx.assign(inputs["g_idx"].astype("float32"))
    layer.is_gptq_calibrated = True


# What layers store


def _kept(layer: Any, equation: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the stored scales, which are in output order, with the kernel's kept axes."""
    kernel, _, outputs = equation.partition(",")[2].partition("->")
    kept = [c for c in kernel if c in outputs]
    sizes = {c: n for c, n in zip(kernel, shape, strict=True) if c in kept}
    stored = [c for c in outputs if c in kept]
    scale = to_numpy(layer.kernel_scale).reshape([sizes[c] for c in stored])
    return np.ascontiguousarray(scale.transpose([stored.index(c) for c in kept]))


def _rows(layer: Any) -> Outputs:
    scale = to_numpy(layer.embeddings_scale)
    return {"embeddings": to_numpy(layer.embeddings), "embeddings_scale": scale}


# Calls, before and after a file


def _called(layer: Any, given: NDArray[Any], parameters: Parameters, **keywords: Any) -> Outputs:
    """Call the layer; with `reload` also save it, and load and call it in a new process."""
    import keras

    values = to_numpy(layer(keras.ops.convert_to_tensor(given), **keywords))
    if not parameters["reload"]:
        return {"values": values}
    inputs = keras.Input(batch_shape=given.shape, dtype=str(given.dtype))
    model = keras.Model(inputs, layer(inputs, **keywords))
    with tempfile.TemporaryDirectory(prefix="quantcheck-") as folder:
        model.save(Path(folder, "model.keras"))
        np.save(Path(folder, "inputs.npy"), given)
        fields = _in_fresh_process(folder)
        if "refused" in fields:
            raise ValueError(f"the saved model is not loaded: {fields['refused']}")
        again = np.load(Path(folder, "reloaded.npy"))
    return {"values": values, "reloaded": again, "fields": fields}


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
        Fields of the layer's configuration; {"refused": message} where Keras does not load it.
    """
    import keras

    try:
        model = keras.saving.load_model(Path(folder, "model.keras"))
    except ValueError as error:  # how Keras refuses a file
        return {"refused": str(error)}
    given = keras.ops.convert_to_tensor(np.load(Path(folder, "inputs.npy")))
    np.save(Path(folder, "reloaded.npy"), to_numpy(model(given)))
    return fields_of(model.layers[-1].quantization_config)


LAYER_OPERATIONS = {
    "dense_int8": dense_int8,
    "einsum_dense_int8": einsum_dense_int8,
    "dense_gptq": dense_gptq,
    "einsum_dense_gptq": einsum_dense_gptq,
    "embedding_int8": embedding_int8,
    "reversible_embedding_int8": reversible_embedding_int8,
}
