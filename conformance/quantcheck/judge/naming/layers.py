"""Finds the requirement that a wrong answer of a layer breaks (SPEC.md, sections 9 and 12).

Wrong outputs are compared with the outputs of a changed layer: slices along other axes, the bias
added at another point, another order of nibbles, axes or columns. If they agree, this change is the
mistake. Failures that no change explains count for the outputs themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from quantcheck.judge.layers import (
    activated,
    activation_codes,
    bias_of,
    dequantized,
    packed_layer,
    packed_products,
    products,
    slices_of,
    tolerance,
)
from quantcheck.judge.precision import Precision, precision_of, rescaling
from quantcheck.judge.refusals import layout_of
from quantcheck.oracle.bounds import ULP32
from quantcheck.spec.requirements import choices
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import build
from quantref.absmax import AbsMaxQuantizer
from quantref.equations import Equation, parse_equation
from quantref.inputs import Array
from quantref.layers import DENSE, absmax_of

U = 2.0**-24
Outputs = dict[str, Any]
BeforeBias = tuple[Array, Array]  # outputs, and their bound


def single(case: Case) -> Precision:
    """Return the precision of outputs that a target of single precision gives."""
    return precision_of(case.parameters, U)


def _fits(case: Case, outputs: Outputs, expected: Array, made: BeforeBias) -> bool:
    """Tell whether outputs equal `expected` within their bound."""
    off = np.abs(outputs["values"].astype(np.float64) - expected)
    return bool((off <= tolerance(*made, bias_of(case), single(case))).all())


def _explain(
    case: Case, outputs: Outputs, mistakes: dict[str, Callable[[], Iterator[BeforeBias]]]
) -> list[str]:
    """Return the first requirement with a mistake whose outputs, after the bias, agree."""
    for requirement, variants in mistakes.items():
        covered = requirement in case.requirements
        if covered and any(_right(case, outputs, made) for made in variants()):
            return [requirement]
    return []


def _right(case: Case, outputs: Outputs, made: BeforeBias) -> bool:
    """Tell whether the outputs are right, so that another part of the answer is wrong."""
    return _fits(case, outputs, activated(case, made[0] + bias_of(case)), made)


def _finished_otherwise(case: Case, outputs: Outputs, made: BeforeBias, scales: Array) -> bool:
    """Tell whether bias or activation are left out or applied in another order.  [LAY-050]"""
    if "LAY-050" not in case.requirements:
        return False
    middle, bias = made[0], bias_of(case)
    orders = (
        activated(case, middle + bias / scales),  # before the division
        activated(case, middle) + bias,
        activated(case, middle),
        middle + bias,
    )
    return any(_fits(case, outputs, expected, made) for expected in orders)


# int8


def int8(case: Case, outputs: Outputs) -> list[str]:
    """Explain an int8 layer: slices along other axes, or the bias added at another point."""
    scale = outputs["kernel_scale"].astype(np.float64)
    if not (np.isfinite(scale) & (scale > 0)).all():
        return []
    config = build(case.parameters["config"])
    weights = absmax_of(config.weight_quantizer)
    x, quantizer = case.inputs["x"], config.activation_quantizer
    equation = parse_equation(case.parameters.get("equation", DENSE), x.ndim)
    axes = equation.axes(equation.kernel)
    if _of_other_slices(case, outputs["kernel"].astype(np.float64), scale, axes, weights):
        return ["LAY-160"]
    made = products(case, equation, outputs["kernel"], scale, quantizer, single(case))
    if _right(case, outputs, made):
        return []
    if _finished_otherwise(case, outputs, made, _divisors(case, equation, scale, quantizer)):
        return ["LAY-050"]
    # Of which axis a stored one counts is a choice; a question about it names that first.
    name = "LAY-170" if case.requirements[0] == "LAY-170" else "LAY-160"
    mistakes = {name: lambda: _other_axes(case, outputs, equation, quantizer)}
    return _explain(case, outputs, mistakes)


def _divisors(case: Case, equation: Equation, scale: Array, quantizer: Any) -> Array:
    """Return the divisors of the sums, an array like the outputs."""
    x, axes = case.inputs["x"], equation.axes(equation.inputs)
    kept = np.ones(np.delete(x.shape, axes))
    if quantizer is not None:
        *_, x_scale = activation_codes(x, axes, absmax_of(quantizer), single(case))
        kept = x_scale.reshape(kept.shape)
    return np.asarray(np.einsum(equation.scales, kept, scale))


def _choices(ndim: int) -> Iterator[tuple[int, ...]]:
    """Yield every choice of axes along which slices may lie."""
    for count in range(1, ndim + 1):
        yield from itertools.combinations(range(ndim), count)


def _of_other_slices(
    case: Case, codes: Array, scale: Array, axes: tuple[int, ...], quantizer: AbsMaxQuantizer
) -> bool:
    """Tell whether the kernel's codes or scales are those of slices along other axes.  [LAY-160]"""
    weights, (lo, hi) = case.inputs["kernel"].astype(np.float64), quantizer.value_range

    def coded(scales: Array) -> bool:
        t = np.clip(weights * scales, lo, hi)
        return bool((np.abs(codes - t) <= 0.5 + 4 * ULP32 * np.abs(t)).all())

    expected = case.expected["outputs"]["kernel_scale"].astype(np.float64)
    consistent = coded(slices_of(scale, axes))
    if consistent and (np.abs(scale - expected) <= 2 * ULP32 * expected).all():
        return False
    for choice in _choices(weights.ndim):
        others = hi / (np.abs(weights).max(axis=choice, keepdims=True) + quantizer.epsilon)
        off = np.abs(scale.reshape(-1, 1) - others.ravel())
        among = (off <= 4 * ULP32 * others.ravel()).any(axis=1).all()
        if choice != axes and among and (consistent or coded(others)):
            return True
    return False


def _other_axes(
    case: Case, outputs: Outputs, equation: Equation, quantizer: Any
) -> Iterator[BeforeBias]:
    """Yield outputs for activations quantized in slices along other axes.  [LAY-160]"""
    if quantizer is None:
        return
    x, axes = case.inputs["x"], equation.axes(equation.inputs)
    kernel, scale = outputs["kernel"].astype(np.float64), outputs["kernel_scale"].astype(np.float64)
    factors = _divisors(case, equation, scale, None)
    for choice in _choices(x.ndim):
        codes, radius, slices = activation_codes(x, choice, absmax_of(quantizer), single(case))
        given = np.broadcast_to(slices, x.shape)
        largest, smallest = (f(given, axis=axes, keepdims=True) for f in (np.max, np.min))
        for each in (given, largest, smallest):
            middle = np.einsum(equation.text, codes / each, kernel) / factors
            spread = np.einsum(equation.text, radius / each, np.abs(kernel)) / factors
            yield middle, spread + rescaling(single(case)) * (np.abs(middle) + spread)


# Packed kernels


def packed(case: Case, outputs: Outputs) -> list[str]:
    """Explain a packed layer: nibbles, columns or axes in another order."""
    layer, g_idx = packed_layer(case), case.inputs["g_idx"]
    codes = layer.codes()

    def made(
        codes: Array = codes, g_idx: Array = g_idx, arranged: Any = layer.arranged
    ) -> BeforeBias:
        return packed_products(case, arranged(dequantized(case, codes, g_idx)), single(case))

    if _right(case, outputs, made()):
        return []
    if _finished_otherwise(case, outputs, made(), np.ones(())):
        return ["LAY-050"]
    layout = layout_of(case)
    mistakes: dict[str, Callable[[], Iterator[BeforeBias]]] = {
        layout: lambda: (made(codes=other) for other in _other_codes(case, codes)),
        "LAY-110": lambda: (
            made(arranged=turned) for turned in _other_axis_orders(layer.kernel_shape)
        ),
        "LAY-120": lambda: (made(g_idx=other) for other in _other_groups(case)),
    }
    found = _explain(case, outputs, mistakes)
    return found or ([layout] if layout in choices() else [])


def _other_codes(case: Case, codes: Array) -> Iterator[Array]:
    """Yield codes with nibbles swapped, with padding in front, or with signs.  [LAY-180]"""
    bits = case.parameters["config"]["arguments"].get("weight_bits", 4)
    yield np.where(codes >= 2 ** (bits - 1), codes.astype(np.int64) - 2**bits, codes)
    if bits in (3, 8):
        return
    per_byte, bytes_ = 8 // bits, case.inputs["packed"]
    fields = [(bytes_ >> (bits * k)) & (2**bits - 1) for k in range(per_byte)]
    for order in (fields, fields[::-1]):
        rows = np.stack(order, axis=1).reshape(-1, bytes_.shape[1])
        yield rows[: len(codes)]
        yield rows[len(rows) - len(codes) :]


def _other_axis_orders(shape: tuple[int, ...]) -> Iterator[Callable[[Array], Array]]:
    """Yield functions that read a kernel with another order of axes.  [LAY-110]"""
    for order in itertools.permutations(range(len(shape))):
        yield partial(_read, order=order, shape=shape)
        yield partial(_read, order=order, shape=shape, rows_first=True)


def _read(
    weights: Array, *, order: tuple[int, ...], shape: tuple[int, ...], rows_first: bool = False
) -> Array:
    """Return weights (n_out, n_in) as a kernel, as if its axes had been flattened in `order`."""
    flat = weights if rows_first else weights.T
    return flat.reshape([shape[k] for k in order]).transpose(np.argsort(order))


def _other_groups(case: Case) -> Iterator[Array]:
    """Yield group indices of consecutive columns, ascending or descending.  [LAY-120]"""
    runs = np.sort(case.inputs["g_idx"])
    yield runs
    yield runs[::-1]
