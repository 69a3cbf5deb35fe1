"""Draws the samples of a property, judges the answers, and shrinks what fails.  [VER-070]

Samples are drawn before anything is asked, by a seed: the draws do not depend on the target, so the
same questions can be written to a file and answered elsewhere.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from quantcheck.errors import CanaryError
from quantcheck.judge import verdict
from quantcheck.judge.verdict import Judgement, Verdict
from quantcheck.properties import Property, Sample, Sizes, load
from quantcheck.spec.sections import SECTIONS
from quantcheck.wire.cases import Case, dump
from quantref import SPEC_VERSION, __version__

Ask = Callable[[dict[str, Any]], Mapping[str, Any]]
SEED = 20221031
SHRINK_SECONDS = 10.0


@dataclass(frozen=True)
class Outcome:
    """What one sample showed.

    Attributes
    ----------
    sample : Sample
    judgements : tuple of Judgement
    trace, stderr : str
        What the target left behind where it broke.
    seconds : float
        How long the target took.
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


# Draw


@dataclass(frozen=True)
class Draws:
    """How samples are drawn.

    Attributes
    ----------
    seed : int
        The same seed draws the same samples.
    free : bool
        Whether shapes are free: see `Sizes`.
    factor : float
        Times the number of examples that a property asks for.
    seconds : float
        Time budget of each property beyond its first samples.
    """

    seed: int = SEED
    free: bool = False
    factor: float = 1.0
    seconds: float = 0.0

    def following(self) -> Draws:
        """Return other draws of the same kind."""
        return replace(self, seed=self.seed + 1)

    def count(self, prop: Property) -> int:
        """How many samples of a property are drawn."""
        return max(1, round(prop.examples * self.factor))

    def to_json(self) -> dict[str, Any]:
        """Return what the report says about them."""
        return asdict(self)


def seed_of(prop: Property, base: int) -> int:
    """Return the seed of a property: others do not shift when one is added."""
    digest = hashlib.sha256(f"{base}:{prop.id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def draw(prop: Property, draws: Draws | None = None) -> list[Sample]:
    """Draw samples of a property: the same samples for the same draws."""
    found: list[Sample] = []

    def collect(sample: Sample) -> None:
        found.append(sample)

    _run(collect, prop, draws or Draws(), Phase.generate)
    return found


def _run(test: Callable[[Sample], None], prop: Property, draws: Draws, *phases: Phase) -> None:
    chosen = settings(
        max_examples=draws.count(prop),
        database=None,
        deadline=None,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    strategy = prop.draw(Sizes(draws.free))
    with _no_local_constants():
        seed(seed_of(prop, draws.seed))(chosen(given(strategy)(test)))()


@contextmanager
def _no_local_constants() -> Iterator[None]:
    """Keep Hypothesis from drawing numbers that it read in the source of imported modules.

    With them the same seed draws other samples in a process that imported other modules. A release
    of Hypothesis that does it elsewhere draws others again: the digest of the samples tells.
    """
    from hypothesis.internal.conjecture import providers

    names = ("_local_constants", "_get_local_constants", "CONSTANTS_CACHE")
    if not all(hasattr(providers, name) for name in names):
        yield
        return
    empty, cache = type(providers._local_constants), type(providers.CONSTANTS_CACHE)  # noqa: SLF001
    with patch.multiple(providers, _get_local_constants=empty, CONSTANTS_CACHE=cache(1024)):
        yield


def cases_of(sections: Iterable[str], draws: Draws) -> list[Case]:
    """Return every case that the properties of some sections ask, each id once."""
    wanted = [section for section in SECTIONS if section in set(sections)]
    found: dict[str, Case] = {}
    for prop in load(wanted).values():
        for sample in draw(prop, draws):
            found.update({case.id: case for case in sample.cases})
    return list(found.values())


def digest(samples: Iterable[Sample]) -> str:
    """Return a hash of what is asked: the same for the same draws.  [VER-070]"""
    ids = ",".join(case.id for sample in samples for case in sample.cases)
    return hashlib.sha256(ids.encode()).hexdigest()[:16]


# Judge


def judge(sample: Sample, answers: Sequence[Mapping[str, Any]], u: float) -> Outcome:
    """Judge the wire answers to the questions of a sample."""
    case = sample.cases[0]
    broken = next((answer["broken"] for answer in answers if "broken" in answer), None)
    if broken is not None:
        return Outcome(sample, tuple(verdict.everywhere(case, Verdict.ERROR, broken)))
    if sample.law is None:
        (answer,) = answers
        judgements, trace = verdict.judge_answer(case, answer, unit_roundoff=u)
        return Outcome(sample, tuple(judgements), trace)
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


class _OutOfTime(BaseException):  # no error, and nothing that Hypothesis may catch
    """Looking for a smaller sample has taken long enough."""


def shrink(
    prop: Property,
    requirement: str,
    target: Ask,
    u: float,
    *,
    draws: Draws | None = None,
    known: Iterable[Outcome] = (),
    seconds: float = SHRINK_SECONDS,
) -> Outcome | None:
    """Return the smallest failing sample that was found in the time given.

    Parameters
    ----------
    prop : Property
    requirement : str
        Which failure to keep while shrinking.
    target : callable
        From question to answer.
    u : float
        Unit roundoff of the target.
    draws : Draws, optional
        As they were, so that the same failure is met first.
    known : iterable of Outcome
        Of samples that were asked before.
    seconds : float
        After which the smallest one so far is returned.
    """
    end = time.monotonic() + seconds
    outcomes = {digest([o.sample]): o for o in known}
    smallest = [o for o in outcomes.values() if o.failed(requirement)][:1]

    def attempt(sample: Sample) -> None:
        if time.monotonic() > end:
            raise _OutOfTime
        key = digest([sample])
        if key not in outcomes:
            outcomes[key] = ask(sample, target, u)
        outcome = outcomes[key]
        if outcome.failed(requirement):
            smallest[:] = [outcome]
            raise _FoundError

    chosen = draws or Draws()
    # Small shapes first: where one of them fails as well, it is the better example.
    for attempted in (replace(chosen, free=True), chosen):
        try:
            _run(attempt, prop, attempted, Phase.generate, Phase.shrink)
        except (_FoundError, _OutOfTime):
            break
    return smallest[0] if smallest else None


# Canary


def canary(section: str, drawn: Mapping[Property, Sequence[Sample]]) -> tuple[str, str]:
    """Show that the properties of a section catch a planted bug.  [VER-030]

    Returns
    -------
    mutant id, property id : str

    Raises
    ------
    CanaryError
        When none was caught.
    """
    from quantcheck import mutants

    for mutant in mutants.MUTANTS:
        if section not in mutant.sections:
            continue
        broken = mutants.load(mutant)
        for prop, samples in drawn.items():
            if any(ask(sample, broken.answer, 2.0**-24).failed() for sample in samples):
                return mutant.id, prop.id
    raise CanaryError(f"a planted bug caught by the properties of section {section}", "none")
