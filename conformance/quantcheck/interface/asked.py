"""What a case asks: the values that it gives to arguments, and its place on the other axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.interface import axes
from quantcheck.interface.kinds import BAD_AXIS, BAD_VALUES, LEFT_OUT
from quantcheck.interface.signatures import SIGNATURES
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import gptq_fields
from quantcheck.wire.policies import (
    ALONE,
    CALLED,
    CALLED_TWICE,
    CLONED,
    COMPILED,
    COMPILED_TRAINING,
    IN_BLOCK,
    IN_LAYER,
    SERIALIZED,
    TRAINING,
    TWICE,
    policy_of,
    use_of,
)
from quantcheck.wire.policies import place_of as layer_place
from quantcheck.wire.recipes import written

NAMES = {s.name: tuple(a.name for a in s.arguments) for s in SIGNATURES}
NESTED = {"weight_quantizer": "weights", "activation_quantizer": "activations"}
INT32_MAX = 2**31 - 1
Array = NDArray[Any]


@dataclass(frozen=True)
class Given:
    """A value that a case gives to an argument, or `LEFT_OUT`.

    Attributes
    ----------
    signature, argument, operation : str
    value : object
        As in the question, or a `Special`.
    """

    signature: str
    argument: str
    operation: str
    value: Any


@dataclass(frozen=True)
class Place:
    """Where a case stands on the axes: a policy, kinds of layer, and uses."""

    policy: str
    layers: tuple[str, ...]
    uses: tuple[str, ...]


def place_of(case: Case) -> Place | None:
    """Return the place of a case; None if no policy has its dtypes.

    Examples
    --------
    >>> from quantcheck.corpus.lay.cases import lay_cases
    >>> case = next(case for case in lay_cases() if case.id == "lay-dense-int8-one")
    >>> place_of(case)
    Place(policy='float32', layers=('Dense',), uses=('made', 'called', 'against its codes'))
    """
    policy = _policy(case)
    if policy is None:
        return None
    layers = MODEL_LAYERS.get(case.operation, (axes.NO_LAYER,))
    uses: tuple[str, ...] = (axes.MADE,)
    if case.operation == "config_round_trip":
        uses = (axes.MADE, axes.SERIALIZED)
    if case.parameters.get("route") == "compiled":
        uses = (axes.COMPILED,)
    if case.operation in MODES:
        layers, uses = (_layer(case),), _uses(case)
        if layers == (axes.DENSE,):
            layers = (STANDS.get(layer_place(case.parameters), axes.DENSE),)
    return Place(policy, layers, (axes.MADE,) if "refused" in case.expected else uses)


def _uses(case: Case) -> tuple[str, ...]:
    """Return the uses of a layer; one that is given codes of GPTQ is not made by it."""
    if case.operation in CALIBRATED:
        return (axes.MADE,)
    made = (axes.MADE,) if MODES[case.operation] == "int8" else ()
    saved = (axes.SAVED,) if case.parameters["reload"] else ()
    return (*made, *USES[use_of(case.parameters)], axes.CODES, *saved)


def _policy(case: Case) -> str | None:
    """Return the policy of a layer, or the dtype of the floats of a case.

    The dtype of the Hessian is no choice of the caller.
    """
    if case.operation in MODES:
        return policy_of(case.parameters).name
    found = set()
    if case.by_recipe:  # the recipe says the dtype; the array need not be made
        found.add(written(case.inputs)["weights"]["dtype"])
    for name in () if case.by_recipe else case.inputs:
        value = case.inputs[name]
        if name != "hessian":
            found |= {a.dtype.name for a in (value if isinstance(value, list) else [value])}
    floats = {name for name in found if "float" in name} or {"float32"}
    (policy, *others) = floats
    return None if others or policy not in axes.POLICIES else policy


MODES = {
    "dense_int8": "int8",
    "einsum_dense_int8": "int8",
    "embedding_int8": "int8",
    "reversible_embedding_int8": "int8",
    "dense_gptq": "gptq",
    "einsum_dense_gptq": "gptq",
    "dense_calibrated": "gptq",
    "einsum_dense_calibrated": "gptq",
}
CALIBRATED = ("dense_calibrated", "einsum_dense_calibrated")
USES = {
    CALLED: (axes.CALLED,),
    TRAINING: (axes.TRAINED,),
    COMPILED: (axes.COMPILED,),
    COMPILED_TRAINING: (axes.COMPILED_TRAINED,),
    CLONED: (axes.CALLED, axes.CLONED),
    SERIALIZED: (axes.CALLED, axes.SERIALIZED),
    TWICE: (axes.CALLED, axes.TWICE),
}
"""By the use of a question on a layer."""
MODEL_LAYERS = {
    "quantize_model_gptq": (axes.IN_BLOCK,),
    "quantize_model_int8": (axes.DENSE, axes.EMBEDDING, axes.IN_BLOCK),
}
STANDS = {
    CALLED_TWICE: axes.SHARED,
    IN_BLOCK: axes.IN_BLOCK,
    IN_LAYER: axes.IN_LAYER,
}
"""By the place of a Dense layer."""
STRUCTURES = {"given": ["block"], "null": None, "left out": LEFT_OUT, "no blocks": []}
"""Layer structures by what a question says of them."""
CONFIG_MODES = {"Int8QuantizationConfig": "int8", "GPTQConfig": "gptq"}


def _layer(case: Case) -> str:
    if case.operation.startswith("einsum"):
        return axes.einsum_of(case.parameters["equation"])
    if case.operation.startswith("reversible"):
        return axes.TIED if case.parameters["tie_weights"] else axes.UNTIED
    return axes.DENSE if case.operation.startswith("dense") else axes.EMBEDDING


# Arguments


def given_by(case: Case) -> Iterator[Given]:
    """Yield the values that a case gives to arguments of the interface.

    Examples
    --------
    >>> from quantcheck.corpus.cfg import cfg_cases
    >>> case = next(case for case in cfg_cases() if case.id == "cfg-absmax-axis")
    >>> for each in given_by(case):
    ...     print(each.argument, each.value)
    axis 0
    value_range Special(name='left out')
    epsilon Special(name='left out')
    output_dtype Special(name='left out')
    """
    find = FINDERS.get(case.operation)
    if find is not None:
        yield from find(case)


def _all(signature: str, operation: str, values: Mapping[str, Any]) -> Iterator[Given]:
    """Yield the values of all arguments of a signature; those not among `values` are left out."""
    for name in NAMES[signature]:
        yield Given(signature, name, operation, values.get(name, LEFT_OUT))


def _some(signature: str, operation: str, values: Mapping[str, Any]) -> Iterator[Given]:
    """Yield these values; the operation has no other arguments."""
    for name, value in values.items():
        yield Given(signature, name, operation, value)


def _described(
    description: Any, operation: str, bad_axis: Callable[[Any], bool]
) -> Iterator[Given]:
    """Yield the arguments of a description, and of the quantizers in it.

    Parameters
    ----------
    description : {"class", "arguments"}
    operation : str
    bad_axis : callable
        Whether axes that a weight quantizer stores do not fit the weights.
    """
    name, arguments = description["class"], dict(description["arguments"])
    if name not in NAMES:
        return
    axis = arguments.get("axis")
    twice = isinstance(axis, list) and len(set(axis)) < len(axis)
    if twice or (operation == "weights" and axis is not None and bad_axis(axis)):
        arguments["axis"] = BAD_AXIS
    skipped = ("dataset", "tokenizer")  # a description has none
    for each in _all(name, operation, arguments):
        if each.argument not in skipped:
            yield each
    for key, value in arguments.items():
        if isinstance(value, dict) and "class" in value:
            inner = operation if operation == "described" else NESTED[key]
            yield from _described(value, inner, bad_axis)


def _round_trip(case: Case) -> Iterator[Given]:
    yield from _described(case.parameters, "described", lambda _: False)
    route = case.parameters.get("route")
    described = {name: case.parameters[name] for name in ("class", "arguments")}
    if route in ("serialized", "deserialized"):
        yield from _all("serialize", "described", {"initializer": described})
    if route == "deserialized":
        yield from _all("deserialize", "described", {"config": "serialized"})
    elif route is not None:
        identifier = described if route == "object" else route
        yield from _all("get", "described", {"identifier": identifier})


def _quantized_layer(case: Case) -> Iterator[Given]:
    config, mode = case.parameters["config"], MODES[case.operation]
    fits = CONFIG_MODES.get(config["class"]) == mode
    values = {"mode": mode, "config": config if fits else "other mode"}
    given = case.parameters.get("arguments", {})
    called = {name: v for name, v in values.items() if given.get(name, "given") == "given"}
    called |= {name: None for name in values if given.get(name) == "null"}
    if "type_check" in given:
        called["type_check"] = given["type_check"]
    if layer_place(case.parameters) != ALONE:
        yield from _of_model(config, called, case.parameters)
        return
    yield from _all("Layer.quantize", "layer", called)
    if fits and "config" in called and called["config"] is not None:
        contracted, rank = _contracted(case)
        yield from _described(
            config,
            "layer",
            lambda axis: (
                {each % rank for each in (axis if isinstance(axis, list) else [axis])} != contracted
            ),
        )


def _of_model(
    config: Any, called: Mapping[str, Any], parameters: Mapping[str, Any]
) -> Iterator[Given]:
    """Yield the arguments of a model's `quantize`, and of its config."""
    words = {"name": "names", "function": "function", "null": None}
    given = parameters.get("arguments", {})
    values = {name: value for name, value in called.items() if name != "type_check"}
    if "filters" in given:
        values["filters"] = words[given["filters"]]
    if "type_check" in called:
        values["kwargs"] = "given"
    yield from _all("Model.quantize", "model", values)
    if called.get("config") is not None:
        calibrated = _calibration(parameters.get("calibrated_with", {}))
        yield from _all(config["class"], "model", {**config["arguments"], **calibrated})


def _calibration(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a GPTQConfig by what a model is calibrated with."""
    if not given:
        return {}
    return {
        "dataset": {"no tokens": BAD_VALUES}.get(given["dataset"], given["dataset"]),
        "tokenizer": {"none": "none for strings"}.get(given["tokenizer"], given["tokenizer"]),
        "quantization_layer_structure": STRUCTURES[given["structure"]],
    }


def _contracted(case: Case) -> tuple[set[int], int]:
    """Return the axes that the weight quantizer of a layer has, and the rank of the weights."""
    if case.operation.startswith("dense"):
        return {0}, 2
    if not case.operation.startswith("einsum"):
        untied = not case.parameters.get("tie_weights", True)
        return (set() if untied else {1}), 2  # the two kernels of an untied one have different axes
    operands, _, outputs = case.parameters["equation"].partition("->")
    kernel = operands.partition(",")[2]
    return {n for n, letter in enumerate(kernel) if letter not in outputs}, len(kernel)


def _array(array: Array) -> Any:
    """Return the rank of an array of floats, 3 for higher ones."""
    floats = "float" in array.dtype.name
    if not floats or not array.size or not np.isfinite(array.astype(np.float64)).all():
        return BAD_VALUES
    return f"rank {min(array.ndim, 3)}"


def _axis(axis: Any, rank: int) -> Any:
    """Return the axis; `BAD_AXIS` if an array of this rank lacks it or it is named twice."""
    several = axis if isinstance(axis, list) else [] if axis is None else [axis]
    if any(not -rank <= each < rank for each in several):
        return BAD_AXIS
    return BAD_AXIS if len({each % rank for each in several}) < len(several) else axis


def _to_numpy(parameters: Mapping[str, Any]) -> dict[str, bool]:
    routes = {"numpy": True, "tensor": False}
    route = parameters.get("route")
    return {"to_numpy": routes[route]} if route in routes else {}


def _abs_max_quantize(case: Case) -> Iterator[Given]:
    x, parameters = case.inputs["x"], case.parameters
    values = {
        "inputs": _array(x),
        "axis": _axis(parameters["axis"], x.ndim),
        "dtype": parameters["output_dtype"],
        **{name: parameters[name] for name in ("value_range", "epsilon")},
        **_to_numpy(parameters),
    }
    for name in parameters.get("left_out", ()):
        del values["dtype" if name == "output_dtype" else name]
    return _all("abs_max_quantize", "array", values)


def _grouped(case: Case) -> Iterator[Given]:
    weights, parameters = case.inputs["weights"], case.parameters
    values = {
        "inputs": _array(weights) if weights.ndim == 2 else BAD_VALUES,
        "dtype": parameters["output_dtype"],
        **{name: parameters[name] for name in ("block_size", "value_range", "epsilon")},
        **_to_numpy(parameters),
    }
    return _all("abs_max_quantize_grouped_with_zero_point", "array", values)


def _abs_max_quantizer(case: Case) -> Iterator[Given]:
    x, parameters = case.inputs["x"], case.parameters
    values = {"x": _array(x), **_to_numpy(parameters)}
    if "call_axis" not in parameters.get("left_out", ()):
        values["axis"] = _axis(parameters["call_axis"], x.ndim)
    yield from _all("AbsMaxQuantizer.__call__", "array", values)
    arguments = dict(parameters["arguments"])
    if "axis" in arguments and parameters["call_axis"] is None:
        arguments["axis"] = _axis(arguments["axis"], x.ndim)
    yield from _all("AbsMaxQuantizer", "array", arguments)


def _packed(case: Case) -> Iterator[Given]:
    """Yield the arguments of `pack_int4` or `unpack_int4`, which have 4 bits alone."""
    if case.parameters["bits"] != 4:
        return
    packs = case.operation == "pack"
    array: Array = case.inputs["codes" if packs else "packed"]
    dtype, axis = array.dtype.name, _axis(case.parameters["axis"], array.ndim)
    low, high = {"int8": (-8, 7), "uint8": (0, 15)}.get(dtype, (1, 0))
    fits = low <= high and (not packs or bool(((array >= low) & (array <= high)).all()))
    values = {"arr" if packs else "packed": dtype if fits else BAD_VALUES, "axis": axis}
    if fits:
        values["dtype"] = dtype
    if not packs:
        length = case.parameters["length"]
        room = axis is not BAD_AXIS and length <= 2 * array.shape[axis]
        values["orig_len"] = length if room else BAD_VALUES
    yield from _some("pack_int4" if packs else "unpack_int4", "array", values)


def _dataset(case: Case) -> Any:
    """Return the kind of a dataset as a name."""
    parameters = case.parameters
    texts, iterable = parameters.get("texts"), parameters.get("iterable", "list")
    if texts is not None:
        return "one string" if isinstance(texts, str) else f"{iterable} of strings"
    pieces: list[Array] = list(case.inputs["dataset"])
    needed = parameters["num_samples"] * parameters["sequence_length"]
    tokens = all(p.dtype.kind in "iu" and ((p >= 0) & (p <= INT32_MAX)).all() for p in pieces)
    enough = sum(p.size for p in pieces) >= needed and bool(pieces)
    return f"{iterable} of arrays" if tokens and enough else BAD_VALUES


def _windows(case: Case) -> Iterator[Given]:
    tokenizer = case.parameters["tokenizer"]
    if tokenizer is None and case.parameters["texts"] is not None:
        tokenizer = "none for strings"
    values = {"dataset": _dataset(case), "tokenizer": tokenizer, **gptq_fields(case.parameters)}
    return _some("GPTQConfig", "windows", values)


def _algorithm(case: Case) -> Iterator[Given]:
    return _some("GPTQConfig", "algorithm", gptq_fields(case.parameters))


def _model_gptq(case: Case) -> Iterator[Given]:
    config = {"class": "GPTQConfig", "arguments": {}}
    yield from _all("Model.quantize", "model", {"mode": "gptq", "config": config})
    values = {
        "dataset": _dataset(case),
        "quantization_layer_structure": case.parameters["blocks"],
        **gptq_fields(case.parameters),
    }
    yield from _some("GPTQConfig", "model", values)


def _model_int8(_: Case) -> Iterator[Given]:
    return _all("Model.quantize", "model", {"mode": "int8"})


FINDERS = {
    "config_round_trip": _round_trip,
    "abs_max_quantize": _abs_max_quantize,
    "abs_max_quantizer": _abs_max_quantizer,
    "grouped_quantize": _grouped,
    "pack": _packed,
    "unpack": _packed,
    "calibration_windows": _windows,
    "calibration_processes": _windows,
    "gptq_quantize": _algorithm,
    **dict.fromkeys(MODES, _quantized_layer),
    "quantize_model_gptq": _model_gptq,
    "quantize_model_int8": _model_int8,
}
