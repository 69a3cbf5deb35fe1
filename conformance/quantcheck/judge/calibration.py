"""Judges of section 10 for calibration windows: one finding for each requirement."""

from __future__ import annotations

import numpy as np

from quantcheck.judge.findings import Judging
from quantref.inputs import Array


def windows(collector: Judging) -> None:
    """Judge calibration windows of a dataset."""
    got = collector.output("windows")
    collector.dtype("windows", "CAL-010")
    tokens = collector.case.judging["dataset_tokens"]
    starts = [_starts_of(window, tokens) for window in got]
    outside = [k for k, found in enumerate(starts) if not len(found)]
    where = f"; the first is window {outside[0]}" if outside else ""
    message = f"windows: {len(outside)} of {len(got)} no run of the dataset's tokens{where}"
    collector.add("CAL-020", not outside, message)
    if not outside and len(np.unique(tokens)) == len(tokens):
        _judge_overlap(collector, np.sort(np.concatenate(starts)), got.shape[1])
    collector.equal("windows", "CAL-040")


def _starts_of(window: Array, tokens: Array) -> Array:
    """Return the positions at which a window occurs in the tokens."""
    runs = np.lib.stride_tricks.sliding_window_view(tokens, len(window))
    return np.flatnonzero((runs == window).all(axis=1))


def _judge_overlap(collector: Judging, starts: Array, length: int) -> None:
    """Judge that windows do not overlap.  [CAL-030]"""
    gaps = np.diff(starts)
    shared = int(np.maximum(length - gaps, 0).sum())
    message = f"windows: {shared} tokens are in two windows"
    collector.add("CAL-030", shared == 0, message)


def processes(collector: Judging) -> None:
    """Judge that two processes draw the same windows."""
    first, second = collector.output("first"), collector.output("second")
    differ = int((first != second).sum())
    message = f"windows of two processes: {differ} of {first.size} tokens differ"
    collector.add("CAL-050", differ == 0, message)
