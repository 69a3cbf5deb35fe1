"""The pytest plugin: `pytest -p quantcheck.plugin --target keras:jax --pyargs quantcheck.suite`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import pytest

from quantcheck import properties
from quantcheck.errors import QuantcheckError, UsageError
from quantcheck.judge.verdict import CaseResult, Verdict
from quantcheck.properties import Property
from quantcheck.report import files
from quantcheck.report.document import empty
from quantcheck.run.generated import Draws
from quantcheck.run.run import EXIT_INTERRUPTED, Run, exit_code_of
from quantcheck.targets import default_workers, open_target

if TYPE_CHECKING:
    from quantcheck.wire.cases import Case

RUN = pytest.StashKey[Run]()
ABORTED = pytest.StashKey[QuantcheckError]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the suite."""
    group = parser.getgroup("quantcheck", "conformance of a quantizer")
    group.addoption("--target", help="what is put to the suite, such as keras:jax")
    group.addoption("--deviations", metavar="FILE", help="known deviations, in place of ours")
    group.addoption("--vectors", metavar="DIR", help="golden vectors, in place of ours")
    group.addoption("--time-limit", type=float, help="seconds per question")
    group.addoption("--workers", type=int, help="processes of the target")
    group.addoption("--only", choices=("vectors", "generated"), help="leave the other kind out")
    group.addoption("--fuzz", type=float, metavar="MINUTES", help="draw until the time is over")
    group.addoption("--seed", type=int, help="of the generated samples")
    group.addoption("--quantcheck-report", metavar="FILE", help="write the report here (JSON)")
    group.addoption("--quantcheck-skeleton", metavar="FILE", help="write a deviation file here")
    group.addoption("--quantcheck-reasons", metavar="FILE", help="… with the reasons of this one")
    group.addoption("--quantcheck-events", action="store_true", help="progress as JSON lines")


def pytest_configure(config: pytest.Config) -> None:
    """Build the run; what is wrong with it is told when the tests would start."""
    try:
        config.stash[RUN] = _make_run(config)
    except QuantcheckError as error:
        config.stash[ABORTED] = error


def _make_run(config: pytest.Config) -> Run:
    spec = config.getoption("--target")
    if not spec:
        raise UsageError("--target", "none")
    vectors = config.getoption("--vectors")
    deviations = config.getoption("--deviations")
    reasons = config.getoption("--quantcheck-reasons")
    limit = config.getoption("--time-limit")
    draws = _draws(config)
    # What JAX compiles for the default questions is kept for the next run.
    kept = platformdirs.user_cache_path("quantcheck") / "jax" if draws == Draws() else None
    target = open_target(spec, time_limit=limit, compiled=kept)
    workers = config.getoption("--workers") or default_workers(target)
    others = [open_target(spec, time_limit=limit, compiled=kept) for _ in range(workers - 1)]
    return Run(
        target,
        others=others,
        draws=draws,
        vectors=Path(vectors) if vectors else None,
        deviation_file=Path(deviations) if deviations else None,
        reason_file=Path(reasons) if reasons else None,
        event=_print_event if config.getoption("--quantcheck-events") else None,
    )


def _draws(config: pytest.Config) -> Draws:
    chosen = Draws()
    if config.getoption("--seed") is not None:
        chosen = replace(chosen, seed=config.getoption("--seed"))
    minutes = config.getoption("--fuzz")
    if minutes is None:
        return chosen
    return replace(chosen, free=True, seconds=60.0 * minutes / len(properties.load()))


def _print_event(event: dict[str, Any]) -> None:
    stream = sys.__stdout__
    if stream is not None:
        stream.write(json.dumps(event) + "\n")
        stream.flush()


# Collection


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per case of the section that the module is named after."""
    run = metafunc.config.stash.get(RUN, None)
    section = metafunc.module.__name__.rpartition("test_")[2]
    only = metafunc.config.getoption("--only")
    if "case" in metafunc.fixturenames:
        asked = run is not None and only != "generated"
        cases = [c for c in run.cases.values() if c.section == section] if run and asked else []
        metafunc.parametrize("case", cases, ids=[case.id for case in cases])
    if "prop" in metafunc.fixturenames:
        asked = run is not None and only != "vectors"
        drawn = (
            [p for p in run.properties.values() if p.section == section] if run and asked else []
        )
        metafunc.parametrize("prop", drawn, ids=[prop.id for prop in drawn])


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Canary, target, deviations: before the first case is asked."""
    config = session.config
    if config.option.collectonly:
        return
    error = config.stash.get(ABORTED, None)
    run = config.stash.get(RUN, None)
    if run is not None:
        try:
            run.begin(_case_ids(session.items))
        except QuantcheckError as caught:
            error = run.aborted = caught
    if error is not None:
        pytest.exit(f"{type(error).__name__}: {error}", returncode=exit_code_of(error))


def _case_ids(items: list[pytest.Item]) -> list[str]:
    specs = [getattr(item, "callspec", None) for item in items]
    given = [spec.params.get("case", spec.params.get("prop")) for spec in specs if spec]
    return [thing.id for thing in given if hasattr(thing, "id")]


# Cases


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Callable[[Case], None]:
    """Ask a case and turn its verdict into the outcome of the test."""
    run = request.config.stash[RUN]

    def ask(case: Case) -> None:
        _outcome(run.check(case))

    return ask


@pytest.fixture
def check_property(request: pytest.FixtureRequest) -> Callable[[Property], None]:
    """Ask the samples of a property and turn its verdict into the outcome of the test."""
    run = request.config.stash[RUN]

    def ask(prop: Property) -> None:
        _outcome(run.check_property(prop))

    return ask


def _outcome(result: CaseResult) -> None:
    lines = [
        f"{j.verdict.value}: {j.requirement} case {result.case}"
        + (f" at {j.index}" if j.index is not None else "")
        + f": {j.reason or j.message}"
        for j in result.judgements
        if j.verdict == result.verdict
    ]
    text = "\n".join([*lines, *filter(None, [result.trace, result.stderr])])
    if result.verdict == Verdict.UNSUPPORTED:
        pytest.skip(text)
    if result.verdict == Verdict.KNOWN:
        pytest.xfail(text)
    if result.verdict != Verdict.PASS:
        pytest.fail(text or f"error: nothing was judged in case {result.case}", pytrace=False)


# End


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
    """Close the target, write the report; also after an abort or Ctrl-C."""
    run = session.config.stash.get(RUN, None)
    report_file = session.config.getoption("--quantcheck-report")
    error = session.config.stash.get(ABORTED, None)
    if error is not None:
        spec = str(session.config.getoption("--target"))
        told = {"kind": type(error).__name__, "message": str(error), "stderr": ""}
        _write(report_file, lambda: empty(spec, exit_code_of(error), told))
    if run is not None:
        run.interrupted = exitstatus == pytest.ExitCode.INTERRUPTED and run.aborted is None
        run.close()
        _write(report_file, run.report)
        if run.results:
            _write(session.config.getoption("--quantcheck-skeleton"), run.deviation_skeleton)
        if not session.config.option.collectonly:
            code = run.exit_code()
            session.exitstatus = 2 if code == EXIT_INTERRUPTED else code
    yield


def _write(path: str | None, make: Callable[[], dict[str, Any]]) -> None:
    if path:
        text = json.dumps(make(), indent=1, ensure_ascii=False, allow_nan=False)
        files.write(path, text + "\n")
