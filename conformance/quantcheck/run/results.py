"""Results of a run: verdicts, exit code, report, and the updated deviation file."""

from __future__ import annotations

from typing import Any

from quantcheck import deviations
from quantcheck.deviations import rewrite
from quantcheck.deviations.rewrite import Rewritten
from quantcheck.errors import QuantcheckError, TargetError
from quantcheck.judge.summary import CaseResult, RequirementResult, by_requirement, plain, to_json
from quantcheck.judge.verdict import Judgement, Verdict
from quantcheck.properties import Property
from quantcheck.report import provenance, reproduction
from quantcheck.report.document import empty, merged
from quantcheck.run.exits import (
    EXIT_FAIL,
    EXIT_INTERRUPTED,
    EXIT_PASS,
    EXIT_SUITE,
    EXIT_TARGET,
    exit_code_of,
)
from quantcheck.run.run import Run
from quantcheck.wire.cases import Case

FACTS = (
    "name",
    "version",
    "backend",
    "precision",
    "choices",
    "rules",
    "calibration_order",
    "compiles",
    "versions",
)  # of a handshake


def exit_code(run: Run) -> int:
    """Return the exit code of a run.  [VER-100]"""
    if run.interrupted:
        return EXIT_INTERRUPTED
    if run.aborted is not None:
        return exit_code_of(run.aborted)
    judgements = [j for result in run.results for j in result.judgements] + run.stale
    if any(j.verdict == Verdict.ERROR and not j.stale for j in judgements):
        return EXIT_TARGET
    if any(j.verdict in (Verdict.FAIL, Verdict.UNSTABLE) or j.stale for j in judgements):
        return EXIT_FAIL
    counted = (Verdict.PASS, Verdict.KNOWN, Verdict.DIFFERENCE)
    answered = any(j.verdict in counted for j in judgements)
    return EXIT_PASS if answered else EXIT_SUITE


def report(run: Run) -> dict[str, Any]:
    """Make the report as plain JSON."""
    made = empty(run.settings.target, exit_code(run), error_to_json(run.aborted))
    target = run.target
    made["target"]["stderr"] = target.stderr
    if target.started:
        made["target"] |= {name: getattr(target.handshake, name) for name in FACTS}
    made |= {
        "complete": len(run.results) == len(run.selected) and run.aborted is None,
        "asked": len(run.results),
        "selected": len(run.selected),
        "corpus": len(run.cases),
        "canaries": run.canaries,
        "started": run.started.isoformat(timespec="seconds"),
        "seconds": run.seconds,
        "deviations": provenance.of_deviations(run.deviation_file),
    }
    if run.cases:  # vectors and specification were read
        made["examples"] = {**run.asking.draws.to_json(), "properties": len(run.properties)}
        made["requirements"] = [_requirement(run, r) for r in _by_requirement(run)]
        made["cases"] = [to_json(result) for result in _results(run)]
        different = [row for row in made["requirements"] if row["counts"].get(Verdict.DIFFERENCE)]
        made["differences"] = [row["requirement"]["id"] for row in different]
    shown: dict[str, Any] = plain(made)
    return shown


def document(run: Run) -> dict[str, Any]:
    """Make the document of a run with one target."""
    settings = run.settings
    made = provenance.of_run(
        run.started, run.seconds, vectors=settings.vectors, sections=settings.sections
    )
    return merged([report(run)], run=made)


def _by_requirement(run: Run) -> list[RequirementResult]:
    """Return one verdict per requirement of SPEC.md."""
    known: dict[str, Case | Property] = {**run.cases, **run.properties}
    named = {r for id_ in run.selected for r in known[id_].requirements}
    return by_requirement(run.requirements, _results(run), named)


def _results(run: Run) -> list[CaseResult]:
    """Return the results of all cases, and one for each entry that no longer occurs."""
    return run.results + [
        CaseResult(j.case, j.requirement.partition("-")[0].lower(), "", (j,)) for j in run.stale
    ]


def _requirement(run: Run, result: RequirementResult) -> dict[str, Any]:
    made = to_json(result)
    shown = (Verdict.FAIL, Verdict.UNSTABLE, Verdict.KNOWN, Verdict.ERROR, Verdict.DIFFERENCE)
    if result.worst is not None and result.verdict in shown:
        made["reproduction"] = reproduction_of(run, result.worst)
    return made


def error_to_json(error: QuantcheckError | None) -> dict[str, str] | None:
    """Return the error that ended a run as JSON."""
    if error is None:
        return None
    stderr = error.stderr if isinstance(error, TargetError) else ""
    return {"kind": type(error).__name__, "message": str(error), "stderr": stderr}


# Reproductions


def reproduction_of(run: Run, judgement: Judgement) -> list[str]:
    """Return lines that reproduce the judgement; empty for targets other than Keras."""
    for entry in run.known.entries:
        same = entry.reason == judgement.reason and judgement.requirement in entry.requirements
        if same and judgement.verdict == Verdict.KNOWN and entry.reproduction:
            return reproduction.on_backend(entry.reproduction, run.target.handshake.backend)
    handshake = run.target.handshake
    if handshake.name != "keras":
        return []
    case = _example(run, judgement)
    if case is None:
        return []
    return reproduction.keras_lines(
        case.question(made=False),
        backend=handshake.backend,
        section=case.section,
        message=judgement.message,
        version=handshake.version,
    )


def _example(run: Run, judgement: Judgement) -> Case | None:
    """Return the case of a judgement; of a property, the first failing sample."""
    if judgement.case in run.cases:
        return run.cases[judgement.case]
    for outcome in run.asking.outcomes.get(judgement.case, ()):
        if outcome.failed(judgement.requirement):
            return outcome.sample.cases[0]
    return None


# Deviations


def deviation_file(run: Run) -> Rewritten | None:
    """Return the updated deviation file; None if nothing was asked."""
    if not run.results:
        return None
    handshake = run.target.handshake
    return rewrite.rewrite(
        handshake,
        run.asking.failures,
        deviations.read(run.deviation_file) if run.deviation_file else None,
        run.reasons,
        stale=[j.case.removeprefix("deviation ") for j in run.stale],
        recorded={
            "versions": dict(handshake.versions),
            "processor": provenance.processor_features(),
        },
        reproduction=lambda judgement: reproduction_of(run, judgement),
    )
