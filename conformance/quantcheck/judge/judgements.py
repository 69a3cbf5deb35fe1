"""Turns an answer into verdicts: one judgement for each requirement that was judged."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from quantcheck.judge.evidence import evidence
from quantcheck.judge.judges import judge
from quantcheck.judge.verdict import Judgement, Verdict, worst_of
from quantcheck.wire.arrays import decode_array
from quantcheck.wire.cases import Case
from quantref.errors import AnswerError, QuantrefError


def judge_answer(
    case: Case, answer: Mapping[str, Any], *, unit_roundoff: float
) -> tuple[list[Judgement], str]:
    """Judge one wire answer; return a judgement for each requirement that was judged.

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
        findings = judge(case, decoded, unit_roundoff=unit_roundoff)
    except QuantrefError as error:
        return everywhere(case, Verdict.ERROR, f"not an answer: {error}"), ""
    except Exception as error:  # noqa: BLE001
        # An exception of a judge must neither end the run nor count as a verdict.
        message = f"the answer could not be judged: {type(error).__name__}: {error}"
        return everywhere(case, Verdict.ERROR, message), traceback.format_exc()
    judged = _by_requirement(findings)
    if any(j.verdict == Verdict.FAIL for j in judged):
        shown = evidence(case, decoded, unit_roundoff)
        judged = [replace(j, evidence=shown) if j.verdict == Verdict.FAIL else j for j in judged]
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
        findings = law(cases, [decode(answer)["outputs"] for answer in answers], unit_roundoff)
    except (QuantrefError, KeyError) as error:
        return everywhere(case, Verdict.ERROR, f"not an answer: {error}"), ""
    except Exception as error:  # noqa: BLE001 - as in judge_answer
        message = f"the answers could not be judged: {type(error).__name__}: {error}"
        return everywhere(case, Verdict.ERROR, message), traceback.format_exc()
    judged = _by_requirement(findings)
    return judged + _without_finding(case, judged), ""


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
