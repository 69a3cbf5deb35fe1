"""Results of a run: verdicts, exit code, report, and the updated deviation file."""

from __future__ import annotations

from typing import Any

from quantcheck import deviations
from quantcheck.deviations import rewrite
from quantcheck.errors import QuantcheckError, TargetError
from quantcheck.judge.summary import RequirementResult, by_requirement, plain, to_json
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

FACTS = ("name", "version", "backend", "precision", "versions")  # of a handshake


def exit_code(run: Run) -> int:
    """Return the exit code of a run.  [VER-050]"""
    if run.interrupted:
        return EXIT_INTERRUPTED
    if run.aborted is not None:
        return exit_code_of(run.aborted)
    judgements = [j for result in run.results for j in result.judgements]
    if any(j.verdict == Verdict.ERROR and not j.stale for j in judgements):
        return EXIT_TARGET
    if any(j.verdict == Verdict.FAIL or j.stale for j in judgements):
        return EXIT_FAIL
    answered = any(j.verdict in (Verdict.PASS, Verdict.KNOWN) for j in judgements)
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
    if run.properties:  # vectors and specification were read
        made["examples"] = {**run.settings.draws.to_json(), "properties": len(run.properties)}
        made["requirements"] = [_requirement(run, r) for r in _by_requirement(run)]
        made["cases"] = [to_json(result) for result in run.results]
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
    return by_requirement(run.requirements, run.results, named)


def _requirement(run: Run, result: RequirementResult) -> dict[str, Any]:
    made = to_json(result)
    shown = (Verdict.FAIL, Verdict.KNOWN, Verdict.ERROR)
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
    for entry in run.deviations:
        listed = judgement.case in entry.cases and entry.requirement == judgement.requirement
        if listed and entry.reproduction:
            return list(entry.reproduction)
    handshake = run.target.handshake
    if handshake.name != "keras":
        return []
    case = _example(run, judgement)
    if case is None:
        return []
    return reproduction.keras_lines(
        case.question(),
        backend=handshake.backend,
        section=case.section,
        message=judgement.message,
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


def deviation_file(run: Run) -> dict[str, Any] | None:
    """Return the updated deviation file; None if nothing was asked."""
    if not run.results:
        return None
    lines = {
        j.case: reproduction_of(run, j)
        for result in run.results
        for j in result.judgements
        if j.verdict in (Verdict.FAIL, Verdict.ERROR)
    }
    previous = deviations.read(run.deviation_file) if run.deviation_file else None
    made = rewrite.rewrite(run.target.handshake, run.results, lines, previous, run.reasons)
    listed = {case for entry in made["deviations"] for case in entry["cases"]}
    draws = {r.case: r.draws for r in run.results if r.draws}
    kept = {k: v for k, v in {**run.known_draws, **draws}.items() if k in listed}
    return {**made, "draws": dict(sorted(kept.items()))}
