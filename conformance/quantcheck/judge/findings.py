"""Collects findings on one answer; each finding is the result of one check of one requirement.

Codes are judged by teacher forcing: they must be right for the answer's own parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from quantcheck.judge.verdict import Judgement, judgement_of
from quantcheck.spec.requirements import choices
from quantcheck.wire.arrays import dtype_of
from quantcheck.wire.cases import Case
from quantref.errors import AnswerError
from quantref.inputs import Array

# The requirement that an output of another shape or kind of dtype breaks.
FORMS = {
    ("abs", "codes"): "ABS-030",
    ("abs", "scale"): "ABS-120",
    ("abs", "values"): "ABS-080",
    ("aff", "codes"): "AFF-070",
    ("aff", "scale"): "AFF-180",
    ("aff", "zero_point"): "AFF-180",
    ("aff", "values"): "AFF-160",
    ("pack", "packed"): "PACK-070",
    ("pack", "codes"): "PACK-040",
    ("pack", "packed_zero_point"): "PACK-100",
    ("pack", "zero_point"): "PACK-150",
    ("hes", "hessian"): "HES-010",
    ("hes", "damped"): "HES-050",
    ("hes", "factor"): "HES-070",
    ("gptq", "codes"): "GPTQ-080",
    ("gptq", "scale"): "GPTQ-080",
    ("gptq", "zero_point"): "GPTQ-080",
    ("gptq", "g_idx"): "GPTQ-090",
    ("lay", "kernel"): "LAY-010",
    ("lay", "kernel_scale"): "LAY-160",
    ("lay", "reloaded"): "LAY-130",
    ("cal", "windows"): "CAL-010",
    ("cal", "codes"): "CAL-090",
    ("cal", "scale"): "CAL-090",
    ("cal", "zero_point"): "CAL-090",
    ("cal", "g_idx"): "CAL-090",
    ("four", "codes"): "FOUR-050",
    ("four", "scale"): "FOUR-010",
    ("four", "zero_point"): "FOUR-010",
    ("four", "values"): "FOUR-080",
}
BELOW_SINGLE = 2.0**-25  # a number between the two unit roundoffs


def largest_ratio(difference: Array, bound: Array) -> tuple[float, dict[str, Any]]:
    """Return the largest |difference| ÷ bound, infinite for NaN, and where it is.

    Examples
    --------
    >>> largest_ratio(np.array([0.0, -1.0]), np.array([0.0, 4.0]))
    (0.25, {'index': (1,), 'observed': 1.0, 'bound': 4.0})
    """
    bound = np.broadcast_to(bound, difference.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(difference == 0, 0.0, np.abs(difference) / bound)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    observed = float(np.abs(difference[index]))
    return float(ratio[index]), {"index": index, "observed": observed, "bound": float(bound[index])}


@dataclass(frozen=True)
class Form:
    """Dtype and shape of an output without an expected value."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def _expected(case: Case) -> dict[str, Any]:
    """Return the expected outputs; their forms if the certificate alone judges.  [VEC-080]"""
    forms = case.expected.get("forms")
    if forms is None:
        return dict(case.expected["outputs"])
    return {k: Form(dtype_of(v["dtype"]), tuple(v["shape"])) for k, v in forms.items()}


class Judging:
    """Collects findings on one answer."""

    def __init__(
        self,
        case: Case,
        outputs: dict[str, Any],
        u: float,
        u_f: float | None = None,
        order: str = "block",
    ) -> None:
        self.case, self.outputs, self.u, self.u_f, self.order = case, outputs, u, u_f, order
        self.expected = _expected(case)
        self.findings: list[Judgement] = []

    @property
    def in_single(self) -> bool:
        """Whether the target computes in single precision: u is 2⁻²⁴, not 2⁻⁵³ (section 0)."""
        return self.u > BELOW_SINGLE

    def blame(self, requirement: str) -> str:
        """Return the requirement if the case covers it, else the first requirement of the case."""
        covered = self.case.requirements
        return requirement if requirement in covered else covered[0]

    def output(self, name: str) -> Array:
        """Return an output as an array of the expected shape, or raise AnswerError."""
        form = FORMS.get((self.case.section, name), "")
        if name not in self.outputs:
            raise AnswerError(f"output {name!r}", f"{sorted(self.outputs)}", form)
        if not isinstance(self.outputs[name], (np.ndarray, np.generic)):
            raise AnswerError(f"{name} as an array", type(self.outputs[name]).__name__, form)
        got, expected = np.asarray(self.outputs[name]), self.expected[name]
        if got.shape != expected.shape:
            raise AnswerError(f"{name} of shape {expected.shape}", f"{got.shape}", form)
        if got.dtype.kind not in "iufV" or (got.dtype.kind == "V" and got.dtype.name != "bfloat16"):
            raise AnswerError(f"{name} a number array", got.dtype.name, form)
        return got

    def add(self, requirement: str, passed: bool, message: str, **details: Any) -> None:
        """Record a finding.

        A choice that fails stays what it is, so that nothing that is promised counts as broken.
        """
        blamed = self.blame(requirement)
        if not passed and requirement in choices():
            blamed = requirement
        self.findings.append(judgement_of(blamed, bool(passed), message, self.case.id, **details))

    def dtype(self, name: str, requirement: str) -> None:
        """Judge the dtype of an output."""
        got, expected = np.asarray(self.outputs[name]).dtype, self.expected[name].dtype
        message = f"{name}: expected dtype {expected.name}, got {got.name}"
        self.add(requirement, got == expected, message, got=got.name, expected=expected.name)

    def equal(self, name: str, requirement: str, *, where: Array | None = None) -> None:
        """Judge that all elements, or those in `where`, equal the expected ones."""
        got, expected = self.output(name), self.expected[name]
        wrong = got.astype(np.float64) != expected.astype(np.float64)
        if where is not None:
            wrong &= where
        count = int(wrong.sum())
        index = tuple(int(i) for i in np.argwhere(wrong)[0]) if count else None
        message = f"{name}: {count} of {got.size} differ"
        details: dict[str, Any] = {"index": index}
        if index is not None:
            details |= {"got": str(got[index]), "expected": str(expected[index])}
            message += f"; at {list(index)} expected {expected[index]}, got {got[index]}"
            margins = self.case.judging.get("margins")
            if isinstance(margins, np.ndarray) and margins.shape == got.shape:
                details["margin"] = float(margins[index])
        self.add(requirement, count == 0, message, **details)

    def within(self, name: str, requirement: str, difference: Array, bound: Array) -> None:
        """Judge |difference| <= bound for every element; NaN fails."""
        got, expected = self.outputs[name], self.expected.get(name)
        if difference.size == 0:
            self.add(requirement, True, f"{name}: no elements")
            return
        worst, details = largest_ratio(difference, bound)
        index = details["index"]
        message = f"{name}: off by {worst:.3g} of the bound at {list(index)}"
        if expected is not None and np.shape(got) == difference.shape:
            details |= {"got": str(got[index]), "expected": str(expected[index])}
            message += f", expected {expected[index]!s}, got {got[index]!s}"
        self.add(requirement, worst <= 1, message, **details)

    def teacher_forced(self, requirement: str, t: Array, lo: int, hi: int, z: Array) -> None:
        """Judge codes = clip(rint(t) + z, lo, hi); the error of t + z is at most 3u|t| + u·|z|."""
        codes = self.output("codes").astype(np.float64)
        inside = np.clip(t, lo - z, hi - z)  # all t beyond the clip have the same code
        excess = np.maximum(np.abs(codes - z - inside) - 0.5, 0.0)
        excess = np.where((codes >= lo) & (codes <= hi), excess, np.inf)
        self.within("codes", requirement, excess, self.u * (3 * np.abs(t) + np.abs(z)))
