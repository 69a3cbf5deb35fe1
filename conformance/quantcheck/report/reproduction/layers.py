"""The lines that quantize and call a layer, alone or in a model, as a question says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quantcheck.report.reproduction.templates import (
    BLOCK,
    BLOCKS,
    CALIBRATED,
    CALL,
    CALL_MODEL,
    COMPILE,
    DATASETS,
    PLACED,
    RELOAD,
    RELOAD_MODEL,
    USES,
    USES_OF_MODEL,
)

Parameters = Mapping[str, Any]
ALONE, TRAINING = "alone", "training"


def quantized(parameters: Parameters, value: Callable[[Any], str]) -> str:
    """Return the lines that quantize a layer or the model it is in.

    `value` turns a value of JSON into Python text.
    """
    gptq = parameters["config"]["class"] == "GPTQConfig"
    place, mode = _place(parameters), "gptq" if gptq else "int8"
    if place == ALONE:
        return f"layer.quantize({_arguments(mode, value(parameters['config']), parameters)})"
    if not gptq:
        given = _arguments(mode, value(parameters["config"]), parameters)
        return f"{PLACED[place]}model.quantize({given})"
    lines = BLOCK + BLOCKS[place] + _calibrated(parameters, value)
    return f"{lines}model.quantize({_arguments(mode, 'config', parameters)})"


def _calibrated(parameters: Parameters, value: Callable[[Any], str]) -> str:
    given, description = parameters["calibrated_with"], parameters["config"]
    samples, length = (
        description["arguments"].get(name, default)
        for name, default in (("num_samples", 128), ("sequence_length", 512))
    )
    settings = [f"{name}={value(v)}" for name, v in description["arguments"].items()]
    structures = {"given": ["structure"], "null": ["None"], "left out": []}
    settings += [f"quantization_layer_structure={s}" for s in structures[given["structure"]]]
    hook = "model.get_quantization_layer_structure = lambda mode: structure\n"
    tokenizers = {"object": "CodePoints()", "callable": "lambda text: CodePoints().tokenize(text)"}
    return CALIBRATED.format(
        num_samples=samples,
        sequence_length=length,
        hook="" if given["structure"] == "given" else hook,
        dataset=DATASETS[given["dataset"]],
        tokenizer=tokenizers[given["tokenizer"]],
        settings=", ".join(settings),
    )


def calls(parameters: Parameters) -> str:
    """Return the lines that call a layer or its model, and what the question makes of it."""
    use = parameters.get("use", "called")
    compiled = use.startswith("compiled")
    trained = use in (TRAINING, "compiled training")
    if _place(parameters) == ALONE:
        before = (USES["training"] if trained else "") + (COMPILE if compiled else "")
        after = "\n" + USES[use] if use in USES and use != TRAINING else ""
        return before + CALL + after + (RELOAD.rstrip() if parameters.get("reload") else "")
    called = "lambda x: model(x, training=True)" if trained else "model"
    before = f"called = {called}\n"
    if compiled:
        made = COMPILE.replace("eager(x, **keywords)", "eager(x)").replace("x, **_", "x")
        before += made.replace("layer", "called")
    after = "\n" + USES_OF_MODEL[use] if use in USES_OF_MODEL else ""
    return before + CALL_MODEL + after + (RELOAD_MODEL.rstrip() if parameters.get("reload") else "")


def _place(parameters: Parameters) -> str:
    return str(parameters.get("place", ALONE))


def _arguments(mode: str, config: str, parameters: Parameters) -> str:
    """Return the arguments of `quantize` as text."""
    given = parameters.get("arguments", {})
    made = []
    for name, text in (("mode", f'"{mode}"'), ("config", config)):
        kind = given.get(name, "given")
        if kind != "left out":
            shown = text if kind == "given" else "None"
            made.append(shown if name == "mode" else f"{name}={shown}")
    if "type_check" in given:
        made.append(f"type_check={given['type_check']}")
    if "filters" in given:
        words = {"null": "None", "name": "layer.name", "function": "lambda layer: True"}
        made.append(f"filters={words[given['filters']]}")
    return ", ".join(made)
