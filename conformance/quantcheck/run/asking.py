"""Asks a target the questions of cases and properties, and judges the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from quantcheck.deviations import Matching
from quantcheck.judge.choices import as_differences
from quantcheck.judge.judgements import everywhere, judge_answer
from quantcheck.judge.summary import CaseResult
from quantcheck.judge.verdict import Judgement, Verdict
from quantcheck.properties import Property, Sample
from quantcheck.run import generated
from quantcheck.run.again import Again
from quantcheck.run.draws import Draws, digest, draw
from quantcheck.run.generated import Outcome
from quantcheck.run.pool import Pool
from quantcheck.targets import Target
from quantcheck.wire.cases import Case

SHRINKING_LIMIT = 60.0  # seconds per run
Event = Callable[[dict[str, Any]], None]


class Asking:
    """Asks the processes of one target, and keeps the samples of properties and their outcomes.

    Parameters
    ----------
    targets : sequence of Target
        At least one, none of them started; the handshake of the first one counts.
    draws : Draws
        How samples of properties are drawn.
    event : callable
        Called with each event, a JSON object.
    further : Target, optional
        A process in which questions are asked again, not started; by default another of `targets`.

    Attributes
    ----------
    known : Matching
        The known deviations; none before the handshake.
    failures : list of (questions, judgements)
        The questions with failures that no known deviation covers, and their answers.
    samples, outcomes : dict
        By the id of the property.
    undeclared : frozenset of str
        The choices of SPEC.md that the target does not declare; set before the first question.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        draws: Draws,
        event: Event,
        further: Target | None = None,
    ) -> None:
        self.target = targets[0]
        self.pool = Pool(targets)
        self.further = None if further is None else Pool([further])
        several = self.pool if len(targets) > 1 and self.target.parallel else None
        self.again = Again(self.further or several)
        self.known = Matching()
        self.failures: list[tuple[list[tuple[Case, Mapping[str, Any]]], list[Judgement]]] = []
        self.draws = draws
        self.event = event
        self.samples: dict[str, list[Sample]] = {}
        self.outcomes: dict[str, list[Outcome]] = {}
        self.shrinking = SHRINKING_LIMIT
        self.undeclared: frozenset[str] = frozenset()

    def submit(self, cases: Iterable[Case]) -> None:
        """Queue questions, which the target answers while further samples are drawn.

        A large question is asked when its turn comes, since waiting it would take gigabytes.
        """
        waiting = [c for c in cases if self._has(c.operation) and not c.large]
        self.pool.submit([case.question() for case in waiting], self.again.answered)

    def _has(self, operation: str) -> bool:
        operations = self.target.handshake.operations
        return not operations or operation in operations

    @property
    def u(self) -> float:
        """Unit roundoff of the target's working precision."""
        return self.target.handshake.unit_roundoff

    @property
    def u_f(self) -> float | None:
        """That of its factor of a Hessian, if it is declared."""
        return self.target.handshake.factor_roundoff

    def close(self) -> None:
        """Close every process."""
        try:
            self.pool.close()
        finally:
            if self.further is not None:
                self.further.close()

    def kill(self) -> None:
        """Kill every process, without waiting."""
        self.pool.kill()
        if self.further is not None:
            self.further.kill()

    # Cases

    def case(self, case: Case) -> CaseResult:
        """Ask one case and judge the answer."""

        def result(judgements: Sequence[Judgement], **left: Any) -> CaseResult:
            return CaseResult(case.id, case.section, case.operation, tuple(judgements), **left)

        if not self._has(case.operation):
            message = f"the target has no {case.operation}"
            return result(everywhere(case, Verdict.UNSUPPORTED, message))
        reply = self.pool.reply(case.id, case.question)
        left = {"seconds": reply.seconds, "stderr": reply.stderr}
        if "broken" in reply.answer:
            return result(everywhere(case, Verdict.ERROR, reply.answer["broken"]), **left)
        judgements, trace = judge_answer(
            case,
            reply.answer,
            unit_roundoff=self.u,
            factor_roundoff=self.u_f,
            order=self.target.handshake.calibration_order,
        )
        settled = self._settled(case.id, [(case, reply.answer)], judgements, reply.seconds)
        return result(settled, trace=trace, **left)

    def _settled(
        self,
        identity: str,
        answered: Sequence[tuple[Case, Mapping[str, Any]]],
        judgements: Sequence[Judgement],
        seconds: float,
    ) -> list[Judgement]:
        """Apply choices and known deviations, and ask again where that is due.

        [VER-110] [VER-120] [VER-130]
        """
        settled = self._covered(answered, judgements)
        if self.again.wanted(identity, settled):
            asked = [(case.question(), answer) for case, answer in answered]
            settled = self.again.settle(asked, settled, seconds)
        if any(j.verdict in (Verdict.FAIL, Verdict.ERROR) for j in settled):
            self.failures.append((list(answered), settled))
        return settled

    def _covered(
        self, answered: Sequence[tuple[Case, Mapping[str, Any]]], judgements: Sequence[Judgement]
    ) -> list[Judgement]:
        """Turn failures into differences, or into known deviations."""
        if not any("broken" in answer for _, answer in answered):
            judgements = as_differences(judgements, self.undeclared)
        return self.known.cover(answered, judgements)

    # Properties

    def judge_property(self, prop: Property) -> CaseResult:
        """Ask the samples of one property and judge the answers together."""
        outcomes = self._outcomes(prop)
        broken = next((o for o in outcomes if o.trace or o.stderr), None)
        return CaseResult(
            prop.id,
            prop.section,
            outcomes[0].sample.cases[0].operation if outcomes else "",
            tuple(generated.summary(prop, outcomes)),
            sum(outcome.seconds for outcome in outcomes),
            broken.trace if broken else "",
            broken.stderr if broken else "",
            title=prop.title,
            examples=len(outcomes),
            draws=digest(self.samples[prop.id]),
        )

    def _outcomes(self, prop: Property) -> list[Outcome]:
        """Judge every sample of a property; with a time budget, draw more samples until it ends."""
        outcomes = [self._judge(sample) for sample in self.samples[prop.id]]
        end = time.monotonic() + self.draws.seconds
        fresh = self.draws
        while time.monotonic() < end and not any(o.failed() for o in outcomes):
            fresh = fresh.next_draws()
            samples = draw(prop, fresh)
            self.submit(case for sample in samples for case in sample.cases)
            outcomes += [self._judge(sample) for sample in samples]
        self.outcomes[prop.id] = outcomes
        return outcomes

    def _judge(self, sample: Sample) -> Outcome:
        answers, stderr, seconds = [], "", 0.0
        for case in sample.cases:
            if not self._has(case.operation):
                answers.append({"unsupported": f"the target has no {case.operation}"})
                continue
            reply = self.pool.reply(case.id, case.question)
            stderr, seconds = stderr + reply.stderr, seconds + reply.seconds
            answers.append(reply.answer)
        judged = self._of_sample(sample, answers)
        answered = list(zip(sample.cases, answers, strict=True))
        settled = self._settled(sample.cases[0].id, answered, judged.judgements, seconds)
        return replace(judged, judgements=tuple(settled), stderr=stderr, seconds=seconds)

    def _of_sample(self, sample: Sample, answers: Sequence[Mapping[str, Any]]) -> Outcome:
        order = self.target.handshake.calibration_order
        return generated.judge(sample, answers, self.u, self.u_f, order)

    def _small(self, sample: Sample) -> Outcome:
        """Ask a small sample while shrinking."""
        answers = [self.pool.ask(case.question()).answer for case in sample.cases]
        judged = self._of_sample(sample, answers)
        answered = list(zip(sample.cases, answers, strict=True))
        return replace(judged, judgements=tuple(self._covered(answered, judged.judgements)))

    def shrunk(self, prop: Property, judgements: Sequence[Judgement]) -> list[str]:
        """Shrink the first failure that is no known deviation; return the vectors of the sample."""
        failed = [j for j in judgements if j.verdict == Verdict.FAIL and not j.stale]
        if not failed or self.shrinking <= 0:
            return []
        began = time.monotonic()
        self.event({"event": "shrinking", "case": prop.id})
        smallest = generated.shrink(
            prop,
            failed[0].requirement,
            self._small,
            draws=self.draws,
            known=self.outcomes[prop.id],
            seconds=min(self.shrinking, generated.SHRINK_SECONDS),
        )
        self.shrinking -= time.monotonic() - began
        return [] if smallest is None else smallest.vectors()
