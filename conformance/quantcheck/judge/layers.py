"""Judges of section 9: stored codes by teacher forcing, outputs by interval and bound.

First the codes and scales of the weights are judged. Then outputs are judged, given these codes and
scales. Answers do not contain codes of activations. If such a code is a near-tie, every output
between those of the two neighbouring codes is admissible.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from quantcheck.judge.copies import judge_copies
from quantcheck.judge.findings import Judging
from quantcheck.judge.precision import (
    Precision,
    last_rounding,
    of_variables,
    precision_of,
    rescaling,
)
from quantcheck.oracle.bounds import growth
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import build
from quantcheck.wire.policies import ALONE, CALLS, place_of, policy_of, use_of
from quantref.absmax import AbsMaxQuantizer
from quantref.config import Int8QuantizationConfig
from quantref.equations import Equation, parse_equation
from quantref.inputs import Array
from quantref.layers import DENSE, TIED, GPTQDense, absmax_of

U32 = 2.0**-24


def slices_of(array: Array, axes: tuple[int, ...]) -> Array:
    """Return an array of the kept axes so that it broadcasts along `axes` again."""
    for axis in sorted(axes):
        array = np.expand_dims(array, axis)
    return array


def judge_weights(
    collector: Judging, name: str, weights: Array, axes: tuple[int, ...], requirement: str
) -> bool:
    """Judge stored codes and scales; tell whether outputs can be judged with them.  [LAY-010]"""
    codes, scale = collector.output(name), collector.output(f"{name}_scale").astype(np.float64)
    config: Int8QuantizationConfig = build(collector.case.parameters["config"])
    quantizer = absmax_of(config.weight_quantizer)
    lo, hi = quantizer.value_range
    expected = collector.expected[f"{name}_scale"].astype(np.float64)
    u, unit = of_variables(collector.case.parameters, collector.u)
    if place_of(collector.case.parameters) != ALONE:
        made = codes.dtype.kind in "iu"
        message = f"{name}: {'quantized' if made else 'not quantized'} with its model"
        collector.add("LAY-250", made, message)
        if not made:
            return False
    collector.dtype(name, requirement)
    collector.dtype(f"{name}_scale", requirement if unit == U32 else "LAY-220")
    collector.within(f"{name}_scale", requirement, scale - expected, 4 * unit * expected)
    if not (np.isfinite(scale) & (scale > 0)).all():
        return False
    t = weights.astype(np.float64) * slices_of(scale, axes)
    q = codes.astype(np.float64)
    excess = np.maximum(np.abs(q - np.clip(t, lo, hi)) - 0.5, 0.0)
    excess = np.where((q >= lo) & (q <= hi), excess, np.inf)
    collector.within(name, requirement, excess, 3 * u * np.abs(t))
    same = np.broadcast_to(slices_of(scale == expected, axes), codes.shape)
    required = collector.case.judging[f"{name}_required"] == 1
    collector.equal(name, requirement, where=same & required)
    return True


def activation_codes(
    x: Array, axes: tuple[int, ...], quantizer: AbsMaxQuantizer, p: Precision
) -> Any:
    """Return the middle and the radius of the admissible codes, and the scale of each slice.

    Examples
    --------
    >>> x = np.float32([[2.0, 0.5]])
    >>> middle, radius, _ = activation_codes(x, (1,), AbsMaxQuantizer(), Precision(2.0**-24))
    >>> middle.tolist(), radius.tolist()
    ([[127.0, 32.0]], [[0.0, 0.0]])
    """
    lo, hi = quantizer.value_range
    wide = x.astype(np.float64)
    amax = np.max(np.abs(wide), axis=axes, keepdims=True)
    scale = (hi / (amax + quantizer.epsilon)).astype(np.float32).astype(np.float64)
    t = wide * scale
    slack = (4 * p.unit + 3 * p.u) * np.abs(t)  # [LAY-030]: the scale, and the product
    lowest = np.clip(np.rint(t - slack), lo, hi)
    highest = np.clip(np.rint(t + slack), lo, hi)
    return (lowest + highest) / 2, (highest - lowest) / 2, scale


def products(
    case: Case, equation: Equation, codes: Array, scale: Array, quantizer: Any, p: Precision
) -> tuple[Array, Array]:
    """Return outputs before the bias, and their bound, given the layer's own codes and scales.

    Parameters
    ----------
    case : Case
    equation : Equation
    codes, scale : arrays
        Those of the kernel that the layer stores.
    quantizer : AbsMaxQuantizer or None
        Quantizer of the activations.
    p : Precision
    """
    x, kernel = case.inputs["x"], codes.astype(np.float64)
    axes = equation.axes(equation.inputs)
    kept = np.delete(x.shape, axes)
    with np.errstate(all="ignore"):
        if quantizer is None:
            scales = np.einsum(equation.scales, np.ones(kept), scale)
            middle = np.einsum(equation.text, x.astype(np.float64), kernel) / scales
            size = np.einsum(equation.text, np.abs(x.astype(np.float64)), np.abs(kernel)) / scales
            n = int(np.prod([x.shape[a] for a in axes]))
            return middle, growth(n + 4 + p.casts, p.u) * size  # [LAY-040]
        center, radius, x_scale = activation_codes(x, axes, absmax_of(quantizer), p)
        scales = np.einsum(equation.scales, x_scale.reshape(kept), scale)
        middle = np.einsum(equation.text, center, kernel) / scales
        spread = np.einsum(equation.text, radius, np.abs(kernel)) / scales
        return middle, spread + rescaling(p) * (np.abs(middle) + spread)  # [LAY-030]


def packed_products(case: Case, kernel: Array, p: Precision) -> tuple[Array, Array]:
    """Return outputs before the bias, and their bound, for a dequantized kernel."""
    x = case.inputs["x"].astype(np.float64)
    equation = parse_equation(case.parameters.get("equation", DENSE), x.ndim)
    middle = np.einsum(equation.text, x, kernel)
    size = np.einsum(equation.text, np.abs(x), np.abs(kernel))
    n_in = len(case.inputs["g_idx"])
    relative = growth(n_in + 1 + p.casts, p.u) + 4 * p.unit  # [LAY-090]
    lost = np.einsum(equation.text, np.abs(x) + 1, np.ones_like(kernel))  # in subnormal numbers
    return middle, relative * size + p.casts * p.smallest * lost


def packed_layer(case: Case) -> GPTQDense:
    """Return the layer of a question with a packed kernel."""
    parameters = case.parameters
    return GPTQDense(
        parameters.get("equation", DENSE),
        tuple(parameters["kernel_shape"]),
        case.inputs["packed"],
        case.inputs["scale"],
        case.inputs["zero_point"],
        case.inputs["g_idx"],
        build(parameters["config"]),
    )


def dequantized(case: Case, codes: Array, g_idx: Array) -> Array:
    """Return s · (q − z), (n_out, n_in), with each column's group from `g_idx`."""
    scale, zero = (
        case.inputs[name].astype(np.float64)[:, g_idx] for name in ("scale", "zero_point")
    )
    return np.asarray(scale * (codes.astype(np.float64) - zero))


def bias_of(case: Case) -> Array:
    """Return the bias of a question, 0 for none."""
    return np.asarray(case.inputs.get("bias", 0.0), dtype=np.float64)


def tolerance(middle: Array, allowed: Array, bias: Array, p: Precision) -> Array:
    """Return the bound on the error of outputs, including the last rounding.  [LAY-050]"""
    last = last_rounding(p) * (np.abs(middle) + allowed + np.abs(bias))
    return np.asarray(allowed + last + p.smallest)


def activated(case: Case, values: Array) -> Array:
    """Apply the layer's activation to values."""
    return np.maximum(values, 0.0) if case.parameters.get("activation") == "relu" else values


def judge_outputs(collector: Judging, middle: Array, allowed: Array, requirement: str) -> None:
    """Judge |values − activation(middle + bias)|, including the last rounding.  [LAY-050]"""
    bias = bias_of(collector.case)
    expected = activated(collector.case, middle + bias)
    judge_values(collector, expected, _tolerance(collector, middle, allowed, bias), requirement)


def judge_values(collector: Judging, expected: Array, bound: Array, requirement: str) -> None:
    """Judge outputs and their dtype, by what was called: see `use_of`.  [LAY-210] [LAY-220]"""
    parameters = collector.case.parameters
    values = collector.output("values").astype(np.float64)
    collector.dtype("values", "LAY-220" if policy_of(parameters).half else requirement)
    called = "LAY-210" if use_of(parameters) in CALLS else requirement
    collector.within("values", called, values - expected, bound)


def _tolerance(collector: Judging, middle: Array, allowed: Array, bias: Array) -> Array:
    return tolerance(middle, allowed, bias, _precision(collector))


def _precision(collector: Judging) -> Precision:
    return precision_of(collector.case.parameters, collector.u)


def _fits(
    collector: Judging, again: Callable[[Any], tuple[Array, Array]], values: Array, quantizer: Any
) -> bool:
    """Tell whether outputs are right for another activation quantizer."""
    middle, allowed = again(quantizer)
    bias = bias_of(collector.case)
    off = np.abs(values.astype(np.float64) - activated(collector.case, middle + bias))
    return bool((off <= _tolerance(collector, middle, allowed, bias)).all())


def dense_int8(collector: Judging) -> None:
    """Judge int8 Dense and EinsumDense."""
    case = collector.case
    equation = parse_equation(case.parameters.get("equation", DENSE), case.inputs["x"].ndim)
    axes = equation.axes(equation.kernel)
    again = None
    if judge_weights(collector, "kernel", case.inputs["kernel"], axes, "LAY-010"):
        quantizer = build(case.parameters["config"]).activation_quantizer
        again = _outputs_of(collector, equation, "kernel")
        judge_outputs(collector, *again(quantizer), "LAY-040" if quantizer is None else "LAY-030")
    judge_copies(collector, again and partial(_fits, collector, again))


def _outputs_of(
    collector: Judging, equation: Equation, name: str
) -> Callable[[Any], tuple[Array, Array]]:
    """Return a function from activation quantizer to the outputs of the stored codes, and bound."""
    codes, scale = collector.outputs[name], collector.outputs[f"{name}_scale"].astype(np.float64)
    return lambda quantizer: products(
        collector.case, equation, codes, scale, quantizer, _precision(collector)
    )


def embedding_int8(collector: Judging) -> None:
    """Judge int8 Embedding, and both ways of ReversibleEmbedding."""
    case, outputs = collector.case, collector.outputs
    usable = judge_weights(collector, "embeddings", case.inputs["embeddings"], (1,), "LAY-060")
    untied = "reverse_embeddings" in case.inputs
    if untied:
        back = case.inputs["reverse_embeddings"]
        usable &= judge_weights(collector, "reverse_embeddings", back, (0,), "LAY-080")
    again = None
    if usable and case.parameters.get("reverse"):
        name = "reverse_embeddings" if untied else "embeddings"
        again = _outputs_of(
            collector, parse_equation(DENSE if untied else TIED, case.inputs["x"].ndim), name
        )
        quantizer = build(case.parameters["config"]).activation_quantizer
        judge_outputs(collector, *again(quantizer), "LAY-080" if untied else "LAY-070")
    elif usable:
        tokens = case.inputs["tokens"]
        scale = outputs["embeddings_scale"].astype(np.float64)[tokens][..., None]
        expected = outputs["embeddings"].astype(np.float64)[tokens] / scale
        p = _precision(collector)
        judge_values(collector, expected, 4 * p.unit * np.abs(expected) + p.smallest, "LAY-060")
    judge_copies(collector, again and partial(_fits, collector, again))


def dense_gptq(collector: Judging) -> None:
    """Judge Dense and EinsumDense with a packed kernel."""
    case, layer = collector.case, packed_layer(collector.case)
    kernel = layer.arranged(dequantized(case, layer.codes(), case.inputs["g_idx"]))
    judge_outputs(collector, *packed_products(case, kernel, _precision(collector)), "LAY-090")
    judge_copies(collector)
