"""Calibration: windows of a dataset, and models quantized block by block (SPEC.md, section 10).

A model is arrays: an embedding, model blocks of Dense layers, and a head.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.absmax import abs_max_quantize
from quantref.config import GPTQConfig
from quantref.errors import ConfigError
from quantref.gptq import GPTQResult, gptq_quantize
from quantref.hessian import accumulate_hessian
from quantref.inputs import (
    Array,
    require_blocks,
    require_count,
    require_dataset,
    require_embedded_tokens,
    require_enough_tokens,
    require_matching_layers,
    require_token_ids,
    require_tokenizer,
)

ORDERS = ("block", "stages")
"""Orders of calibration within a block.  [CAL-130]"""


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
        Read once, to its end. Arrays of any shape are tokens, in C order.
    tokenizer : callable, or object with a method `tokenize`
        Turns one string into an integer array.
    num_samples, sequence_length : int >= 1
        Number of windows, and tokens per window.

    Returns
    -------
    windows : (num_samples, sequence_length) int32 array

    Raises
    ------
    ConfigError, DTypeError, TokenRangeError, TokenCountError

    Examples
    --------
    >>> tokens_of = lambda text: [ord(character) for character in text]
    >>> calibration_windows(["abcd", [0, 1, 2]], tokens_of, num_samples=2, sequence_length=3)
    array([[97, 98, 99],
           [ 0,  1,  2]], dtype=int32)
    """
    # BAD INPUT  [CAL-080] [CAL-180]
    count = require_count(num_samples, "num_samples", "CAL-180")
    length = require_count(sequence_length, "sequence_length", "CAL-180")

    # TOKENS
    pieces = [np.empty(0, np.int32)]
    for item in require_dataset(dataset):
        if isinstance(item, str):
            tokens_of = require_tokenizer(tokenizer)  # [CAL-060]
            pieces.append(require_token_ids(tokens_of(item), "tokenizer's result"))
        else:
            pieces.append(require_token_ids(item, "item"))
    tokens = np.concatenate(pieces)  # [CAL-020]
    require_enough_tokens(len(tokens), count, length)  # [CAL-070]

    # WINDOWS
    spare = len(tokens) - length
    starts = np.array([k * spare // max(count - 1, 1) for k in range(count)])  # [CAL-040]
    return tokens[starts[:, None] + np.arange(length)]  # [CAL-010] [CAL-030] [CAL-050]


@dataclass(frozen=True)
class Block:
    """A model block: Dense layers, one after the other."""

    weights: tuple[Array, ...]  # (n_out, n_in) each
    biases: tuple[Array, ...]  # (n_out,) each
    activations: tuple[str, ...]  # "linear" or "relu" each
    residual: bool  # the block's input is added to its output


@dataclass(frozen=True)
class Model:
    """An embedding, blocks, and a dense head that belongs to no block."""

    embedding: Array  # (n_tokens, width)
    blocks: tuple[Block, ...]
    head: Array  # (n_out, width)
    head_bias: Array  # (n_out,)


def model_of(
    embedding: Array,
    weights: Sequence[Array],
    biases: Sequence[Array],
    blocks: Sequence[dict[str, Any]],
) -> Model:
    """Return the model of a question: arrays in the order of the layers, the head last.  [CAL-160]

    `blocks`: {"activations": ["linear" or "relu", …], "residual": bool} of each model block.

    Examples
    --------
    >>> one, zero = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    >>> blocks = [{"activations": ["relu"], "residual": True}]
    >>> model_of(one, [one, one], [zero, zero], blocks).blocks[0].activations
    ('relu',)
    """
    require_blocks(blocks, len(weights), len(biases))
    made, first, width = [], 0, np.shape(embedding)[-1]
    for block in blocks:
        layers = slice(first, first + len(block["activations"]))
        w, b, residual = weights[layers], biases[layers], bool(block["residual"])
        width = require_matching_layers(width, w, b, residual=residual)
        made.append(Block(tuple(w), tuple(b), tuple(block["activations"]), residual))
        first = layers.stop
    return Model(embedding, tuple(made), weights[-1], biases[-1])


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
    """Return the input of every layer, and the output, of a block with other weights.

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


def quantize_model_gptq(
    model: Model, windows: Array, config: GPTQConfig, *, order: str = "block"
) -> list[GPTQResult]:
    """Quantize the layers of all blocks, in their order; embedding and head stay.  [CAL-090]

    Parameters
    ----------
    model : Model
    windows : (num_samples, sequence_length) integer array
    config : GPTQConfig
    order : {"block", "stages"}
        Whether a layer is calibrated with what the float layers of its block give it, or with
        what the quantized layers before it give it.

    Returns
    -------
    results : list of GPTQResult

    Raises
    ------
    ConfigError
        There is no such order.  [CAL-130]

    Examples
    --------
    >>> one, zero = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    >>> model = Model(one, (Block((one,), (zero,), ("relu",), True),), one, zero)
    >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1)
    >>> quantize_model_gptq(model, np.array([[0, 1]]), config)[0].codes
    array([[3, 0],
           [0, 3]], dtype=uint8)
    """
    require_embedded_tokens(windows, len(model.embedding))  # [CAL-160]
    if order not in ORDERS:
        raise ConfigError(f"order in {ORDERS}", repr(order), "CAL-130")

    # EMBED
    x, done = model.embedding[windows], []  # (num_samples, sequence_length, width)
    for block in model.blocks:
        results: list[GPTQResult] = []
        for k, weights in enumerate(block.weights):
            # CALIBRATE
            before = [result.dequantized() for result in results] if order == "stages" else []
            inputs, _ = run_block(block, [*before, *block.weights[len(before) :]], x)  # [CAL-130]
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
