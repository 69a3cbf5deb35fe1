"""Calibration windows: what GPTQ sees of a dataset (SPEC.md, section 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.errors import ConfigError, DTypeError, TokenCountError, TokenRangeError
from quantref.inputs import require_integer

LARGEST_TOKEN = 2**31 - 1


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

    References
    ----------
    SPEC.md, section 10.

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
