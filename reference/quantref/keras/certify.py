"""Judges a model that any program has quantized, layer by layer."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from quantref.certificate import U32
from quantref.config import GPTQConfig, Int8QuantizationConfig
from quantref.errors import ModelError
from quantref.formats.codes import LayerCodes
from quantref.geometry import Geometry
from quantref.inputs import Array
from quantref.keras.filters import Filters, selected
from quantref.keras.int8 import certify_int8
from quantref.keras.layers import is_linear, leaves, names_of, to_numpy
from quantref.keras.quantize import (
    DEFAULT_BATCH_SIZE,
    config_of,
    environment,
    restored_on_failure,
    run_blocks,
)
from quantref.keras.stored import answer_of, is_calibrated
from quantref.layers import DENSE
from quantref.models import Listener, Mapper, Report, Settings
from quantref.models.answer import Answer


def certify(
    original: Any,
    quantized: Any,
    config: Any,
    *,
    filters: Filters = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    true_sequential: bool = True,
    unit_roundoff: float = U32,
    factor_roundoff: float | None = None,
    mapper: Mapper | None = None,
    listener: Listener | None = None,
) -> Report:
    """Certify each layer of a quantized model against the float one.

    Teacher forcing: the inputs of each layer are computed with the quantized layers before it, as
    in a correct calibration.

    Parameters
    ----------
    original : keras.Model
        With float weights. They are changed during the call and restored at its end.
    quantized : keras.Model, or dict of str to Answer or LayerCodes
        A model with the same layers, which are GPTQ layers of Keras or have dequantized float
        weights. Or codes by the names of layers, as `quantize` or
        `quantref.formats.codes.read_codes` returns them.
    config : GPTQConfig or Int8QuantizationConfig
        The config of the quantization, of quantref or of Keras. A GPTQConfig needs its dataset.
    filters : str, sequence of str, callable or None
    batch_size : int, default 8
    true_sequential : bool, default True
        How the model was calibrated, as in `quantize`. The documentation of Keras has False.
    unit_roundoff : float, default 2^-24
    factor_roundoff : float, optional
        Of the arithmetic that quantized the model; see `quantref.certify`.
    mapper : Mapper, optional
    listener : Listener, optional

    Returns
    -------
    Report
        A layer whose weights are only rounded has the verdict "plain rounding". A layer of which
        rounding errors decide too little has the verdict "weak" (CERT-100).

    Raises
    ------
    ModelError
        The models have different layers, or no layer of the second is quantized.
    QuantrefError
        As `quantize`.
    """
    own_config = config_of(config)
    if isinstance(own_config, Int8QuantizationConfig):
        start = time.perf_counter()
        records, skipped_too = certify_int8(original, quantized, own_config, filters)
        fields = {"mode": "int8", **own_config.get_config()}
        seconds = {"total": time.perf_counter() - start}
        return Report(tuple(records), fields, seconds, tuple(skipped_too), environment())
    answers, same = _answers(original, quantized, own_config)
    if not answers:
        raise ModelError("a model with quantized layers", "the original's weights in all", "")

    def chosen(layer: Any) -> bool:
        return names[id(layer)] in answers and selected(filters, layer, names[id(layer)])

    names = names_of(original)
    with restored_on_failure(original, always=True):
        _, report = run_blocks(
            original,
            Settings(
                own_config,
                true_sequential=true_sequential,
                unit_roundoff=unit_roundoff,
                factor_roundoff=factor_roundoff,
                to_judge=answers.__getitem__,
            ),
            filters=chosen,
            batch_size=batch_size,
            mapper=mapper,
            listener=listener,
        )
    skipped = tuple(
        (name, "float weights, as in the original" if name in same else why)
        for name, why in report.skipped
    )
    return Report(report.layers, report.settings, report.seconds, skipped, report.about)


def _answers(
    original: Any, quantized: Any, config: GPTQConfig
) -> tuple[dict[str, Answer | Array], set[str]]:
    """Return the answer of each quantized layer, and the names of the other layers."""
    names = names_of(original)
    floats = {names[id(x)]: x for x in leaves(original) if is_linear(x)}
    if isinstance(quantized, dict):
        unknown = sorted(quantized.keys() - floats.keys())
        if unknown:
            got = f"{', '.join(unknown[:5])} as well as {', '.join(floats)}"
            raise ModelError("codes of layers of the original", got, "")
        read = {name: _of_codes(name, codes) for name, codes in quantized.items()}
        return {**read}, floats.keys() - quantized.keys()
    other = names_of(quantized)
    layers = {other[id(x)]: x for x in leaves(quantized) if is_linear(x)}
    if layers.keys() != floats.keys():
        got = ", ".join(sorted(layers.keys() ^ floats.keys())[:5])
        raise ModelError("two models with the same layers", f"in one of them alone: {got}", "")
    found: dict[str, Answer | Array] = {}
    same = set()
    for name, layer in layers.items():
        shape = tuple(floats[name].kernel.shape)
        geometry = Geometry(getattr(floats[name], "equation", DENSE), shape)
        if getattr(layer, "quantization_mode", None) == "gptq":
            if not is_calibrated(layer):
                same.add(name)  # GPTQ did not quantize it; it computes with its float kernel
                continue
            found[name] = answer_of(layer, name, geometry, config.weight_bits)
            continue
        if getattr(layer, "quantization_mode", None) is not None:
            got = f"{name} in mode {layer.quantization_mode}"
            raise ModelError("layers of GPTQ or with float weights", got, "")
        kernel = to_numpy(layer.kernel)
        if np.array_equal(kernel, to_numpy(floats[name].kernel)):
            same.add(name)
        else:
            found[name] = np.ascontiguousarray(geometry.matrix(kernel))
    return found, same


def _of_codes(name: str, codes: Answer | LayerCodes) -> Answer:
    """Return codes of GPTQ as an answer."""
    if isinstance(codes, Answer):
        return codes
    if codes.zero_point is None or codes.g_idx is None:
        raise ModelError(f"codes of GPTQ for layer {name}", "no zero-points", "")
    return Answer(codes.codes, codes.scale, codes.zero_point, codes.g_idx)
