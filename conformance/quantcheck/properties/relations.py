"""Comparisons of answers to several questions, shared by all laws."""

from __future__ import annotations

import numpy as np

from quantcheck.judge.findings import largest_ratio
from quantcheck.judge.verdict import Judgement, judgement_of
from quantcheck.wire.cases import Case
from quantref.inputs import Array


def equal(case: Case, requirement: str, what: str, got: Array, expected: Array) -> Judgement:
    """Judge that two arrays of answers are equal."""
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape:
        message = f"{what}: expected shape {expected.shape}, got {got.shape}"
        return judgement_of(requirement, False, message, case.id)
    wrong = got.astype(np.float64) != expected.astype(np.float64)
    count = int(wrong.sum())
    if not count:
        return judgement_of(requirement, True, f"{what}: all equal", case.id)
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    message = (
        f"{what}: {count} of {got.size} differ; at {list(index)} expected {expected[index]}, "
        f"got {got[index]}"
    )
    return judgement_of(
        requirement, False, message, case.id,
        index=index, got=str(got[index]), expected=str(expected[index]),
    )  # fmt: skip


def within(case: Case, requirement: str, what: str, difference: Array, bound: Array) -> Judgement:
    """Judge |difference| <= bound for every element; NaN fails."""
    worst, details = largest_ratio(difference, bound)
    message = f"{what}: off by {worst:.3g} of the bound at {list(details['index'])}"
    return judgement_of(requirement, worst <= 1, message, case.id, **details)
