"""The reference as a target: it answers the operations of SPEC.md, section 12."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from quantcheck.targets.reference.calibration import CALIBRATION_OPERATIONS
from quantcheck.targets.reference.layers import LAYER_OPERATIONS
from quantcheck.wire.arrays import encode
from quantcheck.wire.configs import Outputs, build, describe, gptq_config
from quantcheck.wire.lines import decode_inputs, wrong_parameter
from quantcheck.wire.policies import COMPILED, COMPILED_TRAINING, use_of
from quantref import (
    abs_max_dequantize,
    abs_max_quantize,
    accumulate_hessian,
    affine_dequantize,
    affine_parameters,
    affine_quantize,
    gptq_quantize,
    pack_codes,
    prepare_hessian,
    round_half_even,
    saturating_cast,
    unpack_codes,
)
from quantref.config import Quantizer, deserialize_quantizer
from quantref.errors import ConfigError, QuantrefError
from quantref.formats.packed import pack_layer, unpack_layer
from quantref.formats.ternary import pack_ternary, unpack_ternary
from quantref.hessian import reversed_cholesky
from quantref.inputs import Array, require_hessian, require_instance
from quantref.int4 import grouped_dequantize, grouped_quantize

COMPILED_USES = (COMPILED, COMPILED_TRAINING)


def _abs_max(x: Any, axis: Any, **parameters: Any) -> Outputs:
    names = {"value_range": "value_range", "epsilon": "epsilon", "output_dtype": "dtype"}
    left_out = parameters.get("left_out", ())
    given = {to: parameters[name] for name, to in names.items() if name not in left_out}
    codes, scale = abs_max_quantize(x, axis, **given)
    return {"codes": codes, "scale": scale}


def _abs_max_quantizer(
    x: Any,
    arguments: dict[str, Any],
    call_axis: Any,
    route: str = "",  # noqa: ARG001 - all routes are one
    left_out: Sequence[str] = (),
) -> Outputs:
    quantizer = build({"class": "AbsMaxQuantizer", "arguments": arguments})
    codes, scale = quantizer(x) if left_out else quantizer(x, axis=call_axis)
    return {"codes": codes, "scale": scale}


def _grouped(weights: Any, **given: Any) -> Outputs:
    codes, scale, zero_point = grouped_quantize(
        weights,
        given["block_size"],
        given["value_range"],
        given["output_dtype"],
        given["epsilon"],
    )
    return {"codes": codes, "scale": scale, "zero_point": zero_point}


def _affine_parameters(weights: Any, **parameters: Any) -> Outputs:
    scale, zero_point = affine_parameters(weights, **parameters)
    return {"scale": scale, "zero_point": zero_point}


def _prepare(hessian: Any, damping: float, activation_order: bool) -> Outputs:
    prepared = prepare_hessian(hessian, damping=damping, activation_order=activation_order)
    dead = prepared.dead.astype(np.uint8)
    return {"damped": prepared.damped, "dead": dead, "order": prepared.order}


def _factor(hessian: Any) -> Outputs:
    return {"factor": reversed_cholesky(require_hessian(hessian, "HES-090"))}


def _gptq(weights: Any, hessian: Any, **parameters: Any) -> Outputs:
    config = gptq_config(parameters)
    result = gptq_quantize(weights, hessian, config, block_size=parameters["block_size"])
    return {
        "codes": result.codes,
        "scale": result.scale,
        "zero_point": result.zero_point,
        "g_idx": result.g_idx,
    }


def _round_trip(route: str = "", **description: Any) -> Outputs:
    value = build(description)
    if route:
        require_instance(value, Quantizer, "class", "CFG-160")
        described = json.loads(json.dumps(value.serialized()))
        named = description["class"] if route == "name" else described
        got = value if route == "object" else deserialize_quantizer(named)
        return {"fields": describe(got)["fields"]}
    text = json.dumps(value.get_config())
    again = type(value).from_config(json.loads(text))
    return {"fields": describe(again)["fields"]}


def _pack_layer(codes: Array, zero_point: Array, **settings: Any) -> Outputs:
    made = pack_layer(codes, zero_point, **settings)
    return {"packed": made.weights, "packed_zero_point": made.zero_point}


def _unpack_layer(
    packed: Array, packed_zero_point: Array, n_out: int, n_in: int, **settings: Any
) -> Outputs:
    codes, zero = unpack_layer(packed, packed_zero_point, shape=(n_out, n_in), **settings)
    return {"codes": codes, "zero_point": zero}


OPERATIONS: dict[str, Callable[..., Outputs]] = {
    "round_half_even": lambda x: {"values": round_half_even(x)},
    "saturating_cast": lambda x, dtype: {"codes": saturating_cast(x, dtype)},
    "abs_max_quantize": _abs_max,
    "abs_max_quantizer": _abs_max_quantizer,
    "abs_max_dequantize": lambda codes, scale: {"values": abs_max_dequantize(codes, scale)},
    "affine_parameters": _affine_parameters,
    "affine_quantize": lambda **given: {"codes": affine_quantize(**given)},
    "affine_dequantize": lambda **given: {"values": affine_dequantize(**given)},
    "pack": lambda codes, bits, axis: {"packed": pack_codes(codes, bits, axis)},
    "unpack": lambda packed, bits, axis, length: {
        "codes": unpack_codes(packed, bits, length, axis)
    },
    "pack_ternary": lambda codes, axis: {"packed": pack_ternary(codes, axis)},
    "unpack_ternary": lambda packed, axis, length: {"codes": unpack_ternary(packed, length, axis)},
    "pack_layer": _pack_layer,
    "unpack_layer": _unpack_layer,
    "hessian": lambda batches: {"hessian": accumulate_hessian(batches)},
    "prepare_hessian": _prepare,
    "factor": _factor,
    "gptq_quantize": _gptq,
    "config_round_trip": _round_trip,
    "grouped_quantize": _grouped,
    "grouped_dequantize": lambda **given: {"values": grouped_dequantize(**given)},
    **LAYER_OPERATIONS,
    **CALIBRATION_OPERATIONS,
}


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Return the reference's answer to a question of the wire format.  [VER-060]

    Parameters
    ----------
    question : dict
        {"id", "operation", "parameters", "inputs"}, arrays encoded.

    Returns
    -------
    answer : dict
        {"id"} with "outputs", or with "refused" and "type", or with "unsupported".

    Examples
    --------
    >>> x = {"dtype": "float32", "shape": [2], "data": [0.5, 1.5]}
    >>> answer({"id": "a", "operation": "round_half_even", "parameters": {}, "inputs": {"x": x}})
    {'id': 'a', 'outputs': {'values': {'dtype': 'float32', 'shape': [2], 'data': [0.0, 2.0]}}}
    """
    name, identity = question["operation"], question["id"]
    if name not in OPERATIONS:
        return {"id": identity, "unsupported": f"no operation {name!r}"}
    arguments = {**decode_inputs(question), **question["parameters"]}
    try:
        wrong = wrong_parameter(question)
        if wrong is not None:
            raise ConfigError(*wrong, "VER-060")
        if name in LAYER_OPERATIONS and use_of(question["parameters"]) in COMPILED_USES:
            return {"id": identity, "unsupported": "the reference compiles nothing"}
        outputs = OPERATIONS[name](**arguments)
    except QuantrefError as error:
        return {"id": identity, "refused": str(error), "type": type(error).__name__}
    return {"id": identity, "outputs": encode(outputs)}
