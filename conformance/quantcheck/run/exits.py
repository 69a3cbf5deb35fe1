"""The exit codes of every command.  [VER-100]"""

from __future__ import annotations

from quantcheck.errors import DeviationError, QuantcheckError, TargetError, UsageError

EXIT_PASS, EXIT_FAIL, EXIT_USAGE, EXIT_TARGET, EXIT_SUITE = range(5)
EXIT_INTERRUPTED = 130


def exit_code_of(error: QuantcheckError) -> int:
    """Return the exit code of an error that ends a run."""
    if isinstance(error, UsageError):
        return EXIT_USAGE
    if isinstance(error, DeviationError):
        return EXIT_FAIL
    return EXIT_TARGET if isinstance(error, TargetError) else EXIT_SUITE
