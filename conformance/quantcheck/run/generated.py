"""Judges the answers to the samples of a property, and shrinks failures.  [VER-070]"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quantcheck.errors import CanaryError
from quantcheck.judge import verdict
from quantcheck.judge.judgements import everywhere, judge_answer, judge_law
from quantcheck.judge.refusals import broken_by_refusal
from quantcheck.judge.verdict import Judgement, Verdict
from quantcheck.properties import Property, Sample
from quantcheck.run.draws import Draws, digest, walk
from quantcheck.spec.requirements import choices
from quantcheck.wire.cases import Case, dump
from quantref import SPEC_VERSION, __version__

Ask = Callable[[dict[str, Any]], Mapping[str, Any]]
SHRINK_SECONDS = 10.0


@dataclass(frozen=True)
class Outcome:
    """The judgements of one sample.

    Attributes
    ----------
    sample : Sample
    judgements : tuple of Judgement
    trace, stderr : str
        The target's own messages after an error.
    seconds : float
        Time until the answers came.
    """

    sample: Sample
    judgements: tuple[Judgement, ...]
    trace: str = ""
    stderr: str = ""
    seconds: float = 0.0

    def vectors(self) -> list[str]:
        """Return the questions of the sample in the vector format, ready for the corpus."""
        texts = []
        for case in self.sample.cases:
            prefix, _, name = case.id.partition(":")
            section = prefix.split("-")[1]
            found = replace(case, id=f"{section}-found-{name}", section=section)
            texts.append(dump(found, generator=__version__, spec=SPEC_VERSION))
        return texts

    def failed(self, requirement: str | None = None) -> bool:
        """Whether a requirement, or any, fails or ends in an error."""
        return any(
            j.verdict in (Verdict.FAIL, Verdict.ERROR) and requirement in (None, j.requirement)
            for j in self.judgements
        )


# Judge


def judge(
    sample: Sample,
    answers: Sequence[Mapping[str, Any]],
    u: float,
    u_f: float | None = None,
    order: str = "block",
) -> Outcome:
    """Judge the wire answers to the questions of a sample.

    `u`, `u_f`: unit roundoffs of the target and of its factor of a Hessian; `order`: that of
    calibration.
    """
    case = sample.cases[0]
    broken = next((answer["broken"] for answer in answers if "broken" in answer), None)
    if broken is not None:
        return Outcome(sample, tuple(everywhere(case, Verdict.ERROR, broken)))
    if sample.law is None:
        (answer,) = answers
        judgements, trace = judge_answer(
            case, answer, unit_roundoff=u, factor_roundoff=u_f, order=order
        )
        return Outcome(sample, tuple(judgements), trace)
    for asked, answer in zip(sample.cases, answers, strict=True):
        if "outputs" not in answer:
            return _without_outputs(sample, asked, answer)
    judgements, trace = judge_law(sample.cases, answers, sample.law, unit_roundoff=u)
    return Outcome(sample, tuple(judgements), trace)


def _without_outputs(sample: Sample, case: Case, answer: Mapping[str, Any]) -> Outcome:
    """Judge a law if some answer has no outputs."""
    if "refused" in answer:
        message = f"expected an answer, got a refusal: {answer['refused']}"
        broken = broken_by_refusal(case)
        refused = replace(case, requirements=(broken,)) if broken in choices() else case
        return Outcome(sample, tuple(everywhere(refused, Verdict.FAIL, message)))
    if "unsupported" in answer:
        text = str(answer["unsupported"])
        return Outcome(sample, tuple(everywhere(case, Verdict.UNSUPPORTED, text)))
    message = f"the target failed: {answer.get('error')}"
    judgements = everywhere(case, Verdict.ERROR, message)
    return Outcome(sample, tuple(judgements), str(answer.get("trace", "")))


def ask(sample: Sample, target: Ask, u: float) -> Outcome:
    """Ask the questions of a sample and judge the answers."""
    return judge(sample, [target(case.question()) for case in sample.cases], u)


def summary(prop: Property, outcomes: Sequence[Outcome]) -> list[Judgement]:
    """Return the worst judgement over all samples for each requirement of a property."""
    found: dict[str, list[Judgement]] = {}
    for number, outcome in enumerate(outcomes, 1):
        for judgement in outcome.judgements:
            text = judgement.message
            if judgement.verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.UNSTABLE):
                text = f"example {number} of {len(outcomes)}: {text}"
            moved = replace(judgement, case=prop.id, message=text)
            found.setdefault(judgement.requirement, []).append(moved)
    return [verdict.worst_of(judgements) for judgements in found.values()]


# Shrink


class _FoundError(Exception):
    """Raised for a failing sample, so that Hypothesis looks for a smaller one."""


class _OutOfTime(BaseException):  # Hypothesis must not catch it
    """Raised when the time for shrinking is over."""


def shrink(
    prop: Property,
    requirement: str,
    attempted: Callable[[Sample], Outcome],
    *,
    draws: Draws | None = None,
    known: Iterable[Outcome] = (),
    seconds: float = SHRINK_SECONDS,
) -> Outcome | None:
    """Return the smallest failing sample found within a time limit.

    Parameters
    ----------
    prop : Property
    requirement : str
        The requirement that the sample must fail.
    attempted : callable
        Asks the questions of a sample, and judges the answers.
    draws : Draws, optional
        Those of the run, so that the same failure comes first.
    known : iterable of Outcome
        Outcomes of samples that were asked before.
    seconds : float
        Time limit.
    """
    from hypothesis import Phase

    end = time.monotonic() + seconds
    outcomes = {digest([o.sample]): o for o in known}
    smallest = [o for o in outcomes.values() if o.failed(requirement)][:1]

    def attempt(sample: Sample) -> None:
        if time.monotonic() > end:
            raise _OutOfTime
        key = digest([sample])
        if key not in outcomes:
            outcomes[key] = attempted(sample)
        outcome = outcomes[key]
        if outcome.failed(requirement):
            smallest[:] = [outcome]
            raise _FoundError

    chosen = draws or Draws()
    # Small shapes first: if one of them fails too, it is the better example.
    for shapes in (replace(chosen, free=True), chosen):
        try:
            walk(attempt, prop, shapes, Phase.generate, Phase.shrink)
        except (_FoundError, _OutOfTime):
            break
    return smallest[0] if smallest else None


# Canary


def canary(section: str, drawn: Mapping[Property, Sequence[Sample]]) -> tuple[str, str]:
    """Show that the properties of a section detect a canary.  [VER-030]

    Returns
    -------
    mutant id, property id : str

    Raises
    ------
    CanaryError
        No mutant of the section was detected.
    """
    from quantcheck import mutants

    for mutant in mutants.MUTANTS:
        if section not in mutant.sections:
            continue
        broken = mutants.load(mutant)
        for prop, samples in drawn.items():
            if any(ask(sample, broken.answer, 2.0**-24).failed() for sample in samples):
                return mutant.id, prop.id
    raise CanaryError(f"a mutant detected by the properties of section {section}", "none")
