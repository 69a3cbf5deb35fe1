"""`quantcheck smoke TARGET`: distinguishes a broken adapter from a quantizer that does not conform.

It asks one small question per operation, and judges only the form of the answer: names, shapes and
dtypes, but no values. Exit codes: 0 the adapter follows the protocol; 2 usage; 3 the adapter is
broken; 4 the vectors are damaged; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from quantcheck.errors import QuantcheckError, UsageError
from quantcheck.report import files
from quantcheck.report.console import consoles, say
from quantcheck.report.looks import LOOKS
from quantcheck.run import golden
from quantcheck.run.exits import EXIT_INTERRUPTED, EXIT_PASS, EXIT_TARGET, exit_code_of
from quantcheck.smoke.questions import probes
from quantcheck.smoke.steps import Smoke, Step
from quantcheck.targets import open_process
from quantcheck.targets.process import START_LIMIT, ProcessTarget
from quantref.formats.files import write_json

LOOK_OF = {True: LOOKS["pass"], False: LOOKS["fail"], None: LOOKS["unsupported"]}
STDERR_SHOWN = 2000
NAME_WIDTH = 22


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    console, complaints = consoles()
    try:
        smoke = Smoke(_target(options), probes(golden.load().values()), lambda s: _show(console, s))
    except QuantcheckError as error:
        say(complaints, f"quantcheck smoke: {error}")
        return exit_code_of(error)
    code = EXIT_PASS
    try:
        smoke.run()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    if code == EXIT_PASS and not smoke.passed:
        code = EXIT_TARGET
    _conclude(console, smoke, code)
    if options.json:
        write_json(Path(options.json), report(smoke, code))
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quantcheck smoke",
        description="Test whether a target follows the protocol; values are not judged.",
        epilog=(__doc__ or "").partition("\n\n")[2],
    )
    add = parser.add_argument
    add("target", metavar="TARGET", help="such as process:COMMAND; not answers:FILE")
    add("--json", metavar="FILE", help="write the results here")
    add("--time-limit", type=float, metavar="S", help="seconds per question (60; Keras 300)")
    add("--start-limit", type=float, metavar="S", help=f"seconds to start ({START_LIMIT:g})")
    return parser


def _target(options: argparse.Namespace) -> ProcessTarget:
    """Build the target to test.

    Raises
    ------
    UsageError
        The message names the invalid option.
    """
    start = START_LIMIT if options.start_limit is None else options.start_limit
    for name, limit in (("--time-limit", options.time_limit), ("--start-limit", start)):
        if limit is not None and not limit > 0:
            raise UsageError(f"{name} above 0", f"{limit:g}")
    if options.target.startswith("answers:"):
        raise UsageError("a TARGET that can be started", options.target)
    if options.json:
        files.check(options.json)
    return open_process(options.target, time_limit=options.time_limit, start_limit=start)


def report(smoke: Smoke, code: int) -> dict[str, Any]:
    """Make the report, as plain JSON."""
    return {
        "format": 1,
        "target": smoke.target.spec,
        "handshake": None if smoke.handshake is None else asdict(smoke.handshake),
        "exit_code": code,
        "steps": [asdict(step) for step in smoke.steps],
        "stderr": smoke.stderr,
    }


def _show(console: Console, step: Step) -> None:
    look = LOOK_OF[step.passed]
    console.print(
        f"[{look.style}]{look.symbol}[/] {escape(step.name):<{NAME_WIDTH}} ",
        end="",
        highlight=False,
    )
    say(console, f"{step.message}. {step.mend}" if step.mend else step.message)


def _conclude(console: Console, smoke: Smoke, code: int) -> None:
    if code == EXIT_TARGET and smoke.stderr.strip():
        say(console, f"the end of its stderr:\n{smoke.stderr[-STDERR_SHOWN:].strip()}")
    said = {
        EXIT_PASS: "the adapter follows the protocol; run quantcheck to judge the quantizer",
        EXIT_TARGET: "the adapter is broken",
        EXIT_INTERRUPTED: "stopped; these are the finished steps",
    }
    failed = [step.name for step in smoke.steps if step.passed is False]
    where = f" at: {', '.join(failed)}" if failed else ""
    say(console, f"{smoke.target.spec}: {said[code]}{where} (exit {code})")
