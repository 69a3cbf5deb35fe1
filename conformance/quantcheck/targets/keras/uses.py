"""What is done with a quantized layer of Keras: calls, eager and compiled, copies, a second try."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from numpy.typing import NDArray

from quantcheck.targets.keras import releases
from quantcheck.targets.keras.config import Outputs, Parameters, Unsupported, fields_of
from quantcheck.targets.keras.places import layer_of, model_of, results_of, shown
from quantcheck.targets.keras.tensors import to_numpy
from quantcheck.wire.policies import (
    CLONED,
    COMPILED,
    COMPILED_TRAINING,
    COPIED,
    TRAINING,
    TWICE,
    use_of,
)

Call = Callable[[Any], Any]
TRAINED = (TRAINING, COMPILED_TRAINING)


def quantize(target: Any, mode: str, parameters: Parameters, *, name: str) -> None:
    """Call `quantize` of a layer or a model with the arguments that the question gives it."""
    quantization(target, mode, parameters, name=name)()


def quantization(
    target: Any, mode: str, parameters: Parameters, *, name: str, config: Any = None
) -> Callable[[], None]:
    """Return the call of `quantize` with the arguments that the question gives it.

    `name` is that of the layer; `config` is made of the question's, if there is none.
    """
    given = parameters.get("arguments", {})
    if config is None:
        config = releases.current().config_of(parameters["config"])
    values = {"mode": mode, "config": config}
    keywords = {
        name: value if given.get(name, "given") == "given" else None
        for name, value in values.items()
        if given.get(name) != "left out"
    }
    if "type_check" in given:
        keywords["type_check"] = given["type_check"]
    if "filters" in given:
        keywords["filters"] = _filters(target, given["filters"], name)
    releases.current().require_arguments(keywords)
    return partial(target.quantize, **keywords)


def _filters(model: Any, kind: str, name: str) -> Any:
    """Return filters of a kind that let the layer of a model through."""
    if "filters" not in inspect.signature(model.quantize).parameters:
        raise Unsupported("this release quantizes a model without filters")
    return {"null": None, "name": name, "function": lambda _: True}[kind]


def used(
    layer: Any,
    inputs: NDArray[Any],
    parameters: Parameters,
    keywords: Mapping[str, Any],
    model: Any = None,
    quantization_again: Callable[[], Callable[[], None]] | None = None,
) -> Outputs:
    """Call a layer or its model as the question says, and a copy, if it asks for one.

    `quantization_again` returns the call of a second quantization, where that takes more than the
    question's config.
    """
    import keras

    use, tensor = use_of(parameters), keras.ops.convert_to_tensor(inputs)
    called = _called_model if model is not None else _called_layer
    results = results_of(_compiled_if(use, called(model or layer, inputs, use, keywords))(tensor))
    outputs: Outputs = dict(zip(("values", "second"), map(to_numpy, results), strict=False))
    if use in COPIED:
        releases.current().require_saved_config(getattr(layer, "quantization_config", None))
        copy = _copy(layer, inputs, use, keywords) if model is None else _copy_of_model(model, use)
        copy.set_weights((model or layer).get_weights())
        outputs["again"] = shown(copy(tensor, **keywords) if model is None else copy(tensor))
        copied = copy if model is None else layer_of(copy)
        outputs["fields"] = fields_of(copied.quantization_config)
    if use == TWICE:
        target, mode = model or layer, layer.quantization_mode
        alike = partial(quantization, target, mode, parameters, name=layer.name)
        _refused_or_done((quantization_again or alike)())
        outputs["again"] = shown(layer(tensor, **keywords) if model is None else model(tensor))
    return outputs


def _called_layer(layer: Any, inputs: NDArray[Any], use: str, keywords: Mapping[str, Any]) -> Call:
    """Return the function that a question calls: the layer, or a model of it in training."""
    if use in TRAINED:
        return _called_model(model_of(layer, inputs, keywords), inputs, use, keywords)
    return lambda tensor: layer(tensor, **keywords)


def _called_model(model: Any, _: NDArray[Any], use: str, __: Mapping[str, Any]) -> Call:
    return (lambda tensor: model(tensor, training=True)) if use in TRAINED else model


def _compiled_if(use: str, call: Call) -> Call:
    """Compile a function with the compiler of the backend, if the use is one of compiled calls."""
    if use not in (COMPILED, COMPILED_TRAINING):
        return call
    import keras

    backend = keras.backend.backend()
    made: Call
    if backend == "jax":
        import jax

        made = jax.jit(call)
    elif backend == "tensorflow":
        import tensorflow as tf

        made = tf.function(call)
    elif backend == "torch":
        import torch

        made = torch.compile(call, backend="aot_eager")  # needs no compiler of C++
    else:
        raise Unsupported(f"Keras compiles nothing on {backend}")
    return made


def _copy(layer: Any, inputs: NDArray[Any], use: str, keywords: Mapping[str, Any]) -> Any:
    """Return the layer of a cloned model, or the layer from its description as JSON text."""
    if use == CLONED:
        return layer_of(_copy_of_model(model_of(layer, inputs, keywords), use))
    return _deserialized(layer)


def _copy_of_model(model: Any, use: str) -> Any:
    import keras

    return keras.models.clone_model(model) if use == CLONED else _deserialized(model)


def _deserialized(made: Any) -> Any:
    """Return a layer or a model from its description by `keras.saving`, as JSON text."""
    import keras

    text = json.dumps(keras.saving.serialize_keras_object(made))
    return keras.saving.deserialize_keras_object(json.loads(text))


def _refused_or_done(again: Callable[[], None]) -> None:
    """Quantize what is quantized; an exception of Keras, of any type, refuses it.

    What it leaves is judged by its outputs.
    """
    with contextlib.suppress(Exception):
        again()
