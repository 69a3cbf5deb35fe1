"""Asks a target the questions of cases and properties, and judges the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from quantcheck.judge.judgements import everywhere, judge_answer
from quantcheck.judge.summary import CaseResult
from quantcheck.judge.verdict import Judgement, Verdict
from quantcheck.properties import Property, Sample
from quantcheck.run import generated
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

    Attributes
    ----------
    samples, outcomes : dict
        By the id of the property.
    """

    def __init__(self, targets: Sequence[Target], draws: Draws, event: Event) -> None:
        self.target = targets[0]
        self.pool = Pool(targets)
        self.draws = draws
        self.event = event
        self.samples: dict[str, list[Sample]] = {}
        self.outcomes: dict[str, list[Outcome]] = {}
        self.shrinking = SHRINKING_LIMIT

    def submit(self, cases: Iterable[Case]) -> None:
        """Queue the questions for several processes; a single process is asked in order."""
        if len(self.pool.targets) > 1:
            self.pool.submit([case.question() for case in cases if self._has(case.operation)])

    def _has(self, operation: str) -> bool:
        operations = self.target.handshake.operations
        return not operations or operation in operations

    @property
    def u(self) -> float:
        """Unit roundoff of the target's working precision."""
        return self.target.handshake.unit_roundoff

    # Cases

    def case(self, case: Case) -> CaseResult:
        """Ask one case and judge the answer."""

        def result(judgements: Sequence[Judgement], **left: Any) -> CaseResult:
            return CaseResult(case.id, case.section, case.operation, tuple(judgements), **left)

        if not self._has(case.operation):
            message = f"the target has no {case.operation}"
            return result(everywhere(case, Verdict.UNSUPPORTED, message))
        reply = self.pool.reply(case.question())
        left = {"seconds": reply.seconds, "stderr": reply.stderr}
        if "broken" in reply.answer:
            return result(everywhere(case, Verdict.ERROR, reply.answer["broken"]), **left)
        judgements, trace = judge_answer(case, reply.answer, unit_roundoff=self.u)
        return result(judgements, trace=trace, **left)

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
            reply = self.pool.reply(case.question())
            stderr, seconds = stderr + reply.stderr, seconds + reply.seconds
            answers.append(reply.answer)
        return replace(generated.judge(sample, answers, self.u), stderr=stderr, seconds=seconds)

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
            lambda question: self.pool.ask(question).answer,
            self.u,
            draws=self.draws,
            known=self.outcomes[prop.id],
            seconds=min(self.shrinking, generated.SHRINK_SECONDS),
        )
        self.shrinking -= time.monotonic() - began
        return [] if smallest is None else smallest.vectors()
