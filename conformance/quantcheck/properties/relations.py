"""Comparisons of answers to several questions, shared by all laws."""

from __future__ import annotations

import numpy as np

from quantcheck.judge.findings import largest_ratio
from quantcheck.judge.verdict import Judgement, judgement_of
from quantcheck.oracle.bounds import ULP32
from quantcheck.wire.cases import Case
from quantref.inputs import Array

ALLOWED = 2 * ULP32  # relative error of a binary32 result (SPEC.md, section 0)
APART = 2 * ALLOWED / (1 - ALLOWED)  # of two such results with one expected value


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


def alike(case: Case, requirement: str, what: str, got: Array, expected: Array) -> Judgement:
    """Judge that two results may have the same expected value: each may be off by 2⁻²² of it."""
    got, expected = np.asarray(got).astype(np.float64), np.asarray(expected).astype(np.float64)
    if got.shape != expected.shape:
        return equal(case, requirement, what, got, expected)
    with np.errstate(invalid="ignore"):  # a wrong result may be infinite, and NaN fails
        difference, bound = got - expected, APART * np.abs(expected)
    return within(case, requirement, what, difference, bound)
