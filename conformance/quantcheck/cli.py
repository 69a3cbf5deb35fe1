"""`quantcheck TARGET…`: runs the suite on targets and prints a verdict per requirement.

`quantcheck smoke TARGET` tests first whether a target speaks the protocol. `quantcheck interface`
counts which parts of the documented interface the suite covers. `quantcheck diff OLD.json NEW.json`
says what got worse between two reports, and `quantcheck site REPORT.json… --out FOLDER` makes a
static site of many. See their --help.

Exit codes: 0 every requirement passes, is a known deviation, or is a choice of SPEC.md that the
target does not declare; 1 a requirement fails, an answer is unstable, or a known deviation no
longer occurs; 2 usage, or an unknown target; 3 the target broke (crash, timeout, invalid line); 4
the suite failed its own checks (canary, corpus), or nothing was answered; 130 stopped by Ctrl-C,
with a report of the finished part.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from quantcheck import report
from quantcheck.errors import QuantcheckError, UsageError
from quantcheck.report import outputs, provenance
from quantcheck.report.console import consoles, say
from quantcheck.report.document import merged
from quantcheck.report.progress import progress
from quantcheck.run import golden, settings
from quantcheck.run.draws import cases_of
from quantcheck.run.execute import run_target
from quantcheck.run.exits import EXIT_INTERRUPTED, EXIT_PASS, EXIT_USAGE, exit_code_of
from quantcheck.run.settings import Settings, draws_of, settings_of
from quantcheck.spec.sections import SECTIONS
from quantcheck.targets import list_targets
from quantcheck.wire.questions import write_questions
from quantref.formats.files import write_json

# Each is imported when it is asked for: a run needs none of them.
COMMANDS = {
    "smoke": "quantcheck.smoke.command",
    "interface": "quantcheck.interface.command",
    "diff": "quantcheck.diff.command",
    "site": "quantcheck.site.command",
    "--self-test": "quantcheck.run.selftest.command",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: with a report
    words = sys.argv[1:] if arguments is None else list(arguments)
    console, complaints = consoles()
    try:
        if words and words[0] in COMMANDS:
            return int(import_module(COMMANDS[words[0]]).main(words[1:]))
        options = parser().parse_args(words)
        if options.list_targets:
            report.print_targets(console, list_targets())
            return EXIT_PASS
        _check_options(options)
        if options.questions:
            return _write_questions(options, console)
        return _ask_targets(_all_settings(options), options, console)
    except QuantcheckError as error:
        say(complaints, f"quantcheck: {error}")
        return exit_code_of(error)
    except OSError as error:
        say(complaints, f"quantcheck: {error}")
        return EXIT_USAGE
    except KeyboardInterrupt:
        say(complaints, "quantcheck: stopped without a report")
        return EXIT_INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="quantcheck",
        description="Run the conformance suite on quantizers: a verdict per requirement.",
        epilog=(__doc__ or "").partition("\n\n")[2],
    )
    add = made.add_argument
    add("targets", nargs="*", metavar="TARGET", help="such as keras:jax; see --list-targets")
    outputs.add_options(add)
    settings.add_options(add)
    add("--write-deviations", metavar="FILE", help="propose causes of failures in this file")
    add("--reasons", metavar="FILE", help="propose entries from this file of another version")
    add("--questions", metavar="FILE", help="write the questions for answers:FILE, and end")
    add("--list-targets", action="store_true", help="list the kinds of target, and end")
    return made


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options that cannot be combined, before any work.

    Raises
    ------
    UsageError
        The message names the option.
    """
    if options.targets and options.questions:
        raise UsageError("--questions without a TARGET", ", ".join(options.targets))
    if not options.targets and not options.questions:
        raise UsageError("a TARGET", "none; quantcheck --list-targets lists them")
    if len(options.targets) > 1 and (options.deviations or options.write_deviations):
        raise UsageError("one TARGET with a deviation file", f"{len(options.targets)} targets")
    if options.reasons and not options.write_deviations:
        raise UsageError("--reasons with --write-deviations", "--reasons alone")
    outputs.check(options, options.write_deviations, options.questions)


def _all_settings(options: argparse.Namespace) -> list[Settings]:
    return [settings_of(options, spec, options.reasons) for spec in options.targets]


def _ask_targets(chosen: Sequence[Settings], options: argparse.Namespace, console: Console) -> int:
    """Run every target, print and write the reports; returns the exit code."""
    document = _run_targets(chosen, options, console)
    if len(chosen) > 1:
        report.print_matrix(console, document["reports"])
    for path in outputs.write(options, document).values():
        say(console, f"report: {path}")
    return int(document["exit_code"])


def _run_targets(
    chosen: Sequence[Settings], options: argparse.Namespace, console: Console
) -> dict[str, Any]:
    """Run the targets one after the other, until Ctrl-C; returns the report of all."""
    started, clock = datetime.now(UTC), time.monotonic()
    reports: list[dict[str, Any]] = []
    for each in chosen:
        with progress(each.target, console) as show:
            ended = run_target(each, show, propose=bool(options.write_deviations))
        reports.append(ended.report)
        report.print_report(console, ended.report, alone=len(chosen) == 1)
        if options.write_deviations and ended.deviations is not None:
            write_json(Path(options.write_deviations), ended.deviations.file)
            report.print_unexplained(console, ended.deviations.unexplained)
        if ended.report["exit_code"] == EXIT_INTERRUPTED:
            break
    run = provenance.of_run(
        started,
        time.monotonic() - clock,
        vectors=chosen[0].vectors,
        sections=chosen[0].sections,
    )
    return merged(reports, run=run, not_run=[each.target for each in chosen[len(reports) :]])


def _write_questions(options: argparse.Namespace, console: Console) -> int:
    """Write the questions for `answers:FILE`; returns the exit code."""
    sections = options.section or SECTIONS
    asked = []
    if options.only != "generated":
        cases = golden.load(Path(options.vectors) if options.vectors else None).values()
        wanted = [case for case in cases if case.section in sections]
        asked += [case for case in wanted if options.large or not case.large]
    if options.only != "vectors":
        asked += cases_of(sections, draws_of(options.seed, None))
    count = write_questions(Path(options.questions), (case.question() for case in asked))
    say(console, f"{count} questions: {options.questions}")
    return EXIT_PASS


if __name__ == "__main__":
    sys.exit(main())
