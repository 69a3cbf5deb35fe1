"""AbsMax for the layers of a model: a scale for each output, or each row of an embedding."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.absmax import abs_max_dequantize
from quantref.certificate import U32
from quantref.config import Int8QuantizationConfig
from quantref.equations import parse_equation
from quantref.errors import EquationError, ModelError
from quantref.geometry import Geometry
from quantref.inputs import Array
from quantref.keras.filters import Filters, require_filters, selected
from quantref.keras.layers import able_layers, is_linear, require_plain, to_numpy
from quantref.layers import DENSE, TIED, absmax_of, quantize_weights
from quantref.models.figures import Figures
from quantref.models.record import LayerRecord


@dataclass(frozen=True, eq=False)
class Int8Answer:
    """The codes of one matrix.

    Attributes
    ----------
    codes : (n_out, n_in) int8 array
    scale : (n_out,) float32 array
        A multiplier: weights ≈ codes / scale.
    figures : Figures
        The loss is Σ (w − ŵ)², as there is no calibration; its bound is Σ (1 / 2 scale)².
    """

    codes: NDArray[np.int8]
    scale: NDArray[np.float32]
    figures: Figures = field(default_factory=Figures)

    def dequantized(self) -> NDArray[np.float32]:
        """Return codes / scale, (n_out, n_in).  [ABS-080]"""
        return np.asarray(abs_max_dequantize(self.codes, self.scale[:, None]), np.float32)


@dataclass(frozen=True, eq=False)
class Place:
    """A variable of a layer that AbsMax quantizes.

    Attributes
    ----------
    name : str
    variable : keras.Variable
    geometry : Geometry
    """

    name: str
    variable: Any
    geometry: Geometry


def places_of(layer: Any, name: str) -> list[Place]:
    """Return the variables of a layer to quantize: kernel, or embeddings and reverse embeddings."""
    if is_linear(layer):
        equation = getattr(layer, "equation", DENSE)
        return [Place(name, layer.kernel, Geometry(equation, tuple(layer.kernel.shape)))]
    rows = layer.embeddings
    found = [Place(name, rows, Geometry(TIED, tuple(rows.shape)))]
    if getattr(layer, "tie_weights", True) is False:
        reverse = layer.reverse_embeddings
        found.append(Place(f"{name}/reverse", reverse, Geometry(DENSE, tuple(reverse.shape))))
    return found


def places_in(model: Any, filters: Filters) -> tuple[list[Place], list[tuple[str, str]]]:
    """Return the variables of a model to quantize, and (name, reason) of the layers left out.

    Raises
    ------
    ModelError
        There is none, or a layer is quantized already or not built.
    """
    if not getattr(model, "built", False):
        raise ModelError("a model that is built", "no weights yet: call it once", "")
    able = able_layers(model)
    if not able:
        raise ModelError("a model with Dense, EinsumDense or Embedding layers", "none", "")
    require_filters(filters, able.keys(), able.values())
    found: list[Place] = []
    skipped: list[tuple[str, str]] = []
    for name, layer in able.items():
        if not selected(filters, layer, name):
            skipped.append((name, "not selected"))
            continue
        require_plain(layer, name)
        try:
            found += places_of(layer, name)
        except EquationError as error:
            skipped.append((name, error.got))
    return found, skipped


def quantize_int8(
    model: Any, config: Int8QuantizationConfig, filters: Filters
) -> tuple[list[LayerRecord], dict[str, Int8Answer], list[tuple[str, str]]]:
    """Quantize every Dense, EinsumDense, Embedding and ReversibleEmbedding.  [CAL-150]

    Returns
    -------
    records, answers, skipped
        As in `Quantized`.

    Raises
    ------
    ModelError
        As `places_in`.
    """
    todo, skipped = places_in(model, filters)
    records, answers = [], {}
    for place in todo:
        answer = _answer(place, config)
        answers[place.name] = answer
        n_out, n_in = answer.codes.shape
        records.append(LayerRecord(place.name, "", n_out, n_in, 0, 8, 1, answer.figures, None))
    for place in todo:
        kernel = place.geometry.kernel(answers[place.name].dequantized())
        place.variable.assign(np.ascontiguousarray(kernel))
    return records, answers, skipped


def _answer(place: Place, config: Int8QuantizationConfig) -> Int8Answer:
    start = time.perf_counter()
    kernel, geometry = to_numpy(place.variable).astype(np.float32), place.geometry
    codes, scale = quantize_weights(kernel, geometry.inner, config)
    answer = Int8Answer(np.ascontiguousarray(geometry.matrix(codes)), scale.reshape(-1))
    took = time.perf_counter() - start
    figures = _figures(geometry.matrix(kernel), answer, config, took)
    return Int8Answer(answer.codes, answer.scale, figures)


def _figures(
    weights: Array, answer: Int8Answer, config: Int8QuantizationConfig, seconds: float
) -> Figures:
    """Check that every weight is within half a step of its code.  [ABS-090]"""
    quantizer = absmax_of(config.weight_quantizer)
    lo, hi = quantizer.value_range
    codes, scale = answer.codes.astype(np.float64), answer.scale.astype(np.float64)[:, None]
    clipped = (codes <= lo) | (codes >= hi)
    product = weights.astype(np.float64) * scale
    steps = product - codes
    allowed = 0.5 + 3 * U32 * np.abs(product)
    inside = ~clipped if lo > -hi else np.ones_like(clipped)
    ratio = float((np.abs(steps) / allowed)[inside].max(initial=0.0))
    failures = () if ratio <= 1 else (f"half step: {ratio:.6g} of the bound [ABS-090]",)
    loss = float(((steps / scale) ** 2).sum())
    return Figures(
        loss=loss,
        bound=float(((0.5 / scale) ** 2).sum()) * codes.shape[1],
        plain_loss=loss,  # AbsMax rounds each weight by itself
        codes=codes.size,
        clipped=int((np.abs(steps) > allowed)[clipped].sum()),
        failures=failures,
        nearest=ratio,
        seconds=seconds,
    )


def certify_int8(
    original: Any, quantized: Any, config: Int8QuantizationConfig, filters: Filters
) -> tuple[list[LayerRecord], list[tuple[str, str]]]:
    """Judge the int8 layers of a model against the float ones.  [ABS-010] [ABS-090]

    Parameters
    ----------
    original, quantized : keras.Model
        Two models with the same layers. The second has int8 layers of Keras or dequantized float
        weights. In the latter case the codes are computed with the scales of the original weights.
    config : Int8QuantizationConfig
    filters : see `quantref.keras.filters.selected`

    Returns
    -------
    records, skipped

    Raises
    ------
    ModelError
        The models have different layers, or a layer is in another mode.
    """
    able, others = able_layers(original), able_layers(quantized)
    if able.keys() != others.keys():
        got = ", ".join(sorted(able.keys() ^ others.keys())[:5])
        raise ModelError("two models with the same layers", f"in one of them alone: {got}", "")
    require_filters(filters, able.keys(), able.values())
    records: list[LayerRecord] = []
    skipped: list[tuple[str, str]] = []
    for name, layer in able.items():
        if not selected(filters, layer, name):
            skipped.append((name, "not selected"))
            continue
        for place, values, scale in _variables_to_judge(layer, others[name], name):
            weights = place.geometry.matrix(to_numpy(place.variable).astype(np.float32))
            if scale is None and np.array_equal(values, weights):
                skipped.append((place.name, "float weights, as in the original"))
                continue
            expected = _answer(place, config)
            answer, failures = _answer_to_judge(expected, values, scale)
            figures = _figures(weights, answer, config, 0.0)
            figures = replace(figures, failures=(*failures, *figures.failures))
            n_out, n_in = weights.shape
            records.append(LayerRecord(place.name, "", n_out, n_in, 0, 8, 1, figures, None))
    if not records:
        raise ModelError("a model with quantized layers", "the original's weights in all", "")
    return records, skipped


def _variables_to_judge(
    layer: Any, other: Any, name: str
) -> Iterator[tuple[Place, Array, NDArray[np.float32] | None]]:
    """Yield each variable to quantize, the other model's matrix, and its scales if it has codes."""
    mode = getattr(other, "quantization_mode", None)
    if mode not in (None, "int8"):
        raise ModelError("layers of int8 or with float weights", f"{name} in mode {mode}", "")
    for place in places_of(layer, name):
        if is_linear(layer):
            stored, scale = other.kernel if mode is None else other._kernel, "kernel_scale"  # noqa: SLF001
        elif place.name == name:
            stored = other.embeddings if mode is None else other._embeddings  # noqa: SLF001
            scale = "embeddings_scale"
        else:
            stored, scale = other.reverse_embeddings, "reverse_embeddings_scale"
        values = place.geometry.matrix(to_numpy(stored))
        if mode is None:
            yield place, values, None
            continue
        kept = to_numpy(getattr(other, scale))
        if is_linear(layer):
            kept = from_stored(layer, kept)
        yield place, values, np.ascontiguousarray(kept.reshape(-1), np.float32)


def from_stored(layer: Any, scale: Array) -> Array:
    """Return the stored scales of an int8 layer, which are in output order, in kernel order."""
    kept, stored, sizes = _kept_axes(layer)
    return scale.reshape([sizes[c] for c in stored]).transpose([stored.index(c) for c in kept])


def to_stored(layer: Any, scale: Array) -> Array:
    """Return scales in the order in which the layer stores them: the inverse of `from_stored`."""
    kept, stored, sizes = _kept_axes(layer)
    laid = scale.reshape([sizes[c] for c in kept]).transpose([kept.index(c) for c in stored])
    return np.ascontiguousarray(laid).reshape(tuple(layer.kernel_scale.shape))


def _kept_axes(layer: Any) -> tuple[str, str, dict[str, int]]:
    """Return the letters of the kept axes in kernel order and in output order, and their sizes."""
    equation = parse_equation(getattr(layer, "equation", DENSE))
    kept = equation.kept(equation.kernel)
    stored = "".join(c for c in equation.outputs if c in kept)
    return kept, stored, dict(zip(equation.kernel, layer.kernel.shape, strict=True))


def _answer_to_judge(
    expected: Int8Answer, values: Array, scale: NDArray[np.float32] | None
) -> tuple[Int8Answer, tuple[str, ...]]:
    """Return the answer of another quantizer, and messages about wrong scales or a wrong grid."""
    failures: tuple[str, ...] = ()
    if scale is not None:
        off = np.abs(scale / expected.scale - 1)
        if not (off <= 2.0**-21).all():
            i = int(np.argmax(off))
            failures = (f"scale: [{i}] {scale[i]:.9g}, expected {expected.scale[i]:.9g} [ABS-010]",)
        return Int8Answer(values.astype(np.int8), scale), failures
    steps = values.astype(np.float64) * expected.scale.astype(np.float64)[:, None]
    codes = np.rint(steps)
    wrong = np.abs(steps - codes) > 2.0**-20 * (1 + np.abs(steps))
    if wrong.any():
        i, j = (int(k) for k in np.argwhere(wrong)[0])
        count = f"{int(wrong.sum())} of {wrong.size}"
        failures = (f"grid: {count} weights are on none of 8 bits, first [{i}, {j}] [ABS-010]",)
    codes = np.clip(codes, -128, 127).astype(np.int8)
    return Int8Answer(codes, expected.scale), failures
