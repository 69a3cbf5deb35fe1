"""Draws the samples of a property, judges the answers, and shrinks what fails.  [VER-070]

Samples are drawn before anything is asked, by a seed: the draws do not depend on the target, so the
same questions can be written to a file and answered elsewhere.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from quantcheck import verdict
from quantcheck.properties import Property, Sample, Sizes
from quantcheck.verdict import Judgement, Verdict
from quantref import SPEC_VERSION, __version__
from quantref.vectors import Case, dump

Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]
SEED = 20221031
SHRINK_SECONDS = 30.0


@dataclass(frozen=True)
class Outcome:
    """What one sample showed.

    Attributes
    ----------
    sample : Sample
    judgements : tuple of Judgement
    trace, stderr : str
        What the target left behind where it broke.
    """

    sample: Sample
    judgements: tuple[Judgement, ...]
    trace: str = ""
    stderr: str = ""

    def failed(self, requirement: str | None = None) -> bool:
        """Whether a requirement, or any, fails or ends in an error."""
        return any(
            j.verdict in (Verdict.FAIL, Verdict.ERROR) and requirement in (None, j.requirement)
            for j in self.judgements
        )


# Draw


def seed_of(prop: Property, base: int) -> int:
    """Return the seed of a property: others do not shift when one is added."""
    digest = hashlib.sha256(f"{base}:{prop.id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def draw(
    prop: Property, *, examples: int | None = None, base: int = SEED, sizes: Sizes | None = None
) -> list[Sample]:
    """Draw samples of a property, the same for the same seed.

    Parameters
    ----------
    prop : Property
    examples : int, optional
        At most how many; by default the property's own number.
    base : int
        Seed.
    sizes : Sizes, optional
    """
    found: list[Sample] = []

    def collect(sample: Sample) -> None:
        found.append(sample)

    count = prop.examples if examples is None else examples
    _run(collect, prop, count, base, sizes, Phase.generate)
    return found


def _run(
    test: Callable[[Sample], None],
    prop: Property,
    count: int,
    base: int,
    sizes: Sizes | None,
    *phases: Phase,
) -> None:
    strategy = prop.draw(sizes or Sizes())
    chosen = settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    seed(seed_of(prop, base))(chosen(given(strategy)(test)))()


def digest(samples: Iterable[Sample]) -> str:
    """Return a hash of what is asked: the same for the same draws.  [VER-070]"""
    ids = ",".join(case.id for sample in samples for case in sample.cases)
    return hashlib.sha256(ids.encode()).hexdigest()[:16]


# Judge


def judge(sample: Sample, answers: Sequence[Mapping[str, Any]], u: float) -> Outcome:
    """Judge the wire answers to the questions of a sample."""
    if sample.law is None:
        (case,), (answer,) = sample.cases, answers
        judgements, trace = verdict.judge_answer(case, answer, unit_roundoff=u)
        return Outcome(sample, tuple(judgements), trace)
    case = sample.cases[0]
    for answer in answers:
        if "outputs" not in answer:
            return _without_outputs(sample, case, answer)
    judgements, trace = verdict.judge_law(sample.cases, answers, sample.law, unit_roundoff=u)
    return Outcome(sample, tuple(judgements), trace)


def _without_outputs(sample: Sample, case: Case, answer: Mapping[str, Any]) -> Outcome:
    """Judge a law to which some question has no numbers as answer."""
    if "refused" in answer:
        message = f"expected an answer, got a refusal: {answer['refused']}"
        return Outcome(sample, tuple(verdict.everywhere(case, Verdict.FAIL, message)))
    if "unsupported" in answer:
        text = str(answer["unsupported"])
        return Outcome(sample, tuple(verdict.everywhere(case, Verdict.UNSUPPORTED, text)))
    message = f"the target failed: {answer.get('error')}"
    judgements = verdict.everywhere(case, Verdict.ERROR, message)
    return Outcome(sample, tuple(judgements), str(answer.get("trace", "")))


def ask(sample: Sample, target: Ask, u: float) -> Outcome:
    """Ask the questions of a sample and judge the answers."""
    return judge(sample, [target(case.question()) for case in sample.cases], u)


def summary(prop: Property, outcomes: Sequence[Outcome]) -> list[Judgement]:
    """Return one judgement per requirement of a property: the worst over its samples."""
    found: dict[str, list[Judgement]] = {}
    for number, outcome in enumerate(outcomes, 1):
        for judgement in outcome.judgements:
            text = judgement.message
            if judgement.verdict in (Verdict.FAIL, Verdict.ERROR):
                text = f"example {number} of {len(outcomes)}: {text}"
            moved = replace(judgement, case=prop.id, message=text)
            found.setdefault(judgement.requirement, []).append(moved)
    return [verdict.worst_of(judgements) for judgements in found.values()]


# Shrink


class _FoundError(Exception):
    """A sample fails; Hypothesis looks for a smaller one."""


def shrink(
    prop: Property,
    requirement: str,
    target: Ask,
    u: float,
    *,
    examples: int | None = None,
    base: int = SEED,
    sizes: Sizes | None = None,
    seconds: float = SHRINK_SECONDS,
) -> Outcome | None:
    """Return the smallest failing sample that was found in the time given.

    Parameters
    ----------
    prop, examples, base, sizes
        As they were drawn, so that the same failure is met first.
    requirement : str
        Which failure to keep while shrinking.
    target : callable
        From question to answer.
    u : float
        Unit roundoff of the target.
    seconds : float
        After which nothing new is asked.
    """
    end = time.monotonic() + seconds
    known: dict[str, Outcome | None] = {}
    smallest: list[Outcome] = []

    def attempt(sample: Sample) -> None:
        key = digest([sample])
        if key not in known:
            known[key] = ask(sample, target, u) if time.monotonic() < end else None
        outcome = known[key]
        if outcome is not None and outcome.failed(requirement):
            smallest[:] = [outcome]
            raise _FoundError

    count = prop.examples if examples is None else examples
    try:
        _run(attempt, prop, count, base, sizes, Phase.generate, Phase.shrink)
    except _FoundError:
        return smallest[0]
    return None


def vectors_of(outcome: Outcome) -> list[str]:
    """Return the questions of a sample in the vector format, ready for the corpus."""
    texts = []
    for case in outcome.sample.cases:
        prefix, _, digest_ = case.id.partition(":")
        section = prefix.split("-")[1]
        found = replace(case, id=f"{section}-found-{digest_}", section=section)
        texts.append(dump(found, generator=__version__, spec=SPEC_VERSION))
    return texts
