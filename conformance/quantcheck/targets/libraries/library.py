"""What an adapter says of its library, and how its operations become answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.wire.arrays import encode
from quantcheck.wire.lines import decode_inputs

Array = NDArray[Any]
Inputs = Mapping[str, Any]
Parameters = Mapping[str, Any]
Outputs = dict[str, Any]
REFUSALS = (ValueError, TypeError, IndexError, OverflowError, AssertionError, np.linalg.LinAlgError)


class Unsupported(Exception):  # noqa: N818 - an answer, not a failure
    """The library does not have what a question asks for."""


@dataclass(frozen=True)
class Library:
    """A library behind the protocol.

    Attributes
    ----------
    distribution : str
        Its name in package indexes, and in the handshake.
    operations : mapping
        Functions of (inputs, parameters) that return outputs.
    rules, choices : tuple of str
        The rules of appendix A, and the choices of SPEC.md, that the library follows.
    absent : mapping
        Why the library has no such operation, for operations that one might look for.
    precision, factor_precision : str
        Lowest precision of its arithmetic, and that of its factor of a Hessian.
    refusals : tuple of (str, str)
        Package and type of exceptions of its own that refuse bad input.
    lacks : tuple of (str, str)
        The same, of exceptions that say that something is not implemented.
    versions : tuple of str
        Distributions whose versions are reported.
    """

    distribution: str
    operations: Mapping[str, Callable[[Inputs, Parameters], Outputs]]
    rules: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    precision: str = "float32"
    factor_precision: str = "float32"
    refusals: tuple[tuple[str, str], ...] = ()
    lacks: tuple[tuple[str, str], ...] = ()
    versions: tuple[str, ...] = ()

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one wire question with the result of the library.

        Parameters
        ----------
        question : mapping
            {"operation", "parameters", "inputs"}, arrays encoded.

        Returns
        -------
        dict
            {"outputs"}, {"refused", "type"} or {"unsupported"}.

        Raises
        ------
        Exception
            Whatever the library raises that is no refusal: an error of the target.
        """
        operation = question["operation"]
        if operation not in self.operations:
            reason = self.absent.get(operation, f"{self.distribution} has no {operation}")
            return {"unsupported": reason}
        inputs = decode_inputs(question)
        try:
            with np.errstate(all="ignore"):
                outputs = self.operations[operation](inputs, question["parameters"])
        except (Unsupported, NotImplementedError) as error:
            return {"unsupported": _one_line(error)}
        except Exception as error:
            kind = (type(error).__module__.partition(".")[0], type(error).__name__)
            if kind in self.lacks:
                return {"unsupported": _one_line(error)}
            if not isinstance(error, REFUSALS) and kind not in self.refusals:
                raise
            return {"refused": _one_line(error), "type": type(error).__name__}
        return {"outputs": encode(outputs)}


def _one_line(error: Exception) -> str:
    return " ".join(f"{error}".split()) or type(error).__name__


def require(condition: bool, reason: str) -> None:
    """Raise Unsupported with a reason unless a condition holds."""
    if not condition:
        raise Unsupported(reason)


def require_single(weights: Array) -> None:
    """Leave out float weights of other dtypes than float32, where scales follow their dtype."""
    name = str(weights.dtype)
    require("float" not in name or name == "float32", f"scales of {name} weights are {name}")


def require_symmetric(hessian: Array) -> None:
    """Leave out Hessians that no library makes: those whose triangles differ.

    Raises
    ------
    Unsupported
        The Hessian is another one than its transpose.
    """
    symmetric = np.array_equal(hessian, hessian.T, equal_nan=True)
    require(
        symmetric, "the library's own Hessians are symmetric; it has no step that makes them so"
    )


def require_order(hessian: Array) -> None:
    """Leave out diagonals that are equal in float32, which an unstable sort leaves in any order.

    Raises
    ------
    Unsupported
        Two elements are equal.
    """
    diagonal = np.diagonal(hessian).astype(np.float32)
    ordered = np.unique(np.where(diagonal == 0, 1, diagonal)).size == diagonal.size
    require(ordered, "torch.argsort leaves columns with equal diagonals in any order")


def group_size_of(group_size: int, n_in: int) -> int:
    """Return a group size with all columns for −1 and for more than there are.

    Examples
    --------
    >>> group_size_of(-1, 16), group_size_of(100, 16), group_size_of(4, 16)
    (16, 16, 4)
    """
    return n_in if group_size == -1 else min(group_size, n_in)


def group_index(n_in: int, size: int) -> NDArray[np.int32]:
    """Return the group of each column where groups follow each other.

    A library without a group index means this one.

    Examples
    --------
    >>> group_index(5, 2).tolist()
    [0, 0, 1, 1, 2]
    """
    return (np.arange(n_in) // size).astype(np.int32)


def size_of_groups(g_idx: Array, n_groups: int) -> int:
    """Return the group size of a group index in which equal groups follow each other.

    Raises
    ------
    Unsupported
        The groups are others.

    Examples
    --------
    >>> size_of_groups(np.array([0, 0, 1, 1, 2]), 3)
    2
    """
    n_in = len(g_idx)
    for size in {max(int((g_idx == 0).sum()), 1), n_in} if n_in else {1}:
        if np.array_equal(g_idx, group_index(n_in, size)) and -(-n_in // size) == n_groups:
            return size
    raise Unsupported("groups of equal length that follow each other are all that the library has")
