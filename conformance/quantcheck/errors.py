"""Typed errors of the conformance suite; every message names the expected and the given value."""

from __future__ import annotations


class QuantcheckError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    expected, got : str
        The expected and the given value.

    Examples
    --------
    >>> print(CorpusError("199 vectors", "3 vectors"))
    expected 199 vectors, got 3 vectors
    """

    def __init__(self, expected: str, got: str) -> None:
        self.expected = expected
        self.got = got
        super().__init__(f"expected {expected}, got {got}")


class UsageError(QuantcheckError):
    """An option or argument outside its domain."""


class ReportError(UsageError):
    """A file is no report, is of another format, or does not fit the other reports."""


class UnknownTargetError(UsageError):
    """No module of `quantcheck.targets` has this target."""


class TargetError(QuantcheckError):
    """The target broke, so that nothing is known about the requirement under test.

    Parameters
    ----------
    expected, got : str
        The expected and the given value.
    stderr : str
        The last lines that the target wrote to its standard error.
    """

    def __init__(self, expected: str, got: str, stderr: str = "") -> None:
        self.stderr = stderr
        super().__init__(expected, got)


class TargetCrashed(TargetError):  # noqa: N818 - named as in reports
    """The target's process ended, or could not be started, while an answer was due."""


class TargetTimeout(TargetError):  # noqa: N818
    """No answer within the time limit."""


class TargetProtocolError(TargetError):
    """The target sent a line that is no answer to the question asked."""


class DeviationError(QuantcheckError):
    """A file of known deviations is damaged, or an entry matches no case."""


class SuiteError(QuantcheckError):
    """The suite failed its own checks, so that this run can give no verdict."""


class CanaryError(SuiteError):
    """No canary of a section was detected."""


class CorpusError(SuiteError):
    """There are no vectors, or fewer than the manifest lists."""


class SpecificationError(SuiteError):
    """SPEC.md cannot be read, or has no requirements."""
