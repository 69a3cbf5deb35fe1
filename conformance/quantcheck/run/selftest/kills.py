"""Mutants: vectors alone and properties alone detect each, and fail the requirement it breaks.

Mutants of kernels bite at sizes that no vector has; properties alone have to detect them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from quantcheck import mutants, properties
from quantcheck.judge.judgements import judge_answer
from quantcheck.judge.verdict import Judgement, Verdict, shown_of
from quantcheck.properties import Property, Sample
from quantcheck.run import generated
from quantcheck.run.draws import draw
from quantcheck.run.selftest.common import BROKEN, U, guarded, vectors
from quantcheck.spec import requirements
from quantcheck.spec.sections import SECTIONS


@dataclass(frozen=True)
class Kill:
    """The result of one mutant.

    Attributes
    ----------
    mutant, effect : str
    blames : str
        The requirement that it breaks.
    vectors : int
        Number of vectors that were asked and detected it.
    detected_by : str
        The first property that detected it; empty if none did. Later ones are not asked.
    by_vectors, by_properties : str
        The first requirement that failed; empty if it was not detected.
    generated : str
        Why the vectors need not detect it; empty if they must.
    named : str
        The name of the mistake that explains most of the vectors' failures.
    name : str
        The name that it has to be; empty if it needs none.
    """

    mutant: str
    effect: str
    blames: str
    vectors: int
    detected_by: str
    by_vectors: str
    by_properties: str
    generated: str = ""
    named: str = ""
    name: str = ""

    @property
    def found(self) -> bool:
        """Whether the vectors or the properties detected it."""
        return bool(self.by_vectors or self.by_properties)

    @property
    def right_first(self) -> bool:
        """Whether the requirement that it breaks failed first, wherever it was detected."""
        firsts = {first for first in (self.by_vectors, self.by_properties) if first}
        return firsts == {self.blames}

    @property
    def caught(self) -> bool:
        """Whether all that must detect it did, and the right requirement and name came first."""
        by_vectors = self.by_vectors == self.blames or bool(self.generated)
        by_name = not self.name or self.named == self.name
        return by_vectors and by_name and self.by_properties == self.blames


@cache
def _drawn(section: str) -> dict[Property, list[Sample]]:
    return {p: draw(p) for p in properties.load([section]).values()}


def kill(identity: str) -> Kill:
    """Judge one mutant on the vectors that list it, and on the properties of its sections.

    `quantcheck vectors --check` holds that the lists are complete. Vectors by recipe are large:
    they are asked where no other lists the mutant.
    """
    mutant = mutants.find(identity)
    listed = [case for case in vectors() if identity in case.kills]
    answer = guarded(mutants.load(mutant).answer)
    order = list(requirements.load())
    by_case = [
        judge_answer(case, answer(case.question()), unit_roundoff=U["float32"])[0]
        for case in [case for case in listed if not case.by_recipe] or listed
    ]
    failed = {r for judged in by_case for r in _failed(judged)}
    wrong = [j for judged in by_case for j in judged if j.verdict == Verdict.FAIL]
    detected_by, first = _first_property(mutant, answer, order)
    return Kill(
        mutant.id,
        mutant.effect,
        mutant.blames,
        sum(bool(_failed(judged)) for judged in by_case),
        detected_by,
        min(failed, key=order.index, default=""),
        first,
        mutant.generated,
        shown_of(wrong).name if wrong else "",
        mutants.NAMES.get(mutant.id, ""),
    )


def _first_property(
    mutant: mutants.Mutant, answer: generated.Ask, order: Sequence[str]
) -> tuple[str, str]:
    """Return the first property that detects a mutant, and the requirement that it fails.

    General properties come first.
    """
    for section in mutant.sections:
        for prop, samples in _drawn(section).items() if section in SECTIONS else ():
            if not mutant.generated and prop.sweep is not None:
                continue  # the mistake shows in small cases
            asked = [generated.ask(sample, answer, U["float32"]) for sample in samples]
            topic = prop.requirements[0]
            first = _first(_failed(generated.summary(prop, asked), topic), topic, order)
            if first:
                return prop.id, first
    return "", ""


def _first(failed: Sequence[str], topic: str, order: Sequence[str]) -> str:
    """Return the topic of a property if it fails, else the first failing requirement of SPEC.md."""
    return topic if topic in failed else min(failed, key=order.index, default="")


def _failed(judgements: Iterable[Judgement], topic: str = "") -> list[str]:
    """Return the requirements that fail; of what ends in an error, its topic only."""
    broken = [j for j in judgements if j.verdict in BROKEN]
    failed = [j.requirement for j in broken if j.verdict == Verdict.FAIL]
    return failed or [topic or j.requirement for j in broken[:1]]
