"""Quantize a model of Keras on a CPU: `quantize(model, GPTQConfig(...))`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref import __version__
from quantref.absmax import AbsMaxQuantizer
from quantref.calibration import calibration_windows
from quantref.config import GPTQConfig, Int8QuantizationConfig, QuantizationConfig
from quantref.errors import CalibrationError, ConfigError, TokenRangeError
from quantref.inputs import Array
from quantref.keras.filters import Filters
from quantref.keras.graph import functional_of
from quantref.keras.int8 import Int8Answer, quantize_int8
from quantref.keras.layers import is_embedding, leaves
from quantref.keras.structure import structure_of
from quantref.models import (
    Batch,
    Checkpoint,
    Listener,
    Mapper,
    Outcome,
    Report,
    Settings,
    quantize_blocks,
)
from quantref.models.answer import Answer

DEFAULT_BATCH_SIZE = 8  # windows that go through a block at a time


@dataclass(eq=False)
class Quantized:
    """A quantized model; it unpacks into model and report.

    Attributes
    ----------
    model : keras.Model
        The given model; its kernels now hold dequantized codes.
    report : Report
    answers : dict of str to Answer or Int8Answer
        Codes and scales of each layer, by name.
    config : GPTQConfig or Int8QuantizationConfig
    """

    model: Any
    report: Report
    answers: dict[str, Answer | Int8Answer]
    config: QuantizationConfig

    def __iter__(self) -> Iterator[Any]:
        return iter((self.model, self.report))


def quantize(
    model: Any,
    config: Any,
    *,
    filters: Filters = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    dtype: str = "float32",
    true_sequential: bool = True,
    certify: bool = True,
    mapper: Mapper | None = None,
    checkpoint: Checkpoint | None = None,
    listener: Listener | None = None,
    restore: bool = True,
) -> Quantized:
    """Quantize the layers of a model, and certify each of them.

    The model's kernels get the dequantized weights. After an error or an interruption they have
    their old values.

    Parameters
    ----------
    model : keras.Model
        Built, with float weights.
    config : GPTQConfig, Int8QuantizationConfig
        A config of quantref or of Keras. The dataset of a GPTQConfig is read once. It holds strings
        for a tokenizer, or arrays of tokens. For a model with float inputs it holds arrays
        (samples, ...).
    filters : str, sequence of str, callable or None
        Regular expressions for names and paths of the layers to quantize, or a function of the
        layer; None: all.
    batch_size : int, default 8
        Windows that go through a block at a time.
    dtype : str, default "float32"
        Working precision of GPTQ's feedback.
    true_sequential : bool, default True
        Layers of a block are calibrated with the outputs of the quantized layers before them.
        False: with those of the float block, as in the documentation of Keras.
    certify : bool, default True
    mapper : Mapper, optional
        Runs the tasks of GPTQ in threads, in processes or on other machines.
    checkpoint : Checkpoint, optional
    listener : Listener, optional
    restore : bool, default True
        Keep a copy of all weights, and restore it after an error or an interruption.

    Returns
    -------
    Quantized
        `model, report = quantize(...)` unpacks it.

    Raises
    ------
    ModelError
        The model is not built, is quantized already, has no layer to quantize, or has no structure.
    CalibrationError, TokenCountError, TokenRangeError, DTypeError
        The calibration data do not fit the model.
    NotPositiveDefiniteError
        A damped Hessian is singular.
    """
    own_config = config_of(config)
    start = time.perf_counter()
    with restored_on_failure(model if restore else None):
        if isinstance(own_config, Int8QuantizationConfig):
            records, found, skipped = quantize_int8(model, own_config, filters)
            seconds: dict[str, float] = {"total": time.perf_counter() - start}
            settings = {"mode": "int8", **own_config.get_config()}
            report = Report(tuple(records), settings, seconds, tuple(skipped), environment())
            return Quantized(model, report, {**found}, own_config)
        outcome, report = run_blocks(
            model,
            Settings(own_config, dtype, true_sequential, certify),
            filters=filters,
            batch_size=batch_size,
            mapper=mapper,
            checkpoint=checkpoint,
            listener=listener,
        )
    return Quantized(model, report, {**outcome.answers}, own_config)


@contextmanager
def restored_on_failure(model: Any, *, always: bool = False) -> Iterator[None]:
    """Restore all weights of a model, unless it is None, if the body of the `with` fails."""
    kept = [] if model is None else [(x, x.get_weights()) for x in leaves(model) if x.built]
    done = False
    try:
        yield
        done = not always
    finally:
        for layer, weights in kept if not done else ():
            layer.set_weights(weights)


def run_blocks(
    model: Any, settings: Settings, *, filters: Filters, batch_size: int, **others: Any
) -> tuple[Outcome, Report]:
    """Pass the structure of a model and its calibration batches to `quantize_blocks`.

    `others` are further arguments of `quantize_blocks`.
    """
    start, config = time.perf_counter(), settings.config
    structure = structure_of(model, config.quantization_layer_structure, filters)
    arrays = calibration_arrays(model, config)
    count = len(next(iter(arrays.values())) if isinstance(arrays, dict) else arrays)
    batches = []
    for first in range(0, count, batch_size):
        size = min(batch_size, count - first)
        some = _select_windows(arrays, slice(first, first + size))
        batches.append(Batch(first, size, structure.prepare(some, size)))
    outcome = quantize_blocks(structure.blocks, batches, settings, **others)
    fields = config.get_config()
    for name in ("dataset", "tokenizer", "quantization_layer_structure"):
        fields.pop(name)
    asked = {
        "mode": "gptq",
        **fields,
        "true_sequential": settings.true_sequential,
        "dtype": settings.dtype,
        "structure": structure.found,
        "windows": count,
    }
    seconds = {**outcome.seconds, "total": time.perf_counter() - start}
    report = Report(tuple(outcome.records), asked, seconds, tuple(structure.skipped), environment())
    return outcome, report


def environment() -> dict[str, Any]:
    """Return the versions of the packages and the platform that the result depends on."""
    import platform

    import keras
    import scipy

    return {
        "quantref": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def config_of(config: Any) -> GPTQConfig | Int8QuantizationConfig:
    """Return a config of quantref or of Keras as one of quantref.

    Raises
    ------
    ConfigError
        The mode is neither "gptq" nor "int8".
    """
    if isinstance(config, (GPTQConfig, Int8QuantizationConfig)):
        return config
    name = type(config).__name__
    fields: dict[str, Any] = config.get_config() if hasattr(config, "get_config") else {}
    if name == "GPTQConfig":
        fields = {key: value for key, value in fields.items() if key != "tokenizer"}
        fields["dataset"], fields["tokenizer"] = config.dataset, config.tokenizer
        structure = getattr(config, "quantization_layer_structure", None)
        return GPTQConfig(**{**fields, "quantization_layer_structure": structure})
    if name == "Int8QuantizationConfig":
        return Int8QuantizationConfig(
            _quantizer(config.weight_quantizer), _quantizer(config.activation_quantizer)
        )
    raise ConfigError("a GPTQConfig or an Int8QuantizationConfig", f"{config!r:.60}", "")


def _quantizer(quantizer: Any) -> AbsMaxQuantizer | None:
    return None if quantizer is None else AbsMaxQuantizer.from_config(quantizer.get_config())


def _select_windows(arrays: Any, windows: slice) -> Any:
    if isinstance(arrays, dict):
        return {name: array[windows] for name, array in arrays.items()}
    return arrays[windows]


def calibration_arrays(model: Any, config: GPTQConfig) -> Array | dict[str, Array]:
    """Return the calibration data of a model: windows of tokens, or float samples.

    Returns
    -------
    arrays : (num_samples, sequence_length) int32 array; or a float array (samples, ...) with at
        most num_samples of them; or a dict of such arrays, where the dataset is one

    Raises
    ------
    ConfigError, CalibrationError, TokenCountError, TokenRangeError, DTypeError
    """
    if config.dataset is None:
        raise ConfigError("a dataset for calibration", "None", "CAL-080")
    if isinstance(config.dataset, dict):
        arrays = {str(name): np.asarray(array) for name, array in config.dataset.items()}
        lengths = {len(array) for array in arrays.values()}
        if len(lengths) != 1:
            got = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise CalibrationError("arrays of as many windows each", got, "CAL-080")
        places = _spread(lengths.pop(), config.num_samples)
        return {name: array[places] for name, array in arrays.items()}
    graph = functional_of(model)
    first = graph.inputs[0] if graph is not None else None
    if first is not None and "float" in first.dtype:
        return _samples(config, tuple(first.shape[1:]))
    windows = calibration_windows(
        config.dataset,
        config.tokenizer,
        num_samples=config.num_samples,
        sequence_length=config.sequence_length,
    )
    _require_vocabulary(model, windows)
    return windows


def _samples(config: GPTQConfig, shape: tuple[int | None, ...]) -> Array:
    """Return at most num_samples of the dataset's float samples, evenly spaced."""
    pieces = [np.asarray(item) for item in config.dataset]
    fitting = [
        piece[None] if _fits(piece.shape, shape) else piece
        for piece in pieces
        if _fits(piece.shape, shape) or _fits(piece.shape[1:], shape)
    ]
    if len(fitting) < len(pieces) or not pieces:
        got = f"{pieces[0].shape if pieces else 'nothing'}"
        raise CalibrationError(f"samples of shape {shape}", got, "CAL-080")
    samples = np.concatenate(fitting)
    if samples.dtype.kind not in "fiu" and "float" not in samples.dtype.name:
        raise CalibrationError("samples of numbers", samples.dtype.name, "CAL-080")
    return np.asarray(samples[_spread(len(samples), config.num_samples)], dtype=np.float32)


def _spread(available: int, wanted: int) -> NDArray[np.intp]:
    """Return at most `wanted` of `available` indices, evenly spaced from first to last."""
    count = min(wanted, available)
    return np.array([k * (available - 1) // max(count - 1, 1) for k in range(count)], np.intp)


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        b is None or a == b for a, b in zip(shape, wanted, strict=True)
    )


def _require_vocabulary(model: Any, windows: NDArray[np.int32]) -> None:
    """Raise unless the first embedding has a row for every token."""
    for layer in leaves(model):
        if is_embedding(layer):
            if int(windows.max()) >= layer.input_dim:
                expected = f"tokens below {layer.input_dim}, the rows of {layer.name}"
                raise TokenRangeError(expected, f"{int(windows.max())}", "CAL-160")
            return
