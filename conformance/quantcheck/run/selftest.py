"""`quantcheck --self-test`: every planted bug is caught, nobody honest is blamed.  [VER-080]

The first table puts each mutant to the vectors alone and to the properties alone: both must
catch it and blame the requirement that it breaks. The second one puts honest variants, which differ
from the reference in arithmetic only, to the vectors and to generated cases: no requirement may
fail. A third one shows how near they come to each bound: one that nobody ever comes near to does
not bite.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from quantcheck import properties
from quantcheck.judge.judgements import judge_answer
from quantcheck.judge.verdict import Judgement, Verdict
from quantcheck.properties import Property, Sample
from quantcheck.report.console import consoles
from quantcheck.run import generated, golden
from quantcheck.run.draws import SEED, Draws, draw
from quantcheck.run.generated import Ask
from quantcheck.spec import requirements
from quantcheck.spec.sections import SECTIONS as ALL_SECTIONS
from quantcheck.wire.cases import Case
from quantref.files import write_json

CASES = 20_000
CHUNK = 0.2  # times the examples of each property, per task
SECTIONS = ("rnd", "aff", "abs", "pack", "hes", "gptq")
U = {"float32": 2.0**-24, "float64": 2.0**-53}
LOOSE = 1e-3
TIES_ALONE = ("ABS-030",)  # bounds that act beside ties alone: see SPEC.md, section 12
BROKEN = (Verdict.FAIL, Verdict.ERROR)


@dataclass(frozen=True)
class Kill:
    """What became of one mutant.

    Attributes
    ----------
    mutant, effect : str
    blames : str
        The requirement that it breaks.
    vectors, properties : int
        How many vectors and properties caught it.
    by_vectors, by_properties : str
        Which requirement was blamed first; empty when it was not caught.
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
        """Whether both caught it and blamed the right requirement first."""
        return self.by_vectors == self.by_properties == self.blames


@dataclass
class Tally:
    """What became of honest variants.

    Attributes
    ----------
    cases : int
        How many generated questions each variant was asked.
    asked : dict
        Per variant, how many of them it answered.
    alarms : list of dict
        Each: variant, case, requirement, message.
    ratios : dict
        "REQUIREMENT operation": largest observed ÷ bound.
    """

    cases: int = 0
    asked: dict[str, int] = field(default_factory=dict)
    alarms: list[dict[str, str]] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Add what another one counted."""
        self.cases += other.cases
        self.alarms += other.alarms
        for name, count in other.asked.items():
            self.asked[name] = self.asked.get(name, 0) + count
        for name, ratio in other.ratios.items():
            self.ratios[name] = max(self.ratios.get(name, 0.0), ratio)


# Mutants


@cache
def _drawn(section: str) -> dict[Property, list[Sample]]:
    return {p: draw(p) for p in properties.load([section]).values()}


@cache
def _vectors() -> list[Case]:
    return list(golden.load().values())


def kill(identity: str) -> Kill:
    """Put one mutant to the vectors of its sections, and to their properties."""
    from quantcheck import mutants

    mutant = mutants.find(identity)
    answer = _guarded(mutants.load(mutant).answer)
    cases = [case for case in _vectors() if case.section in mutant.sections]
    by_case = {
        case.id: judge_answer(case, answer(case.question()), unit_roundoff=U["float32"])[0]
        for case in cases
    }
    by_property = {
        prop.id: generated.summary(
            prop, [generated.ask(sample, answer, U["float32"]) for sample in samples]
        )
        for section in mutant.sections
        if section in ALL_SECTIONS
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
        next(filter(None, firsts), ""),  # plain properties come first
    )


def _guarded(answer: Ask) -> Ask:
    """Turn what a mutant breaks down with into an answer."""

    def guarded(question: dict[str, Any]) -> Mapping[str, Any]:
        try:
            with np.errstate(all="ignore"):
                return answer(question)
        except Exception as error:  # noqa: BLE001 - a mutant may break down, that shows it too
            return {"id": question["id"], "error": f"{type(error).__name__}: {error}"}

    return guarded


def _first(failed: Sequence[str], topic: str, order: Sequence[str]) -> str:
    """Return the topic of a property if it fails, else the first requirement of SPEC.md."""
    return topic if topic in failed else min(failed, key=order.index, default="")


def _failed(judgements: Iterable[Judgement]) -> list[str]:
    """Return the requirements that fail; of what breaks down as a whole, its topic alone."""
    broken = [j for j in judgements if j.verdict in BROKEN]
    failed = [j.requirement for j in broken if j.verdict == Verdict.FAIL]
    return failed or [j.requirement for j in broken[:1]]


# Variants


def honest(base: int, free: bool) -> Tally:
    """Put every variant to one draw of every property that has arithmetic."""
    from quantcheck.targets.variants import VARIANTS

    tally = Tally()
    draws = Draws(seed=base, free=free, factor=CHUNK)
    for prop in properties.load(SECTIONS).values():
        samples = draw(prop, draws)
        tally.cases += sum(len(sample.cases) for sample in samples)
        for variant in VARIANTS:
            for sample in samples:
                outcome = generated.ask(sample, _guarded(variant.answer), U[variant.precision])
                judged = outcome.judgements
                answered = any(j.verdict != Verdict.UNSUPPORTED for j in judged)
                count = tally.asked.get(variant.id, 0) + answered * len(sample.cases)
                tally.asked[variant.id] = count
                _count(tally, variant.id, sample.cases[0], judged)
    return tally


def honest_vectors(identity: str) -> Tally:
    """Put one variant to the vectors: they reach bounds that few draws come near to."""
    from quantcheck.targets.variants import find

    tally, variant = Tally(), find(identity)
    for case in _vectors():
        if case.section in SECTIONS:
            answer = _guarded(variant.answer)(case.question())
            judged, _ = judge_answer(case, answer, unit_roundoff=U[variant.precision])
            _count(tally, identity, case, judged)
    return tally


def loose(ratios: Mapping[str, float]) -> list[str]:
    """Return the bounds that nobody honest came near to, although they act everywhere.

    Examples
    --------
    >>> loose({"HES-070 factor": 0.5, "HES-010 hessian": 1e-4, "ABS-030 abs_max_quantize": 0.0})
    ['HES-010 hessian']
    """
    return [
        name
        for name, ratio in ratios.items()
        if ratio < LOOSE and name.partition(" ")[0] not in TIES_ALONE
    ]


def _count(tally: Tally, variant: str, case: Case, judged: Sequence[Judgement]) -> None:
    for j in judged:
        if j.verdict in BROKEN:
            alarm = {"variant": variant, "case": case.id}
            tally.alarms.append({**alarm, "requirement": j.requirement, "message": j.message})
        if j.ratio is not None:
            name = f"{j.requirement} {case.operation}"
            tally.ratios[name] = max(tally.ratios.get(name, 0.0), j.ratio)


# Both


def main(arguments: Sequence[str]) -> int:
    """Entry point of `quantcheck --self-test`; returns 0, or 4 when the suite proves wrong."""
    parser = argparse.ArgumentParser(prog="quantcheck --self-test", description=__doc__)
    add = parser.add_argument
    add("--cases", type=int, default=CASES, metavar="N", help=f"generated cases ({CASES:,})")
    add("--workers", type=int, metavar="N", help="processes (one per core)")
    add("--json", metavar="FILE", help="write both tables here")
    options = parser.parse_args(arguments)
    if options.cases < 1:
        parser.error(f"expected --cases of at least 1, got {options.cases}")
    console, _ = consoles()
    made = run(console, cases=options.cases, workers=options.workers)
    if options.json:
        write_json(Path(options.json), made)
    return 0 if made["passed"] else 4


def run(console: Console, *, cases: int = CASES, workers: int | None = None) -> dict[str, Any]:
    """Make both tables, print them, and return them as plain JSON.

    Parameters
    ----------
    console : Console
    cases : int
        At least how many generated questions each honest variant is asked.
    workers : int, optional
        Processes; by default one per core.
    """
    from quantcheck import mutants
    from quantcheck.targets.variants import VARIANTS

    names = [mutant.id for mutant in mutants.MUTANTS]
    count = workers or os.cpu_count() or 1
    tally = Tally()
    with ProcessPoolExecutor(count) as pool, Progress(console=console, transient=True) as bar:
        task = bar.add_task("mutants", total=len(names))
        kills = []
        for made in _each(pool, kill, [(name,) for name in names]):
            kills.append(made)
            bar.advance(task)
        task = bar.add_task("honest variants, vectors", total=len(VARIANTS))
        for made in _each(pool, honest_vectors, [(variant.id,) for variant in VARIANTS]):
            tally.add(made)
            bar.advance(task)
        task = bar.add_task("honest variants", total=cases)
        base = SEED + 1
        while tally.cases < cases:
            # One task per process at a time: as many draws as it takes.
            jobs = [(base + k, bool((base + k) % 2)) for k in range(count)]
            base += count
            for made in _each(pool, honest, jobs):
                tally.add(made)
            bar.update(task, completed=tally.cases)
    kills.sort(key=lambda made: names.index(made.mutant))
    _print(console, kills, tally)
    return {
        "format": 1,
        "passed": bool(
            tally.cases
            and not tally.alarms
            and not loose(tally.ratios)
            and all(k.caught for k in kills)
        ),
        "mutants": [{**asdict(k), "caught": k.caught} for k in kills],
        "variants": asdict(tally),
    }


def _each(
    pool: ProcessPoolExecutor, work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]
) -> Iterator[Any]:
    for future in as_completed([pool.submit(work, *job) for job in jobs]):
        yield future.result()


def _print(console: Console, kills: Sequence[Kill], tally: Tally) -> None:
    table = Table(title="planted bugs", title_justify="left")
    for name in ("mutant", "what it does", "breaks", "vectors", "properties"):
        table.add_column(name, justify="right" if name in ("vectors", "properties") else "left")
    for k in kills:
        table.add_row(
            escape(k.mutant),
            escape(k.effect),
            k.blames,
            _told(k.vectors, k.by_vectors, k.blames),
            _told(k.properties, k.by_properties, k.blames),
        )
    console.print(table)
    caught = [sum(bool(k.by_vectors) for k in kills), sum(bool(k.by_properties) for k in kills)]
    console.print(
        f"{len(kills)} planted bugs: {caught[0]} caught by the vectors alone, {caught[1]} by the "
        f"properties alone, {sum(k.caught for k in kills)} by both with the right requirement first"
    )
    table = Table(title="honest variants", title_justify="left")
    for name in ("variant", "cases", "alarms"):
        table.add_column(name, justify="left" if name == "variant" else "right")
    for name, asked in tally.asked.items():
        alarms = sum(alarm["variant"] == name for alarm in tally.alarms)
        table.add_row(escape(name), str(asked), f"[bold red]{alarms}[/]" if alarms else "0")
    console.print(table)
    table = Table(title="largest observed ÷ bound", title_justify="left")
    table.add_column("requirement and operation")
    table.add_column("ratio", justify="right")
    for name, ratio in sorted(tally.ratios.items()):
        shown = f"{ratio:.3g}"
        table.add_row(name, f"[bold red]{shown}[/]" if name in loose(tally.ratios) else shown)
    console.print(table)
    for alarm in tally.alarms[:20]:
        text = " ".join(f"{key}={value}" for key, value in alarm.items())
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"{tally.cases} generated cases for each of {len(tally.asked)} honest variants: "
        f"{len(tally.alarms)} alarms"
    )


def _told(count: int, first: str, blames: str) -> str:
    if not first:
        return "[bold red]none[/]"
    return str(count) if first == blames else f"[bold red]{count}, {first} first[/]"
