"""Mutants: vectors alone and properties alone detect each, and fail the requirement it breaks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from quantcheck import mutants, properties
from quantcheck.judge.judgements import judge_answer
from quantcheck.judge.verdict import Judgement, Verdict
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
    vectors, properties : int
        Numbers of vectors and properties that detected it.
    by_vectors, by_properties : str
        The first requirement that failed; empty if it was not detected.
    """

    mutant: str
    effect: str
    blames: str
    vectors: int
    properties: int
    by_vectors: str
    by_properties: str

    @property
    def caught(self) -> bool:
        """Whether both detected it, and the right requirement failed first."""
        return self.by_vectors == self.by_properties == self.blames


@cache
def _drawn(section: str) -> dict[Property, list[Sample]]:
    return {p: draw(p) for p in properties.load([section]).values()}


def kill(identity: str) -> Kill:
    """Judge one mutant on the vectors and on the properties of its sections."""
    mutant = mutants.find(identity)
    answer = guarded(mutants.load(mutant).answer)
    cases = [case for case in vectors() if case.section in mutant.sections]
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
    }
    order = list(requirements.load())
    firsts = [
        _first(_failed(judged), properties.load()[name].requirements[0], order)
        for name, judged in by_property.items()
    ]
    failed = {r for judged in by_case.values() for r in _failed(judged)}
    return Kill(
        mutant.id,
        mutant.effect,
        mutant.blames,
        sum(bool(_failed(judged)) for judged in by_case.values()),
        sum(bool(_failed(judged)) for judged in by_property.values()),
        min(failed, key=order.index, default=""),
        next(filter(None, firsts), ""),  # general properties come first
    )


def _first(failed: Sequence[str], topic: str, order: Sequence[str]) -> str:
    """Return the topic of a property if it fails, else the first failing requirement of SPEC.md."""
    return topic if topic in failed else min(failed, key=order.index, default="")


def _failed(judgements: Iterable[Judgement]) -> list[str]:
    """Return the requirements that fail; of a case that ends in an error, its topic only."""
    broken = [j for j in judgements if j.verdict in BROKEN]
    failed = [j.requirement for j in broken if j.verdict == Verdict.FAIL]
    return failed or [j.requirement for j in broken[:1]]
