"""Which judge an operation has, and what an answer shows: exact, admissible, certified.

A code that the vector marks as required must be the expected one wherever the answer has the
expected scale (SPEC.md, sections 11 and 12).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from quantcheck.judge.arithmetic import ARITHMETIC_JUDGES
from quantcheck.judge.calibration import CALIBRATION_JUDGES
from quantcheck.judge.findings import Judging
from quantcheck.judge.gptq import GPTQ_JUDGES
from quantcheck.judge.layers import LAYER_JUDGES
from quantcheck.judge.models import MODEL_JUDGES
from quantcheck.judge.naming.explain import explain
from quantcheck.judge.naming.gptq import unaffected
from quantcheck.judge.verdict import Judgement, found
from quantcheck.wire.cases import Case

JUDGES: dict[str, Callable[[Judging], None]] = {
    **ARITHMETIC_JUDGES,
    **GPTQ_JUDGES,
    **LAYER_JUDGES,
    **CALIBRATION_JUDGES,
    **MODEL_JUDGES,
}

RELOADED = {"LAY-130", "LAY-140"}  # which no wrong output explains


def judge(case: Case, answer: dict[str, Any], *, unit_roundoff: float) -> list[Judgement]:
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
    findings : list of Judgement
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
        return [found(first, refused, message, case.id)]
    if "refused" in answer:
        message = f"expected an answer, got a refusal: {answer['refused']}"
        return [found(first, False, message, case.id)]
    collected = Judging(case, answer["outputs"], unit_roundoff)
    JUDGES[case.operation](collected)
    findings = _explained(case, answer["outputs"], collected.findings)
    return findings + _of_the_whole(case, findings)


def _explained(case: Case, outputs: dict[str, Any], findings: list[Judgement]) -> list[Judgement]:
    """Return findings with failures attributed to the mistakes that explain them, if any do."""
    if all(finding.passed for finding in findings):
        return findings
    arrays: Any = {k: v if type(v) in (dict, list) else np.asarray(v) for k, v in outputs.items()}
    blamed = explain(case, arrays)
    if not blamed:
        return findings
    gptq = case.operation == "gptq_quantize"
    own = unaffected(arrays, blamed) if gptq else RELOADED
    kept = [finding for finding in findings if finding.passed or finding.requirement in own]
    failed = [f for f in findings if not f.passed and f.requirement not in own]
    return kept + [replace(finding, requirement=name) for name in blamed for finding in failed]


def _of_the_whole(case: Case, findings: list[Judgement]) -> list[Judgement]:
    """Return findings for what the case covers and no check speaks about.

    Where every check passed, all of it is kept; where one failed, the case says nothing about them.
    """
    if any(not finding.passed for finding in findings):
        return []
    spoken = {finding.requirement for finding in findings}
    return [
        found(requirement, True, "every check of the case passed", case.id)
        for requirement in case.requirements
        if requirement not in spoken
    ]
