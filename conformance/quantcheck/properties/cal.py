"""Section CAL: drawn token streams, windows of every count and length."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from quantcheck.properties import Sizes, single
from quantcheck.strategies import Draw, grids
from quantref.arrays import Array
from quantref.corpus.cal import FULL, windows_case
from quantref.corpus.draw import refused
from quantref.vectors import Case


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
def _few(draw: Draw, _: Sizes) -> Case:
    count, length, _size = draw(_counts())
    size = draw(st.integers(0, count * length - 1))
    given: dict[str, Any] = {**FULL, "num_samples": count, "sequence_length": length}
    title = f"{size} generated tokens for {count} windows of {length}"
    inputs = {"dataset": [np.arange(size, dtype=np.int32)]}
    return refused("cal", "drawn", title, "calibration_windows", "CAL-070", "TokenCountError",
                   given, inputs)  # fmt: skip


# Plain cases first, then one topic after the other: the first failure names the cause.
PROPERTIES = (
    single("prop-cal-windows", "Windows are spread over the whole stream.",
           ("CAL-010", "CAL-020", "CAL-030", "CAL-040"), _placed, 20),
    single("prop-cal-pieces", "A stream may come in pieces of any shape and dtype.",
           ("CAL-060",), _pieces, 15),
    single("prop-cal-few", "Too few tokens are refused.", ("CAL-070",), _few, 8),
)  # fmt: skip
