"""From answers to verdicts: per case and requirement, then per requirement."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from quantcheck.judge.evidence import evidence
from quantcheck.spec.requirements import Requirement

if TYPE_CHECKING:
    from quantcheck.judge.findings import Finding
    from quantcheck.wire.cases import Case


class Verdict(StrEnum):
    """What a run says about a requirement: five verdicts, and two ways of having none.  [VER-010]

    `NOT_JUDGED`: a case that names it failed another requirement, so nothing can be said.
    `NOT_COVERED`: no case that was asked names it.
    """

    ERROR = "error"
    FAIL = "fail"
    KNOWN = "known deviation"
    PASS = "pass"  # noqa: S105 - a verdict, no password
    NOT_JUDGED = "not judged"
    UNSUPPORTED = "unsupported"
    NOT_COVERED = "not covered"

    @property
    def rank(self) -> int:
        """Which of two verdicts counts for the whole: the lower one."""
        return list(Verdict).index(self)


@dataclass(frozen=True)
class Judgement:
    """One case under one requirement.

    Attributes
    ----------
    observed, bound : float, optional
        The largest deviation of the case relative to its bound, and that bound.
    stale : bool
        The verdict comes from a deviation file that no longer fits.
    reason, link : str
        Of the known deviation that covers it.
    evidence : mapping
        Numbers to draw of an answer that fails, see `quantcheck.judge.evidence`.
    """

    requirement: str
    case: str
    verdict: Verdict
    message: str = ""
    index: tuple[int, ...] | None = None
    got: str | None = None
    expected: str | None = None
    margin: float | None = None
    observed: float | None = None
    bound: float | None = None
    stale: bool = False
    reason: str = ""
    link: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def ratio(self) -> float | None:
        """Observed ÷ bound, when the requirement has a bound."""
        if self.observed is None or self.bound is None:
            return None
        if self.bound == 0:
            return 0.0 if self.observed == 0 else float("inf")
        return self.observed / self.bound


@dataclass(frozen=True)
class CaseResult:
    """One case or property: its judgements and, where it broke, what the target left behind.

    Attributes
    ----------
    title, draws : str
        Of a property: what it says, and a digest of its samples.
    examples : int
        How many samples were asked.
    vectors : tuple of str
        The smallest failing sample of a property, in the vector format.
    """

    case: str
    section: str
    operation: str
    judgements: tuple[Judgement, ...]
    seconds: float = 0.0
    trace: str = ""
    stderr: str = ""
    title: str = ""
    examples: int = 1
    draws: str = ""
    vectors: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the case."""
        ranked = sorted((j.verdict for j in self.judgements), key=lambda v: v.rank)
        return ranked[0] if ranked else Verdict.NOT_COVERED


@dataclass(frozen=True)
class RequirementResult:
    """One requirement over all cases that name it."""

    requirement: Requirement
    verdict: Verdict
    counts: Mapping[str, int] = field(default_factory=dict)
    worst: Judgement | None = None


def judge_answer(
    case: Case, answer: Mapping[str, Any], *, unit_roundoff: float
) -> tuple[list[Judgement], str]:
    """Verdicts of one wire answer, one per requirement that was judged.

    Returns
    -------
    judgements : list of Judgement
    trace : str
        What the target said about an error of its own.
    """
    from quantcheck.judge.judges import judge
    from quantref.errors import QuantrefError

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
        # A judge that stumbles over an answer must not end the run, nor pass for a verdict.
        message = f"the answer could not be judged: {type(error).__name__}: {error}"
        return everywhere(case, Verdict.ERROR, message), traceback.format_exc()
    judged = [
        _of_findings(case, requirement, [f for f in findings if f.requirement == requirement])
        for requirement in dict.fromkeys(f.requirement for f in findings)
    ]
    if any(j.verdict == Verdict.FAIL for j in judged):
        shown = evidence(case, decoded, unit_roundoff)
        judged = [replace(j, evidence=shown) if j.verdict == Verdict.FAIL else j for j in judged]
    return judged + _without_finding(case, judged), ""


def judge_law(
    cases: tuple[Case, ...],
    answers: Sequence[Mapping[str, Any]],
    law: Callable[[tuple[Case, ...], Sequence[Mapping[str, Any]], float], list[Finding]],
    *,
    unit_roundoff: float,
) -> tuple[list[Judgement], str]:
    """Verdicts of answers that a law holds against each other, one per requirement."""
    from quantref.errors import QuantrefError

    case = cases[0]
    try:
        findings = law(cases, [decode(answer)["outputs"] for answer in answers], unit_roundoff)
    except (QuantrefError, KeyError) as error:
        return everywhere(case, Verdict.ERROR, f"not an answer: {error}"), ""
    except Exception as error:  # noqa: BLE001 - as in judge_answer
        message = f"the answers could not be judged: {type(error).__name__}: {error}"
        return everywhere(case, Verdict.ERROR, message), traceback.format_exc()
    judged = [
        _of_findings(case, requirement, [f for f in findings if f.requirement == requirement])
        for requirement in dict.fromkeys(f.requirement for f in findings)
    ]
    return judged + _without_finding(case, judged), ""


def _without_finding(case: Case, judged: Sequence[Judgement]) -> list[Judgement]:
    """Verdicts of requirements that only the case as a whole can show to be met."""
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
    """Read a wire answer, with its arrays as NumPy arrays; fields that are no arrays stay JSON."""
    from quantcheck.wire.arrays import decode_array
    from quantref.errors import AnswerError

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
    """Give the same verdict to every requirement that the case names."""
    return [Judgement(r, case.id, verdict, message) for r in case.requirements]


def _of_findings(case: Case, requirement: str, findings: Sequence[Finding]) -> Judgement:
    failed = [f for f in findings if not f.passed]
    made = [
        Judgement(
            requirement,
            case.id,
            Verdict.FAIL if failed else Verdict.PASS,
            message=f.message,
            index=f.index,
            got=f.got,
            expected=f.expected,
            margin=f.margin,
            observed=f.observed,
            bound=f.bound,
        )
        for f in (failed or findings)
    ]
    return worst_of(made)


def worst_of(judgements: Sequence[Judgement]) -> Judgement:
    """Choose the first of the worst verdict, among those with the largest observed ÷ bound."""
    rank = min(j.verdict.rank for j in judgements)
    candidates = [j for j in judgements if j.verdict.rank == rank]
    return max(candidates, key=lambda j: -1.0 if j.ratio is None else _number(j.ratio))


def _number(ratio: float) -> float:
    return float("inf") if math.isnan(ratio) else ratio


def by_requirement(
    requirements: Mapping[str, Requirement],
    results: Iterable[CaseResult],
    named: Iterable[str],
) -> list[RequirementResult]:
    """One verdict per requirement, in the order of SPEC.md.

    Parameters
    ----------
    requirements : mapping
        Of SPEC.md.
    results : iterable of CaseResult
        What was done.
    named : iterable of str
        Requirement ids that vectors of this run name.
    """
    collected: dict[str, list[Judgement]] = {}
    for result in results:
        for judgement in result.judgements:
            collected.setdefault(judgement.requirement, []).append(judgement)
    covered = set(named)
    unknown = [id_ for id_ in collected if id_ not in requirements]
    table = dict(requirements)
    table.update({i: Requirement(i, "unknown", "unknown", "not in SPEC.md") for i in unknown})
    return [_of_judgements(r, collected.get(i, []), i in covered) for i, r in table.items()]


def _of_judgements(
    requirement: Requirement, judgements: Sequence[Judgement], covered: bool
) -> RequirementResult:
    if not judgements:
        verdict = Verdict.UNSUPPORTED if covered else Verdict.NOT_COVERED
        return RequirementResult(requirement, verdict)
    counts: dict[str, int] = {}
    for judgement in judgements:
        counts[judgement.verdict.value] = counts.get(judgement.verdict.value, 0) + 1
    worst = worst_of(judgements)
    return RequirementResult(requirement, worst.verdict, counts, worst)


def to_json(result: CaseResult | RequirementResult) -> dict[str, Any]:
    """Plain JSON of a result; numbers that JSON has no word for become text."""
    made: dict[str, Any] = _plain(asdict(result))
    if isinstance(result, CaseResult):
        made["verdict"] = result.verdict.value
        for judgement in made["judgements"]:
            del judgement["evidence"]  # the worst case of each requirement shows it
    elif result.worst is not None:
        made["worst"]["ratio"] = _plain(result.worst.ratio)
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, Verdict):
        return value.value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def known(judgement: Judgement, reason: str, link: str) -> Judgement:
    """Mark a failed judgement as one that a deviation file knows."""
    return replace(judgement, verdict=Verdict.KNOWN, reason=reason, link=link)
