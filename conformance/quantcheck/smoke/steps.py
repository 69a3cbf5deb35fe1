"""The steps of the smoke test; a step that fails says what to mend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from quantcheck.deviations.declared import require_declarable
from quantcheck.errors import TargetProtocolError
from quantcheck.judge.choices import undeclared
from quantcheck.smoke.questions import UNKNOWN, Probe, invalidate, misfit
from quantcheck.smoke.session import CLEAN, FORM, Fault, NoLineInTime, Session
from quantcheck.spec import requirements
from quantcheck.targets.process import ProcessTarget
from quantcheck.wire.protocol import Handshake, read_line

MAX_SILENCES = 2  # unanswered questions, each of which takes the time limit
MAX_STDERR = 1 << 20
END_LIMIT = 10.0


@dataclass(frozen=True)
class Step:
    """The result of one step.

    Attributes
    ----------
    name : str
    passed : bool, optional
        None if the step could not be tried.
    message : str
        The observation.
    mend : str
        Advice on a failure.
    """

    name: str
    passed: bool | None
    message: str
    mend: str = ""


class Smoke:
    """A smoke test of one target.

    Parameters
    ----------
    target : ProcessTarget
        The program to start, and its time limits.
    probes : sequence of Probe
        One valid question per operation.
    tell : callable
        Called with each finished step.
    end_limit : float
        Seconds from `stop`, or the end of input, to the end of the process.
    """

    def __init__(
        self,
        target: ProcessTarget,
        probes: Sequence[Probe],
        tell: Callable[[Step], object],
        *,
        end_limit: float = END_LIMIT,
    ) -> None:
        self.target = target
        self.end_limit = end_limit
        self.probes = list(probes)
        self.tell = tell
        self.steps: list[Step] = []
        self.handshake: Handshake | None = None
        self.stderr = ""
        self._session: Session | None = None
        self._noise: list[str] = []
        self._stderr_bytes = 0
        self._silences = 0
        self._answered: list[Probe] = []

    @property
    def passed(self) -> bool:
        """Whether no step failed."""
        return bool(self.steps) and all(step.passed is not False for step in self.steps)

    def run(self) -> None:
        """Run all steps; the program is ended even after an interruption."""
        try:
            self._run()
        finally:
            self._end()

    def _run(self) -> None:
        if not self._start():
            self._add("the rest", None, "not tried after an earlier failure")
            return
        named = self.handshake.operations if self.handshake else ()
        for probe in (p for p in self.probes if not named or p.operation in named):
            self._try(probe.operation, partial(self._operation, probe))
        self._try("bad input", self._bad_input)
        self._try("unknown operation", self._unknown_operation)
        self._try("unknown parameter", self._unknown_parameter)
        self._try("goes on", self._goes_on, fresh=False)
        self._try("stop", self._stop)
        self._end()
        self._try("end of input", self._end_of_input)
        self._end()
        self._streams()

    # Steps

    def _start(self) -> bool:
        try:
            self._session = Session(self.target, self.end_limit)
            line = self._session.first_line(self.target.start_limit)
        except Fault as fault:
            self._add("starts", False, fault.message, fault.mend)
            return False
        self._add("starts", True, f"within {self.target.start_limit:g} s")
        try:
            handshake = Handshake.from_line(read_line(line, "handshake"))
            undeclared(requirements.load(), handshake.choices)
            require_declarable(handshake.rules)
        except TargetProtocolError as error:
            mend = CLEAN if not line.lstrip().startswith(b"{") else FORM
            self._add("handshake", False, str(error), mend)
            return False
        self.handshake = handshake
        self._add("handshake", True, _described(handshake, self.probes))
        return True

    def _operation(self, probe: Probe) -> str:
        answer = self._ask(probe.question)
        if "outputs" in answer:
            wrong = misfit(probe, answer["outputs"])
            if wrong is not None:
                mend = "Outputs must have the names, shapes and dtypes of SPEC.md."
                raise Fault(wrong, mend)
            self._answered.append(probe)
            return "answered, in the right form"
        if "error" in answer:
            raise Fault(f"a valid question led to an error: {answer['error']}", _trace(answer))
        if "unsupported" in answer:
            return f"unsupported: {answer['unsupported']}"
        self._answered.append(probe)
        return f"refused a valid question, which the suite will judge: {answer['refused']}"

    def _bad_input(self) -> str:
        probe = self._one()
        answer = self._ask({**invalidate(probe.question), "id": "smoke-bad-input"})
        (kind,) = (k for k in ("outputs", "refused", "unsupported", "error") if k in answer)
        note = "" if kind == "refused" else ", which the suite will judge"
        return f"{probe.operation} answered bad input with {kind}{note}"

    def _unknown_operation(self) -> str:
        return self._unsupported({"id": "smoke-unknown", **UNKNOWN}, "an operation")

    def _unknown_parameter(self) -> str:
        question = self._one().question
        parameters = {**question["parameters"], "no_such_parameter": 1}
        asked = {**question, "parameters": parameters, "id": "smoke-unknown-parameter"}
        return self._unsupported(asked, "a question with a parameter")

    def _unsupported(self, question: dict[str, Any], unknown: str) -> str:
        answer = self._ask(question)
        if "unsupported" not in answer:
            kind = next(key for key in answer if key != "id")
            raise Fault(
                f"expected unsupported, got {kind}",
                f'Answer {{"unsupported": reason}} to {unknown} that the target does not know.',
            )
        return f"unsupported: {answer['unsupported']}"

    def _goes_on(self) -> str:
        self._ask({**self._one().question, "id": "smoke-again"})
        return "answers the next question, in the same process"

    def _stop(self) -> str:
        session = self._open()
        session.stop()
        self._leaves_nothing(session)
        return "ends at stop, and leaves no process running"

    def _end_of_input(self) -> str:
        session = self._session = Session(self.target, self.end_limit)
        ids = ("smoke-first", "smoke-second")
        question = self._answered[0].question if self._answered else UNKNOWN
        session.all_at_once([{**question, "id": id_} for id_ in ids], self.target.start_limit)
        self._leaves_nothing(session)
        return "answers all questions in its input, and ends at the end of input"

    def _leaves_nothing(self, session: Session) -> None:
        left = session.remaining_processes()
        if left:
            raise Fault(
                f"expected no remaining process, got {', '.join(map(str, left))}",
                "End child processes before the program ends.",
            )

    def _streams(self) -> None:
        noise = f"{len(self._noise)} lines that are no answers, such as"
        if self._noise:
            self._add("stdout", False, f"got {noise} {self._noise[0]}", CLEAN)
        else:
            self._add("stdout", True, "only answers")
        written = f"{self._stderr_bytes} bytes"
        if self._stderr_bytes > MAX_STDERR:
            mend = "Write less: the suite keeps only the last 64 KiB."
            self._add("stderr", False, f"expected at most {MAX_STDERR} bytes, got {written}", mend)
        else:
            self._add("stderr", True, written)

    # Course

    def _try(self, name: str, work: Callable[[], str], *, fresh: bool = True) -> None:
        if self._silences >= MAX_SILENCES:
            self._add(name, None, "not tried after an earlier failure")
            return
        if not fresh and self._session is None:
            self._add(name, None, "not tried: the process has ended")
            return
        try:
            message = work()
        except LookupError:
            self._add(name, None, "not tried: no operation was answered")
        except Fault as fault:
            self._silences += isinstance(fault, NoLineInTime)
            self._add(name, False, fault.message, fault.mend)
            if self._session is not None and self._session.ended:
                self._end()
        else:
            self._add(name, True, message)

    def _one(self) -> Probe:
        return self._answered[0]

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        return self._open().ask(question)

    def _open(self) -> Session:
        """Return the running process, or a new one if it broke."""
        if self._session is None:
            self._session = Session(self.target, self.end_limit)
            self._session.first_line(self.target.start_limit)
        return self._session

    def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
            self.stderr = session.stderr
            self._noise += session.noise
            self._stderr_bytes += session.pipes.stderr_bytes

    def _add(self, name: str, passed: bool | None, message: str, mend: str = "") -> None:
        step = Step(name, passed, message, mend)
        self.steps.append(step)
        self.tell(step)


def _described(handshake: Handshake, probes: Sequence[Probe]) -> str:
    known = {probe.operation for probe in probes}
    strange = [name for name in handshake.operations if name not in known]
    text = f"{handshake.name} {handshake.version}, {handshake.precision}"
    text += f", {len(handshake.operations) or 'all'} operations"
    text += f", choices: {', '.join(handshake.choices) or 'none'}"
    text += f", rules: {', '.join(handshake.rules)}" if handshake.rules else ""
    return f"{text}; not asked here: {', '.join(strange)}" if strange else text


def _trace(answer: dict[str, Any]) -> str:
    lines = str(answer.get("trace", "")).strip().splitlines()
    return f"Mend what broke: {lines[-1]}" if lines else "Mend what broke."
