"""Causes of section LAY: refusals of good questions, and answers to bad ones."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from quantcheck.deviations.causes.calibrated import (
    badly_calibrated,
    contracted_otherwise,
    kernel_shape,
    taken_as_inputs,
)
from quantcheck.deviations.causes.cause import Asked, Cause, near, refused, rounds
from quantcheck.deviations.causes.gptq import shapes_of_refusal
from quantcheck.deviations.causes.squeezing import (
    squeeze_ignored,
    squeeze_refused,
    squeezes_kept_axes,
)
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import build
from quantref.equations import parse_equation
from quantref.inputs import Array
from quantref.layers import DENSE, GPTQDense, Int8Dense, Int8Embedding

RELATIVE = 2.0**-18  # of the sum of magnitudes: sums in float32 of a few products


# REFUSALS
def ellipsis_refused(asked: Asked) -> bool:
    """Predict TypeError for an equation with an ellipsis: a rank is taken for a shape."""
    return _has_ellipsis(asked.case) and asked.raised("TypeError", r"type 'int' has no len\(\)")


def _has_ellipsis(case: Case) -> bool:
    return "..." in case.parameters["equation"] and "refused" not in case.expected


def weight_axis_refused(asked: Asked, kind: str, message: str) -> bool:
    """Predict a refusal where a weight quantizer has no axis: the layer gives it none.

    The quantizer then reduces the last axis, and the scales cannot be squeezed. `kind`, `message`:
    type of the exception, and a regular expression that its message contains.
    """
    return _no_weight_axis(asked.case) and asked.raised(kind, message)


def _no_weight_axis(case: Case, **_: Any) -> bool:
    arguments = case.parameters["config"]["arguments"]
    quantizer = arguments.get("weight_quantizer")
    given = isinstance(quantizer, dict) and quantizer.get("arguments", {}).get("axis") is None
    return given and "refused" not in case.expected


def rows_of_largest_axis(asked: Asked) -> bool:
    """Predict that a packed kernel is refused: its rows are those of the kernel's largest axis.

    Where the first axis of a rank-3 kernel is the largest, it alone counts as inputs; otherwise the
    first two do. The first axis of a rank-2 kernel always counts as inputs.
    """
    shape = asked.case.parameters["kernel_shape"]
    if not _packed_otherwise(asked.case):
        return False
    taken = len(taken_as_inputs(shape))
    rows, columns = math.prod(shape[:taken]), math.prod(shape[taken:])
    stored = asked.case.inputs["packed"].shape
    bits = asked.case.parameters["config"]["arguments"].get("weight_bits", 4)
    made = ((columns + 1) // 2 if bits == 4 else columns, rows)
    turned = (made[::-1], stored[::-1])  # as kernels are stored from 3.16 on
    return made != stored and shapes_of_refusal(asked) in ((made, stored), turned)


def _packed_otherwise(case: Case) -> bool:
    shape = case.parameters["kernel_shape"]
    return contracted_otherwise(parse_equation(case.parameters["equation"]), shape)


def rank_four_not_packed(asked: Asked) -> bool:
    """Predict that a packed kernel of rank 4 is not taken: ranks 2 and 3 alone have rows.

    Up to 3.15 it fails with UnboundLocalError, then it is refused. It fails before data of a
    calibration are looked at that have to be refused.
    """
    if not _rank_four(asked.case):
        return False
    fails = asked.raised("UnboundLocalError", "'(rows|columns)'")
    return fails or asked.raised("ValueError", "only supports 2D or 3D kernels")


def _rank_four(case: Case) -> bool:
    good = "refused" not in case.expected or badly_calibrated(case)
    return good and len(kernel_shape(case)) > 3


def two_bits_not_packed(asked: Asked) -> bool:
    """Predict that a packed 2-bit kernel is refused: codes of 2 bits are stored one a byte."""
    if not _two_bits(asked.case):
        return False
    n_in = asked.case.inputs["packed"].shape[1]
    n_out = asked.case.inputs["scale"].shape[0]
    stored = asked.case.inputs["packed"].shape
    return shapes_of_refusal(asked) == ((n_out, n_in), stored)


def _two_bits(case: Case) -> bool:
    bits = case.parameters["config"]["arguments"].get("weight_bits")
    return bits == 2 and "refused" not in case.expected


def zero_point_not_saved(asked: Asked, loaded: str = "others") -> bool:
    """Predict that a saved GPTQ layer is not loaded, since its file has no zero-points.

    `loaded`: "others", all other variables are found in the file; "none", no variable is.
    """
    if not _saved_gptq(asked.case) or not asked.raised("ValueError", "saved model is not loaded"):
        return False
    found = re.search(r"expected (\d+) variables, but received (\d+)", str(asked.answer["refused"]))
    if found is None:
        return False
    return int(found[2]) == (0 if loaded == "none" else int(found[1]) - 1)


def _saved_gptq(case: Case, **_: Any) -> bool:
    return bool(case.parameters["reload"]) and "refused" not in case.expected


# ANSWERS TO BAD INPUT
def _finite(array: Array) -> tuple[Array, Array]:
    """Return the array with 0 for NaN and infinity, and where those were."""
    holes = ~np.isfinite(array.astype(np.float64))
    return np.where(holes, array.dtype.type(0), array), holes


def nonfinite_layer(asked: Asked) -> bool:
    """Predict that NaN and infinity are computed with: only what they touch is not a number.

    The other columns of the kernel have the right codes, and the others of the outputs the right
    values.
    """
    if not refused(asked.case, "NonFiniteError"):
        return False
    inputs = asked.case.inputs
    x, x_holes = _finite(inputs["x"])
    touched = np.asarray(x_holes.reshape(len(x), -1).any(axis=1))
    if asked.case.operation == "dense_gptq":
        layer: Any = _gptq_layer(asked.case, inputs["packed"], inputs["g_idx"])
        return _values(asked, layer(x), touched, np.zeros(layer(x).shape[-1], bool))
    kernel, kernel_holes = _finite(inputs["kernel"])
    columns = np.asarray(kernel_holes.any(axis=0))
    layer = Int8Dense.quantize(
        kernel, inputs.get("bias"),
        activation=asked.case.parameters["activation"],
        config=build(asked.case.parameters["config"]),
    )  # fmt: skip
    codes = asked.array("kernel", kernel.shape)[:, ~columns].astype(np.float64)
    scale = asked.array("kernel_scale", columns.shape)[~columns]
    right = near(scale, layer.kernel_scale[~columns], 2.0**-22 * layer.kernel_scale[~columns])
    t = kernel[:, ~columns].astype(np.float64) * scale
    right &= rounds(codes, t, -127, 127, 3 * asked.unit_roundoff * np.abs(t))
    return right and _values(asked, layer(x), touched, columns)


def _values(asked: Asked, expected: Array, rows: Array, columns: Array) -> bool:
    """Tell whether the outputs that no bad number touches are the expected ones, nearly."""
    got = asked.array("values", expected.shape)[~rows][..., ~columns].astype(np.float64)
    kept = expected[~rows][..., ~columns]
    return near(got, kept, 0.02 * np.abs(expected).max(initial=0.0))


def _gptq_layer(case: Case, packed: Array, g_idx: Array) -> GPTQDense:
    inputs, parameters = case.inputs, case.parameters
    return GPTQDense(
        parameters.get("equation", DENSE), tuple(parameters["kernel_shape"]), packed,
        inputs["scale"], inputs["zero_point"], g_idx, build(parameters["config"]),
        inputs.get("bias"), parameters["activation"],
    )  # fmt: skip


def _nonfinite(case: Case) -> bool:
    return refused(case, "NonFiniteError")


def packed_bytes_reinterpreted(asked: Asked) -> bool:
    """Predict the outputs of a packed kernel of int8 whose bytes are taken for uint8."""
    packed = asked.case.inputs["packed"]
    if not refused(asked.case, "DTypeError") or packed.dtype != np.int8:
        return False
    layer = _gptq_layer(asked.case, packed.view(np.uint8), asked.case.inputs["g_idx"])
    return _close(asked, layer(asked.case.inputs["x"]))


def _close(asked: Asked, expected: Array) -> bool:
    values = asked.array("values", expected.shape)
    return near(values, expected, RELATIVE * (np.abs(expected).max(initial=0.0) + 1.0))


def _packed_int8(case: Case) -> bool:
    return refused(case, "DTypeError") and case.inputs["packed"].dtype == np.int8


def groups_not_compared(asked: Asked, fill: str) -> bool:
    """Predict the outputs of columns in a group that does not exist.

    `fill`: "nan", their weights are NaN and so are all outputs; "zero", their weights are 0.
    """
    inputs = asked.case.inputs
    if not _no_such_group(asked.case):
        return False
    beyond = inputs["g_idx"] >= inputs["scale"].shape[1]
    layer = _gptq_layer(asked.case, inputs["packed"], np.where(beyond, 0, inputs["g_idx"]))
    values = asked.array("values")
    if fill == "nan":
        return values.shape == layer(inputs["x"]).shape and bool(np.isnan(values).all())
    return _close(asked, layer(np.where(beyond, np.float32(0), inputs["x"])))


def _no_such_group(case: Case, **_: Any) -> bool:
    inputs = case.inputs
    bad = refused(case, "CodeRangeError") and "g_idx" in inputs
    return bad and bool((inputs["g_idx"] >= inputs["scale"].shape[1]).any())


def tokens_not_compared(asked: Asked) -> bool:
    """Predict the rows of tokens that the embedding does not have.

    A negative token counts from the last row; one beyond the last row gives NaN.
    """
    if not refused(asked.case, "CodeRangeError"):
        return False
    inputs = asked.case.inputs
    tokens, rows = inputs["tokens"].astype(np.int64), len(inputs["embeddings"])
    layer = Int8Embedding.quantize(
        inputs["embeddings"], config=build(asked.case.parameters["config"])
    )
    inside = (tokens >= -rows) & (tokens < rows)
    expected = layer(np.where(inside, tokens % rows, 0).astype(np.int32))
    values = asked.array("values", expected.shape)
    right = near(values[inside], expected[inside], 2.0**-22 * np.abs(expected[inside]))
    return right and bool(np.isnan(values[~inside]).all())


def _tokens_beyond(case: Case) -> bool:
    return refused(case, "CodeRangeError") and "tokens" in case.inputs


def equation_without_sum(asked: Asked) -> bool:
    """Predict the products of an equation that sums nothing, each within a step of quantization."""
    if not refused(asked.case, "EquationError"):
        return False
    x, kernel = (asked.case.inputs[name].astype(np.float64) for name in ("x", "kernel"))
    expected = np.einsum(asked.case.parameters["equation"], x, kernel)
    steps = np.abs(x).max() * np.abs(kernel).max() / 127
    return near(asked.array("values", expected.shape), expected, 1.1 * steps)


def _sums_nothing(case: Case) -> bool:
    return refused(case, "EquationError")


GPTQ = ("dense_gptq", "einsum_dense_gptq")
CAUSES = (
    Cause(ellipsis_refused, ("einsum_dense_int8",), _has_ellipsis),
    Cause(squeeze_refused, ("einsum_dense_int8",), squeezes_kept_axes),
    Cause(squeeze_ignored, ("einsum_dense_int8",), squeezes_kept_axes),
    Cause(weight_axis_refused, ("dense_int8",), _no_weight_axis, ()),
    Cause(rows_of_largest_axis, ("einsum_dense_gptq",), _packed_otherwise),
    Cause(rank_four_not_packed, ("einsum_dense_gptq", "einsum_dense_calibrated"), _rank_four),
    Cause(two_bits_not_packed, GPTQ, _two_bits),
    Cause(zero_point_not_saved, GPTQ, _saved_gptq, ({}, {"loaded": "none"})),
    Cause(nonfinite_layer, ("dense_int8", "dense_gptq"), _nonfinite),
    Cause(packed_bytes_reinterpreted, GPTQ, _packed_int8),
    Cause(groups_not_compared, GPTQ, _no_such_group, ({"fill": "nan"}, {"fill": "zero"})),
    Cause(tokens_not_compared, ("embedding_int8",), _tokens_beyond),
    Cause(equation_without_sum, ("einsum_dense_int8",), _sums_nothing),
)
