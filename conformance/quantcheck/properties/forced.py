"""Laws of codes and zero-points: those of one answer are judged by the scales of another.

Both answers have the same expected scales, and each scale may be off by 2⁻²² of it. Where both
answers have equal integers, a law holds, be they right or wrong: other requirements judge that.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from quantcheck.judge.arithmetic import below_zero
from quantcheck.judge.verdict import Judgement
from quantcheck.properties.relations import ALLOWED, APART, equal, within
from quantcheck.wire.cases import Case
from quantref.inputs import Array


def zero_points(
    cases: tuple[Case, ...],
    requirement: str,
    first: Mapping[str, Array],
    zero_point: Array,
    u: float,
) -> Judgement:
    """Judge the second answer's zero-points by the scales of the first answer.

    AFF-060 asks for the neighbours of p = −lo / s, s the expected scale, within p·(3u + 2⁻²²). The
    first answer has a scale within 2⁻²² of s.
    """
    case, what = cases[0], "zero-points"
    scale = first["scale"]
    if case.parameters["symmetric"]:  # [AFF-130]
        return equal(cases[1], requirement, what, zero_point, first["zero_point"])
    lowest = below_zero(case)
    if np.shape(scale) != lowest.shape:
        return equal(cases[1], requirement, "scales", scale, lowest)
    with np.errstate(all="ignore"):  # a wrong scale may be 0
        p = np.abs(lowest / np.asarray(scale).astype(np.float64))
    slack = p * ((1 + ALLOWED) * (1 + 3 * u + ALLOWED) - 1)
    clipped = np.minimum(p, 2 ** case.parameters["bits"] - 1)
    return _rounded(cases[1], requirement, what, (zero_point, first["zero_point"]), clipped, slack)


def codes_of(
    cases: tuple[Case, ...],
    requirement: str,
    what: str,
    first: Mapping[str, Array],
    codes: Array,
    u: float,
) -> Judgement:
    """Judge the second answer's codes by the scales of the first answer.

    ABS-030 asks for the neighbours of x·s within 3u·|x·s|, s the scale of the second answer. Both
    scales are within 2⁻²² of the expected one.
    """
    scale = first["scale"]
    with np.errstate(invalid="ignore"):  # a wrong scale may be infinite
        t = cases[0].inputs["x"].astype(np.float64) * np.asarray(scale).astype(np.float64)
    lo, hi = cases[0].parameters["value_range"]
    slack = np.abs(t) * ((1 + APART) * (1 + 3 * u) - 1)
    pair = codes, first["codes"]
    return _rounded(cases[1], requirement, what, pair, np.clip(t, lo, hi), slack)


def _rounded(
    case: Case, requirement: str, what: str, pair: tuple[Array, Array], exact: Array, slack: Array
) -> Judgement:
    """Judge that integers equal the first answer's, or are those of values near `exact`."""
    got, first = (np.asarray(integers) for integers in pair)
    if got.shape != exact.shape:
        return equal(case, requirement, what, got, exact)
    excess = np.maximum(np.abs(got.astype(np.float64) - exact) - 0.5, 0.0)
    if first.shape == got.shape:
        excess[got == first] = 0.0
    return within(case, requirement, what, excess, slack)
