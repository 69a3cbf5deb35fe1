"""Cases of section CAL: calibration windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from quantcheck.corpus.draw import numbers, refused
from quantcheck.wire.cases import Case
from quantref.inputs import Array

FULL: dict[str, Any] = {
    "texts": None,
    "tokenizer": "object",
    "iterable": "list",
    "num_samples": 1,
    "sequence_length": 1,
}


def windows_case(
    identity: str, title: str, dataset: list[Array], *requirements: str, **changes: Any
) -> Case:
    """Return the case of the windows of integer arrays, or of `texts` by their code points.

    There must be at least num_samples · sequence_length tokens. Overlap is judged where no token
    occurs twice.
    """
    parameters = {**FULL, **changes}
    tokens = [int(token) for piece in dataset for token in piece.ravel()]
    if parameters["texts"] is not None:
        tokens = [ord(character) for text in parameters["texts"] for character in text]
    count, length = parameters["num_samples"], parameters["sequence_length"]
    starts = [k * (len(tokens) - length) // max(count - 1, 1) for k in range(count)]
    windows = [tokens[start : start + length] for start in starts]
    return Case(
        f"cal-{identity}",
        "cal",
        title,
        "calibration_windows",
        requirements,
        parameters,
        {"dataset": dataset},
        {"outputs": {"windows": np.array(windows, np.int32)}},
        {"dataset_tokens": np.array(tokens, np.int32)},
    )


def processes_case(identity: str, title: str, dataset: list[Array], **changes: Any) -> Case:
    """Return the case of windows that two new processes draw."""
    case = windows_case(identity, title, dataset, "CAL-050", **changes)
    windows = case.expected["outputs"]["windows"]
    expected = {"outputs": {"first": windows, "second": windows}}
    return replace(case, operation="calibration_processes", expected=expected)


def distinct_tokens(seed: int, count: int) -> Array:
    """Return 0 … count − 1 in an order that the seed decides, int32."""
    stream = numbers(seed)
    keys = [next(stream) for _ in range(count)]
    return np.argsort(np.array(keys, np.uint64), kind="stable").astype(np.int32)


def cal_cases() -> Iterator[Case]:
    """Yield the cases of section CAL."""
    yield from _placed_cases()
    yield from _read_cases()
    yield from _refused_cases()


def _placed_cases() -> Iterator[Case]:
    everything = ("CAL-010", "CAL-020")
    yield windows_case(
        "windows-one", "one window of all tokens", [distinct_tokens(800, 12)], "CAL-010",
        "CAL-020", "CAL-030", "CAL-040", sequence_length=12,
    )  # fmt: skip
    for name, title, count, length, size, requirement in (
        ("fit", "as many tokens as the windows need", 4, 5, 20, "CAL-030"),
        ("spread", "gaps between the windows", 3, 4, 30, "CAL-040"),
        ("uneven", "gaps that differ by one", 4, 3, 18, "CAL-040"),
        ("many", "eight windows of a thousand tokens", 8, 16, 1000, "CAL-040"),
        ("single-tokens", "windows of one token", 5, 1, 23, "CAL-040"),
    ):
        others = tuple(r for r in ("CAL-030", "CAL-040") if r != requirement)
        yield windows_case(
            f"windows-{name}", title, [distinct_tokens(801 + count, size)], requirement,
            *everything, *others, num_samples=count, sequence_length=length,
        )  # fmt: skip
    yield windows_case(
        "windows-repeated-tokens", "tokens that occur again and again",
        [distinct_tokens(810, 40) % 3], "CAL-040", *everything, num_samples=3, sequence_length=4,
    )  # fmt: skip
    yield processes_case(
        "windows-processes", "the windows of two new processes",
        [distinct_tokens(811, 200)], num_samples=6, sequence_length=8,
    )  # fmt: skip


def _read_cases() -> Iterator[Case]:
    tokens = distinct_tokens(820, 24)
    pieces: list[Array] = [
        tokens[:6].reshape(2, 3).astype(np.int64),
        tokens[6:11].astype(np.uint8),
        tokens[11:11],
        tokens[11:24].reshape(1, 13, 1),
    ]
    read = ("CAL-020", "CAL-010", "CAL-060")
    yield windows_case(
        "read-pieces", "arrays of several shapes and dtypes, one of them empty", pieces, *read,
        sequence_length=24,
    )  # fmt: skip
    yield windows_case(
        "read-generator", "a generator, which can be read once", pieces, *read,
        sequence_length=24, iterable="generator",
    )  # fmt: skip
    texts = ["calibr", "", "ation w", "indows — ∑"]
    length = sum(map(len, texts))
    for name, title, changes in (
        ("object", "strings, a tokenizer with a method `tokenize`", {}),
        ("callable", "strings, a tokenizer that is a function", {"tokenizer": "callable"}),
        ("generated", "strings out of a generator", {"iterable": "generator"}),
    ):
        yield windows_case(
            f"read-texts-{name}", title, [], "CAL-060", texts=texts, sequence_length=length,
            **changes,
        )  # fmt: skip


def _refused_cases() -> Iterator[Case]:
    tokens = distinct_tokens(830, 19)
    wide = np.array([0, 1, 2**31], np.int64)
    counts = {"num_samples": 4, "sequence_length": 5}
    for name, title, requirement, error, dataset, changes in (
        ("few", "19 tokens for 4 windows of 5", "CAL-070", "TokenCountError", [tokens], counts),
        ("none", "no tokens at all", "CAL-070", "TokenCountError", [], {}),
        ("string", "a single string as dataset", "CAL-180", "ConfigError", [], {"texts": "abc"}),
        ("tokenizer", "strings without a tokenizer", "CAL-080", "ConfigError", [],
         {"texts": ["abc"], "tokenizer": None}),
        ("floats", "tokens that are floats", "CAL-080", "DTypeError",
         [np.array([0.5, 1.5, 2.0])], {}),
        ("negative", "a negative token", "CAL-080", "TokenRangeError",
         [np.array([3, -1, 2], np.int32)], {}),
        ("wide", "a token beyond int32", "CAL-080", "TokenRangeError", [wide], {}),
        ("samples", "no windows", "CAL-180", "ConfigError", [tokens], {"num_samples": 0}),
        ("length", "windows of no tokens", "CAL-180", "ConfigError", [tokens],
         {"sequence_length": 0}),
    ):  # fmt: skip
        yield refused(
            "cal",
            f"cal-refuse-{name}",
            title,
            "calibration_windows",
            requirement,
            error,
            {**FULL, **changes},
            {"dataset": dataset},
        )
