"""One run: a target, the corpus, the known deviations, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantcheck import corpus, deviations, reproduce, requirements, rewrite, verdict
from quantcheck.deviations import Deviation
from quantcheck.errors import (
    DeviationError,
    QuantcheckError,
    SuiteError,
    TargetError,
    UsageError,
)
from quantcheck.targets import Target
from quantcheck.verdict import CaseResult, Judgement, RequirementResult, Verdict

if TYPE_CHECKING:
    from quantref.vectors import Case

EXIT_PASS, EXIT_FAIL, EXIT_USAGE, EXIT_TARGET, EXIT_SUITE = range(5)
EXIT_INTERRUPTED = 130
Event = Callable[[dict[str, Any]], None]


class Run:
    """What one pytest session knows.

    Parameters
    ----------
    target : Target
        Not yet started.
    vectors, deviation_file : Path, optional
        In place of those that belong to the package.
    reason_file : Path, optional
        Deviations of another version, whose reasons are proposed for what fails here too.
    event : callable, optional
        Told what happens, as JSON objects.
    """

    def __init__(
        self,
        target: Target,
        *,
        vectors: Path | None = None,
        deviation_file: Path | None = None,
        reason_file: Path | None = None,
        event: Event | None = None,
    ) -> None:
        self.target = target
        self.deviation_file = deviation_file
        self.reason_file = reason_file
        self.event: Event = event or (lambda _: None)
        self.requirements = requirements.load()
        self.cases = corpus.load(vectors)
        self.deviations: list[Deviation] = []
        self.results: list[CaseResult] = []
        self.canaries: list[dict[str, str]] = []
        self.selected: list[str] = []
        self.aborted: QuantcheckError | None = None
        self.interrupted = False

    # Course of a run

    def begin(self, selected: Iterable[str]) -> None:
        """Prove that the suite bites, start the target, and read what is known about it.

        Parameters
        ----------
        selected : iterable of str
            Ids of the cases that will be asked.

        Raises
        ------
        QuantcheckError
            When the run cannot mean anything.
        """
        self.selected = list(selected)
        chosen = [self.cases[id_] for id_ in self.selected]
        if not chosen:
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
            deviations.check_matches(self.deviations, self.cases)

    def check(self, case: Case) -> CaseResult:
        """Ask one case and judge the answer."""
        handshake = self.target.handshake
        began = time.monotonic()
        trace = stderr = ""
        if handshake.operations and case.operation not in handshake.operations:
            judgements = verdict.everywhere(
                case, Verdict.UNSUPPORTED, f"the target has no {case.operation}"
            )
        else:
            try:
                answer = self.target.ask(case.question())
                judgements, trace = verdict.judge_answer(
                    case, answer, unit_roundoff=handshake.unit_roundoff
                )
            except TargetError as error:
                message = f"{type(error).__name__}: {error}"
                judgements = verdict.everywhere(case, Verdict.ERROR, message)
                stderr = error.stderr
        judgements = deviations.apply(case, judgements, self.deviations)
        seconds = time.monotonic() - began
        result = CaseResult(
            case.id, case.section, case.operation, tuple(judgements), seconds, trace, stderr
        )
        self.results.append(result)
        self.event(
            {
                "event": "case",
                "section": case.section,
                "case": case.id,
                "verdict": result.verdict.value,
                "done": len(self.results),
                "total": len(self.selected),
            }
        )
        return result

    # Results

    def by_requirement(self) -> list[RequirementResult]:
        """One verdict per requirement of SPEC.md."""
        named = {r for id_ in self.selected for r in self.cases[id_].requirements}
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
        return rewrite.rewrite(self.target.handshake, self.results, lines, previous, reasons)

    def reproduction(self, judgement: Judgement) -> list[str]:
        """Plain lines that show the judgement; empty for targets other than Keras."""
        for entry in self.deviations:
            listed = judgement.case in entry.cases and entry.requirement == judgement.requirement
            if listed and entry.reproduction:
                return list(entry.reproduction)
        handshake = self.target.handshake
        case = self.cases[judgement.case]
        if handshake.name != "keras":
            return []
        return reproduce.keras_lines(
            case.question(),
            backend=handshake.backend,
            section=case.section,
            message=judgement.message,
        )

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
