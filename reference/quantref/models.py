"""Small models as arrays: forward pass, AbsMax, and GPTQ block by block (SPEC.md, section 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.absmax import abs_max_quantize
from quantref.blocked import gptq_quantize
from quantref.config import GPTQConfig
from quantref.errors import ConfigError, ShapeError, TokenRangeError
from quantref.hessian import accumulate_hessian
from quantref.inputs import Array
from quantref.problem import GPTQResult

ACTIVATIONS = ("linear", "relu")


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

    Raises
    ------
    QuantrefError
        As `quantref.gptq_quantize`.

    Examples
    --------
    >>> one, zero = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    >>> blocks = [{"activations": ["relu"], "residual": True}]
    >>> model = model_of(one, [one, one], [zero, zero], blocks)
    >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1)
    >>> quantize_model_gptq(model, np.array([[0, 1]]), config)[0].codes
    array([[3, 0],
           [0, 3]], dtype=uint8)
    """
    x, done = model.embedding[windows], []  # (num_samples, sequence_length, width)
    for block in model.blocks:
        # CALIBRATE
        inputs, _ = run_block(block, block.weights, x)  # [CAL-130]: the float block
        results: list[GPTQResult] = []
        for k, weights in enumerate(block.weights):
            hessian = accumulate_hessian(list(inputs[k]))  # [CAL-110]: of all windows
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
    >>> blocks = [{"activations": ["relu"], "residual": True}]
    >>> model = model_of(one, [one, one], [zero, zero], blocks)
    >>> [codes.tolist() for codes, _ in quantize_model_int8(model)][0]
    [[127, 0], [0, 127]]
    """
    rows = [model.embedding, *(w for block in model.blocks for w in block.weights), model.head]
    pairs = [abs_max_quantize(w, axis=-1) for w in rows]
    return [(codes, scale[:, 0]) for codes, scale in pairs]
