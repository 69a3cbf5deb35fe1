"""Judges of section 9: stored codes by teacher forcing, outputs by interval and bound.

First the codes and scales of the weights are judged. Then outputs are judged, given these codes and
scales. Answers do not contain codes of activations. If such a code is a near-tie, every output
between those of the two neighbouring codes is admissible.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantcheck.judge.findings import Judging
from quantcheck.oracle.bounds import ULP32, growth
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import build
from quantref.absmax import AbsMaxQuantizer
from quantref.config import Int8QuantizationConfig
from quantref.equations import Equation, parse_equation
from quantref.errors import AnswerError, QuantrefError
from quantref.inputs import Array
from quantref.layers import DENSE, TIED, GPTQDense, absmax_of

U32 = 2.0**-24
SMALLEST_SUBNORMAL = 2.0**-149


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
    collector: Judging, name: str, weights: Array, axes: tuple[int, ...], requirement: str
) -> bool:
    """Judge stored codes and scales; tell whether outputs can be judged with them.  [LAY-010]"""
    codes, scale = collector.output(name), collector.output(f"{name}_scale").astype(np.float64)
    config: Int8QuantizationConfig = build(collector.case.parameters["config"])
    quantizer = absmax_of(config.weight_quantizer)
    lo, hi = quantizer.value_range
    expected = collector.expected[f"{name}_scale"].astype(np.float64)
    collector.dtype(name, requirement)
    collector.dtype(f"{name}_scale", requirement)
    collector.within(f"{name}_scale", requirement, scale - expected, 2 * ULP32 * expected)
    if not (np.isfinite(scale) & (scale > 0)).all():
        return False
    t = weights.astype(np.float64) * slices_of(scale, axes)
    q = codes.astype(np.float64)
    excess = np.maximum(np.abs(q - np.clip(t, lo, hi)) - 0.5, 0.0)
    excess = np.where((q >= lo) & (q <= hi), excess, np.inf)
    collector.within(name, requirement, excess, collector.u * 3 * np.abs(t))
    same = np.broadcast_to(slices_of(scale == expected, axes), codes.shape)
    required = collector.case.judging[f"{name}_required"] == 1
    collector.equal(name, requirement, where=same & required)
    return True


def activation_codes(x: Array, axes: tuple[int, ...], quantizer: AbsMaxQuantizer, u: float) -> Any:
    """Return the middle and the radius of the admissible codes, and the scale of each slice.

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


def products(
    case: Case, equation: Equation, codes: Array, scale: Array, quantizer: Any, u: float
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
    u : float
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
            return middle, growth(n + 4, u) * size  # [LAY-040]
        center, radius, x_scale = activation_codes(x, axes, absmax_of(quantizer), u)
        scales = np.einsum(equation.scales, x_scale.reshape(kept), scale)
        middle = np.einsum(equation.text, center, kernel) / scales
        spread = np.einsum(equation.text, radius, np.abs(kernel)) / scales
        return middle, spread + rescaling(u) * (np.abs(middle) + spread)  # [LAY-030]


def packed_products(case: Case, kernel: Array, u: float) -> tuple[Array, Array]:
    """Return outputs before the bias, and their bound, for a dequantized kernel."""
    x = case.inputs["x"].astype(np.float64)
    equation = parse_equation(case.parameters.get("equation", DENSE), x.ndim)
    middle = np.einsum(equation.text, x, kernel)
    size = np.einsum(equation.text, np.abs(x), np.abs(kernel))
    n_in = len(case.inputs["g_idx"])
    return middle, (growth(n_in + 1, u) + 2 * ULP32) * size  # [LAY-090]


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


def tolerance(middle: Array, allowed: Array, bias: Array, u: float) -> Array:
    """Return the bound on the error of outputs, including the last rounding.  [LAY-050]"""
    last = last_rounding(u) * (np.abs(middle) + allowed + np.abs(bias))
    return np.asarray(allowed + last + SMALLEST_SUBNORMAL)


def activated(case: Case, values: Array) -> Array:
    """Apply the layer's activation to values."""
    return np.maximum(values, 0.0) if case.parameters.get("activation") == "relu" else values


def judge_outputs(collector: Judging, middle: Array, allowed: Array, requirement: str) -> None:
    """Judge |values − activation(middle + bias)|, including the last rounding.  [LAY-050]"""
    values, bias = collector.output("values").astype(np.float64), bias_of(collector.case)
    collector.dtype("values", requirement)
    bound = tolerance(middle, allowed, bias, collector.u)
    collector.within(
        "values", requirement, values - activated(collector.case, middle + bias), bound
    )


def judge_reload(
    collector: Judging, again: Callable[[Any], tuple[Array, Array]] | None = None
) -> None:
    """Judge the outputs and fields from the fresh process.  [LAY-130] [LAY-140]

    `again` computes outputs and bound for another activation quantizer. If the outputs are right
    for the loaded config, the config is wrong, and not the outputs.
    """
    if not collector.case.parameters["reload"]:
        return
    values, reloaded = collector.output("values"), collector.output("reloaded")
    got, expected = collector.outputs.get("fields"), collector.expected["fields"]
    if not isinstance(got, dict):
        raise AnswerError("output 'fields', an object", type(got).__name__, collector.case.id)
    changed = [key for key, value in expected.items() if got.get(key) != value]
    wrong = values != reloaded
    index = tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.any() else None
    message = f"reloaded: {int(wrong.sum())} of {wrong.size} differ from values"
    details: dict[str, Any] = {"index": index}
    if index is not None:
        details |= {"got": str(reloaded[index]), "expected": str(values[index])}
        message += f"; at {list(index)} before {values[index]}, after {reloaded[index]}"
    config_explains = bool(changed) and again is not None and _as_configured(collector, got, again)
    same = not wrong.any() and values.dtype == reloaded.dtype
    collector.add("LAY-140" if config_explains else "LAY-130", same, message, **details)
    message = "fields: all equal after the reload"
    if changed:
        key = changed[0]
        message = f"field {key}: expected {expected[key]!r}, got {got.get(key)!r}"
    collector.add("LAY-140", not changed, message)


def _as_configured(
    collector: Judging, fields: dict[str, Any], again: Callable[[Any], tuple[Array, Array]]
) -> bool:
    """Tell whether the loaded layer's outputs are right for the loaded config."""
    given = fields.get("activation_quantizer")
    try:
        quantizer = None if given is None else AbsMaxQuantizer(**given["fields"])
    except (KeyError, QuantrefError, TypeError):
        return False
    middle, allowed = again(quantizer)
    bias = bias_of(collector.case)
    off = np.abs(collector.output("reloaded") - activated(collector.case, middle + bias))
    return bool((off <= tolerance(middle, allowed, bias, collector.u)).all())


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
    judge_reload(collector, again)


def _outputs_of(
    collector: Judging, equation: Equation, name: str
) -> Callable[[Any], tuple[Array, Array]]:
    """Return a function from activation quantizer to the outputs of the stored codes, and bound."""
    codes, scale = collector.outputs[name], collector.outputs[f"{name}_scale"].astype(np.float64)
    return lambda quantizer: products(
        collector.case, equation, codes, scale, quantizer, collector.u
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
        values = collector.output("values").astype(np.float64)
        collector.dtype("values", "LAY-060")
        bound = 2 * ULP32 * np.abs(expected) + SMALLEST_SUBNORMAL
        collector.within("values", "LAY-060", values - expected, bound)
    judge_reload(collector, again)


def dense_gptq(collector: Judging) -> None:
    """Judge Dense and EinsumDense with a packed kernel."""
    case, layer = collector.case, packed_layer(collector.case)
    kernel = layer.arranged(dequantized(case, layer.codes(), case.inputs["g_idx"]))
    judge_outputs(collector, *packed_products(case, kernel, collector.u), "LAY-090")
    judge_reload(collector)
