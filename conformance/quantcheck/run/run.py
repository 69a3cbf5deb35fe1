"""One run: a target, the corpus, the known deviations, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantcheck import deviations, properties
from quantcheck.deviations import Deviation, rewrite
from quantcheck.errors import (
    DeviationError,
    QuantcheckError,
    SuiteError,
    TargetError,
    UsageError,
)
from quantcheck.judge import verdict
from quantcheck.judge.verdict import CaseResult, Judgement, RequirementResult, Verdict
from quantcheck.properties import Property, Sample
from quantcheck.report import reproduction as reproduce
from quantcheck.run import generated
from quantcheck.run import golden as corpus
from quantcheck.run.generated import Draws, Outcome
from quantcheck.run.pool import Pool
from quantcheck.spec import requirements
from quantcheck.targets import Target

if TYPE_CHECKING:
    from quantcheck.wire.cases import Case

EXIT_PASS, EXIT_FAIL, EXIT_USAGE, EXIT_TARGET, EXIT_SUITE = range(5)
EXIT_INTERRUPTED = 130
SHRINKING_LIMIT = 60.0  # seconds of a run
Event = Callable[[dict[str, Any]], None]


class Run:
    """What one pytest session knows.

    Parameters
    ----------
    target : Target
        Not yet started.
    others : iterable of Target
        More processes of the same target, asked at the same time.
    vectors, deviation_file : Path, optional
        In place of those that belong to the package.
    reason_file : Path, optional
        Deviations of another version, whose reasons are proposed for what fails here too.
    draws : Draws, optional
        How samples of properties are drawn.
    event : callable, optional
        Told what happens, as JSON objects.
    """

    def __init__(
        self,
        target: Target,
        *,
        others: Iterable[Target] = (),
        vectors: Path | None = None,
        deviation_file: Path | None = None,
        reason_file: Path | None = None,
        draws: Draws | None = None,
        event: Event | None = None,
    ) -> None:
        self.target = target
        self.pool = Pool([target, *others])
        self.deviation_file = deviation_file
        self.reason_file = reason_file
        self.draws = draws or Draws()
        self.event: Event = event or (lambda _: None)
        self.requirements = requirements.load()
        self.cases = corpus.load(vectors)
        self.properties = properties.load()
        self.deviations: list[Deviation] = []
        self.results: list[CaseResult] = []
        self.canaries: list[dict[str, str]] = []
        self.selected: list[str] = []
        self.samples: dict[str, list[Sample]] = {}
        self.outcomes: dict[str, list[Outcome]] = {}
        self.shrinking = SHRINKING_LIMIT
        self.aborted: QuantcheckError | None = None
        self.interrupted = False

    # Course of a run

    def begin(self, selected: Iterable[str]) -> None:
        """Prove that the suite bites, start the target, and read what is known about it.

        Parameters
        ----------
        selected : iterable of str
            Ids of the cases and properties that will be asked.

        Raises
        ------
        QuantcheckError
            When the run cannot mean anything.
        """
        self.selected = list(selected)
        chosen = [self.cases[id_] for id_ in self.selected if id_ in self.cases]
        drawn = [self.properties[id_] for id_ in self.selected if id_ in self.properties]
        if not self.selected:
            raise SuiteError("cases to ask", "none selected")
        for section in dict.fromkeys(case.section for case in chosen):
            self.event({"event": "canary", "section": section})
            mutant, case = corpus.canary(section, [c for c in chosen if c.section == section])
            self.canaries.append({"section": section, "mutant": mutant, "case": case})
        self.event({"event": "starting", "target": self.target.spec})
        handshake = self.target.start()
        self.event({"event": "ready", "name": handshake.name, "version": handshake.version})
        path = self.deviation_file or deviations.path_for(handshake)
        if path is not None:
            self.deviation_file = path
            self.deviations = deviations.load(path, handshake)
            deviations.check_matches(self.deviations, {**self.cases, **self.properties})
        self._submit(chosen)
        for section in dict.fromkeys(prop.section for prop in drawn):
            self._draw(section, [prop for prop in drawn if prop.section == section])

    def _draw(self, section: str, drawn: Iterable[Property]) -> None:
        """Draw the samples of a section, and show that they catch a planted bug."""
        self.event({"event": "drawing", "section": section})
        samples = {prop: generated.draw(prop, self.draws) for prop in drawn}
        mutant, found = generated.canary(section, samples)
        self.canaries.append({"section": section, "mutant": mutant, "case": found})
        self.samples.update({prop.id: made for prop, made in samples.items()})
        self._submit(case for made in samples.values() for s in made for case in s.cases)

    def _submit(self, cases: Iterable[Case]) -> None:
        """Let several processes start on what they can answer; a single one is asked in order."""
        if len(self.pool.targets) > 1:
            self.pool.submit([case.question() for case in cases if self._has(case.operation)])

    def _has(self, operation: str) -> bool:
        operations = self.target.handshake.operations
        return not operations or operation in operations

    def check(self, case: Case) -> CaseResult:
        """Ask one case and judge the answer."""
        handshake = self.target.handshake
        trace = stderr = ""
        seconds = 0.0
        if not self._has(case.operation):
            judgements = verdict.everywhere(
                case, Verdict.UNSUPPORTED, f"the target has no {case.operation}"
            )
        else:
            reply = self.pool.reply(case.question())
            seconds, stderr = reply.seconds, reply.stderr
            if "broken" in reply.answer:
                judgements = verdict.everywhere(case, Verdict.ERROR, reply.answer["broken"])
            else:
                judgements, trace = verdict.judge_answer(
                    case, reply.answer, unit_roundoff=handshake.unit_roundoff
                )
        judgements = deviations.apply(case, judgements, self.deviations)
        return self._add(
            CaseResult(
                case.id, case.section, case.operation, tuple(judgements), seconds, trace, stderr
            )
        )

    def check_property(self, prop: Property) -> CaseResult:
        """Ask the samples of one property and judge the answers together."""
        outcomes = self._outcomes(prop)
        judgements = deviations.apply(
            prop,
            generated.summary(prop, outcomes),
            self.deviations,
            same_draws=self._same_draws(prop),
        )
        smallest = self._shrunk(prop, judgements)
        broken = next((o for o in outcomes if o.trace or o.stderr), None)
        return self._add(
            CaseResult(
                prop.id,
                prop.section,
                outcomes[0].sample.cases[0].operation if outcomes else "",
                tuple(judgements),
                sum(outcome.seconds for outcome in outcomes),
                broken.trace if broken else "",
                broken.stderr if broken else "",
                title=prop.title,
                examples=len(outcomes),
                draws=generated.digest(self.samples[prop.id]),
                vectors=tuple(text for outcome in smallest for text in outcome.vectors()),
            )
        )

    def _outcomes(self, prop: Property) -> list[Outcome]:
        """Judge every sample of a property; under a time budget, draw and ask on until it ends."""
        outcomes = [self._judge(sample) for sample in self.samples[prop.id]]
        end = time.monotonic() + self.draws.seconds
        fresh = self.draws
        while time.monotonic() < end and not any(o.failed() for o in outcomes):
            fresh = fresh.following()
            samples = generated.draw(prop, fresh)
            self._submit(case for sample in samples for case in sample.cases)
            outcomes += [self._judge(sample) for sample in samples]
        self.outcomes[prop.id] = outcomes
        return outcomes

    def _judge(self, sample: Sample) -> Outcome:
        u = self.target.handshake.unit_roundoff
        answers, stderr, seconds = [], "", 0.0
        for case in sample.cases:
            if not self._has(case.operation):
                answers.append({"unsupported": f"the target has no {case.operation}"})
                continue
            reply = self.pool.reply(case.question())
            stderr, seconds = stderr + reply.stderr, seconds + reply.seconds
            answers.append(reply.answer)
        return replace(generated.judge(sample, answers, u), stderr=stderr, seconds=seconds)

    def _same_draws(self, prop: Property) -> bool:
        """Whether the deviation file was made with the samples of this run."""
        known = self.known_draws.get(prop.id)
        return known is None or known == generated.digest(self.samples[prop.id])

    @cached_property
    def known_draws(self) -> dict[str, str]:
        """Digests of the samples that the deviation file was made with."""
        if self.deviation_file is None:
            return {}
        return dict(deviations.read(self.deviation_file).get("draws", {}))

    def _shrunk(self, prop: Property, judgements: Sequence[Judgement]) -> list[Outcome]:
        """Look for the smallest sample of each failure that nobody knows yet."""
        failed = [j for j in judgements if j.verdict == Verdict.FAIL and not j.stale]
        found = []
        for judgement in failed[:1]:
            if self.shrinking <= 0:
                break
            began = time.monotonic()
            self.event({"event": "shrinking", "case": prop.id})
            smallest = generated.shrink(
                prop,
                judgement.requirement,
                lambda question: self.pool.ask(question).answer,
                self.target.handshake.unit_roundoff,
                draws=self.draws,
                known=self.outcomes[prop.id],
                seconds=min(self.shrinking, generated.SHRINK_SECONDS),
            )
            self.shrinking -= time.monotonic() - began
            found += [smallest] if smallest is not None else []
        return found

    def _add(self, result: CaseResult) -> CaseResult:
        self.results.append(result)
        self.event(
            {
                "event": "case",
                "section": result.section,
                "case": result.case,
                "verdict": result.verdict.value,
                "done": len(self.results),
                "total": len(self.selected),
            }
        )
        return result

    def close(self) -> None:
        """Close every process of the target."""
        self.pool.close()

    # Results

    def by_requirement(self) -> list[RequirementResult]:
        """One verdict per requirement of SPEC.md."""
        known: dict[str, Case | Property] = {**self.cases, **self.properties}
        named = {r for id_ in self.selected for r in known[id_].requirements}
        return verdict.by_requirement(self.requirements, self.results, named)

    def exit_code(self) -> int:
        """Say what the command ends with.  [VER-050]"""
        if self.interrupted:
            return EXIT_INTERRUPTED
        if self.aborted is not None:
            return exit_code_of(self.aborted)
        judgements = [j for result in self.results for j in result.judgements]
        if any(j.verdict == Verdict.ERROR and not j.stale for j in judgements):
            return EXIT_TARGET
        if any(j.verdict == Verdict.FAIL or j.stale for j in judgements):
            return EXIT_FAIL
        answered = any(j.verdict in (Verdict.PASS, Verdict.KNOWN) for j in judgements)
        return EXIT_PASS if answered else EXIT_SUITE

    def report(self) -> dict[str, Any]:
        """Make the report, as plain JSON."""
        handshake = getattr(self.target, "_handshake", None)
        return {
            "format": 1,
            "target": {
                "spec": self.target.spec,
                "name": handshake.name if handshake else "",
                "version": handshake.version if handshake else "",
                "backend": handshake.backend if handshake else "",
                "precision": handshake.precision if handshake else "",
                "versions": dict(handshake.versions) if handshake else {},
                "stderr": self.target.stderr,
            },
            "exit_code": self.exit_code(),
            "complete": len(self.results) == len(self.selected) and self.aborted is None,
            "aborted": self._aborted(),
            "asked": len(self.results),
            "selected": len(self.selected),
            "corpus": len(self.cases),
            "canaries": self.canaries,
            "examples": {**self.draws.to_json(), "properties": len(self.properties)},
            "deviations": self.deviation_file.name if self.deviation_file else None,
            "requirements": [self._requirement(r) for r in self.by_requirement()],
            "cases": [verdict.to_json(result) for result in self.results],
        }

    def deviation_skeleton(self) -> dict[str, Any]:
        """Bring the deviation file up to date with this run."""
        lines = {
            j.case: self.reproduction(j)
            for result in self.results
            for j in result.judgements
            if j.verdict in (Verdict.FAIL, Verdict.ERROR)
        }
        previous = deviations.read(self.deviation_file) if self.deviation_file else None
        reasons = deviations.read(self.reason_file) if self.reason_file else None
        made = rewrite.rewrite(self.target.handshake, self.results, lines, previous, reasons)
        listed = {case for entry in made["deviations"] for case in entry["cases"]}
        draws = {r.case: r.draws for r in self.results if r.draws}
        kept = {k: v for k, v in {**self.known_draws, **draws}.items() if k in listed}
        return {**made, "draws": dict(sorted(kept.items()))}

    def reproduction(self, judgement: Judgement) -> list[str]:
        """Plain lines that show the judgement; empty for targets other than Keras."""
        for entry in self.deviations:
            listed = judgement.case in entry.cases and entry.requirement == judgement.requirement
            if listed and entry.reproduction:
                return list(entry.reproduction)
        handshake = self.target.handshake
        if handshake.name != "keras":
            return []
        case = self._example(judgement)
        if case is None:
            return []
        return reproduce.keras_lines(
            case.question(),
            backend=handshake.backend,
            section=case.section,
            message=judgement.message,
        )

    def _example(self, judgement: Judgement) -> Case | None:
        """Find the case of a judgement; of a property, the first sample that fails it."""
        if judgement.case in self.cases:
            return self.cases[judgement.case]
        for outcome in self.outcomes.get(judgement.case, ()):
            if outcome.failed(judgement.requirement):
                return outcome.sample.cases[0]
        return None

    def _requirement(self, result: RequirementResult) -> dict[str, Any]:
        made = verdict.to_json(result)
        shown = (Verdict.FAIL, Verdict.KNOWN, Verdict.ERROR)
        if result.worst is not None and result.verdict in shown:
            made["reproduction"] = self.reproduction(result.worst)
        return made

    def _aborted(self) -> dict[str, str] | None:
        if self.aborted is None:
            return None
        stderr = self.aborted.stderr if isinstance(self.aborted, TargetError) else ""
        return {"kind": type(self.aborted).__name__, "message": str(self.aborted), "stderr": stderr}


def exit_code_of(error: QuantcheckError) -> int:
    """Give the exit code of an error that ends a run."""
    if isinstance(error, UsageError):
        return EXIT_USAGE
    if isinstance(error, DeviationError):
        return EXIT_FAIL
    return EXIT_TARGET if isinstance(error, TargetError) else EXIT_SUITE
