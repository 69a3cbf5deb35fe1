"""Compare an answer with a vector: exact, admissible, certified (SPEC.md, sections 11 and 12).

Codes are judged by teacher forcing: against the parameters that the answer itself has. A code that
the vector marks as required must be the expected one wherever the answer has the expected scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from quantref.arrays import Array
from quantref.blame import explain, other_axes
from quantref.blame_gptq import judged_checks, stays
from quantref.certificate import ULP32, growth
from quantref.compare_calibration import CALIBRATION_JUDGES
from quantref.compare_layers import LAYER_JUDGES
from quantref.errors import AnswerError
from quantref.fast.certificate import certify
from quantref.operations import gptq_config
from quantref.profile import Profile
from quantref.vectors import Case

ULP64 = 2.0**-52
SMALLEST_SUBNORMAL = 2.0**-149
RELOADED = {"LAY-130", "LAY-140"}  # which no wrong output explains


@dataclass(frozen=True)
class Finding:
    """What one check found about one requirement on one case.

    Attributes
    ----------
    requirement : str
    passed : bool
    message : str
        What was expected and what came.
    case : str
    index : tuple of int, optional
        Where the worst element is.
    got, expected : str, optional
    margin : float, optional
        Distance of the worst code from the nearest change of code, in codes.
    observed, bound : float, optional
    """

    requirement: str
    passed: bool
    message: str
    case: str
    index: tuple[int, ...] | None = None
    got: str | None = None
    expected: str | None = None
    margin: float | None = None
    observed: float | None = None
    bound: float | None = None


class _Judge:
    """Collects findings on one answer."""

    def __init__(self, case: Case, outputs: dict[str, Any], u: float) -> None:
        self.case, self.outputs, self.u = case, outputs, u
        self.expected = case.expected["outputs"]
        self.findings: list[Finding] = []

    def blame(self, requirement: str) -> str:
        """Return the requirement if the case covers it, else the case's first."""
        covered = self.case.requirements
        return requirement if requirement in covered else covered[0]

    def output(self, name: str) -> Array:
        """Return an output as an array of the expected shape, or raise AnswerError."""
        if name not in self.outputs:
            raise AnswerError(f"output {name!r}", f"{sorted(self.outputs)}", self.case.id)
        got, expected = np.asarray(self.outputs[name]), self.expected[name]
        if got.shape != expected.shape:
            raise AnswerError(f"{name} of shape {expected.shape}", f"{got.shape}", self.case.id)
        if got.dtype.kind not in "iufV" or (got.dtype.kind == "V" and got.dtype.name != "bfloat16"):
            raise AnswerError(f"{name} a number array", got.dtype.name, self.case.id)
        return got

    def add(self, requirement: str, passed: bool, message: str, **details: Any) -> None:
        """Record a finding."""
        blamed = self.blame(requirement)
        self.findings.append(Finding(blamed, bool(passed), message, self.case.id, **details))

    def dtype(self, name: str, requirement: str) -> None:
        """Judge the dtype of an output."""
        got, expected = np.asarray(self.outputs[name]).dtype, self.expected[name].dtype
        message = f"{name}: expected dtype {expected.name}, got {got.name}"
        self.add(requirement, got == expected, message, got=got.name, expected=expected.name)

    def equal(self, name: str, requirement: str, *, where: Array | None = None) -> None:
        """Judge equality, element by element."""
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
        """Judge |difference| <= bound, element by element; NaN is outside."""
        got, expected = self.outputs[name], self.expected.get(name)
        bound = np.broadcast_to(bound, difference.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(difference == 0, 0.0, np.abs(difference) / bound)
        ratio = np.where(np.isnan(ratio), np.inf, ratio)
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
        worst = float(ratio[index])
        message = f"{name}: off by {worst:.3g} of the bound at {list(index)}"
        details: dict[str, Any] = {
            "index": index,
            "observed": float(np.abs(difference[index])),
            "bound": float(bound[index]),
        }
        if expected is not None and np.shape(got) == ratio.shape:
            details |= {"got": str(got[index]), "expected": str(expected[index])}
            message += f", expected {expected[index]!s}, got {got[index]!s}"
        self.add(requirement, worst <= 1, message, **details)

    def teacher_forced(self, requirement: str, t: Array, lo: int, hi: int, z: Array) -> None:
        """Judge codes = clip(rint(t) + z, lo, hi) where t + z is known up to 3u|t| + u·z."""
        codes = self.output("codes").astype(np.float64)
        inside = np.clip(t, lo - z, hi - z)  # beyond the clip every t has the same code
        excess = np.maximum(np.abs(codes - z - inside) - 0.5, 0.0)
        excess = np.where((codes >= lo) & (codes <= hi), excess, np.inf)
        self.within("codes", requirement, excess, self.u * (3 * np.abs(t) + z))


def _abs_max(judge: _Judge) -> None:
    case, outputs = judge.case, judge.outputs
    requirement = other_axes(case, outputs)
    if requirement:
        wanted, shape = judge.expected["scale"].shape, np.shape(outputs["scale"])
        message = f"scale: expected shape {wanted}, got {shape}, as of other axes"
        judge.add(requirement, False, message)
        return
    codes, scale = judge.output("codes"), judge.output("scale").astype(np.float64)
    expected = judge.expected["scale"].astype(np.float64)
    judge.dtype("codes", "ABS-030")
    judge.dtype("scale", "ABS-020")
    ulp = ULP64 if judge.expected["scale"].dtype == np.float64 and judge.u < ULP32 / 4 else ULP32
    judge.within("scale", "ABS-010", scale - expected, 2 * ulp * np.abs(expected))
    usable = np.isfinite(scale) & (scale > 0)
    if not usable.all():
        blamed = "ABS-040" if "ABS-040" in case.requirements else "ABS-010"
        judge.add(blamed, False, f"scale: expected finite and positive, got {scale.min()}")
        return
    x = case.inputs["x"].astype(np.float64)
    arguments = case.parameters.get("arguments", case.parameters)
    lo, hi = arguments["value_range"]
    zero = np.zeros(())
    judge.teacher_forced("ABS-030", x * scale, lo, hi, zero)
    same = np.broadcast_to(outputs["scale"].astype(np.float64) == expected, codes.shape)
    judge.equal("codes", "ABS-030", where=same & (case.judging["required"] == 1))
    t = x * scale
    inner = (codes > lo) & (codes < hi)
    # [ABS-090]: half a step, where the code is not clipped
    step = np.where(inner, np.abs(t - codes.astype(np.float64)), 0.0)
    judge.within("codes", "ABS-090", step, 0.5 + 3 * judge.u * np.abs(t))


def _values(requirement: str) -> Callable[[_Judge], None]:
    def judged(judge: _Judge) -> None:
        got, expected = judge.output("values"), judge.expected["values"].astype(np.float64)
        judge.dtype("values", requirement)
        double = judge.expected["values"].dtype == np.float64 and judge.u < ULP32 / 4
        ulp = ULP64 if double else ULP32
        difference = got.astype(np.float64) - expected
        bound = 2 * ulp * np.abs(expected) + SMALLEST_SUBNORMAL
        judge.within("values", requirement, difference, bound)

    return judged


def _exactly(*names: str, requirement: str) -> Callable[[_Judge], None]:
    def judged(judge: _Judge) -> None:
        for name in names:
            judge.output(name)
            judge.dtype(name, requirement)
            judge.equal(name, requirement)

    return judged


def _affine_parameters(judge: _Judge) -> None:
    scale, expected = judge.output("scale").astype(np.float64), judge.expected["scale"]
    judge.dtype("scale", "AFF-040")
    judge.dtype("zero_point", "AFF-060")
    judge.within("scale", "AFF-040", scale - expected, 2 * ULP32 * expected.astype(np.float64))
    admissible = judge.case.judging["zero_admissible"]  # (n_out, n_groups, 2): lowest, highest
    zero_point = judge.output("zero_point").astype(np.float64)
    outside = (zero_point < admissible[..., 0]) | (zero_point > admissible[..., 1])
    judge.equal("zero_point", "AFF-060", where=outside)


def _affine_quantize(judge: _Judge) -> None:
    inputs = judge.case.inputs
    judge.output("codes")
    judge.dtype("codes", "AFF-070")
    g = inputs["g_idx"]
    s = inputs["scale"].astype(np.float64)[:, g]
    z = inputs["zero_point"].astype(np.float64)[:, g]
    t = inputs["weights"].astype(np.float64) / s
    maxq = 2 ** judge.case.parameters["bits"] - 1
    judge.teacher_forced("AFF-070", t, 0, maxq, z)
    judge.equal("codes", "AFF-070", where=judge.case.judging["required"] == 1)
    codes = judge.outputs["codes"].astype(np.float64)
    inner = (codes > 0) & (codes < maxq)
    # [AFF-120]: half a step, where the code is not clipped
    step = np.where(inner, np.abs(t + z - codes), 0.0)
    judge.within("codes", "AFF-120", step, 0.5 + judge.u * (3 * np.abs(t) + z))


def _hessian(judge: _Judge) -> None:
    got, expected = judge.output("hessian").astype(np.float64), judge.expected["hessian"]
    judging = judge.case.judging
    gamma = growth(judging["tokens"] + 4 * judging["batches"] + 4, judge.u)
    judge.within("hessian", "HES-010", got - expected, gamma * judging["absolute"])
    judge.add("HES-100", bool((got == got.T).all()), "hessian: equal to its transpose")


def _prepare(judge: _Judge) -> None:
    got = judge.output("damped").astype(np.float64)
    expected = judge.expected["damped"]
    judge.equal("dead", "HES-040")
    judge.equal("order", "HES-060")
    mean = float(np.mean(np.diagonal(expected)))
    bound = growth(len(got) + 4, judge.u) * (np.abs(expected) + mean * np.eye(len(got)))
    judge.within("damped", "HES-050", got - expected, bound)


def _factor(judge: _Judge) -> None:
    R = judge.output("factor").astype(np.float64)
    H = judge.case.inputs["hessian"].astype(np.float64)
    upper = not np.tril(R, -1).any() and bool((np.diagonal(R) > 0).all())
    judge.add("HES-070", upper, "factor: upper triangular with a positive diagonal")
    bound = growth(len(H) + 4, judge.u) * (np.abs(R) @ np.abs(R).T)
    judge.findings.append(_residual_finding(judge, R @ R.T - H, bound))


def _residual_finding(judge: _Judge, difference: Array, bound: Array) -> Finding:
    ratio = np.abs(difference) / np.maximum(bound, 1e-300)
    index = tuple(int(i) for i in np.unravel_index(int(np.nanargmax(ratio)), ratio.shape))
    worst = float(ratio[index])
    return Finding(
        judge.blame("HES-070"), worst <= 1, f"factor: R Rᵀ off H by {worst:.3g} of the bound",
        judge.case.id, index, observed=float(abs(difference[index])), bound=float(bound[index]),
    )  # fmt: skip


def _gptq(judge: _Judge) -> None:
    case, parameters = judge.case, judge.case.parameters
    for name in ("codes", "scale", "zero_point", "g_idx"):
        judge.output(name)
        judge.dtype(name, "GPTQ-090" if name == "g_idx" else "GPTQ-080")
    config = gptq_config(parameters)
    answer = SimpleNamespace(**{k: np.asarray(v) for k, v in judge.outputs.items()})
    profile = Profile(block_size=parameters["block_size"])
    certificate = certify(
        case.inputs["weights"],
        case.inputs["hessian"],
        answer,
        config,
        profile=profile,
        unit_roundoff=judge.u,
    )
    note = " (plain rounding: no error was fed back)" if certificate.plain_rounding else ""
    for check, requirement in judged_checks(case, certificate):
        details: dict[str, Any] = {"index": check.worst}
        if check.bound > 0:
            details |= {"observed": check.observed, "bound": check.bound}
        judge.add(requirement, check.passed, f"{check.name}: {check.message}{note}", **details)
    required = _required_codes(judge)
    judge.equal("codes", "GPTQ-070", where=required)


def _required_codes(judge: _Judge) -> Array:
    """Return which codes must be the expected ones, given the parameters of the answer.

    The vector's scales, zero-points and codes belong together: a row in which an earlier group has
    another scale beyond its bound, or another zero-point, is judged by the certificate alone.
    """
    judging, expected = judge.case.judging, judge.expected
    name = "required_float32" if judge.u > ULP32 / 4 else "required_float64"
    required = judging[name] == 1
    ours = np.abs(judge.outputs["scale"].astype(np.float64) - expected["scale"])
    same = (ours <= judging["scale_bound"]).all(axis=1) & (
        judge.outputs["zero_point"] == expected["zero_point"]
    ).all(axis=1)
    exact_scale = (judge.outputs["scale"] == expected["scale"]).all(axis=1)
    ties = judging["margins"] == 0
    return np.asarray(required & same[:, None] & (~ties | exact_scale[:, None]))


def _round_trip(judge: _Judge) -> None:
    got, expected = judge.outputs.get("fields"), judge.expected["fields"]
    if not isinstance(got, dict):
        raise AnswerError("output 'fields', an object", f"{type(got).__name__}", judge.case.id)
    wrong = [key for key, value in expected.items() if got.get(key) != value]
    message = "fields: all equal after the round trip"
    details: dict[str, Any] = {}
    if wrong:
        key = wrong[0]
        details = {"got": f"{got.get(key)!r}", "expected": f"{expected[key]!r}"}
        message = f"field {key}: expected {expected[key]!r}, got {got.get(key)!r}"
    judge.add(judge.case.requirements[0], not wrong, message, **details)


JUDGES: dict[str, Callable[[_Judge], None]] = {
    "round_half_even": _exactly("values", requirement="RND-010"),
    "saturating_cast": _exactly("codes", requirement="RND-020"),
    "abs_max_quantize": _abs_max,
    "abs_max_quantizer": _abs_max,
    "abs_max_dequantize": _values("ABS-080"),
    "affine_parameters": _affine_parameters,
    "affine_quantize": _affine_quantize,
    "affine_dequantize": _values("AFF-080"),
    "pack": _exactly("packed", requirement="PACK-010"),
    "unpack": _exactly("codes", requirement="PACK-040"),
    "hessian": _hessian,
    "prepare_hessian": _prepare,
    "factor": _factor,
    "gptq_quantize": _gptq,
    "config_round_trip": _round_trip,
    **LAYER_JUDGES,
    **CALIBRATION_JUDGES,
}


def judge(case: Case, answer: dict[str, Any], *, unit_roundoff: float) -> list[Finding]:
    """Return what an answer shows about the requirements of a case.  [VER-010]

    Parameters
    ----------
    case : Case
    answer : dict
        {"outputs": {name: array or JSON}} or {"refused": message}, arrays decoded.
    unit_roundoff : float
        Of the target's working precision.

    Returns
    -------
    findings : list of Finding
        At least one for the first requirement of the case.

    Raises
    ------
    AnswerError
        The answer lacks outputs, or has wrong shapes or kinds of dtype.
    """
    first = case.requirements[0]
    if "refused" in case.expected:
        kind = case.expected["refused"]
        refused = "refused" in answer
        came = f"refused ({answer['refused']})" if refused else "an answer"
        message = f"expected to be refused ({kind}), got {came}"
        return [Finding(first, refused, message, case.id)]
    if "refused" in answer:
        message = f"expected an answer, got a refusal: {answer['refused']}"
        return [Finding(first, False, message, case.id)]
    collected = _Judge(case, answer["outputs"], unit_roundoff)
    JUDGES[case.operation](collected)
    findings = _explained(case, answer["outputs"], collected.findings)
    return findings + _of_the_whole(case, findings)


def _explained(case: Case, outputs: dict[str, Any], findings: list[Finding]) -> list[Finding]:
    """Return findings with failures attributed to the mistakes that explain them, if any do."""
    if all(finding.passed for finding in findings):
        return findings
    arrays: Any = {k: v if type(v) in (dict, list) else np.asarray(v) for k, v in outputs.items()}
    blamed = explain(case, arrays)
    if not blamed:
        return findings
    gptq = case.operation == "gptq_quantize"
    own = stays(arrays, blamed) if gptq else RELOADED
    kept = [finding for finding in findings if finding.passed or finding.requirement in own]
    failed = [f for f in findings if not f.passed and f.requirement not in own]
    return kept + [replace(finding, requirement=name) for name in blamed for finding in failed]


def _of_the_whole(case: Case, findings: list[Finding]) -> list[Finding]:
    """Return findings for what the case covers and no check speaks about.

    Where every check passed, all of it is kept; where one failed, the case says nothing about them.
    """
    if any(not finding.passed for finding in findings):
        return []
    spoken = {finding.requirement for finding in findings}
    return [
        Finding(requirement, True, "every check of the case passed", case.id)
        for requirement in case.requirements
        if requirement not in spoken
    ]
