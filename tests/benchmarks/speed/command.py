"""The command: its arguments, and what it returns to the shell."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

PROGRAM = "python -m tests.benchmarks.speed"
OK, USAGE, INTERRUPTED = 0, 2, 130

EPILOG = """
Every figure is a ratio of times that were taken by turns in this run, and the median of its rounds.
exit codes: 0 the table was made, whatever its verdicts; 2 usage, or a package of the extra `dev`
is missing; 130 interrupted, with the table of what was done.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run(_parser().parse_args(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Measure every figure of the project's performance.",
        epilog=EPILOG,
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them: .png or .svg")
    parser.add_argument("--only", action="extend", nargs="+", default=[], metavar="NAME",
                        help="these rows; shell patterns, as 'gptq-*'")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="the rows, and their limits")
    parser.add_argument("--quick", action="store_true", help="an eighth of every size, few rounds")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="of every row (by its cost)")
    parser.add_argument("--peer-seconds", type=_seconds, default=120.0, metavar="S",
                        help="longest call of another quantizer (120)")  # fmt: skip
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {number}")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected more than 0, got {text}")
    return seconds


def run(options: argparse.Namespace) -> int:
    """Measure the rows that the options name, show the table, and return the exit code."""
    complaint = _complaint(options)
    if complaint is not None:
        return _refuse(complaint)
    from tests.benchmarks.speed.rows import UnknownRowError, chosen_rows

    try:
        rows = chosen_rows(options.only)
    except UnknownRowError as error:
        return _refuse(str(error))
    if options.list:
        for row in rows:
            sys.stdout.write(f"{row.name:<26} {row.limit!s:<12} {row.what}\n")
        return OK

    from tests.benchmarks.speed.progress import Progress
    from tests.benchmarks.speed.report import write_json, write_plot
    from tests.benchmarks.speed.row import Settings
    from tests.benchmarks.speed.run import Run, measure_all
    from tests.benchmarks.speed.table import show

    progress = Progress(len(rows))
    settings = Settings(options.quick, options.rounds, options.peer_seconds, progress.tell)
    done, status = Run(settings), OK
    try:
        measure_all(rows, done, progress)
    except KeyboardInterrupt:
        status = INTERRUPTED
    show(done)
    if options.json is not None:
        write_json(done, options.json)
    if options.plot is not None:
        write_plot(done, options.plot)
    return status


def _complaint(options: argparse.Namespace) -> str | None:
    """Return what is wrong with the call, or None; nothing was measured yet."""
    needed = ["threadpoolctl", "rich"] + ["matplotlib"] * (options.plot is not None)
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        return f'{", ".join(missing)} not installed: pip install --editable ".[dev]"'
    from tests.benchmarks.speed.report import refusal

    for path in (options.json, options.plot):
        if path is not None and (wrong := refusal(path)) is not None:
            return wrong
    if options.plot is not None and options.plot.suffix.lower() not in (".png", ".svg"):
        return f"--plot: expected a file .png or .svg, got {options.plot}"
    return None


def _refuse(complaint: str) -> int:
    sys.stderr.write(f"{PROGRAM}: {complaint}\n")
    return USAGE
