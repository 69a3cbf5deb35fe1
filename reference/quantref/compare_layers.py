"""Judges of section 9: stored codes by teacher forcing, outputs by interval and bound.

The answer's own codes and scales of the weights are taken as given once they are judged. Codes of
activations are not shown: where one is a near-tie, the outputs of both neighbours and all between
are admissible.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from quantref.absmax import AbsMaxQuantizer
from quantref.arrays import Array
from quantref.bounds import ULP32, growth
from quantref.config import Int8QuantizationConfig
from quantref.descriptions import build
from quantref.equations import Equation, parse_equation
from quantref.errors import AnswerError
from quantref.layers import DENSE, TIED, GPTQDense, require_absmax
from quantref.vectors import Case

U32 = 2.0**-24
SMALLEST_SUBNORMAL = 2.0**-149


class Judging(Protocol):
    """What collects findings: `quantref.compare` has it."""

    case: Case
    outputs: dict[str, Any]
    expected: dict[str, Any]
    u: float

    def output(self, name: str) -> Array:
        """Return an output as an array of the expected shape, or raise AnswerError."""

    def add(self, requirement: str, passed: bool, message: str, **details: Any) -> None:
        """Record a finding."""

    def dtype(self, name: str, requirement: str) -> None:
        """Judge the dtype of an output."""

    def equal(self, name: str, requirement: str, *, where: Array | None = None) -> None:
        """Judge equality, element by element."""

    def within(self, name: str, requirement: str, difference: Array, bound: Array) -> None:
        """Judge |difference| <= bound, element by element."""


def rescaling(u: float) -> float:
    """Return ρ: the relative error of sums divided by the scales of section 4.

    Examples
    --------
    >>> rescaling(2.0**-24) < 10 * 2.0**-24
    True
    """
    return growth(5, u) + growth(4, U32)


def last_rounding(u: float) -> float:
    """Return the relative error of adding the bias and storing the sum as binary32.

    Examples
    --------
    >>> last_rounding(2.0**-24) == 2.0**-24, last_rounding(2.0**-53) < 1.0001 * 2.0**-24
    (True, True)
    """
    return u if u >= U32 else U32 + 2 * u


def slices_of(array: Array, axes: tuple[int, ...]) -> Array:
    """Return an array of the kept axes so that it broadcasts along `axes` again."""
    for axis in sorted(axes):
        array = np.expand_dims(array, axis)
    return array


def judge_weights(
    judge: Judging, name: str, weights: Array, axes: tuple[int, ...], requirement: str
) -> bool:
    """Judge codes and scales that a layer stores; tell whether they can be used.  [LAY-010]"""
    codes, scale = judge.output(name), judge.output(f"{name}_scale").astype(np.float64)
    config: Int8QuantizationConfig = build(judge.case.parameters["config"])
    quantizer = require_absmax(config.weight_quantizer)
    lo, hi = quantizer.value_range
    expected = judge.expected[f"{name}_scale"].astype(np.float64)
    judge.dtype(name, requirement)
    judge.dtype(f"{name}_scale", requirement)
    judge.within(f"{name}_scale", requirement, scale - expected, 2 * ULP32 * expected)
    if not (np.isfinite(scale) & (scale > 0)).all():
        return False
    t = weights.astype(np.float64) * slices_of(scale, axes)
    q = codes.astype(np.float64)
    excess = np.maximum(np.abs(q - np.clip(t, lo, hi)) - 0.5, 0.0)
    excess = np.where((q >= lo) & (q <= hi), excess, np.inf)
    judge.within(name, requirement, excess, judge.u * 3 * np.abs(t))
    same = np.broadcast_to(slices_of(scale == expected, axes), codes.shape)
    required = judge.case.judging[f"{name}_required"] == 1
    judge.equal(name, requirement, where=same & required)
    return True


def activation_codes(x: Array, axes: tuple[int, ...], quantizer: AbsMaxQuantizer, u: float) -> Any:
    """Return middle and radius of the admissible codes, and the scale of each slice.

    Examples
    --------
    >>> x = np.float32([[2.0, 0.5]])
    >>> middle, radius, _ = activation_codes(x, (1,), AbsMaxQuantizer(), 2.0**-24)
    >>> middle.tolist(), radius.tolist()
    ([[127.0, 32.0]], [[0.0, 0.0]])
    """
    lo, hi = quantizer.value_range
    wide = x.astype(np.float64)
    amax = np.max(np.abs(wide), axis=axes, keepdims=True)
    scale = (hi / (amax + quantizer.epsilon)).astype(np.float32).astype(np.float64)
    t = wide * scale
    slack = (2 * ULP32 + 3 * u) * np.abs(t)  # [LAY-030]: the scale, and the product
    lowest = np.clip(np.rint(t - slack), lo, hi)
    highest = np.clip(np.rint(t + slack), lo, hi)
    return (lowest + highest) / 2, (highest - lowest) / 2, scale


def judge_dense(
    judge: Judging, equation: Equation, codes: Array, scale: Array, requirement: str
) -> None:
    """Judge outputs given the layer's own codes and scales."""
    case, u = judge.case, judge.u
    x, bias = case.inputs["x"], case.inputs.get("bias")
    config: Int8QuantizationConfig = build(case.parameters["config"])
    kernel = codes.astype(np.float64)
    axes = equation.axes(equation.inputs)
    kept = np.delete(x.shape, axes)
    with np.errstate(all="ignore"):
        if config.activation_quantizer is None:
            scales = np.einsum(equation.scales, np.ones(kept), scale)
            middle = np.einsum(equation.text, x.astype(np.float64), kernel) / scales
            size = np.einsum(equation.text, np.abs(x.astype(np.float64)), np.abs(kernel)) / scales
            n = int(np.prod([x.shape[a] for a in axes]))
            allowed = growth(n + 4, u) * size  # [LAY-040]
        else:
            given = activation_codes(x, axes, require_absmax(config.activation_quantizer), u)
            center, radius, x_scale = given
            scales = np.einsum(equation.scales, x_scale.reshape(kept), scale)
            middle = np.einsum(equation.text, center, kernel) / scales
            spread = np.einsum(equation.text, radius, np.abs(kernel)) / scales
            allowed = spread + rescaling(u) * (np.abs(middle) + spread)  # [LAY-030]
        judge_outputs(judge, middle, allowed, bias, requirement)


def judge_outputs(
    judge: Judging, middle: Array, allowed: Array, bias: Array | None, requirement: str
) -> None:
    """Judge |values − activation(middle + bias)|, the last rounding included.  [LAY-050]"""
    values = judge.output("values").astype(np.float64)
    judge.dtype("values", requirement)
    b = np.zeros(()) if bias is None else bias.astype(np.float64)
    allowed = allowed + last_rounding(judge.u) * (np.abs(middle) + allowed + np.abs(b))
    middle = middle + b
    if judge.case.parameters.get("activation") == "relu":
        middle = np.maximum(middle, 0.0)
    judge.within("values", requirement, values - middle, allowed + SMALLEST_SUBNORMAL)


def judge_reload(judge: Judging) -> None:
    """Judge what came from the fresh process.  [LAY-130] [LAY-140]"""
    if not judge.case.parameters["reload"]:
        return
    values, again = judge.output("values"), judge.output("reloaded")
    wrong = values != again
    index = tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.any() else None
    message = f"reloaded: {int(wrong.sum())} of {wrong.size} differ from values"
    details: dict[str, Any] = {"index": index}
    if index is not None:
        details |= {"got": str(again[index]), "expected": str(values[index])}
        message += f"; at {list(index)} before {values[index]}, after {again[index]}"
    judge.add("LAY-130", not wrong.any() and values.dtype == again.dtype, message, **details)
    got, expected = judge.outputs.get("fields"), judge.expected["fields"]
    if not isinstance(got, dict):
        raise AnswerError("output 'fields', an object", type(got).__name__, judge.case.id)
    changed = [key for key, value in expected.items() if got.get(key) != value]
    message = "fields: all equal after the reload"
    if changed:
        key = changed[0]
        message = f"field {key}: expected {expected[key]!r}, got {got.get(key)!r}"
    judge.add("LAY-140", not changed, message)


def dense_int8(judge: Judging) -> None:
    """Judge int8 Dense and EinsumDense."""
    case = judge.case
    equation = parse_equation(case.parameters.get("equation", DENSE), case.inputs["x"].ndim)
    axes = equation.axes(equation.kernel)
    if judge_weights(judge, "kernel", case.inputs["kernel"], axes, "LAY-010"):
        config = build(case.parameters["config"])
        requirement = "LAY-030" if config.activation_quantizer is not None else "LAY-040"
        codes, scale = judge.outputs["kernel"], judge.outputs["kernel_scale"].astype(np.float64)
        judge_dense(judge, equation, codes, scale, requirement)
    judge_reload(judge)


def embedding_int8(judge: Judging) -> None:
    """Judge int8 Embedding, and both ways of ReversibleEmbedding."""
    case, outputs = judge.case, judge.outputs
    usable = judge_weights(judge, "embeddings", case.inputs["embeddings"], (1,), "LAY-060")
    untied = "reverse_embeddings" in case.inputs
    if untied:
        back = case.inputs["reverse_embeddings"]
        usable &= judge_weights(judge, "reverse_embeddings", back, (0,), "LAY-080")
    if usable and case.parameters.get("reverse"):
        name = "reverse_embeddings" if untied else "embeddings"
        equation = parse_equation(DENSE if untied else TIED, case.inputs["x"].ndim)
        scale = outputs[f"{name}_scale"].astype(np.float64)
        requirement = "LAY-080" if untied else "LAY-070"
        judge_dense(judge, equation, outputs[name], scale, requirement)
    elif usable:
        tokens = case.inputs["tokens"]
        scale = outputs["embeddings_scale"].astype(np.float64)[tokens][..., None]
        expected = outputs["embeddings"].astype(np.float64)[tokens] / scale
        values = judge.output("values").astype(np.float64)
        judge.dtype("values", "LAY-060")
        bound = 2 * ULP32 * np.abs(expected) + SMALLEST_SUBNORMAL
        judge.within("values", "LAY-060", values - expected, bound)
    judge_reload(judge)


def dense_gptq(judge: Judging) -> None:
    """Judge Dense and EinsumDense with a packed kernel."""
    case, inputs = judge.case, judge.case.inputs
    parameters = case.parameters
    layer = GPTQDense(
        parameters.get("equation", DENSE),
        tuple(parameters["kernel_shape"]),
        inputs["packed"],
        inputs["scale"],
        inputs["zero_point"],
        inputs["g_idx"],
        build(parameters["config"]),
    )
    x = inputs["x"].astype(np.float64)
    equation = parse_equation(layer.equation, x.ndim)
    g = inputs["g_idx"]
    scale, zero = (inputs[name].astype(np.float64)[:, g] for name in ("scale", "zero_point"))
    kernel = layer.arranged(scale * (layer.codes().astype(np.float64) - zero))
    middle = np.einsum(equation.text, x, kernel)
    size = np.einsum(equation.text, np.abs(x), np.abs(kernel))
    n_in = len(inputs["g_idx"])
    allowed = (growth(n_in + 1, judge.u) + 2 * ULP32) * size  # [LAY-090]
    judge_outputs(judge, middle, allowed, inputs.get("bias"), "LAY-090")
    judge_reload(judge)


LAYER_JUDGES: dict[str, Callable[[Any], None]] = {
    "dense_int8": dense_int8,
    "einsum_dense_int8": dense_int8,
    "dense_gptq": dense_gptq,
    "einsum_dense_gptq": dense_gptq,
    "embedding_int8": embedding_int8,
    "reversible_embedding_int8": embedding_int8,
}
