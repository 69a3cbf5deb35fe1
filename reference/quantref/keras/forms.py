"""Writes a quantized model in one of three forms, and checks that it can be read back unchanged.

dequantized  the model with dequantized float weights (.keras): loads anywhere Keras does
keras        the quantized layers of Keras itself (.keras), where the installed release saves
             and loads them faithfully: `require_form` tries it on a small layer first
codes        codes, scales, zero-points and g_idx (.safetensors), with the configuration
"""

from __future__ import annotations

import hashlib
import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantref.config import GPTQConfig, Int8QuantizationConfig
from quantref.errors import OutputError
from quantref.formats.codes import LayerCodes, require_safetensors, write_codes
from quantref.formats.files import write_whole
from quantref.keras.filters import Filters
from quantref.keras.int8 import Int8Answer, Place, places_in, places_of, to_stored
from quantref.keras.layers import able_layers, is_linear, to_numpy
from quantref.keras.quantize import Quantized
from quantref.keras.stored import mark_calibrated, store
from quantref.keras.structure import structure_of
from quantref.models.answer import Answer

FORMS = ("dequantized", "keras", "codes")
HALF = ("float16", "bfloat16")
SUFFIX = {"dequantized": ".keras", "keras": ".keras", "codes": ".safetensors"}


def require_form(form: str, mode: str) -> None:
    """Raise unless the installed release can write a form and read it back.

    Form "keras" is tried with a small model, which is quantized, filled, saved and loaded.

    Parameters
    ----------
    form : {"dequantized", "keras", "codes"}
    mode : {"gptq", "int8"}

    Raises
    ------
    OutputError
        The release cannot; the message says what it does instead.
    """
    if form not in FORMS:
        raise OutputError(f"form in {FORMS}", f"{form!r}", "")
    if form == "codes":
        require_safetensors()
    if form != "keras":
        return
    import keras

    layer = keras.layers.Dense(4)
    model = keras.Sequential([keras.Input((8,)), layer])
    version = f"Keras {keras.__version__}"
    expected = f"a release that saves and loads its {mode} layers; form dequantized loads anywhere"
    try:
        if mode == "int8":
            layer.quantize("int8")
        else:
            _fill_gptq(layer)
        before = [to_numpy(v) for v in _stored(layer)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "probe.keras")
            model.save(path)
            again = keras.saving.load_model(path)
        after = [to_numpy(v) for v in _stored(again.layers[-1])]
    except Exception as error:  # noqa: BLE001 - any error is how the release behaves
        raise OutputError(
            expected, f"{version}: {type(error).__name__}: {error!s:.200}", ""
        ) from None
    if not all(np.array_equal(a, b) for a, b in zip(before, after, strict=True)):
        raise OutputError(expected, f"{version}, which reads other values back", "")


def _fill_gptq(layer: Any) -> None:
    """Fill a layer as Keras's GPTQ leaves it, with values that are all different."""
    import keras

    config = keras.quantizers.GPTQConfig(dataset=None, tokenizer=None, group_size=4)
    layer.quantize("gptq", config=config)
    del layer._kernel  # noqa: SLF001 - as Keras does
    for variable in _stored(layer):
        values = 1 + np.arange(np.prod(variable.shape)).reshape(variable.shape) % 7
        variable.assign(values.astype(str(variable.dtype)))
    mark_calibrated(layer)


def require_precision(form: str, variables: Mapping[str, Any]) -> None:
    """Raise unless the variables of these layers can hold dequantized weights without rounding.

    Half precision would round scale · (code − zero-point). The rounded values lie on no grid, so
    that the codes could not be recovered.

    Raises
    ------
    OutputError
        Form "dequantized", and a variable of float16 or bfloat16.
    """
    for name, variable in variables.items() if form == "dequantized" else ():
        if variable.dtype in HALF:
            expected = f"weights of float32 in layer {name} for form dequantized"
            got = f"{variable.dtype}, which would round them; form codes keeps them"
            raise OutputError(expected, got, "")


def to_be_quantized(
    model: Any, config: GPTQConfig | Int8QuantizationConfig, filters: Filters
) -> dict[str, Any]:
    """Return the variables that `quantize` would quantize, by name.

    Raises
    ------
    ModelError
        As `quantize`.
    """
    if isinstance(config, GPTQConfig):
        blocks = structure_of(model, config.quantization_layer_structure, filters).blocks
        return {layer.name: layer.layer.kernel for block in blocks for layer in block.layers}
    return {place.name: place.variable for place in places_in(model, filters)[0]}


def _stored(layer: Any) -> list[Any]:
    names = ("_kernel", "quantized_kernel", "kernel_scale", "kernel_zero", "g_idx")
    return [getattr(layer, name) for name in names if getattr(layer, name, None) is not None]


def save(
    quantized: Quantized,
    path: Path,
    form: str = "dequantized",
    *,
    verify: bool = True,
    modules: Sequence[str] = (),
) -> None:
    """Write a quantized model, completely or not at all.

    Parameters
    ----------
    quantized : Quantized
    path : Path
        It ends with ".keras", or with ".safetensors" for form "codes".
    form : {"dequantized", "keras", "codes"}
        "keras" also replaces the layers of the model in memory.
    verify : bool, default True
        Before the file is renamed to `path`, load it in a new process and compare all weights.
    modules : sequence of str
        Modules that register the model's own classes; the new process imports them.

    Raises
    ------
    OutputError
        The suffix is another one, the release cannot write the form, or the file reads back
        differently.
    OSError
        Raised by the file system.
    """
    mode = quantized.config.mode
    if path.suffix != SUFFIX.get(form):
        raise OutputError(f"a file {SUFFIX.get(form)} for form {form}", f"{path.name}", "")
    done = {
        place.name: place
        for name, layer in able_layers(quantized.model).items()
        if name in quantized.answers
        for place in places_of(layer, name)
    }
    if form == "codes":
        answers = quantized.answers.items()
        layers = {name: _codes_of(done[name], answer) for name, answer in answers}
        write_whole(path, lambda part: write_codes(part, quantized.config, layers))
        return
    require_precision(form, {name: place.variable for name, place in done.items()})
    if form == "keras":
        require_form(form, mode)
        to_keras_layers(quantized)

    def write(part: Path) -> None:
        quantized.model.save(part)
        if verify:
            require_same(part, digest_of(quantized.model), modules)

    write_whole(path, write)


def _codes_of(place: Place, answer: Answer | Int8Answer) -> LayerCodes:
    """Return the answer for a variable, with the shape of its kernel."""
    kernel = (place.geometry.equation, place.geometry.kernel_shape)
    if isinstance(answer, Int8Answer):
        return LayerCodes(*kernel, answer.codes, answer.scale)
    return LayerCodes(*kernel, answer.codes, answer.scale, answer.zero_point, answer.g_idx)


def to_keras_layers(quantized: Quantized) -> None:
    """Replace the layers of a model by quantized layers of Keras with our codes and scales."""
    import keras

    config = quantized.config
    if isinstance(config, GPTQConfig):
        fields = {**config.get_config(), "dataset": None, "tokenizer": None}
        known = inspect.signature(keras.quantizers.GPTQConfig).parameters
        keras_gptq = keras.quantizers.GPTQConfig(**{k: v for k, v in fields.items() if k in known})
        for name, layer in able_layers(quantized.model).items():
            if name in quantized.answers:
                layer.quantize("gptq", config=keras_gptq)
                store(layer, name, quantized.answers[name], config.weight_bits)
        return
    keras_config = keras.quantizers.Int8QuantizationConfig(
        *(
            None if q is None else keras.quantizers.AbsMaxQuantizer(**_documented(q))
            for q in (config.weight_quantizer, config.activation_quantizer)
        )
    )
    for name, layer in able_layers(quantized.model).items():
        if name not in quantized.answers:
            continue
        places = places_of(layer, name)
        found = [quantized.answers[place.name] for place in places]
        layer.quantize("int8", config=keras_config)
        if is_linear(layer):
            layer._kernel.assign(places[0].geometry.kernel(found[0].codes))  # noqa: SLF001
            layer.kernel_scale.assign(to_stored(layer, found[0].scale))
            continue
        layer._embeddings.assign(found[0].codes)  # noqa: SLF001
        layer.embeddings_scale.assign(found[0].scale)
        if len(found) > 1:
            layer.reverse_embeddings.assign(found[1].codes.T)
            layer.reverse_embeddings_scale.assign(found[1].scale)


def _documented(quantizer: Any) -> dict[str, Any]:
    fields = quantizer.get_config()
    axis = fields.get("axis")
    return {**fields, "axis": tuple(axis) if isinstance(axis, list) else axis}


# Reading back


def digest_of(model: Any) -> str:
    """Return a hash of all weights of a model, in the model's order."""
    found = hashlib.sha256()
    for variable in model.weights:
        array = np.ascontiguousarray(to_numpy(variable))
        found.update(f"{array.shape} {array.dtype.name}".encode())
        found.update(array.view(np.uint8).reshape(-1).data)
    return found.hexdigest()


def require_same(path: Path, digest: str, modules: Sequence[str] = ()) -> None:
    """Raise unless a new process loads the file and finds the same weights."""
    import keras

    command = [sys.executable, "-P", "-m", "quantref.keras.reload", str(path), *modules]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "KERAS_BACKEND": keras.backend.backend(),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
    )
    lines = done.stdout.split()
    if done.returncode == 0 and lines and lines[-1] == digest:
        return
    why = (done.stderr.strip().splitlines() or ["other weights"])[-1]
    got = "other weights" if done.returncode == 0 else why
    version = f"Keras {keras.__version__}"
    raise OutputError(
        "a file that a new process loads with the same weights", f"{version}: {got}", ""
    )
