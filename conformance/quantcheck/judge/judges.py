"""The table of judges: for each operation its judge, and the requirements that it can find broken.

The table traces requirements to judges. Tests compare it with SPEC.md, and with the findings of the
judges. Section 11 of SPEC.md says of which answers a required code is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from quantcheck.judge import arithmetic, calibrated, calibration, gptq, grouped, layers, models
from quantcheck.judge.findings import Judging
from quantcheck.judge.naming.explain import explain
from quantcheck.judge.naming.gptq import unaffected
from quantcheck.judge.refusals import broken_by_refusal, shows
from quantcheck.judge.verdict import Judgement, judgement_of
from quantcheck.wire.cases import Case


@dataclass(frozen=True)
class Row:
    """One operation.

    Attributes
    ----------
    section : str
        Section of SPEC.md.
    operation : str
    judge : callable
        Collects findings on an answer.
    requirements : tuple of str
        The requirements that a wrong answer can fail. They are those of the checks, of the known
        mistakes and of the refusals, and the first requirement of each vector, which fails if no
        more specific one does.
    """

    section: str
    operation: str
    judge: Callable[[Judging], None]
    requirements: tuple[str, ...]


def _row(section: str, operation: str, judge: Callable[[Judging], None], ids: str) -> Row:
    return Row(section, operation, judge, tuple(ids.split()))


_exactly, _values = arithmetic.exactly, arithmetic.values
TABLE = (
    _row("cfg", "config_round_trip", arithmetic.config_round_trip,
         "CFG-150 CFG-060 CFG-070 CFG-080 CFG-090 CFG-100 CFG-110 CFG-120 CFG-130 CFG-140 "
         "CFG-160 FOUR-140 FOUR-150 FOUR-160 FOUR-170 FOUR-180"),
    _row("rnd", "round_half_even", _exactly("values", requirement="RND-010"),
         "RND-010 RND-040"),
    _row("rnd", "saturating_cast", _exactly("codes", requirement="RND-020"),
         "RND-020 RND-030 RND-040"),
    _row("aff", "affine_parameters", arithmetic.affine_parameters,
         "AFF-010 AFF-020 AFF-050 AFF-060 AFF-110 AFF-130 AFF-140 AFF-150 AFF-170 AFF-180 AFF-190"),
    _row("aff", "affine_quantize", arithmetic.affine_quantize,
         "AFF-070 AFF-100 AFF-120"),
    _row("aff", "affine_dequantize", _values("AFF-160"),
         "AFF-100 AFF-110 AFF-160 AFF-170"),
    _row("abs", "abs_max_quantize", arithmetic.abs_max,
         "ABS-010 ABS-030 ABS-040 ABS-050 ABS-060 ABS-070 ABS-090 ABS-100 ABS-120 ABS-130"),
    _row("abs", "abs_max_quantizer", arithmetic.abs_max,
         "ABS-010 ABS-030 ABS-050 ABS-090 ABS-120 ABS-130 CFG-150"),
    _row("abs", "abs_max_dequantize", _values("ABS-080"),
         "ABS-080 ABS-110"),
    _row("pack", "pack", _exactly("packed", requirement="PACK-010"),
         "PACK-010 PACK-020 PACK-050 PACK-060 PACK-080"),
    _row("pack", "unpack", _exactly("codes", requirement="PACK-040"),
         "PACK-010 PACK-030 PACK-040 PACK-050 PACK-060 PACK-080"),
    _row("pack", "pack_ternary", arithmetic.ternary,
         "PACK-170 PACK-180 PACK-200"),
    _row("pack", "unpack_ternary", _exactly("codes", requirement="PACK-190"),
         "PACK-190 PACK-200"),
    _row("pack", "pack_layer", arithmetic.packed_layer,
         "PACK-090 PACK-100 PACK-110 PACK-120 PACK-130 PACK-140 PACK-160"),
    _row("pack", "unpack_layer", _exactly("codes", "zero_point", requirement="PACK-150"),
         "PACK-150 PACK-160"),
    _row("hes", "hessian", arithmetic.hessian,
         "HES-010 HES-030 HES-090 HES-100 HES-110 HES-130"),
    _row("hes", "prepare_hessian", arithmetic.prepare_hessian,
         "HES-040 HES-050 HES-060 HES-090"),
    _row("hes", "factor", arithmetic.factor,
         "HES-070 HES-080 HES-090"),
    _row("gptq", "gptq_quantize", gptq.gptq_quantize,
         "GPTQ-010 GPTQ-020 GPTQ-030 GPTQ-040 GPTQ-050 GPTQ-060 GPTQ-070 GPTQ-080 GPTQ-090 "
         "GPTQ-100 GPTQ-110 GPTQ-120 GPTQ-140 AFF-140"),
    _row("lay", "dense_int8", layers.dense_int8,
         "LAY-010 LAY-030 LAY-040 LAY-050 LAY-130 LAY-140 LAY-150 LAY-160 LAY-170 LAY-200 LAY-210 "
         "LAY-220 LAY-230 LAY-240 LAY-250 CFG-140"),
    _row("lay", "einsum_dense_int8", layers.dense_int8,
         "LAY-010 LAY-030 LAY-040 LAY-050 LAY-130 LAY-140 LAY-150 LAY-160"),
    _row("lay", "embedding_int8", layers.embedding_int8,
         "LAY-060 LAY-130 LAY-140 LAY-150 CFG-140"),
    _row("lay", "reversible_embedding_int8", layers.embedding_int8,
         "LAY-060 LAY-070 LAY-080 LAY-130 LAY-140 LAY-170 LAY-220 CFG-140"),
    _row("lay", "dense_gptq", layers.dense_gptq,
         "LAY-050 LAY-090 LAY-120 LAY-130 LAY-140 LAY-150 LAY-180 LAY-190 LAY-250 CAL-090"),
    _row("lay", "einsum_dense_gptq", layers.dense_gptq,
         "LAY-050 LAY-090 LAY-110 LAY-130 LAY-140 LAY-180"),
    _row("cal", "calibration_windows", calibration.windows,
         "CAL-010 CAL-020 CAL-030 CAL-040 CAL-060 CAL-070 CAL-080 CAL-180"),
    _row("cal", "calibration_processes", calibration.processes,
         "CAL-050"),
    _row("cal", "quantize_model_gptq", models.model_gptq,
         "CAL-070 CAL-090 CAL-100 CAL-110 CAL-120 CAL-130 CAL-140 CAL-160"),
    _row("cal", "quantize_model_int8", models.model_int8,
         "CAL-150"),
    _row("cal", "dense_calibrated", calibrated.calibrated,
         "CAL-090 CAL-100 CAL-110 CAL-140"),
    _row("cal", "einsum_dense_calibrated", calibrated.calibrated,
         "CAL-090 CAL-100 CAL-110 CAL-140"),
    _row("four", "grouped_quantize", grouped.grouped_quantize,
         "FOUR-010 FOUR-020 FOUR-030 FOUR-040 FOUR-050 FOUR-060 FOUR-070 FOUR-100 FOUR-120"),
    _row("four", "grouped_dequantize", _values("FOUR-080"),
         "FOUR-080 FOUR-090 FOUR-100 FOUR-120"),
)  # fmt: skip
JUDGES = {row.operation: row for row in TABLE}

# No mistake elsewhere explains a failure of these.
UNEXPLAINED = {
    "LAY-130",
    "LAY-140",
    "LAY-200",
    "LAY-220",
    "LAY-240",
    "LAY-250",
    "CFG-140",
    "ABS-120",
}


def judge(
    case: Case,
    answer: dict[str, Any],
    *,
    unit_roundoff: float,
    factor_roundoff: float | None = None,
    order: str = "block",
) -> list[Judgement]:
    """Return the findings on an answer to a case.  [VER-090]

    Parameters
    ----------
    case : Case
    answer : dict
        {"outputs": {name: array or JSON}} or {"refused": message}, arrays decoded.
    unit_roundoff : float
        Unit roundoff of the target.
    factor_roundoff : float, optional
        That of its factor of a Hessian; see `quantref.certify`.
    order : {"block", "stages"}
        The order of calibration that the target declares.

    Returns
    -------
    findings : list of Judgement
        At least one. A requirement of the case without a finding is not judged: that can be the
        first one too, if it is about ranges of later column blocks and codes fail.

    Raises
    ------
    AnswerError
        The answer lacks outputs, or has wrong shapes or kinds of dtype.
    """
    findings = unexplained(
        case, answer, unit_roundoff=unit_roundoff, factor_roundoff=factor_roundoff, order=order
    )
    if "refused" in case.expected or "refused" in answer:
        return findings
    findings = _explained(case, answer["outputs"], findings, unit_roundoff)
    return findings + _of_the_whole(case, findings)


def unexplained(
    case: Case,
    answer: dict[str, Any],
    *,
    unit_roundoff: float,
    factor_roundoff: float | None = None,
    order: str = "block",
) -> list[Judgement]:
    """Return the findings of the checks alone: the same as `judge` says pass and fail.

    No mistake is looked for that explains a failure, which takes longer than the checks.
    """
    first = case.requirements[0]
    if "refused" in case.expected:
        kind = case.expected["refused"]
        refused = "refused" in answer
        shown = not refused and shows(case, answer["outputs"])
        answered = f"refused ({answer['refused']})" if refused else "an answer"
        answered += " that shows it" if shown else ""
        message = f"expected to be refused ({kind}), got {answered}"
        return [judgement_of(first, refused or shown, message, case.id)]
    if "refused" in answer:
        message = f"expected an answer, got a refusal: {answer['refused']}"
        return [judgement_of(broken_by_refusal(case), False, message, case.id)]
    collected = Judging(case, answer["outputs"], unit_roundoff, factor_roundoff, order)
    JUDGES[case.operation].judge(collected)
    return collected.findings


def _explained(
    case: Case, outputs: dict[str, Any], findings: list[Judgement], unit_roundoff: float
) -> list[Judgement]:
    """Return findings; if a mistake explains the failures, they count for its requirement."""
    if all(finding.passed for finding in findings):
        return findings
    arrays: Any = {k: v if type(v) in (dict, list) else np.asarray(v) for k, v in outputs.items()}
    blamed, name = explain(case, arrays, unit_roundoff=unit_roundoff)
    if name:
        findings = [f if f.passed else replace(f, name=name) for f in findings]
    if not blamed:
        return findings
    gptq = case.operation == "gptq_quantize"
    own = unaffected(arrays, blamed) if gptq else UNEXPLAINED
    kept = [finding for finding in findings if finding.passed or finding.requirement in own]
    failed = [f for f in findings if not f.passed and f.requirement not in own]
    return kept + [replace(finding, requirement=r) for r in blamed for finding in failed]


def _of_the_whole(case: Case, findings: list[Judgement]) -> list[Judgement]:
    """Return findings for covered requirements that have no check of their own.

    If every check passed, these requirements pass too. If one failed, the case does not judge them.
    """
    if any(not finding.passed for finding in findings):
        return []
    spoken = {finding.requirement for finding in findings}
    return [
        judgement_of(requirement, True, "every check of the case passed", case.id)
        for requirement in case.requirements
        if requirement not in spoken
    ]
