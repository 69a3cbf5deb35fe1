"""Calibration: windows of a dataset, and models quantized block by block (SPEC.md, section 10).

First `calibration_windows`, then models as arrays: an embedding, blocks of Dense layers, a head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.absmax import abs_max_quantize
from quantref.config import GPTQConfig
from quantref.errors import ConfigError, DTypeError, ShapeError, TokenCountError, TokenRangeError
from quantref.gptq import GPTQResult, gptq_quantize
from quantref.hessian import accumulate_hessian
from quantref.inputs import Array, require_integer

LARGEST_TOKEN = 2**31 - 1
ACTIVATIONS = ("linear", "relu")


def calibration_windows(
    dataset: Iterable[Any],
    tokenizer: Any = None,
    *,
    num_samples: int = 128,
    sequence_length: int = 512,
) -> NDArray[np.int32]:
    """Cut windows out of a dataset: disjoint, evenly spaced, the same on every machine.

    Parameters
    ----------
    dataset : iterable of str or of integer arrays
        Read once, to its end. Arrays of any shape are tokens already, in C order.
    tokenizer : callable, or object with a method `tokenize`; default None
        Turns one string into an integer array; not asked for arrays.
    num_samples : int, default 128
        Number of windows.
    sequence_length : int, default 512
        Tokens per window.

    Returns
    -------
    windows : (num_samples, sequence_length) int32 array
        Window k starts at token ⌊k · (T − sequence_length) / (num_samples − 1)⌋ of T.

    Raises
    ------
    ConfigError
        A count below 1, a dataset that is no iterable or a single string, strings without a
        tokenizer.
    DTypeError
        Tokens that are no integers.
    TokenRangeError
        A token below 0 or above 2^31 − 1.
    TokenCountError
        Fewer than num_samples · sequence_length tokens.

    Examples
    --------
    >>> calibration_windows([[10, 11, 12], [13, 14, 15, 16]], num_samples=2, sequence_length=3)
    array([[10, 11, 12],
           [14, 15, 16]], dtype=int32)
    >>> codes_of = lambda text: [ord(character) for character in text]
    >>> calibration_windows(["ab", "cd"], codes_of, num_samples=1, sequence_length=4)
    array([[ 97,  98,  99, 100]], dtype=int32)
    """
    count = _require_count(num_samples, "num_samples")
    length = _require_count(sequence_length, "sequence_length")

    # TOKENS
    pieces = [_tokens_of(item, tokenizer) for item in _items_of(dataset)]
    tokens = np.concatenate([np.empty(0, np.int32), *pieces])  # [CAL-020]
    needed = count * length
    if len(tokens) < needed:  # [CAL-070]
        expected = f"at least {needed} tokens for {count} windows of {length}"
        raise TokenCountError(expected, f"{len(tokens)}", "CAL-070")

    # WINDOWS
    spare = len(tokens) - length
    starts = np.array([k * spare // max(count - 1, 1) for k in range(count)])  # [CAL-040]
    return tokens[starts[:, None] + np.arange(length)]  # [CAL-010] [CAL-030] [CAL-050]


def _require_count(value: Any, name: str) -> int:
    """Return a count of at least 1, or raise.  [CAL-080]"""
    count = require_integer(value, name, "CAL-080")
    if count < 1:
        raise ConfigError(f"{name} >= 1", f"{name}={count}", "CAL-080")
    return count


def _items_of(dataset: Any) -> Iterable[Any]:
    """Return the dataset if it can be walked and is no single text, or raise.  [CAL-080]"""
    if isinstance(dataset, (str, bytes, bytearray)) or not isinstance(dataset, Iterable):
        expected = "dataset an iterable of strings or of integer arrays"
        raise ConfigError(expected, type(dataset).__name__, "CAL-080")
    return dataset


def _tokens_of(item: Any, tokenizer: Any) -> NDArray[np.int32]:
    """Return the tokens of one item of the dataset, flat.  [CAL-060]"""
    where = "item"
    if isinstance(item, str):
        item, where = _tokenize(tokenizer)(item), "tokenizer's result"
    array = np.asarray(item).reshape(-1)
    if array.size == 0:
        return np.empty(0, np.int32)
    if array.dtype.kind not in "iu":
        expected = f"{where} of an integer dtype"
        raise DTypeError(expected, f"{array.dtype.name}", "CAL-080")
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0 or highest > LARGEST_TOKEN:
        got = f"[{lowest}, {highest}]"
        raise TokenRangeError(f"{where} in [0, {LARGEST_TOKEN}]", got, "CAL-080")
    return array.astype(np.int32)


def _tokenize(tokenizer: Any) -> Callable[[str], Any]:
    """Return what turns a string into tokens, or raise.  [CAL-060]"""
    method = getattr(tokenizer, "tokenize", None)
    if callable(method):
        return method  # type: ignore[no-any-return]
    if callable(tokenizer):
        return tokenizer  # type: ignore[no-any-return]
    expected = "tokenizer a callable, or with a method tokenize"
    raise ConfigError(expected, f"{tokenizer!r:.40}", "CAL-080")


# Models


@dataclass(frozen=True)
class Block:
    """Dense layers, one after the other; the block's input is added at the end if `residual`.

    Attributes
    ----------
    weights : tuple of (n_out, n_in) arrays
    biases : tuple of (n_out,) arrays
    activations : tuple of "linear" or "relu"
    residual : bool
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    activations: tuple[str, ...]
    residual: bool


@dataclass(frozen=True)
class Model:
    """An embedding, blocks, and a dense head that belongs to no block.

    Attributes
    ----------
    embedding : (n_tokens, width) array
    blocks : tuple of Block
    head : (n_out, width) array
    head_bias : (n_out,) array
    """

    embedding: Array
    blocks: tuple[Block, ...]
    head: Array
    head_bias: Array


def model_of(
    embedding: Array,
    weights: Sequence[Array],
    biases: Sequence[Array],
    blocks: Sequence[dict[str, Any]],
) -> Model:
    """Return the model of a question: arrays in the order of the layers, the head last.

    Parameters
    ----------
    embedding : (n_tokens, width) array
    weights, biases : sequences of (n_out, n_in) and (n_out,) arrays
    blocks : sequence of {"activations": [str, …], "residual": bool}

    Raises
    ------
    ConfigError
        No blocks, a block without layers, an unknown activation, more or fewer arrays than layers.
    ShapeError
        Layers that do not fit each other.

    Examples
    --------
    >>> one, zero = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    >>> blocks = [{"activations": ["relu"], "residual": True}]
    >>> model = model_of(one, [one, one], [zero, zero], blocks)
    >>> len(model.blocks), model.blocks[0].activations
    (1, ('relu',))
    """
    if not blocks or not all(block["activations"] for block in blocks):
        raise ConfigError("at least one block, and layers in each", f"{list(blocks)}", "CAL-160")
    count = sum(len(block["activations"]) for block in blocks) + 1
    if not len(weights) == len(biases) == count:
        got = f"{len(weights)} weights, {len(biases)} biases"
        raise ConfigError(f"{count} weights and biases, the head's last", got, "CAL-160")
    made, first = [], 0
    for block in blocks:
        unknown = set(block["activations"]) - set(ACTIVATIONS)
        if unknown:
            raise ConfigError(f"activations in {ACTIVATIONS}", f"{sorted(unknown)}", "CAL-160")
        part = slice(first, first + len(block["activations"]))
        first = part.stop
        activations = tuple(block["activations"])
        residual = bool(block["residual"])
        made.append(Block(tuple(weights[part]), tuple(biases[part]), activations, residual))
    model = Model(embedding, tuple(made), weights[-1], biases[-1])
    _require_shapes(model)
    return model


def _require_shapes(model: Model) -> None:
    """Raise unless every layer takes what the one before it gives.  [CAL-160]"""
    width = np.shape(model.embedding)[-1]
    for block in model.blocks:
        entered = width
        for w, b in zip(block.weights, block.biases, strict=True):
            if w.ndim != 2 or w.shape[1] != width or b.shape != w.shape[:1]:
                expected = f"weights (n_out, {width}) and as many biases"
                raise ShapeError(expected, f"{w.shape} and {b.shape}", "CAL-160")
            width = w.shape[0]
        if block.residual and width != entered:
            raise ShapeError(f"a residual block of {entered} outputs", f"{width}", "CAL-160")


def require_tokens(model: Model, windows: Array) -> None:
    """Raise unless the embedding has a row for every token.  [CAL-160]"""
    count = len(model.embedding)
    if windows.size and int(windows.max()) >= count:
        raise TokenRangeError(f"tokens below {count}", f"{int(windows.max())}", "CAL-160")


def run_layer(x: Array, weights: Array, bias: Array, activation: str) -> NDArray[np.float64]:
    """Return activation(x Wᵀ + bias), float64.

    Examples
    --------
    >>> run_layer(np.float32([[1, 2]]), np.float32([[1, 1], [1, -1]]), np.zeros(2), "relu")
    array([[3., 0.]])
    """
    y = x.astype(np.float64) @ weights.astype(np.float64).T + bias  # (..., n_out)
    return np.asarray(np.maximum(y, 0.0) if activation == "relu" else y)


def run_block(block: Block, weights: Sequence[Array], x: Array) -> tuple[list[Array], Array]:
    """Return the input of every layer and the output of a block that has these weights.

    Examples
    --------
    >>> block = Block((np.eye(2),), (np.zeros(2),), ("relu",), True)
    >>> inputs, output = run_block(block, block.weights, np.float32([[1, -1]]))
    >>> output
    array([[ 2., -1.]])
    """
    inputs, y = [], x
    for w, bias, activation in zip(weights, block.biases, block.activations, strict=True):
        inputs.append(y)
        y = run_layer(y, w, bias, activation)
    return inputs, y + x if block.residual else y


def quantize_model_gptq(model: Model, windows: Array, config: GPTQConfig) -> list[GPTQResult]:
    """Quantize the layers of all blocks, in their order.  [CAL-090]

    Parameters
    ----------
    model : Model
    windows : (num_samples, sequence_length) integer array
    config : GPTQConfig
        Its dataset and tokenizer are not read.

    Returns
    -------
    results : list of GPTQResult
        The head and the embedding stay as they are.

    Examples
    --------
    >>> one, zero = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    >>> model = Model(one, (Block((one,), (zero,), ("relu",), True),), one, zero)
    >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1)
    >>> quantize_model_gptq(model, np.array([[0, 1]]), config)[0].codes
    array([[3, 0],
           [0, 3]], dtype=uint8)
    """
    # EMBED
    x, done = model.embedding[windows], []  # (num_samples, sequence_length, width)
    for block in model.blocks:
        # CALIBRATE
        inputs, _ = run_block(block, block.weights, x)  # [CAL-130]: the float block
        results: list[GPTQResult] = []
        for k, weights in enumerate(block.weights):
            hessian = accumulate_hessian(list(inputs[k]))  # [CAL-110]: of all windows

            # QUANTIZE
            results.append(gptq_quantize(weights, hessian, config))  # [CAL-140]

        # RUN ON
        values = [result.dequantized() for result in results]
        _, x = run_block(block, values, x)  # [CAL-120]: through the quantized block
        done += results
    return done


def quantize_model_int8(model: Model) -> list[tuple[Array, Array]]:
    """Return codes and scale of embedding, layers and head: AbsMax per row.  [CAL-150]

    Examples
    --------
    >>> one, zero = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    >>> model = Model(one, (Block((one,), (zero,), ("relu",), True),), one, zero)
    >>> [codes.tolist() for codes, _ in quantize_model_int8(model)][0]
    [[127, 0], [0, 127]]
    """
    rows = [model.embedding, *(w for block in model.blocks for w in block.weights), model.head]
    pairs = [abs_max_quantize(w, axis=-1) for w in rows]
    return [(codes, scale[:, 0]) for codes, scale in pairs]
