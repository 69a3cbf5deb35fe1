"""Variants: the suite must fail none of them, and they must come near to every bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quantcheck import properties
from quantcheck.judge.judgements import judge_answer
from quantcheck.judge.verdict import Judgement, Verdict
from quantcheck.run import generated
from quantcheck.run.draws import Draws, draw
from quantcheck.run.selftest.common import BROKEN, U, answers_of, vectors
from quantcheck.targets.variants import VARIANTS
from quantcheck.wire.cases import Case

CHUNK = 0.2  # factor of each property's examples, per task
PARTS = 16  # tasks that share the vectors
SECTIONS = ("rnd", "aff", "abs", "pack", "hes", "gptq")
REACHED_FROM = 1e-3
# Bounds that matter only near ties: see SPEC.md, section 12.
TIES_ALONE = ("ABS-030", "ABS-050", "AFF-060")


@dataclass
class Tally:
    """Results of the variants.

    Attributes
    ----------
    cases : int
        Number of generated questions that each variant was asked.
    asked : dict
        For each variant, the number of questions that it answered.
    alarms : list of dict
        False alarms: variant, case, requirement, message.
    ratios : dict
        "REQUIREMENT operation": largest observed ÷ bound.
    """

    cases: int = 0
    asked: dict[str, int] = field(default_factory=dict)
    alarms: list[dict[str, str]] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Add the counts of another tally."""
        self.cases += other.cases
        self.alarms += other.alarms
        for name, count in other.asked.items():
            self.asked[name] = self.asked.get(name, 0) + count
        for name, ratio in other.ratios.items():
            self.ratios[name] = max(self.ratios.get(name, 0.0), ratio)


def variants_on_draw(base: int, free: bool) -> Tally:
    """Judge every variant on one draw of every property that has arithmetic."""
    tally = Tally()
    draws = Draws(seed=base, free=free, factor=CHUNK)
    for prop in properties.load(SECTIONS).values():
        samples = draw(prop, draws)
        tally.cases += sum(len(sample.cases) for sample in samples)
        for sample in samples:
            answers = [answers_of(VARIANTS, case.question()) for case in sample.cases]
            for made in zip(*answers, strict=True):
                variant = made[0][0]
                outcome = generated.judge(sample, [a for _, a in made], U[variant.precision])
                judged = outcome.judgements
                answered = any(j.verdict != Verdict.UNSUPPORTED for j in judged)
                count = tally.asked.get(variant.id, 0) + answered * len(sample.cases)
                tally.asked[variant.id] = count
                _count(tally, variant.id, sample.cases[0], judged)
    return tally


def variants_on_vectors(part: int) -> Tally:
    """Judge every variant on a part of the vectors, which reach bounds that few draws come near to.

    `part`: 0 … PARTS - 1. The variants follow each other, so that all share the question's problem.
    """
    tally = Tally()
    for case in [case for case in vectors() if case.section in SECTIONS][part::PARTS]:
        for variant, answer in answers_of(VARIANTS, case.question()):
            judged, _ = judge_answer(case, answer, unit_roundoff=U[variant.precision])
            _count(tally, variant.id, case, judged)
    return tally


def unreached_bounds(ratios: Mapping[str, float]) -> list[str]:
    """Return the bounds that no variant came near to.

    Bounds that matter only near ties are left out.

    Examples
    --------
    >>> ratios = {"HES-070 factor": 0.5, "HES-010 hessian": 1e-4, "ABS-030 abs_max_quantize": 0.0}
    >>> unreached_bounds(ratios)
    ['HES-010 hessian']
    """
    return [
        name
        for name, ratio in ratios.items()
        if ratio < REACHED_FROM and name.partition(" ")[0] not in TIES_ALONE
    ]


def _count(tally: Tally, variant: str, case: Case, judged: Sequence[Judgement]) -> None:
    for j in judged:
        if j.verdict in BROKEN:
            alarm = {"variant": variant, "case": case.id}
            tally.alarms.append({**alarm, "requirement": j.requirement, "message": j.message})
        if j.ratio is not None:
            name = f"{j.requirement} {case.operation}"
            tally.ratios[name] = max(tally.ratios.get(name, 0.0), j.ratio)
