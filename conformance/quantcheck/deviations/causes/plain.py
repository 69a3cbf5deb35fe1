"""Causes of sections AFF, PACK, HES and CFG that are no rule of appendix A."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from quantcheck.deviations.causes.affine import affine_parameters
from quantcheck.deviations.causes.cause import Asked, Cause, in_groups, near, refused, same
from quantcheck.deviations.causes.rules import Rules
from quantcheck.oracle.bounds import growth
from quantcheck.wire.cases import Case


def _refuses(case: Case, kind: str) -> bool:
    return refused(case, kind)


# AFF
def unchecked_parameters(asked: Asked, kind: str) -> bool:
    """Predict the parameters of bad input by the known rules of the target, unchecked.

    Any number of bits is taken, a group size of 0 or below −1 means no groups, and integers count
    as floats. Where a group holds NaN or infinity, nothing is predicted. `kind`: the error with
    which the input has to be refused.
    """
    return refused(asked.case, kind) and affine_parameters(asked, Rules.named(asked.rules))


def weights_in_dtype_of_scale(asked: Asked) -> bool:
    """Predict dequantized weights in float64, as the scale is."""
    inputs = asked.case.inputs
    scale, groups = inputs["scale"], inputs["g_idx"]
    if scale.dtype != np.float64 or not in_groups(groups, scale):
        return False
    steps = inputs["codes"].astype(np.float64) - inputs["zero_point"].astype(np.float64)[:, groups]
    expected = scale[:, groups] * steps
    values = asked.array("values", expected.shape)
    return values.dtype == np.float64 and near(values, expected, 2.0**-52 * np.abs(expected))


def _scale_is_double(case: Case) -> bool:
    return "outputs" in case.expected and case.inputs["scale"].dtype == np.float64


# PACK
def upper_bits_lost(asked: Asked) -> bool:
    """Predict bytes of the lower four bits of codes that do not fit them."""
    if not refused(asked.case, "CodeRangeError") or asked.case.parameters["bits"] != 4:
        return False
    codes, axis = asked.case.inputs["codes"], asked.case.parameters["axis"]
    lines = np.moveaxis(codes, axis, 0).astype(np.uint8) & 15
    lines = np.concatenate([lines, np.zeros((len(lines) % 2, *lines.shape[1:]), np.uint8)])
    packed = np.moveaxis(lines[::2] | lines[1::2] << 4, 0, axis).astype(codes.dtype)
    return same(asked.array("packed"), packed, codes.dtype)


def _codes_too_wide(case: Case) -> bool:
    return refused(case, "CodeRangeError") and case.parameters["bits"] == 4


def length_cut(asked: Asked) -> bool:
    """Predict the first codes of the bytes, if the length does not belong to them."""
    if not refused(asked.case, "ShapeError") or asked.case.parameters["bits"] != 4:
        return False
    packed, axis = asked.case.inputs["packed"], asked.case.parameters["axis"]
    lines = np.moveaxis(packed, axis, 0).astype(np.uint8)
    codes = np.stack([lines & 15, lines >> 4], axis=1).reshape(-1, *lines.shape[1:])
    codes = codes.astype(np.int16)
    if packed.dtype == np.int8:
        codes = np.where(codes > 7, codes - 16, codes)
    kept = np.moveaxis(codes[: asked.case.parameters["length"]], 0, axis)
    return same(asked.array("codes"), kept, packed.dtype)


def _length_does_not_fit(case: Case) -> bool:
    return refused(case, "ShapeError") and case.parameters["bits"] == 4


# HES
def unchecked_batches(asked: Asked, kind: str) -> bool:
    """Predict H = (2 / N) Σ x xᵀ of unchecked batches: integers count as float32.

    Where NaN or infinity enters a product, nothing is predicted. `kind`: the error with which the
    input has to be refused.
    """
    if not refused(asked.case, kind):
        return False
    batches = [b.astype(np.float64).reshape(-1, b.shape[-1]) for b in asked.case.inputs["batches"]]
    x = np.concatenate(batches)
    expected, size = 2 * x.T @ x / len(x), 2 * np.abs(x).T @ np.abs(x) / len(x)
    hole = ~np.isfinite(x).all(axis=0)
    expected[hole] = expected[:, hole] = np.nan
    bound = growth(len(x) + 4 * len(batches) + 4, asked.unit_roundoff) * size
    return near(asked.array("hessian", expected.shape), expected, bound)


def single_token_refused(asked: Asked) -> bool:
    """Predict that a batch of rank 1, which is a single token, is refused for its rank."""
    alone = any(batch.ndim == 1 for batch in asked.case.inputs["batches"])
    return alone and asked.raised("ValueError", r"rank >= 2 \(got rank 1\)")


def _single_token(case: Case) -> bool:
    return any(batch.ndim == 1 for batch in case.inputs["batches"]) and "outputs" in case.expected


# CFG
def unchecked_argument(asked: Asked, argument: str) -> bool:
    """Predict a config that keeps a bad argument as it was given.

    `argument`: its name.
    """
    given, fields = asked.case.parameters["arguments"], asked.outputs.get("fields")
    bad = "refused" in asked.case.expected and argument in given
    return bad and isinstance(fields, dict) and bool(fields.get(argument) == given[argument])


def _bad_argument(case: Case, argument: str) -> bool:
    return "refused" in case.expected and argument in case.parameters["arguments"]


FIRST: dict[str, tuple[str, Any]] = {
    "AbsMaxQuantizer": ("axis", []),
    "Quantizer": ("output_dtype", {}),
}


def named_class_called_with_a_dict(asked: Asked) -> bool:
    """Predict, of a quantizer found by its name, an empty dict as its first argument.

    It is the dict of the keyword arguments, of which there are none. As an axis it means no axes.
    """
    fields = asked.outputs.get("fields")
    if asked.case.parameters.get("route") != "name" or not isinstance(fields, dict):
        return False
    name, value = FIRST[asked.case.parameters["class"]]
    expected = {**asked.case.expected["outputs"]["fields"], name: value}
    return all(fields.get(key) == given for key, given in expected.items())


def _by_name(case: Case) -> bool:
    return case.parameters.get("route") == "name"


def default_axis_kept(asked: Asked) -> bool:
    """Predict null as the axis of a default activation quantizer, and else the right fields."""
    expected = copy.deepcopy(_fields(asked.case))
    quantizer = (expected or {}).get("activation_quantizer")
    if not isinstance(quantizer, dict) or quantizer["fields"]["axis"] != [-1]:
        return False
    quantizer["fields"]["axis"] = None
    assert expected is not None  # noqa: S101
    fields = asked.outputs.get("fields")
    if not isinstance(fields, dict) or any(fields.get(k) != v for k, v in expected.items()):
        return False
    return asked.case.operation == "config_round_trip" or _reloads(asked)


def range_from_json_refused(asked: Asked) -> bool:
    """Predict that a weight quantizer of a saved config is refused: its range became a list."""
    message = r"with value_range=\(-8, 7\)\. Received: value_range=\[-8, 7\]"
    return _weights_of_four_bits(asked.case) and asked.raised("ValueError", message)


def _weights_of_four_bits(case: Case) -> bool:
    """Tell whether a case is of an Int4QuantizationConfig that has a weight quantizer."""
    of_four_bits = case.parameters["class"] == "Int4QuantizationConfig"
    given = case.parameters["arguments"].get("weight_quantizer")
    return of_four_bits and given is not None and "outputs" in case.expected


def _reloads(asked: Asked) -> bool:
    """Tell whether the reloaded layer gives the same values as before."""
    return same(asked.array("reloaded"), asked.array("values"))


def _fields(case: Case) -> dict[str, Any] | None:
    outputs = case.expected.get("outputs", case.expected.get("forms", {}))
    fields = outputs.get("fields")
    return fields if isinstance(fields, dict) else None


def _default_axis(case: Case) -> bool:
    quantizer = (_fields(case) or {}).get("activation_quantizer")
    if not isinstance(quantizer, dict) or quantizer["fields"]["axis"] != [-1]:
        return False
    described = case.parameters.get("config", case.parameters)["arguments"]
    given = described.get("activation_quantizer")
    return not isinstance(given, dict) or "axis" not in given.get("arguments", {})


LAYERS = ("dense_int8", "einsum_dense_int8", "embedding_int8", "reversible_embedding_int8")


def _proposals(name: str, *values: str) -> tuple[dict[str, str], ...]:
    return tuple({name: value} for value in values)


CAUSES = (
    Cause(
        unchecked_parameters,
        ("affine_parameters",),
        _refuses,
        _proposals("kind", "BitsError", "ConfigError", "DTypeError", "NonFiniteError"),
    ),
    Cause(weights_in_dtype_of_scale, ("affine_dequantize",), _scale_is_double),
    Cause(upper_bits_lost, ("pack",), _codes_too_wide),
    Cause(length_cut, ("unpack",), _length_does_not_fit),
    Cause(
        unchecked_batches,
        ("hessian",),
        _refuses,
        _proposals("kind", "DTypeError", "NonFiniteError"),
    ),
    Cause(single_token_refused, ("hessian",), _single_token),
    Cause(
        unchecked_argument,
        ("config_round_trip",),
        _bad_argument,
        _proposals("argument", "epsilon", "value_range"),
    ),
    Cause(named_class_called_with_a_dict, ("config_round_trip",), _by_name),
    Cause(range_from_json_refused, ("config_round_trip",), _weights_of_four_bits),
    Cause(default_axis_kept, ("config_round_trip", *LAYERS), _default_axis),
)
