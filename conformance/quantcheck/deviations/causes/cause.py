"""A cause: what it predicts about the answer to a question.  [VER-120]"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantcheck.errors import DeviationError
from quantcheck.judge.certifying import Certifying
from quantcheck.wire.cases import Case
from quantref.errors import QuantrefError
from quantref.inputs import Array


class UnlikeError(Exception):
    """The answer is not what a cause predicts; predicates may raise it instead of False."""


@dataclass(frozen=True)
class Asked:
    """A question and its answer.

    Attributes
    ----------
    case : Case
    answer : mapping
        {"outputs"}, {"refused", "type"} or {"error"}, arrays decoded.
    unit_roundoff : float
    factor_roundoff : float, optional
    rules : tuple of str
        Names of all rules in which the target is known to differ, see `rules`.
    order : str
        The order of calibration that the target declares.
    predicted : dict
        By rules: whether they predict the answer, once it is known.
    certifying : Certifying
        Certifies the answer.
    """

    case: Case
    answer: Mapping[str, Any]
    unit_roundoff: float = 2.0**-24
    factor_roundoff: float | None = None
    rules: tuple[str, ...] = ()
    order: str = "block"
    predicted: dict[Hashable, bool] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    certifying: Certifying = field(
        default_factory=Certifying, init=False, repr=False, compare=False
    )

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The outputs; raises UnlikeError if there are none."""
        if "outputs" not in self.answer:
            raise UnlikeError("an answer without outputs")
        outputs: Mapping[str, Any] = self.answer["outputs"]
        return outputs

    def array(self, name: str, shape: tuple[int, ...] | None = None) -> Array:
        """Return an output that is an array; raises UnlikeError for another kind or shape."""
        value = self.outputs.get(name)
        if not isinstance(value, np.ndarray) or shape not in (None, value.shape):
            raise UnlikeError(f"output {name} of shape {shape}")
        return value

    def raised(self, kind: str, message: str) -> bool:
        """Tell whether the target refused or failed with this type and text in its message.

        Parameters
        ----------
        kind : str
            Name of the exception's type.
        message : str
            A regular expression that the message has to contain.
        """
        if "refused" in self.answer:
            text = str(self.answer["refused"])
            return self.answer.get("type") == kind and re.search(message, text) is not None
        text = str(self.answer.get("error", ""))
        return text.startswith(f"{kind}: ") and re.search(message, text) is not None


@dataclass(frozen=True)
class Cause:
    """A cause and the questions that it is about.

    Attributes
    ----------
    predicts : callable
        Takes an `Asked` and the parameters of an entry: is the answer what the cause predicts?
        Its docstring says what that is.
    operations : tuple of str
        Operations of which the cause says something.
    concerns : callable
        Takes a case and the parameters of an entry: does the cause predict an answer that differs
        from the right one?
    proposals : tuple of dict
        Parameters with which `--write-deviations` tries the cause.
    choices : mapping
        The values that a parameter may have, for parameters that name something.
    """

    predicts: Callable[..., bool]
    operations: tuple[str, ...]
    concerns: Callable[..., bool]
    proposals: tuple[Mapping[str, Any], ...] = field(default=({},))
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the predicate, with hyphens."""
        return self.predicts.__name__.replace("_", "-")

    def check(self, parameters: Mapping[str, Any], where: str) -> None:
        """Raise DeviationError unless the predicate takes these parameters."""
        try:
            inspect.signature(self.predicts).bind(None, **parameters)
        except TypeError as error:
            expected = f"parameters of the cause {self.name} in {where}"
            raise DeviationError(expected, f"{dict(parameters)}: {error}") from None
        for name, values in self.choices.items():
            if parameters[name] not in values:
                expected = f"{name} in {', '.join(values)} in {where}"
                raise DeviationError(expected, f"{parameters[name]!r}")

    def explains(self, asked: Asked, parameters: Mapping[str, Any]) -> bool:
        """Tell whether the answer is what the cause predicts; any other exception is a fault."""
        if asked.case.operation not in self.operations:
            return False
        try:
            with np.errstate(all="ignore"):
                return bool(self.predicts(asked, **parameters))
        except (UnlikeError, QuantrefError):
            return False

    def asks(self, case: Case, parameters: Mapping[str, Any]) -> bool:
        """Tell whether the cause predicts a wrong answer to a question."""
        if case.operation not in self.operations:
            return False
        try:
            with np.errstate(all="ignore"):
                return bool(self.concerns(case, **parameters))
        except (UnlikeError, QuantrefError):
            return False


def refused(case: Case, *kinds: str) -> bool:
    """Tell whether the right answer is a refusal of one of these kinds."""
    return case.expected.get("refused") in kinds


def same(got: Array, expected: Array, dtype: Any = None) -> bool:
    """Tell whether an array has the shape, the values and the dtype that are predicted.

    Examples
    --------
    >>> same(np.int8([1, 2]), np.array([1, 2]), np.int8), same(np.int8([1, 2]), np.array([1, 3]))
    (True, False)
    """
    expected = np.asarray(expected)
    if got.shape != expected.shape or (dtype is not None and got.dtype != dtype):
        return False
    a, b = got.astype(np.float64), expected.astype(np.float64)
    return bool(((a == b) | (np.isnan(a) & np.isnan(b))).all())


def in_groups(g_idx: Array, scale: Array) -> bool:
    """Tell whether every column belongs to a group with a scale; fractions count downwards.

    Examples
    --------
    >>> in_groups(np.float32([0, 1.5]), np.ones((3, 2))), in_groups(np.int32([2]), np.ones((3, 2)))
    (True, False)
    """
    groups = np.floor(g_idx)
    return bool(((groups >= 0) & (groups < scale.shape[-1])).all())


def near(got: Array, expected: Array, bound: Array | float) -> bool:
    """Tell whether an array of the same shape differs by no more than a bound.

    Infinite values have to be equal; where NaN is predicted, nothing is.

    Examples
    --------
    >>> near(np.array([1.0, np.inf]), np.array([1.5, np.inf]), 0.5)
    True
    """
    a, b = got.astype(np.float64), np.asarray(expected).astype(np.float64)
    if a.shape != b.shape:
        return False
    with np.errstate(invalid="ignore"):  # of two infinite values
        close = (np.abs(a - b) <= bound) & np.isfinite(b)
    return bool((np.isnan(b) | (a == b) | close).all())


def rounds(codes: Array, t: Array, lo: float, hi: float, bound: Array | float) -> bool:
    """Tell whether codes are rint(t) clipped to lo … hi, where t may be off by a bound.

    Where t is NaN, the code is what a cast makes of it: nothing is predicted.

    Examples
    --------
    >>> rounds(np.array([3, 2]), np.array([2.6, 2.5001]), 0, 7, 0.001)
    True
    """
    if codes.shape != t.shape:
        return False
    q, inside = codes.astype(np.float64), np.clip(t, lo, hi)
    right = (q >= lo) & (q <= hi) & (np.abs(q - inside) <= 0.5 + bound)
    return bool((np.isnan(t) | right).all())
