"""Judge of section 13: kernels in groups with zero-points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.judge.findings import Judging
from quantcheck.oracle.bounds import ULP32
from quantcheck.wire.cases import Case
from quantref.inputs import Array

Floats = NDArray[np.float64]


def ends(case: Case) -> tuple[Floats, Floats]:
    """Return the smallest and the largest weight of each group, (n_groups, n_out), raw."""
    w = case.inputs["weights"].astype(np.float64)
    starts = np.arange(0, len(w), case.parameters["block_size"])
    return np.minimum.reduceat(w, starts), np.maximum.reduceat(w, starts)


def grouped_quantize(collector: Judging) -> None:
    """Judge scales, zero-points and codes; each by what the answer itself has of those before."""
    case = collector.case
    lo, hi = case.parameters["value_range"]
    codes, scale = collector.output("codes"), collector.output("scale").astype(np.float64)
    zero_point = collector.output("zero_point").astype(np.float64)
    for name, requirement in (
        ("codes", "FOUR-050"), ("scale", "FOUR-100"), ("zero_point", "FOUR-100"),
    ):  # fmt: skip
        collector.dtype(name, requirement)
    least, most = ends(case)
    empty = (least == 0) & (most == 0)
    lost = ~(np.isfinite(scale) & (scale > 0))
    if lost.any():
        requirement = "FOUR-070" if empty[lost].all() else "FOUR-030"
        got = scale[lost].ravel()[0]
        collector.add(requirement, False, f"scale: expected finite and positive, got {got}")
        return
    off = _scales(collector, scale, least, most)
    lowest, highest = _admissible(collector, scale, least)
    lowest, highest = np.where(empty, lo, lowest), np.where(empty, hi, highest)
    outside = ((zero_point < lowest) | (zero_point > highest)) & ~off
    collector.equal("zero_point", "FOUR-040", where=outside)

    group = np.arange(len(codes)) // case.parameters["block_size"]
    expected = collector.expected
    same = (scale == expected["scale"]) & (zero_point == expected["zero_point"])
    t = case.inputs["weights"].astype(np.float64) / scale[group]
    of_zeros = np.where(empty[group], codes - zero_point[group], 0.0)
    collector.within("codes", "FOUR-070", of_zeros, np.zeros(()))
    collector.teacher_forced("FOUR-050", t, lo, hi, zero_point[group])
    required = (case.judging["required"] == 1) & same[group]
    collector.equal("codes", "FOUR-050", where=required)


def _scales(collector: Judging, scale: Floats, least: Floats, most: Floats) -> Array:
    """Judge scales, and return which are off. [FOUR-020] where all of these are of raw ranges."""
    given = collector.case.parameters
    lo, hi = given["value_range"]
    empty = (least == 0) & (most == 0)
    expected = collector.expected["scale"].astype(np.float64)
    difference = np.where(empty, 0.0, scale - expected)
    off = np.abs(difference) > 2 * ULP32 * expected
    raw = (most - least + given["epsilon"]) / (hi - lo)
    alike = off & (np.abs(scale - raw) <= 2 * ULP32 * raw)
    requirement = "FOUR-020" if off.any() and alike[off].all() else "FOUR-030"
    collector.within("scale", requirement, difference, 2 * ULP32 * expected)
    return np.asarray(off)


def _admissible(collector: Judging, scale: Floats, least: Floats) -> tuple[Any, Any]:
    """Return the lowest and the highest admissible zero-point of each group.  [FOUR-040]

    A tie of a scale 2^k is exact for that scale alone.
    """
    case, expected = collector.case, collector.expected["scale"]
    lo, hi = case.parameters["value_range"]
    given = case.judging["zero_admissible"].astype(np.float64)  # (n_groups, n_out, 2)
    moved = (case.judging["zero_margins"] == 0) & (scale != expected)
    below = np.floor(-np.minimum(least, 0) / expected) + lo
    lowest = np.where(moved, below, given[..., 0])
    return lowest, np.where(moved, np.minimum(below + 1, hi), given[..., 1])
