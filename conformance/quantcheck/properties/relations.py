"""What laws share: findings from comparing the answers to several questions."""

from __future__ import annotations

import numpy as np

from quantcheck.judge.findings import largest_ratio
from quantcheck.judge.verdict import Judgement, found
from quantcheck.wire.cases import Case
from quantref.inputs import Array


def equal(case: Case, requirement: str, what: str, got: Array, expected: Array) -> Judgement:
    """Return whether two arrays of answers hold the same numbers."""
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape:
        message = f"{what}: expected shape {expected.shape}, got {got.shape}"
        return found(requirement, False, message, case.id)
    wrong = got.astype(np.float64) != expected.astype(np.float64)
    count = int(wrong.sum())
    if not count:
        return found(requirement, True, f"{what}: all equal", case.id)
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    message = (
        f"{what}: {count} of {got.size} differ; at {list(index)} expected {expected[index]}, "
        f"got {got[index]}"
    )
    return found(
        requirement, False, message, case.id,
        index=index, got=str(got[index]), expected=str(expected[index]),
    )  # fmt: skip


def within(case: Case, requirement: str, what: str, difference: Array, bound: Array) -> Judgement:
    """Return whether |difference| <= bound, element by element; NaN is outside."""
    worst, details = largest_ratio(difference, bound)
    message = f"{what}: off by {worst:.3g} of the bound at {list(details['index'])}"
    return found(requirement, worst <= 1, message, case.id, **details)
