"""Builders of layer cases: inputs from the caller, expected values from rational arithmetic."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np

from quantcheck.corpus.draw import exact_list
from quantcheck.corpus.lay.kernel import exact_kernel
from quantcheck.corpus.lay.options import PLAIN, Options
from quantcheck.judge.precision import Precision, last_rounding, rescaling
from quantcheck.oracle import layers as exact_layers
from quantcheck.oracle.exact import nearest_float
from quantcheck.oracle.layers import Index, Numbers, numbers_of, round_up
from quantcheck.wire.arrays import dtype_of
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import build, describe
from quantcheck.wire.policies import CALLED_TWICE, COPIED, TWICE, place_of, use_of
from quantref.config import Int8QuantizationConfig
from quantref.equations import Equation, parse_equation, require_sizes
from quantref.inputs import Array
from quantref.layers import DENSE, absmax_of

INT8: dict[str, Any] = {"class": "Int8QuantizationConfig", "arguments": {}}
FORMATS = {"float32": (24, -149), "bfloat16": (8, -133), "float16": (11, -24)}
"""Digits of a float dtype, and the exponent of its smallest number."""
WEIGHT_ONLY: dict[str, Any] = {
    "class": "Int8QuantizationConfig",
    "arguments": {"activation_quantizer": None},
}


def gptq_config(bits: int, group_size: int) -> dict[str, Any]:
    """Return the description of a config for a packed kernel."""
    arguments = {"weight_bits": bits, "group_size": group_size}
    return {"class": "GPTQConfig", "arguments": arguments}


def to_array(numbers: Numbers, shape: Index, dtype: str) -> Array:
    """Return numbers as an array, fractions rounded once to a float dtype."""
    array = np.zeros(shape, dtype_of(dtype))
    digits, smallest = FORMATS.get(dtype, FORMATS["float32"])
    for index, value in numbers.items():
        if isinstance(value, Fraction):
            value = float(nearest_float(value, digits=digits, smallest=smallest))
        array[index] = value
    return array


def of_array(array: Array) -> Numbers:
    """Return an array of floats as exact numbers."""
    return numbers_of(exact_list(array))


def named_sizes(equation: str, shape: Index) -> list[int]:
    """Return the sizes of the outputs' letters, without the first axis of the outputs.

    Examples
    --------
    >>> named_sizes("...x,xy->...y", (2, 3, 5)), named_sizes("ab,bc->ac", (2, 5))
    ([5], [5])
    """
    outputs = equation.partition("->")[2]
    named = len(outputs.replace("...", ""))
    sizes = list(shape[-named:] if outputs.startswith("...") else shape[:named])
    return sizes if outputs.startswith("...") and len(shape) > named else sizes[1:]


class Weights:
    """Codes and scales of a weight array, and which codes are required."""

    def __init__(
        self,
        array: Array,
        axes: tuple[int, ...],
        config: Int8QuantizationConfig,
        options: Options = PLAIN,
    ) -> None:
        quantizer = absmax_of(config.weight_quantizer)
        lo, hi = quantizer.value_range
        epsilon = Fraction(quantizer.epsilon)
        values = of_array(array)
        self.axes, self.shape, self.variable = axes, array.shape, options.dtypes.variable
        self.kept = exact_layers.without(array.shape, axes)
        self.scale, self.codes, margins = exact_layers.abs_max(values, axes, lo, hi, epsilon)
        sizes = {i: abs(v * self.scale[exact_layers.without(i, axes)]) for i, v in values.items()}
        u, _ = options.variables
        tie = 0 if self.variable == "float32" else None  # a coarser scale moves an exact tie
        self.required = {i: int(m == tie or m > 4 * u * sizes[i]) for i, m in margins.items()}

    def outputs(self, name: str) -> dict[str, Array]:
        """Return the outputs that a layer stores."""
        return {
            name: to_array(self.codes, self.shape, "int8"),
            f"{name}_scale": to_array(self.scale, self.kept, self.variable),
        }

    def judging(self, name: str) -> dict[str, Array]:
        """Return which codes are required."""
        return {f"{name}_required": to_array(self.required, self.shape, "uint8")}


def int8_values(
    equation: Equation,
    sizes: dict[str, int],
    x: Array,
    weights: Weights,
    config: Any,
    p: Precision = PLAIN.precision,
) -> tuple[Numbers, Numbers]:
    """Return exact outputs before the bias, and their bounds in the precision of a question."""
    given, axes = of_array(x), equation.axes(equation.inputs)
    quantizer = config.activation_quantizer
    sums, magnitudes = exact_layers.contract(equation, sizes, given, weights.codes)
    scale: Numbers = {}
    if quantizer is None:
        n, u = int(np.prod([x.shape[a] for a in axes])) + 4 + p.casts, Fraction(p.u)
        allowed = {i: v * n * u / (1 - n * u) for i, v in magnitudes.items()}
    else:
        lo, hi = quantizer.value_range
        scale, codes, _ = exact_layers.abs_max(given, axes, lo, hi, Fraction(quantizer.epsilon))
        sums, _ = exact_layers.contract(equation, sizes, codes, weights.codes)
        spread = _spread(equation, sizes, given, scale, weights, (lo, hi), p)
        kappa = Fraction(rescaling(p))
        allowed = {i: spread[i] + kappa * (abs(v) + spread[i]) for i, v in sums.items()}
    values, bounds = {}, {}
    for out, total in sums.items():
        place = dict(zip(equation.outputs, out, strict=True))
        factor = weights.scale[tuple(place[c] for c in equation.kept(equation.kernel))]
        if quantizer is not None:
            factor *= scale[tuple(place[c] for c in equation.kept(equation.inputs))]
        values[out], bounds[out] = total / factor, allowed[out] / factor
    return values, bounds


def _spread(
    equation: Equation,
    sizes: dict[str, int],
    x: Numbers,
    scale: Numbers,
    weights: Weights,
    value_range: tuple[int, int],
    p: Precision,
) -> Numbers:
    """Return how far near-ties of activations may move a sum from that of the expected codes."""
    lo, hi = value_range
    axes, widths = equation.axes(equation.inputs), {}
    for index, value in x.items():
        t = value * scale[exact_layers.without(index, axes)]
        slack = (4 * Fraction(p.unit) + 3 * Fraction(p.u)) * abs(t)
        low, high = (min(max(round(v), lo), hi) for v in (t - slack, t + slack))
        widths[index] = high - low
    if not any(widths.values()):
        return dict.fromkeys(itertools.product(*(range(sizes[c]) for c in equation.outputs)), 0)
    return exact_layers.contract(equation, sizes, widths, weights.codes)[1]


def finished(
    values: Numbers,
    bounds: Numbers,
    shape: Index,
    bias: Array | None,
    activation: str | None,
    options: Options = PLAIN,
) -> tuple[Array, Array]:
    """Return outputs after bias and activation, rounded once, and their bounds rounded up."""
    omega = Fraction(last_rounding(options.precision))
    given = np.zeros((), np.float32) if bias is None else bias
    moved = exact_layers.broadcast(of_array(given), given.shape, shape)
    bounds = {i: b + omega * (abs(values[i]) + b + abs(moved[i])) for i, b in bounds.items()}
    values = {i: v + moved[i] for i, v in values.items()}
    if activation == "relu":
        values = {i: max(v, Fraction(0)) for i, v in values.items()}
    short = np.zeros(shape)
    for index, bound in bounds.items():
        short[index] = round_up(bound)
    exact = {i: Fraction(v) for i, v in values.items()}
    return to_array(exact, shape, options.dtypes.compute), short


def case_of(
    identity: str,
    title: str,
    operation: str,
    requirements: tuple[str, ...],
    parameters: dict[str, Any],
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    judging: dict[str, Any],
) -> Case:
    """Return the case; the outputs expected of a copy are those of the layer."""
    fields = {"fields": describe(build(parameters["config"]))["fields"]}
    if parameters["reload"]:
        outputs = {**outputs, "reloaded": outputs["values"], **fields}
    if "calibrated_with" in parameters:
        outputs = {**outputs, "calibrated": True}
    if place_of(parameters) == CALLED_TWICE:
        outputs = {**outputs, "second": outputs["values"]}
    if use_of(parameters) in (*COPIED, TWICE):
        outputs = {**outputs, "again": outputs["values"]}
    if use_of(parameters) in COPIED:
        outputs = {**outputs, **fields}
    given = {name: value for name, value in inputs.items() if value is not None}
    return Case(
        f"lay-{identity}",
        "lay",
        title,
        operation,
        tuple(dict.fromkeys(requirements)),
        parameters,
        given,
        {"outputs": outputs},
        judging,
    )


def _of_the_end(bias: Array | None, activation: str | None) -> tuple[str, ...]:
    """Return the requirements on bias and activation, if the case has them."""
    return () if bias is None and activation is None else ("LAY-050",)


def lay_int8_case(
    identity: str,
    title: str,
    x: Array,
    kernel: Array,
    bias: Array | None,
    *requirements: str,
    equation: str | None = None,
    bias_axes: str | None = None,
    activation: str | None = None,
    config: dict[str, Any] = INT8,
    reload: bool = False,
    options: Options = PLAIN,
) -> Case:
    """Return the case of an int8 Dense, or with an equation EinsumDense.

    Parameters
    ----------
    x : (...) float32 array
    kernel : float32 array of the shape that the equation says; (n_in, n_out) for Dense
    bias : float32 array that broadcasts to the outputs, or None
    *requirements : str
        The topic, and further requirements besides those of every int8 layer.
    config : dict
        Description of an Int8QuantizationConfig.
    """
    parsed = parse_equation(equation or DENSE, x.ndim)
    sizes = require_sizes(parsed, x.shape, kernel.shape)
    made = build(config)
    weights = Weights(kernel, parsed.axes(parsed.kernel), made, options)
    shape = tuple(sizes[c] for c in parsed.outputs)
    values, bounds = int8_values(parsed, sizes, x, weights, made, options.precision)
    expected, bound = finished(values, bounds, shape, bias, activation, options)
    parameters: dict[str, Any] = {"config": config, "activation": activation, "reload": reload}
    parameters |= options.parameters()
    if equation is not None:
        parameters |= {"equation": equation, "bias_axes": bias_axes}
        parameters["output_shape"] = named_sizes(equation, shape)
    spoken = (
        *requirements,
        *options.requirements,
        "LAY-010",
        "LAY-160",
        "LAY-030" if made.activation_quantizer else "LAY-040",
    )
    return case_of(
        identity,
        title,
        "dense_int8" if equation is None else "einsum_dense_int8",
        (*spoken, *_of_the_end(bias, activation)),
        parameters,
        {"x": x, "kernel": kernel, "bias": bias},
        {"values": expected, **weights.outputs("kernel")},
        {"bound": bound, **weights.judging("kernel")},
    )


def lay_gptq_case(
    identity: str,
    title: str,
    x: Array,
    packed: Array,
    scale: Array,
    zero_point: Array,
    g_idx: Array,
    bias: Array | None,
    *requirements: str,
    kernel_shape: tuple[int, ...],
    bits: int = 4,
    group_size: int = -1,
    equation: str | None = None,
    bias_axes: str | None = None,
    activation: str | None = None,
    reload: bool = False,
    config: dict[str, Any] | None = None,
    options: Options = PLAIN,
) -> Case:
    """Return the case of a packed GPTQ kernel in Dense, or with an equation in EinsumDense.

    Parameters
    ----------
    x : (...) float32 array
    packed : (ceil(n_out / codes per byte), n_in) uint8 array
    scale, zero_point : (n_out, n_groups) float32, uint8 arrays
    g_idx : (n_in,) int32 array
    config : dict, optional
        Description of a GPTQConfig of these bits and groups, if it names other arguments.
    """
    parsed = parse_equation(equation or DENSE, x.ndim)
    sizes = require_sizes(parsed, x.shape, kernel_shape)
    shape = tuple(sizes[c] for c in parsed.outputs)
    kernel = exact_kernel(parsed, kernel_shape, packed, scale, zero_point, g_idx, bits)
    values, magnitudes = exact_layers.contract(parsed, sizes, of_array(x), kernel)
    p = options.precision
    n, u = len(g_idx) + 1 + p.casts, Fraction(p.u)
    factor = n * u / (1 - n * u) + 4 * Fraction(p.unit)
    bounds = {i: factor * v for i, v in magnitudes.items()}
    expected, bound = finished(values, bounds, shape, bias, activation, options)
    parameters: dict[str, Any] = {
        "config": gptq_config(bits, group_size) if config is None else config,
        "kernel_shape": list(kernel_shape),
        "activation": activation,
        "reload": reload,
        **options.parameters(),
    }
    if equation is not None:
        parameters |= {"equation": equation, "bias_axes": bias_axes}
        parameters["output_shape"] = named_sizes(equation, shape)
    layout = "LAY-180" if bits == 4 else "LAY-190"
    spoken = (
        *requirements,
        *options.requirements,
        "LAY-090",
        layout,
        *([] if equation is None else ["LAY-110"]),
    )
    if (np.diff(g_idx) < 0).any():
        spoken += ("LAY-120",)
    return case_of(
        identity,
        title,
        "dense_gptq" if equation is None else "einsum_dense_gptq",
        (*spoken, *_of_the_end(bias, activation)),
        parameters,
        {
            "x": x,
            "packed": packed,
            "scale": scale,
            "zero_point": zero_point,
            "g_idx": g_idx,
            "bias": bias,
        },
        {"values": expected},
        {"bound": bound},
    )
