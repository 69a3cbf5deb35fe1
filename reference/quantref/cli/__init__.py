"""The command line: `quantref quantize`, `quantref certify`; files in, files and a table out.

Reading order: `main` in this module chooses the command; `quantize` and `certify` are the commands;
`common` has their options; `calibration_files` reads calibration data; `progress`, `table` and
`page` show progress and report.
"""

from __future__ import annotations

import argparse
import sys

from quantref import __version__
from quantref.cli import certify, quantize
from quantref.errors import QuantrefError

FAILED = 1


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 1 refused or different, 2 usage."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except QuantrefError as error:
        print(f"quantref: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("quantref: interrupted, nothing was changed", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quantref",
        description="AbsMax and GPTQ quantization of models, with certificates.",
        epilog="exit codes: 0 done, 1 refused or different, 2 usage, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"quantref {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    quantize.add_parser(commands)
    certify.add_parser(commands)
    return parser


COMMANDS = {
    "quantize": quantize.run,
    "certify": certify.run,
}
