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
from quantcheck.wire.cases import Case


@dataclass(frozen=True)
class Kill:
    """The result of one mutant.

    Attributes
    ----------
    mutant, effect : str
    blames : str
        The requirement that it breaks.
    vectors, properties : int
        Numbers of vectors and properties that detected it.
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
    properties: int
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
    """Judge one mutant on the vectors and on the properties of its sections."""
    mutant = mutants.find(identity)
    answer = guarded(mutants.load(mutant).answer)
    cases = [] if mutant.generated else [case for case in vectors() if _asked(case, mutant)]
    by_case = {
        case.id: judge_answer(case, answer(case.question()), unit_roundoff=U["float32"])[0]
        for case in cases
    }
    by_property = {
        prop.id: generated.summary(
            prop, [generated.ask(sample, answer, U["float32"]) for sample in samples]
        )
        for section in mutant.sections
        if section in SECTIONS
        for prop, samples in _drawn(section).items()
        if mutant.generated or prop.sweep is None  # other mistakes show in small cases
    }
    order = list(requirements.load())
    known = properties.load()
    firsts = [
        _first(_failed(judged, known[name].requirements[0]), known[name].requirements[0], order)
        for name, judged in by_property.items()
    ]
    failed = {r for judged in by_case.values() for r in _failed(judged)}
    wrong = [j for judged in by_case.values() for j in judged if j.verdict == Verdict.FAIL]
    return Kill(
        mutant.id,
        mutant.effect,
        mutant.blames,
        sum(bool(_failed(judged)) for judged in by_case.values()),
        sum(bool(_failed(judged)) for judged in by_property.values()),
        min(failed, key=order.index, default=""),
        next(filter(None, firsts), ""),  # general properties come first
        mutant.generated,
        shown_of(wrong).name if wrong else "",
        mutants.NAMES.get(mutant.id, ""),
    )


def _asked(case: Case, mutant: mutants.Mutant) -> bool:
    """Tell whether a mutant is judged on a case: by recipe, on those alone that it fails."""
    listed = mutant.id in case.kills or not case.by_recipe
    return case.section in mutant.sections and listed


def _first(failed: Sequence[str], topic: str, order: Sequence[str]) -> str:
    """Return the topic of a property if it fails, else the first failing requirement of SPEC.md."""
    return topic if topic in failed else min(failed, key=order.index, default="")


def _failed(judgements: Iterable[Judgement], topic: str = "") -> list[str]:
    """Return the requirements that fail; of what ends in an error, its topic only."""
    broken = [j for j in judgements if j.verdict in BROKEN]
    failed = [j.requirement for j in broken if j.verdict == Verdict.FAIL]
    return failed or [topic or j.requirement for j in broken[:1]]
