"""Section CAL: drawn token streams, windows of every count and length."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from quantcheck.corpus.cal.models import FULL as MODEL
from quantcheck.corpus.cal.models import model_gptq_case, model_int8_case, random_model
from quantcheck.corpus.cal.windows import FULL, windows_case
from quantcheck.corpus.draw import refused
from quantcheck.properties import Sizes, single
from quantcheck.properties.crossed.drawn import CALIBRATED
from quantcheck.properties.strategies import Draw, grids
from quantcheck.wire.cases import Case
from quantref.inputs import Array


@st.composite
def _counts(draw: Draw) -> tuple[int, int, int]:
    """Draw the number of windows, their length, and enough tokens."""
    count, length = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    return count, length, count * length + draw(st.integers(0, 40))


def _distinct(keys: Array) -> Array:
    return np.argsort(keys, kind="stable").astype(np.int32)


@st.composite
def _placed(draw: Draw, _: Sizes) -> Case:
    count, length, size = draw(_counts())
    tokens = _distinct(draw(grids(size)))
    title = f"{count} windows of {length} in {size} generated tokens"
    return windows_case("drawn", title, [tokens], num_samples=count, sequence_length=length)


@st.composite
def _pieces(draw: Draw, _: Sizes) -> Case:
    """Draw a stream in pieces of several sizes, ranks and dtypes."""
    count, length, size = draw(_counts())
    tokens = _distinct(draw(grids(size)))
    cuts = sorted(draw(st.sets(st.integers(0, size), max_size=4)))
    pieces = [
        piece.astype(draw(st.sampled_from(("int32", "int64", "uint8"))))
        for piece in np.split(tokens, cuts)
    ]
    shaped = [p.reshape(2, -1) if p.size % 2 == 0 and p.size else p for p in pieces]
    iterable = draw(st.sampled_from(("list", "generator")))
    title = f"{size} generated tokens in {len(pieces)} pieces"
    return windows_case("drawn", title, shaped, num_samples=count, sequence_length=length,
                        iterable=iterable)  # fmt: skip


@st.composite
def _texts(draw: Draw, _: Sizes) -> Case:
    """Draw texts in which no letter occurs twice, and the kind of tokenizer."""
    letters = [chr(97 + int(k)) for k in _distinct(draw(grids(24)))]
    cuts = sorted(draw(st.sets(st.integers(1, 23), max_size=4)))
    parts = np.split(np.array(letters), cuts)
    texts = ["".join(part.tolist()) for part in parts]
    count = draw(st.integers(1, 4))
    return windows_case(
        "drawn", f"{len(texts)} generated texts", [], texts=texts, num_samples=count,
        sequence_length=24 // count, tokenizer=draw(st.sampled_from(("object", "callable"))),
        iterable=draw(st.sampled_from(("list", "generator"))),
    )  # fmt: skip


@st.composite
def _refused(draw: Draw, _: Sizes) -> Case:
    tokens: Array = _distinct(draw(grids(12)))
    fault = draw(st.sampled_from(("floats", "negative", "wide")))
    error = "TokenRangeError"
    if fault == "floats":
        tokens, error = tokens + 0.5, "DTypeError"
    elif fault == "negative":
        tokens[draw(st.integers(0, 11))] = -draw(st.integers(1, 99))
    else:
        tokens = tokens.astype(np.int64)
        tokens[draw(st.integers(0, 11))] = 2**31 + draw(st.integers(0, 99))
    title, inputs = f"generated tokens that must be refused: {fault}", {"dataset": [tokens]}
    return refused("cal", "drawn", title, "calibration_windows", "CAL-080", error, dict(FULL),
                   inputs)  # fmt: skip


@st.composite
def _refused_windows(draw: Draw, _: Sizes) -> Case:
    """Draw a single string, or no windows, or windows of no tokens."""
    name = draw(st.sampled_from(("texts", "num_samples", "sequence_length")))
    value = draw(st.sampled_from(("abc", "a"))) if name == "texts" else -draw(st.integers(0, 3))
    title = f"generated settings of windows that must be refused: {name}"
    inputs = {"dataset": [_distinct(draw(grids(12)))]}
    return refused("cal", "drawn", title, "calibration_windows", "CAL-180", "ConfigError",
                   {**FULL, name: value}, inputs)  # fmt: skip


@st.composite
def _few(draw: Draw, _: Sizes) -> Case:
    count, length, _size = draw(_counts())
    size = draw(st.integers(0, count * length - 1))
    given: dict[str, Any] = {**FULL, "num_samples": count, "sequence_length": length}
    title = f"{size} generated tokens for {count} windows of {length}"
    inputs = {"dataset": [np.arange(size, dtype=np.int32)]}
    return refused("cal", "drawn", title, "calibration_windows", "CAL-070", "TokenCountError",
                   given, inputs)  # fmt: skip


MODELS = (
    [{"activations": ["relu", "linear"], "residual": True}] * 2,
    [{"activations": ["relu", "linear"], "residual": False}] * 2,
    [{"activations": ["relu", "linear"], "residual": True}],
)
ONE_LAYER: list[dict[str, Any]] = [{"activations": ["linear"], "residual": False}]
TWO_LAYERS: list[dict[str, Any]] = [{"activations": ["relu", "linear"], "residual": False}]
RESIDUAL: list[dict[str, Any]] = [
    {"activations": ["linear"], "residual": True},
    {"activations": ["linear"], "residual": False},
]


@st.composite
def _model(draw: Draw, *sizes: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draw the arrays of a small model whose blocks have layers of these sizes."""
    blocks = draw(st.sampled_from(MODELS))
    return random_model(draw(st.integers(0, 10**6)), [sizes] * len(blocks)), blocks


@st.composite
def _model_gptq(draw: Draw, _: Sizes, *, inner: int = 32) -> Case:
    arrays, blocks = draw(_model(inner, 8))
    tokens = _distinct(draw(grids(32)))
    settings = {
        "bits": draw(st.sampled_from((3, 4, 8))),
        "group_size": draw(st.sampled_from((-1, 4))),
        "symmetric": draw(st.booleans()),
        "num_samples": draw(st.integers(2, 4)),
        "sequence_length": 8,
    }
    title = "a generated model, calibrated and quantized"
    return model_gptq_case("drawn", title, arrays, [tokens], blocks, **settings)


@st.composite
def _wide_layers(
    draw: Draw,
    _: Sizes,
    *,
    blocks: list[dict[str, Any]],
    sizes: list[tuple[int, ...]],
    windows: int,
) -> Case:
    """Draw a 2-bit model whose last layer has many rows, so that a wrong Hessian changes codes."""
    arrays = random_model(draw(st.integers(0, 10**6)), sizes)
    tokens = _distinct(draw(grids(32)))
    title = f"a generated model, {windows} windows"
    return model_gptq_case("drawn", title, arrays, [tokens], blocks, bits=2,
                           num_samples=windows, sequence_length=32 // windows)  # fmt: skip


@st.composite
def _later_block(draw: Draw, _: Sizes) -> Case:
    """Draw two blocks of one wide layer each: only the first block can affect the second."""
    flat: dict[str, Any] = {"activations": ["relu"], "residual": False}
    arrays = random_model(draw(st.integers(0, 10**6)), [(6,), (48,)])
    tokens = _distinct(draw(grids(32)))
    title = "a generated model of two blocks"
    return model_gptq_case("drawn", title, arrays, [tokens], [flat, flat], bits=2,
                           sequence_length=32)  # fmt: skip


@st.composite
def _model_int8(draw: Draw, _: Sizes) -> Case:
    arrays, blocks = draw(_model(12, 8))
    return model_int8_case("drawn", "a generated model, int8", arrays, blocks)


@st.composite
def _refused_models(draw: Draw, _: Sizes) -> Case:
    """Draw models that are none: no blocks, no layers, arrays that do not fit, wide tokens."""
    arrays = random_model(draw(st.integers(0, 10**6)), [(6, 8)])
    blocks: list[dict[str, Any]] = TWO_LAYERS
    tokens, error = _distinct(draw(grids(32))), "ConfigError"
    fault = draw(st.sampled_from(("blocks", "layers", "fit", "tokens")))
    if fault == "blocks":
        blocks = []
    elif fault == "layers":
        blocks = [*blocks, {"activations": [], "residual": False}]
    elif fault == "fit":
        arrays["weights"][1], error = arrays["weights"][1][:, :-1], "ShapeError"
    else:
        tokens, error = tokens + draw(st.integers(1, 99)), "TokenRangeError"
    given = {**MODEL, "blocks": blocks, "sequence_length": 32}
    title = f"a generated model that must be refused: {fault}"
    inputs = {**arrays, "dataset": [tokens.astype(np.int32)]}
    return refused("cal", "drawn", title, "quantize_model_gptq", "CAL-160", error, given, inputs)


# General properties come first, then one topic after another: the first failure names the cause.
PROPERTIES = (
    single("prop-cal-windows", "Windows are spread over the whole stream.",
           ("CAL-010", "CAL-020", "CAL-030", "CAL-040"), _placed, 20),
    single("prop-cal-pieces", "A stream may come in pieces of any shape and dtype.",
           ("CAL-020", "CAL-060"), _pieces, 15),
    single("prop-cal-texts", "Texts go through a tokenizer of either kind.",
           ("CAL-060",), _texts, 10),
    single("prop-cal-first", "The first layer is calibrated with all windows.",
           ("CAL-110", "CAL-090", "CAL-100", "CAL-140"),
           lambda s: _wide_layers(s, blocks=ONE_LAYER, sizes=[(48,)], windows=2), 3),
    single("prop-cal-later", "Later blocks are calibrated behind the quantized ones.",
           ("CAL-120", "CAL-110", "CAL-090", "CAL-100", "CAL-140"), _later_block, 3),
    single("prop-cal-residual", "A block's input is added to its output.",
           ("CAL-120", "CAL-110", "CAL-090", "CAL-100", "CAL-140"),
           lambda s: _wide_layers(s, blocks=RESIDUAL, sizes=[(8,), (48,)], windows=1), 3),
    single("prop-cal-within", "Later layers of a block are calibrated behind the float ones.",
           ("CAL-130", "CAL-110", "CAL-090", "CAL-100", "CAL-140"),
           lambda s: _wide_layers(s, blocks=TWO_LAYERS, sizes=[(10, 40)], windows=1), 3),
    single("prop-cal-square", "Square layers are not mistaken for each other.",
           ("CAL-140", "CAL-090", "CAL-100"), lambda s: _model_gptq(s, inner=8), 3),
    single("prop-cal-models", "Whole models: windows, Hessians of quantized blocks, codes.",
           ("CAL-110", "CAL-090", "CAL-100", "CAL-140", "CAL-120", "CAL-130"), _model_gptq, 4),
    single("prop-cal-int8", "Whole models, int8.", ("CAL-150",), _model_int8, 4),
    single("prop-cal-refused", "Values that are no tokens are refused.", ("CAL-080",), _refused, 9),
    single("prop-cal-refused-windows", "A single string is no dataset, and no windows are none.",
           ("CAL-180",), _refused_windows, 8),
    single("prop-cal-refused-models", "Models that are none are refused.",
           ("CAL-160",), _refused_models, 4),
    *CALIBRATED,
    single("prop-cal-few", "Too few tokens are refused.", ("CAL-070",), _few, 8),
)  # fmt: skip
