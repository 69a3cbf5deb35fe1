"""`quantcheck TARGET…`: puts targets to the suite and prints a verdict per requirement.

`quantcheck smoke TARGET` tells first whether a target speaks the protocol: see its --help.

Exit codes: 0 every requirement passes or deviates as known; 1 a requirement fails, or a listed
deviation does not hold any more; 2 usage, or an unknown target; 3 the target broke (crash, hang,
nonsense); 4 the suite could not prove itself (canary, corpus), or nothing was answered; 130
stopped by Ctrl-C, with a report of what was done.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from quantcheck import report
from quantcheck.errors import QuantcheckError, SuiteError, UsageError
from quantcheck.report import outputs, provenance
from quantcheck.report.document import merged
from quantcheck.run import generated, selftest
from quantcheck.run import golden as corpus
from quantcheck.run.generated import Draws
from quantcheck.run.run import EXIT_INTERRUPTED, EXIT_USAGE, exit_code_of
from quantcheck.smoke import command as smoke
from quantcheck.spec.sections import SECTIONS
from quantcheck.targets import list_targets, open_target
from quantcheck.wire.questions import write_questions

WIDTH = 120  # columns where there is no terminal, as in logs
SUITE = Path(__file__).resolve().parent / "suite"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    _forgive_terminals()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: with a report
    words = sys.argv[1:] if arguments is None else list(arguments)
    for word, other in (("smoke", smoke.main), ("--self-test", selftest.main)):
        if words[:1] == [word]:
            return other(words[1:])
    options = parser().parse_args(words)
    console = Console(emoji=False)
    if not console.is_terminal:
        console = Console(width=WIDTH, emoji=False)
    if options.list_targets:
        report.print_targets(console, list_targets())
        return 0
    try:
        _check_options(options)
        if options.questions:
            return _write_questions(options, console)
    except QuantcheckError as error:
        Console(stderr=True, emoji=False).print(
            f"quantcheck: {error}", markup=False, highlight=False, soft_wrap=True
        )
        return exit_code_of(error)
    return _ask_targets(options, console)


def _ask_targets(options: argparse.Namespace, console: Console) -> int:
    """Run every target, print and write what came of it; returns the exit code."""
    document = _run_targets(options, console)
    if len(options.targets) > 1:
        report.print_matrix(console, document["reports"])
    try:
        written = outputs.write(options, document)
    except OSError as error:
        Console(stderr=True, emoji=False).print(
            f"quantcheck: {error}", markup=False, highlight=False
        )
        return EXIT_USAGE
    for path in written.values():
        console.print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)
    return int(document["exit_code"])


def _run_targets(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run target after target until one is stopped; returns the report of all."""
    started, clock = datetime.now(UTC), time.monotonic()
    reports: list[dict[str, Any]] = []
    for spec in options.targets:
        made = _run_target(spec, options, console)
        made["deviations"] = provenance.of_deviations(made["deviations"], options.deviations)
        made.setdefault("examples", None)
        reports.append(made)
        report.print_report(console, made, alone=len(options.targets) == 1)
        if made["exit_code"] == EXIT_INTERRUPTED:
            break
    run = provenance.of_run(
        started,
        time.monotonic() - clock,
        vectors=options.vectors,
        sections=options.section or SECTIONS,
    )
    return merged(reports, run=run, not_run=options.targets[len(reports) :])


def _forgive_terminals() -> None:
    """Let a terminal without ÷ show ? and go on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="quantcheck",
        description="Put quantizers to the conformance suite: a verdict per requirement.",
        epilog=(__doc__ or "").partition("\n\n")[2],
    )
    add = made.add_argument
    add("targets", nargs="*", metavar="TARGET", help="such as keras:jax; see --list-targets")
    outputs.add_options(add)
    add("--vectors", metavar="DIR", help="golden vectors, in place of those of the package")
    add("--deviations", metavar="FILE", help="known deviations, in place of ours")
    add("--write-deviations", metavar="FILE", help="write what fails as a deviation file")
    add("--reasons", metavar="FILE", help="… with the reasons of this one, of another version")
    add("--questions", metavar="FILE", help="write the questions for answers:FILE, and end")
    add("--time-limit", type=float, metavar="S", help="seconds per question (60; Keras 300)")
    add("--workers", type=int, metavar="N", help="processes of a target (1; Keras 2)")
    add("--only", choices=("vectors", "generated"), help="leave the other kind of case out")
    add("--fuzz", type=float, metavar="MINUTES", help="draw generated cases until the time is over")
    add("--seed", type=int, metavar="N", help="of the generated cases; the default is fixed")
    add("--section", action="append", choices=SECTIONS, help="this section alone (repeatable)")
    add("--list-targets", action="store_true", help="list the kinds of target, and end")
    return made


def _check_options(options: argparse.Namespace) -> None:
    """Refuse, before any work, what cannot work.

    Raises
    ------
    UsageError
        Naming the option.
    """
    if options.targets and options.questions:
        raise UsageError("--questions without a TARGET", ", ".join(options.targets))
    if not options.targets and not options.questions:
        raise UsageError("a TARGET", "none; quantcheck --list-targets lists them")
    for spec in options.targets:
        open_target(spec)
    _check_draws(options)
    if len(options.targets) > 1 and (options.deviations or options.write_deviations):
        raise UsageError("one TARGET with a deviation file", f"{len(options.targets)} targets")
    if options.reasons and not options.write_deviations:
        raise UsageError("--reasons with --write-deviations", "--reasons alone")
    for name in ("deviations", "reasons"):
        path = getattr(options, name)
        if path and not Path(path).is_file():
            raise UsageError(f"--{name} to name a file", path)
    if options.vectors and not Path(options.vectors).is_dir():
        raise UsageError("--vectors to name a directory", options.vectors)
    outputs.check(options, options.write_deviations, options.questions)


def _check_draws(options: argparse.Namespace) -> None:
    if options.time_limit is not None and not options.time_limit > 0:
        raise UsageError("--time-limit above 0", f"{options.time_limit:g}")
    if options.fuzz is not None and not options.fuzz > 0:
        raise UsageError("--fuzz above 0", f"{options.fuzz:g}")
    if options.workers is not None and options.workers < 1:
        raise UsageError("--workers of at least 1", f"{options.workers}")


def _write_questions(options: argparse.Namespace, console: Console) -> int:
    """Write what `answers:FILE` has to answer; returns the exit code."""
    cases = corpus.load(Path(options.vectors) if options.vectors else None).values()
    sections = options.section or SECTIONS
    asked = [case for case in cases if case.section in sections and options.only != "generated"]
    if options.only != "vectors":
        draws = Draws() if options.seed is None else Draws(seed=options.seed)
        asked += generated.cases_of(sections, draws)
    try:
        count = write_questions(Path(options.questions), (case.question() for case in asked))
    except OSError as error:
        raise UsageError("--questions to name a file that can be written", str(error)) from None
    console.print(f"{count} questions: {options.questions}", markup=False, highlight=False)
    return 0


def _run_target(spec: str, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """One pytest process for one target; returns its report."""
    started, clock = datetime.now(UTC), time.monotonic()
    made = _report_of(spec, options, console)
    seconds = round(time.monotonic() - clock, 3)
    return {**made, "started": started.isoformat(timespec="seconds"), "seconds": seconds}


def _report_of(spec: str, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="quantcheck-") as folder:
        path = Path(folder) / "report.json"
        errors = Path(folder) / "stderr"
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                _pytest_command(spec, options, path),
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                encoding="utf-8",
                env={**os.environ, **_environment()},
                start_new_session=True,  # a Ctrl-C comes here alone, and is passed on once
            )
            interrupted = _follow(process, spec, console)
        if path.is_file():
            made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return made
        tail = errors.read_text(encoding="utf-8", errors="replace")[-4000:]
        return _no_report(spec, process.returncode, tail, interrupted=interrupted)


def _pytest_command(spec: str, options: argparse.Namespace, path: Path) -> list[str]:
    files = [str(SUITE / f"test_{section}.py") for section in options.section or SECTIONS]
    command = [sys.executable, "-m", "pytest", "-p", "quantcheck.plugin"]
    # Whoever starts quantcheck in a project of theirs must not get that project's pytest options.
    command += ["-p", "no:terminal", "-p", "no:cacheprovider", "--noconftest", "-s"]
    command += ["-c", os.devnull, f"--rootdir={SUITE}", "--import-mode=importlib"]
    command += [f"--target={spec}", f"--quantcheck-report={path}", "--quantcheck-events"]
    if options.time_limit is not None:
        command.append(f"--time-limit={options.time_limit}")
    for name in ("workers", "only", "fuzz", "seed"):
        if getattr(options, name) is not None:
            command.append(f"--{name}={getattr(options, name)}")
    if options.vectors:
        command.append(f"--vectors={Path(options.vectors).resolve()}")
    if options.deviations:
        command.append(f"--deviations={Path(options.deviations).resolve()}")
    if options.write_deviations:
        command.append(f"--quantcheck-skeleton={Path(options.write_deviations).resolve()}")
    if options.reasons:
        command.append(f"--quantcheck-reasons={Path(options.reasons).resolve()}")
    return command + files


def _environment() -> dict[str, str]:
    from quantcheck.targets import import_path

    return {**import_path(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}


# Progress


def _follow(process: subprocess.Popen[str], spec: str, console: Console) -> bool:
    """Show events until the process ends; whether Ctrl-C or SIGTERM came meanwhile."""
    interrupted = False
    shown = _Shown(spec, console)
    with shown.running():
        while True:
            try:
                shown.events(process.stdout or ())
                process.wait()
            except KeyboardInterrupt:
                # pytest closes the target and writes what was done; the second time it is killed.
                process.send_signal(signal.SIGKILL if interrupted else signal.SIGINT)
                interrupted = True
                continue
            return interrupted


class _Shown:
    """Progress of one target: a bar on a terminal, lines elsewhere."""

    def __init__(self, spec: str, console: Console) -> None:
        self.console = console
        self.spec = spec
        self.section = ""
        self.bar: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn())
            counts = (MofNCompleteColumn(), TimeElapsedColumn())
            self.bar = Progress(*columns, *counts, console=console, transient=True)
            self.task = self.bar.add_task(f"{spec}: reading vectors", total=None)

    def running(self) -> AbstractContextManager[object]:
        """Keep the bar on the terminal while this is open."""
        return self.bar or nullcontext()

    def events(self, lines: Iterable[str]) -> None:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            self._event(event)

    def _event(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "canary":
            self._say(f"checking that a planted bug is caught in {event['section']}")
        elif kind == "drawing":
            self._say(f"drawing examples of section {event['section']}")
        elif kind == "shrinking":
            self._say(f"looking for a smaller example of {event['case']}")
        elif kind == "starting":
            self._say("starting the target")
        elif kind == "ready":
            self._say(f"{event['name']} {event['version']} is ready")
        elif kind == "case":
            done, total = event["done"], event["total"]
            if self.bar is not None:
                text = f"{self.spec}: {event['section']}"
                self.bar.update(self.task, description=text, completed=done, total=total)
            elif event["section"] != self.section or done == total:
                self.section = event["section"]
                self._say(f"section {self.section}, case {done} of {total}")

    def _say(self, text: str) -> None:
        if self.bar is not None:
            self.bar.update(self.task, description=f"{self.spec}: {text}")
        else:
            line = f"{self.spec}: {text}"
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _no_report(spec: str, code: int, tail: str, *, interrupted: bool) -> dict[str, Any]:
    """Make a report where pytest itself left none."""
    error = SuiteError("a report of the suite", f"pytest ended with code {code}")
    if interrupted:
        exit_code = EXIT_INTERRUPTED
    else:
        exit_code = EXIT_USAGE if code == EXIT_USAGE else exit_code_of(error)
    message = {"kind": type(error).__name__, "message": tail.strip() or str(error), "stderr": ""}
    return report.empty(spec, exit_code, message)


if __name__ == "__main__":
    sys.exit(main())
