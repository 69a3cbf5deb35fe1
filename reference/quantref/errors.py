"""One exception type per kind of bad input.

Every message says what was expected, what came, and which requirement of SPEC.md asks for it.
All types derive from `QuantrefError`, itself a `ValueError`, and are raised before any work.
"""

from __future__ import annotations


class QuantrefError(ValueError):
    """Base of all errors of this package.

    Parameters
    ----------
    expected, got : str
        What was expected, and what came (with shape and dtype where there is one).
    requirement : str
        Id of the requirement in SPEC.md, or "" where there is none.

    Examples
    --------
    >>> error = BitsError("bits in (2, 3, 4, 8)", "bits=5", "GPTQ-110")
    >>> print(error)
    expected bits in (2, 3, 4, 8), got bits=5 [GPTQ-110]
    """

    def __init__(self, expected: str, got: str, requirement: str = "") -> None:
        self.expected = expected
        self.got = got
        self.requirement = requirement
        suffix = f" [{requirement}]" if requirement else ""
        super().__init__(f"expected {expected}, got {got}{suffix}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        """Rebuild from the three parts, so that errors cross process boundaries."""
        return type(self), (self.expected, self.got, self.requirement)


class ShapeError(QuantrefError):
    """Wrong rank, shape or length."""


class EmptyArrayError(ShapeError):
    """An array without elements where a range has to be taken."""


class DTypeError(QuantrefError, TypeError):
    """A dtype that the operation does not take (integers, complex, objects, …)."""


class NonFiniteError(QuantrefError):
    """NaN or infinity in an input."""


class AxisError(QuantrefError, IndexError):
    """An axis outside the array's rank, or named twice."""


class EquationError(QuantrefError):
    """An einsum equation of another form, or whose axes do not fit a layer."""


class BitsError(QuantrefError):
    """A bit width that the operation does not have."""


class ConfigError(QuantrefError):
    """An argument of a configuration or profile outside its domain."""


class ValueRangeError(QuantrefError):
    """A value range reversed, without zero, or outside the output dtype."""


class CodeRangeError(QuantrefError):
    """Codes outside the range that their bit width has."""


class OverflowRangeError(QuantrefError, OverflowError):
    """A scale that does not fit its dtype."""


class NotSymmetricError(QuantrefError):
    """A Hessian that differs from its transpose."""


class NotPositiveDefiniteError(QuantrefError):
    """A Hessian with a pivot that is not positive; the message names damping and pivot."""


class TokenCountError(QuantrefError):
    """Fewer tokens than the calibration windows need; the message has both numbers."""


class TokenRangeError(QuantrefError):
    """Token ids below 0 or above 2^31 − 1."""


class DamagedVectorError(QuantrefError):
    """A vector file that is not what it claims to be; the message names file and field."""


class AnswerError(QuantrefError):
    """An answer of a target that has not the outputs, shapes or kinds of dtype asked for."""


class CalibrationError(QuantrefError):
    """Data with which a layer cannot be calibrated; the message names layer and window."""


class ModelError(QuantrefError):
    """A model, or a layer of it, that cannot be quantized as asked; the message names it."""


class CheckpointError(QuantrefError):
    """A checkpoint that is damaged, or of another run; the message names file and difference."""


class ReportError(QuantrefError):
    """A report that is not what it claims to be."""


class OutputError(QuantrefError):
    """A file that cannot be written as asked: it exists, or would read back wrong."""
