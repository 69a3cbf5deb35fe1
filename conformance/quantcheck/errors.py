"""Typed errors of the conformance suite; every message says what was expected and what came."""

from __future__ import annotations


class QuantcheckError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    expected, got : str
        What was expected, and what came.

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


class UnknownTargetError(UsageError):
    """A target that no file of `quantcheck.targets` knows."""


class TargetError(QuantcheckError):
    """The target broke: that says nothing about the requirement under test.

    Parameters
    ----------
    expected, got : str
        What was expected, and what came.
    stderr : str
        The last lines that the target wrote to its standard error.
    """

    def __init__(self, expected: str, got: str, stderr: str = "") -> None:
        self.stderr = stderr
        super().__init__(expected, got)


class TargetCrashed(TargetError):  # noqa: N818 - what happened, as in a report
    """The target's process ended, or could not be started, while an answer was due."""


class TargetTimeout(TargetError):  # noqa: N818
    """No answer within the time limit."""


class TargetProtocolError(TargetError):
    """Something came that is not an answer to the question asked."""


class DeviationError(QuantcheckError):
    """A file of known deviations that is damaged, or an entry that matches no case."""


class SuiteError(QuantcheckError):
    """The suite could not prove itself; no verdict of this run would mean anything."""


class CanaryError(SuiteError):
    """A planted bug was not caught."""


class CorpusError(SuiteError):
    """No vectors, or fewer than the manifest says."""


class SpecificationError(SuiteError):
    """SPEC.md could not be read, or has no requirements."""
