"""Calibration windows: placement, reading, refusals, and two real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantref.calibration import calibration_windows
from quantref.errors import (
    ConfigError,
    DTypeError,
    QuantrefError,
    TokenCountError,
    TokenRangeError,
)


class Words:
    """A tokenizer object, for which calling and `tokenize` differ."""

    def tokenize(self, text: str) -> list[int]:
        return [len(word) for word in text.split()]

    def __call__(self, text: str) -> list[int]:
        raise AssertionError(text)


@given(
    count=st.integers(1, 9),
    length=st.integers(1, 9),
    spare=st.integers(0, 60),
)
def test_windows_are_disjoint_even_and_reach_both_ends(count: int, length: int, spare: int) -> None:
    """CAL-010, CAL-020, CAL-030 and CAL-040, from tokens that tell where they stand."""
    total = count * length + spare
    windows = calibration_windows([np.arange(total)], num_samples=count, sequence_length=length)
    assert windows.shape == (count, length)
    assert windows.dtype == np.int32
    starts = windows[:, 0]
    assert (windows == starts[:, None] + np.arange(length)).all()
    assert len(np.unique(windows)) == windows.size
    assert starts[0] == 0
    if count > 1:
        assert windows[-1, -1] == total - 1
        step = Fraction(total - length, count - 1)
        assert starts.tolist() == [floor(k * step) for k in range(count)]


def test_two_processes_draw_the_same_windows() -> None:
    """CAL-050: two interpreters with different hash seeds."""
    code = (
        "from quantref.calibration import calibration_windows as w\n"
        "print(w(['a b', 'c'] * 40, lambda t: [ord(c) for c in t],"
        " num_samples=3, sequence_length=7).tolist())"
    )
    texts = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert texts[0] == texts[1] != ""


def test_a_dataset_is_read_once() -> None:
    """CAL-060: an iterator that complains when it is read again."""
    read = 0

    def once() -> Iterator[Any]:
        nonlocal read
        read += 1
        yield np.arange(3, dtype=np.uint8)
        yield [[3, 4], [5, 6]]
        yield "five six"

    windows = calibration_windows(once(), Words(), num_samples=3, sequence_length=3)
    assert windows.tolist() == [[0, 1, 2], [3, 4, 5], [6, 4, 3]]
    assert read == 1


def test_a_method_tokenize_goes_before_a_call() -> None:
    """CAL-060"""
    windows = calibration_windows(["a bb ccc"], Words(), num_samples=1, sequence_length=3)
    assert windows.tolist() == [[1, 2, 3]]


def test_too_few_tokens_are_refused_with_both_numbers() -> None:
    """CAL-070"""
    with pytest.raises(TokenCountError, match=r"at least 20 tokens .*, got 19 \[CAL-070\]"):
        calibration_windows([range(19)], num_samples=4, sequence_length=5)


@pytest.mark.parametrize(
    ("error", "dataset", "options"),
    [
        (ConfigError, "a text", {"tokenizer": Words()}),
        (ConfigError, b"bytes", {}),
        (ConfigError, 7, {}),
        (ConfigError, None, {}),
        (ConfigError, ["a text"], {}),
        (ConfigError, ["a text"], {"tokenizer": 7}),
        (ConfigError, [[1, 2]], {"num_samples": 0}),
        (ConfigError, [[1, 2]], {"sequence_length": 1.5}),
        (ConfigError, [[1, 2]], {"sequence_length": True}),
        (DTypeError, [[1.0, 2.0]], {}),
        (DTypeError, [[True, False]], {}),
        (DTypeError, [[None]], {}),
        (DTypeError, ["a text"], {"tokenizer": lambda _: [0.5]}),
        (TokenRangeError, [[1, -1]], {}),
        (TokenRangeError, [[2**31]], {}),
        (TokenRangeError, [np.array([2**64 - 1], np.uint64)], {}),
        (TokenCountError, [], {}),
    ],
)
def test_bad_input_is_refused(
    error: type[QuantrefError], dataset: Any, options: dict[str, Any]
) -> None:
    """CAL-080 and CAL-180"""
    with pytest.raises(error) as caught:
        calibration_windows(dataset, **{"num_samples": 1, "sequence_length": 1, **options})
    assert caught.value.requirement in ("CAL-070", "CAL-080", "CAL-180")
    assert caught.value.expected
    assert caught.value.got
