"""Results of cases and of requirements, as plain JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from quantcheck.judge.verdict import Judgement, Verdict, shown_of
from quantcheck.spec.requirements import Requirement


@dataclass(frozen=True)
class CaseResult:
    """One case or property: its judgements, and the target's own messages after an error.

    Attributes
    ----------
    title, draws : str
        Of a property: its sentence, and a digest of its samples.
    examples : int
        Number of samples that were asked.
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


def by_requirement(
    requirements: Mapping[str, Requirement],
    results: Iterable[CaseResult],
    named: Iterable[str],
) -> list[RequirementResult]:
    """Return one verdict per requirement, in the order of SPEC.md.

    Parameters
    ----------
    requirements : mapping
        Requirements of SPEC.md by id.
    results : iterable of CaseResult
        Results of the cases and properties that were asked.
    named : iterable of str
        Ids of the requirements that vectors of this run name.
    """
    collected: dict[str, list[Judgement]] = {}
    for result in results:
        for judgement in result.judgements:
            collected.setdefault(judgement.requirement, []).append(judgement)
    covered = set(named)
    unknown = [id_ for id_ in collected if id_ not in requirements]
    table = dict(requirements)
    table.update(
        {i: Requirement(i, "unknown", "unknown", "unknown", "not in SPEC.md") for i in unknown}
    )
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
    worst = shown_of(judgements)
    return RequirementResult(requirement, worst.verdict, counts, worst)


def to_json(result: CaseResult | RequirementResult) -> dict[str, Any]:
    """Return a result as plain JSON; numbers that JSON cannot write become text."""
    if isinstance(result, CaseResult):
        # The page shows evidence for the worst case of each requirement alone.
        bare = tuple(replace(judgement, evidence={}) for judgement in result.judgements)
        made: dict[str, Any] = plain(asdict(replace(result, judgements=bare)))
        made["verdict"] = result.verdict.value
        for judgement in made["judgements"]:
            del judgement["evidence"]
        return made
    made = plain(asdict(result))
    if result.worst is not None:
        made["worst"]["ratio"] = plain(result.worst.ratio)
    return made


def plain(value: Any) -> Any:
    r"""Return JSON that can be written as UTF-8, for any answer of a target.

    Examples
    --------
    >>> plain({1: (float("inf"), "half of a pair: \ud800", Verdict.PASS)})
    {'1': ['inf', 'half of a pair: ?', 'pass']}
    """
    if isinstance(value, Verdict):
        return value.value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {plain(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value
