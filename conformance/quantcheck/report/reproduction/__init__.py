"""Turns a question into lines of plain Keras that print the same answer, without this package."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quantcheck.report.reproduction.layers import calls, quantized
from quantcheck.report.reproduction.releases import templates_of
from quantcheck.report.reproduction.templates import (
    BY_RECIPE,
    UNPACK_FOUR_BITS,
)

INLINE = 64  # elements; larger arrays are read from the vector's file
Question = Mapping[str, Any]


def keras_lines(
    question: Question, *, backend: str, section: str, message: str = "", version: str = ""
) -> list[str]:
    """Return self-contained lines of Python that need Keras and NumPy and print the answer.

    Parameters
    ----------
    question : mapping
        A wire question; inputs by recipe as its vector has them.
    backend : str
        Value of KERAS_BACKEND.
    section : str
        Folder of the vector, for arrays too large to print.
    message : str
        The expected and the given value; it becomes a comment at the end.
    version : str
        That of Keras; without one, lines for 3.14 and 3.15.

    Returns
    -------
    list of str
        Lines without line ends; empty when Keras has no such operation.
    """
    route, templates = route_of(question["parameters"]), templates_of(version)
    by_route = templates.get(f"{question['operation']} by {route}")
    template = by_route or templates.get(question["operation"])
    if template is None:
        return []
    body = _fill(template, question["parameters"], question["inputs"])
    lines = [
        "import os",
        _backend_line(backend),
        "import json, keras, numpy as np",
    ]
    generated = (
        ":" in question["id"]
    )  # it is in no file, so that the lines contain arrays of any size
    arrays = _arrays(question, section, sys.maxsize if generated else INLINE)
    if any("ml_dtypes" in line for line in arrays):
        lines.append("import ml_dtypes")
    if any("recipe" in value for value in question["inputs"].values()):
        lines += BY_RECIPE.strip().splitlines()
    lines += [*arrays, *body]
    return [*lines, f"# {_one_line(message)}"] if message else lines


def on_backend(lines: Sequence[str], backend: str) -> list[str]:
    """Return lines of an entry of known deviations as they run on another backend.

    Examples
    --------
    >>> on_backend(["import os", 'os.environ["KERAS_BACKEND"] = "jax"'], "torch")[1]
    'os.environ["KERAS_BACKEND"] = "torch"'
    """
    return [_backend_line(backend) if "KERAS_BACKEND" in line else line for line in lines]


def _backend_line(backend: str) -> str:
    return f'os.environ["KERAS_BACKEND"] = "{backend}"'


def route_of(parameters: Mapping[str, Any]) -> str:
    """Return the route of a question, empty if it has none (SPEC.md, section 12).

    Examples
    --------
    >>> route_of({"axis": 0}), route_of({"route": "numpy"})
    ('', 'numpy')
    """
    return str(parameters.get("route", ""))


# Arrays


def _arrays(question: Question, section: str, inline: int) -> list[str]:
    lines = []
    path = f"vectors/{section}/{question['id']}.json"
    if any(_too_large(value, inline) for value in question["inputs"].values()):
        lines.append(f'inputs = json.load(open("{path}"))["inputs"]')
    for name, value in question["inputs"].items():
        if isinstance(value, list):
            items = [_array(v, f'inputs["{name}"][{i}]', inline) for i, v in enumerate(value)]
            lines.append(f"{name} = [{', '.join(items)}]")
        else:
            source = f'inputs["{name}"]'
            lines.append(f"{name} = {_array(value, source, inline)}")
    return lines


def _too_large(value: Any, inline: int) -> bool:
    if isinstance(value, list):
        return any(_too_large(v, inline) for v in value)
    return "recipe" in value or len(value["data"]) > inline


def _array(wire: Mapping[str, Any], source: str, inline: int) -> str:
    if "recipe" in wire:
        return f"made(**{source})"
    dtype = wire["dtype"]
    kind = "ml_dtypes.bfloat16" if dtype == "bfloat16" else f'"{dtype}"'
    if _too_large(wire, inline):
        data = f'[float(v) for v in {source}["data"]]' if "float" in dtype else f'{source}["data"]'
    else:
        data = f"[{', '.join(_number(v, dtype) for v in wire['data'])}]"
    return f"np.array({data}, {kind}).reshape({tuple(wire['shape'])})"


def _number(value: Any, dtype: str) -> str:
    words = {"NaN": "np.nan", "Infinity": "np.inf", "-Infinity": "-np.inf"}
    if isinstance(value, str):
        return words.get(value, value)
    # A float32 needs fewer digits; narrower floats are exact as float64.
    return str(np.float32(value)) if dtype == "float32" else repr(value)


def _one_line(text: str, width: int = 300) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else f"{flat[:width]}…"


def _fill(template: str, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[str]:
    """Fill a template with the parameters, as Python text."""
    words = {key: _value(value) for key, value in parameters.items()}
    words["arguments"] = _call(parameters.get("arguments", {}))
    words.setdefault("call_axis", "None")
    name = "weights" if "block_size" in parameters and "bits" not in parameters else "x"
    tensor = f"keras.ops.convert_to_tensor({name})"
    words["x"] = {"": name, "numpy": f"{tensor}, to_numpy=True"}.get(route_of(parameters), tensor)
    words["maxq"] = str(2 ** parameters.get("bits", 0) - 1)
    words["made"] = _value(parameters)
    words |= _layer_words(parameters, inputs)
    words["unpacked"] = UNPACK_FOUR_BITS if parameters.get("bits") == 4 else "kernel"
    return template.strip().format(**words).splitlines()


def _layer_words(parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of layer templates that are no parameters."""
    stored = ("kernel", "embeddings", "bias", "reverse_embeddings")
    layer = "config" in parameters and "reload" in parameters
    return {
        "has_bias": str("bias" in inputs),
        "assign_bias": "\nlayer.bias.assign(bias)" if "bias" in inputs else "",
        "weights": f"[{', '.join(name for name in stored if name in inputs)}]",
        "given": "x" if parameters.get("reverse") else "tokens",
        "call": calls(parameters) if layer else "",
        "quantized": quantized(parameters, _value) if layer else "",
        "of_policy": f', dtype="{parameters["policy"]}"' if "policy" in parameters else "",
    }


def _call(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_value(value)}" for key, value in arguments.items())


def _value(value: Any) -> str:
    if isinstance(value, dict) and "class" in value:
        needed = {"dataset": None, "tokenizer": None} if value["class"] == "GPTQConfig" else {}
        return f"keras.quantizers.{value['class']}({_call({**needed, **value['arguments']})})"
    return repr(tuple(value) if isinstance(value, list) else value)
