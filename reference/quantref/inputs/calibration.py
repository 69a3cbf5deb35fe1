"""Checks of datasets, tokens and models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.errors import ConfigError, DTypeError, ShapeError, TokenCountError, TokenRangeError
from quantref.inputs.arrays import Array

LARGEST_TOKEN = 2**31 - 1
MODEL_ACTIVATIONS = ("linear", "relu")


def require_dataset(dataset: Any) -> Iterable[Any]:
    """Return the dataset if it is an iterable and no single text, or raise.  [CAL-180]"""
    if isinstance(dataset, (str, bytes, bytearray)) or not isinstance(dataset, Iterable):
        expected = "dataset an iterable of strings or of integer arrays"
        raise ConfigError(expected, type(dataset).__name__, "CAL-180")
    return dataset


def require_tokenizer(tokenizer: Any) -> Callable[[str], Any]:
    """Return the function that turns a string into tokens, or raise.  [CAL-060]"""
    method = getattr(tokenizer, "tokenize", None)
    if callable(method):
        return method  # type: ignore[no-any-return]
    if callable(tokenizer):
        return tokenizer  # type: ignore[no-any-return]
    expected = "tokenizer a callable, or with a method tokenize"
    raise ConfigError(expected, f"{tokenizer!r:.40}", "CAL-080")


def require_token_ids(tokens: Any, name: str) -> NDArray[np.int32]:
    """Return tokens as a flat int32 array, or raise.  [CAL-080]"""
    array = np.asarray(tokens).reshape(-1)
    if array.size == 0:
        return np.empty(0, np.int32)
    if array.dtype.kind not in "iu":
        raise DTypeError(f"{name} of an integer dtype", f"{array.dtype.name}", "CAL-080")
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0 or highest > LARGEST_TOKEN:
        got = f"[{lowest}, {highest}]"
        raise TokenRangeError(f"{name} in [0, {LARGEST_TOKEN}]", got, "CAL-080")
    return array.astype(np.int32)


def require_enough_tokens(total: int, count: int, length: int) -> None:
    """Raise unless `total` tokens are enough for `count` disjoint windows.  [CAL-070]"""
    if total < count * length:
        expected = f"at least {count * length} tokens for {count} windows of {length}"
        raise TokenCountError(expected, f"{total}", "CAL-070")


def require_blocks(blocks: Sequence[dict[str, Any]], n_weights: int, n_biases: int) -> None:
    """Raise unless every block has layers with known activations and arrays.  [CAL-160]"""
    if not blocks or not all(block["activations"] for block in blocks):
        raise ConfigError("at least one block, and layers in each", f"{list(blocks)}", "CAL-160")
    activations = [name for block in blocks for name in block["activations"]]
    if not n_weights == n_biases == len(activations) + 1:
        expected = f"{len(activations) + 1} weights and biases, the head's last"
        raise ConfigError(expected, f"{n_weights} weights, {n_biases} biases", "CAL-160")
    unknown = set(activations) - set(MODEL_ACTIVATIONS)
    if unknown:
        raise ConfigError(f"activations in {MODEL_ACTIVATIONS}", f"{sorted(unknown)}", "CAL-160")


def require_matching_layers(
    width: int, weights: Sequence[Array], biases: Sequence[Array], *, residual: bool
) -> int:
    """Return the width of a block's output if its layers fit each other, or raise.  [CAL-160]"""
    entered = width
    for w, b in zip(weights, biases, strict=True):
        if w.ndim != 2 or w.shape[1] != width or b.shape != w.shape[:1]:
            expected = f"weights (n_out, {width}) and as many biases"
            raise ShapeError(expected, f"{w.shape} and {b.shape}", "CAL-160")
        width = w.shape[0]
    if residual and width != entered:
        raise ShapeError(f"a residual block of {entered} outputs", f"{width}", "CAL-160")
    return width


def require_embedded_tokens(windows: Array, n_tokens: int) -> None:
    """Raise unless the embedding has a row for every token.  [CAL-160]"""
    if windows.size and int(windows.max()) >= n_tokens:
        raise TokenRangeError(f"tokens below {n_tokens}", f"{int(windows.max())}", "CAL-160")
