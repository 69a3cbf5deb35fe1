"""Runs in one process: nothing of one target reaches the next, and every run has a report."""

from __future__ import annotations

import os
import random
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantcheck.errors import UsageError
from quantcheck.run import asking, results
from quantcheck.run.execute import RunResult, run_target
from quantcheck.run.settings import Settings, draws_of
from quantcheck.spec.sections import SECTIONS

MUTANT = "mutant:rnd-half-up"


def run(target: str, *, propose: bool = False, **settings: Any) -> RunResult:
    return run_target(Settings(target, sections=("rnd",), **settings), propose=propose)


def told(ended: RunResult) -> dict[str, Any]:
    """What a report says but for times."""
    report = {k: v for k, v in ended.report.items() if k not in ("started", "seconds")}
    return {**report, "cases": [{**case, "seconds": 0} for case in report["cases"]]}


def state() -> dict[str, Any]:
    """What a run could change for the next one."""
    return {
        "environment": dict(os.environ),
        "errors of NumPy": np.geterr(),
        "warnings": list(warnings.filters),
        "random": random.getstate(),
        "path": list(sys.path),
        "recursion": sys.getrecursionlimit(),
        "folder": [path.name for path in Path.cwd().iterdir()],
        "threads": {t.name for t in threading.enumerate() if t.name.startswith("quantcheck")},
    }


@pytest.mark.requirement("VER-070")
def test_one_target_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = run("reference")
    before = state()
    wrong = run(MUTANT)
    again = run("reference", workers=2)
    assert state() == before
    assert (first.report["exit_code"], wrong.report["exit_code"]) == (0, 1)
    assert told(again) == told(first)
    drawn = [{c["case"]: c["draws"] for c in e.report["cases"]} for e in (first, wrong)]
    assert drawn[0] == drawn[1]


def test_deviations_are_those_of_the_run() -> None:
    right = run("reference", propose=True)
    assert right.deviations is not None
    assert right.deviations.file == {
        "target": "quantref",
        "version": right.report["target"]["version"],
        "deviations": [],
    }
    assert not right.deviations.unexplained
    made = run(MUTANT, propose=True).deviations
    assert made is not None
    assert made.file["deviations"] or made.unexplained
    assert run(MUTANT).deviations is None


def test_events_tell_the_course(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[dict[str, Any]] = []
    ended = run_target(Settings("reference", sections=("rnd",)), events.append)
    kinds = [event["event"] for event in events]
    assert kinds[:4] == ["canary", "starting", "ready", "drawing"]
    assert kinds[4:] == ["case"] * ended.report["selected"]
    assert events[-1]["done"] == events[-1]["total"] == ended.report["selected"]


@pytest.mark.requirement("VER-100")
def test_an_error_of_the_suite_is_told_in_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(asking.Asking, "case", breaks)
    ended = run("reference")
    assert ended.report["exit_code"] == 4
    assert not ended.report["complete"]
    assert ended.report["aborted"]["kind"] == "SuiteError"
    assert "ZeroDivisionError: of ours" in ended.report["aborted"]["message"]
    monkeypatch.setattr(results, "report", breaks)
    ended = run("reference")
    assert (ended.report["exit_code"], ended.deviations) == (4, None)
    assert "ZeroDivisionError: of ours" in ended.report["aborted"]["message"]


@pytest.mark.requirement("VER-100")
def test_ctrl_c_in_each_place_leaves_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    for event in ("canary", "starting", "ready", "drawing", "case"):

        def stop(told: dict[str, Any], event: str = event) -> None:
            if told["event"] == event:
                raise KeyboardInterrupt

        ended = run_target(Settings("reference", sections=("rnd",)), stop)
        assert ended.report["exit_code"] == 130
        assert ended.report["asked"] == (event == "case")
        assert ended.report["aborted"] is None


@pytest.mark.requirement("VER-040")
def test_half_a_character_in_an_answer(script: Any, as_spec: Any) -> None:
    body = 'for q in questions(): send({"id": q["id"], "error": "\\ud800", "trace": "\\udfff"})'
    ended = run(as_spec(script(body)))
    assert ended.report["exit_code"] == 3
    str(ended.report).encode("utf-8")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"target": "nonsense"}, "one of keras:jax"),
        ({"time_limit": 0.0}, "--time-limit above 0, got 0"),
        ({"time_limit": float("nan")}, "--time-limit above 0, got nan"),
        ({"workers": 0}, "--workers of at least 1, got 0"),
        ({"only": "some"}, "--only in vectors, generated, got some"),
        ({"sections": ("rnd", "rdn")}, "got rnd, rdn"),
        ({"vectors": Path("absent")}, "--vectors to name a directory, got absent"),
        ({"deviations": Path("absent")}, "--deviations to name a file, got absent"),
        ({"reasons": Path("absent")}, "--reasons to name a file, got absent"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(**{"target": "reference", **settings})
    assert says in str(caught.value)


def test_settings_by_default() -> None:
    settings = Settings("reference")
    assert (settings.sections, len(settings.targets())) == (SECTIONS, 1)
    assert len(Settings("reference", workers=3).targets()) == 3
    assert not draws_of(None, None).free
    assert (draws_of(5, 1.0).seed, draws_of(5, 1.0).free) == (5, True)
    with pytest.raises(UsageError, match="--fuzz above 0, got 0"):
        draws_of(None, 0.0)
