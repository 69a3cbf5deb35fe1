"""AbsMax for the layers of a model: a scale for each output, or each row of an embedding."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.absmax import abs_max_dequantize
from quantref.arrays import Array
from quantref.config import Int8QuantizationConfig
from quantref.errors import EquationError, ModelError
from quantref.evidence import U32
from quantref.geometry import Geometry
from quantref.keras.filters import Filters, require_filters, selected
from quantref.keras.layers import is_embedding, is_linear, leaves, names_of, require_plain, to_numpy
from quantref.layers import DENSE, TIED, quantize_weights, require_absmax
from quantref.pipeline.record import LayerRecord
from quantref.pipeline.task import Figures


@dataclass(frozen=True, eq=False)
class Int8Answer:
    """The codes of one matrix.

    Attributes
    ----------
    codes : (n_out, n_in) int8 array
    scale : (n_out,) float32 array
        A multiplier: weights ≈ codes / scale.
    figures : Figures
        Loss: Σ (w − ŵ)², without calibration; bound: Σ (1 / 2 scale)².
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
    """Return what is quantized of a layer: its kernel; its rows, and the kernel of the reverse."""
    if is_linear(layer):
        equation = getattr(layer, "equation", DENSE)
        return [Place(name, layer.kernel, Geometry(equation, tuple(layer.kernel.shape)))]
    rows = layer.embeddings
    found = [Place(name, rows, Geometry(TIED, tuple(rows.shape)))]
    if getattr(layer, "tie_weights", True) is False:
        reverse = layer.reverse_embeddings
        found.append(Place(f"{name}/reverse", reverse, Geometry(DENSE, tuple(reverse.shape))))
    return found


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
        There is none; one is quantized already, or not built.
    """
    if not getattr(model, "built", False):
        raise ModelError("a model that is built", "no weights yet: call it once", "")
    names = names_of(model)
    able = [layer for layer in leaves(model) if is_linear(layer) or is_embedding(layer)]
    if not able:
        raise ModelError("a model with Dense, EinsumDense or Embedding layers", "none", "")
    require_filters(filters, (names[id(layer)] for layer in able), able)
    todo: list[Place] = []
    skipped: list[tuple[str, str]] = []
    for layer in able:
        name = names[id(layer)]
        if not selected(filters, layer, name):
            skipped.append((name, "not selected"))
            continue
        require_plain(layer, name)
        try:
            todo += places_of(layer, name)
        except EquationError as error:
            skipped.append((name, error.got))
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
    quantizer = require_absmax(config.weight_quantizer)
    lo, hi = quantizer.value_range
    codes, scale = answer.codes.astype(np.float64), answer.scale.astype(np.float64)[:, None]
    clipped = (codes <= lo) | (codes >= hi)
    product = weights.astype(np.float64) * scale
    steps = product - codes
    allowed = 0.5 + 3 * U32 * np.abs(product)
    inside = ~clipped if lo > -hi else np.ones_like(clipped)
    ratio = float((np.abs(steps) / allowed)[inside].max(initial=0.0))
    failures = () if ratio <= 1 else (f"half step: {ratio:.6g} of the bound [ABS-090]",)
    return Figures(
        loss=float(((steps / scale) ** 2).sum()),
        bound=float(((0.5 / scale) ** 2).sum()) * codes.shape[1],
        plain_loss=float(((steps / scale) ** 2).sum()),
        codes=codes.size,
        clipped=int((np.abs(steps) > allowed)[clipped].sum()),
        failures=failures,
        nearest=ratio,
        seconds=seconds,
    )
