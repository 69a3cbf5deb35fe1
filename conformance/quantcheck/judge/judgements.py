"""Turns an answer into verdicts: one judgement for each requirement that was judged."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from quantcheck.judge.evidence import evidence
from quantcheck.judge.judges import judge
from quantcheck.judge.verdict import Judgement, Verdict, judgement_of, worst_of
from quantcheck.wire.arrays import decode_array
from quantcheck.wire.cases import Case
from quantref.errors import AnswerError, QuantrefError


def judge_answer(
    case: Case,
    answer: Mapping[str, Any],
    *,
    unit_roundoff: float,
    factor_roundoff: float | None = None,
    order: str = "block",
) -> tuple[list[Judgement], str]:
    """Judge one wire answer; return a judgement for each requirement that was judged.

    The roundoffs are those of the target; see `quantref.certify`. So is the order of calibration.

    Returns
    -------
    judgements : list of Judgement
    trace : str
        The target's own message about its error.
    """
    if "unsupported" in answer:
        return everywhere(case, Verdict.UNSUPPORTED, str(answer["unsupported"])), ""
    if "error" in answer:
        message = f"the target failed: {answer['error']}"
        return everywhere(case, Verdict.ERROR, message), str(answer.get("trace", ""))
    try:
        decoded = decode(answer)
    except QuantrefError as error:
        return everywhere(case, Verdict.ERROR, f"not an answer: {error}"), ""
    try:
        with np.errstate(all="ignore"):  # of an answer with any numbers
            findings = judge(
                case,
                decoded,
                unit_roundoff=unit_roundoff,
                factor_roundoff=factor_roundoff,
                order=order,
            )
    except QuantrefError as error:  # wrong shape, dtype or range: a failure of what says so, once
        covered = error.requirement in case.requirements
        blamed = error.requirement if covered else case.requirements[0]
        message = f"expected {error.expected}, got {error.got}"
        failed = [judgement_of(blamed, False, message, case.id, size=_size(case))]
        return failed + _without_finding(case, failed), ""
    except Exception as error:  # noqa: BLE001
        # An exception of a judge must neither end the run nor count as a verdict.
        message = f"the answer could not be judged: {type(error).__name__}: {error}"
        return everywhere(case, Verdict.ERROR, message), traceback.format_exc()
    judged = _by_requirement(findings)
    if any(j.verdict == Verdict.FAIL for j in judged):
        shown, size = evidence(case, decoded, unit_roundoff), _size(case)
        judged = [
            replace(j, evidence=shown, size=size) if j.verdict == Verdict.FAIL else j
            for j in judged
        ]
    return judged + _without_finding(case, judged), ""


def judge_law(
    cases: tuple[Case, ...],
    answers: Sequence[Mapping[str, Any]],
    law: Callable[[tuple[Case, ...], Sequence[Mapping[str, Any]], float], list[Judgement]],
    *,
    unit_roundoff: float,
) -> tuple[list[Judgement], str]:
    """Judge answers that a law compares with each other; return a judgement per requirement."""
    case = cases[0]
    try:
        outputs = [decode(answer)["outputs"] for answer in answers]
        with np.errstate(all="ignore"):  # of answers with any numbers
            findings = law(cases, outputs, unit_roundoff)
    except (QuantrefError, KeyError) as error:
        return everywhere(case, Verdict.ERROR, f"not an answer: {error}"), ""
    except Exception as error:  # noqa: BLE001 - as in judge_answer
        message = f"the answers could not be judged: {type(error).__name__}: {error}"
        return everywhere(case, Verdict.ERROR, message), traceback.format_exc()
    judged = _by_requirement(findings)
    return judged + _without_finding(case, judged), ""


def _size(case: Case) -> int:
    """Return the number of elements of a question's arrays."""
    arrays = [
        value if isinstance(value, (list, tuple)) else [value] for value in case.inputs.values()
    ]
    return sum(np.size(array) for part in arrays for array in part)


def _by_requirement(findings: Sequence[Judgement]) -> list[Judgement]:
    """Return the worst finding of each requirement."""
    return [
        worst_of([f for f in findings if f.requirement == requirement])
        for requirement in dict.fromkeys(f.requirement for f in findings)
    ]


def _without_finding(case: Case, judged: Sequence[Judgement]) -> list[Judgement]:
    """Judge requirements without a finding: they pass if every finding of the case passes."""
    failed = [j.requirement for j in judged if j.verdict != Verdict.PASS]
    verdict = Verdict.NOT_JUDGED if failed or not judged else Verdict.PASS
    message = (
        f"no finding of its own, and the case fails {', '.join(failed)}"
        if failed
        else "every finding of the case passes"
    )
    found = {j.requirement for j in judged}
    return [
        Judgement(requirement, case.id, verdict, message)
        for requirement in case.requirements
        if requirement not in found
    ]


def decode(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Decode the arrays of a wire answer; other fields stay JSON."""
    if "refused" in answer:
        return dict(answer)
    outputs = answer["outputs"]
    if not isinstance(outputs, dict):
        raise AnswerError("outputs as object", type(outputs).__name__)
    return {
        "outputs": {
            name: decode_array(value)
            if isinstance(value, dict) and {"dtype", "shape", "data"} <= value.keys()
            else value
            for name, value in outputs.items()
        }
    }


def everywhere(case: Case, verdict: Verdict, message: str) -> list[Judgement]:
    """Return the same verdict for every requirement that the case names."""
    return [Judgement(r, case.id, verdict, message) for r in case.requirements]
