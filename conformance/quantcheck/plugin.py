"""The pytest plugin: `pytest -p quantcheck.plugin --target keras:jax --pyargs quantcheck.suite`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from quantcheck.errors import QuantcheckError, UsageError
from quantcheck.judge.summary import CaseResult
from quantcheck.judge.verdict import Verdict
from quantcheck.run import results
from quantcheck.run.exits import EXIT_INTERRUPTED, exit_code_of
from quantcheck.run.run import Run
from quantcheck.run.settings import add_options, settings_of
from quantref.formats.files import write_json

RUN = pytest.StashKey[Run]()
REFUSED = pytest.StashKey[QuantcheckError]()
Check = Callable[[str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `quantcheck`, without those for printing and for files."""
    group = parser.getgroup("quantcheck", "conformance of a quantizer")
    group.addoption("--target", help="the target to judge, such as keras:jax")
    group.addoption("--quantcheck-report", metavar="FILE", help="write the report here (JSON)")
    add_options(group.addoption)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options and the cases; an error is reported before the first test."""
    run = None
    try:
        if not config.option.target:
            raise UsageError("--target", "none")
        config.stash[RUN] = run = Run(settings_of(config.option, config.option.target))
        run.load()
    except QuantcheckError as error:
        config.stash[REFUSED] = error
        if run is not None:
            run.abort(error)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of every case and property that the settings select."""
    run = metafunc.config.stash.get(RUN, None)
    if metafunc.module.__name__ != "quantcheck.suite.test_suite":
        return
    for name in {"case", "prop"}.intersection(metafunc.fixturenames):
        known = {} if run is None else run.cases if name == "case" else run.properties
        metafunc.parametrize(name, [i for i in run.chosen() if i in known] if run else [])


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Check the canaries, start the target and read its deviations before the first test."""
    if session.config.option.collectonly:
        return
    error = session.config.stash.get(REFUSED, None)
    if error is None:
        run = session.config.stash[RUN]
        try:
            run.begin(_ids(session.items))
        except QuantcheckError as caught:
            error = caught
            run.abort(error)
    if error is not None:
        pytest.exit(f"{type(error).__name__}: {error}", returncode=exit_code_of(error))


def _ids(items: list[pytest.Item]) -> list[str]:
    given = [getattr(item, "callspec", None) for item in items]
    params = [spec.params for spec in given if spec is not None]
    return [p.get("case", p.get("prop")) for p in params if {"case", "prop"} & p.keys()]


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Check:
    """Return a function that judges a case or a property, and fails the test accordingly."""
    return lambda identity: _outcome(request.config.stash[RUN].ask(identity))


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
    if result.verdict in (Verdict.KNOWN, Verdict.DIFFERENCE):
        pytest.xfail(text)
    if result.verdict != Verdict.PASS:
        pytest.fail(text or f"error: nothing was judged in case {result.case}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
    """Close the target and write the report, also after an error or Ctrl-C."""
    run = session.config.stash.get(RUN, None)
    if run is not None and not session.config.option.collectonly:
        run.interrupted = exitstatus == pytest.ExitCode.INTERRUPTED and run.aborted is None
        run.close()
        code = results.exit_code(run)
        session.exitstatus = pytest.ExitCode.INTERRUPTED if code == EXIT_INTERRUPTED else code
        path = session.config.option.quantcheck_report
        if path:
            write_json(Path(path), results.document(run))
    yield
