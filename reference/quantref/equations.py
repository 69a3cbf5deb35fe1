"""Einsum equations of layers, their contracted and kept axes (SPEC.md, section 9)."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from quantref.errors import EquationError, ShapeError

_FORM = re.compile(
    r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?", re.ASCII
)


@dataclass(frozen=True)
class Equation:
    """An einsum equation of inputs and kernel; every axis has its own letter.

    Attributes
    ----------
    inputs, kernel, outputs : str
        One letter per axis.

    Examples
    --------
    >>> equation = parse_equation("...x,xy->...y", 3)
    >>> equation.inputs, equation.kernel, equation.outputs, equation.contracted
    ('ABx', 'xy', 'ABy', 'x')
    """

    inputs: str
    kernel: str
    outputs: str

    @property
    def text(self) -> str:
        """The equation as `numpy.einsum` takes it."""
        return f"{self.inputs},{self.kernel}->{self.outputs}"

    @property
    def contracted(self) -> str:
        """Letters of the contracted axes, in the order of the kernel.  [LAY-160]"""
        return "".join(c for c in self.kernel if c not in self.outputs)

    @property
    def kernel_order(self) -> tuple[int, ...]:
        """Axes of the kernel: contracted ones first, each kind in its order.  [LAY-110]"""
        inner = self.axes(self.kernel)
        return (*inner, *(k for k in range(len(self.kernel)) if k not in inner))

    @property
    def scales(self) -> str:
        """The equation of the scales of inputs and kernel, which have only the kept axes."""
        return f"{self.kept(self.inputs)},{self.kept(self.kernel)}->{self.outputs}"

    def kept(self, letters: str) -> str:
        """Return the letters of an operand's kept axes."""
        return "".join(c for c in letters if c in self.outputs)

    def axes(self, letters: str) -> tuple[int, ...]:
        """Return the contracted axes of an operand.  [LAY-160]"""
        return tuple(k for k, c in enumerate(letters) if c not in self.outputs)


def parse_equation(text: str, ndim: int | None = None) -> Equation:
    """Read an equation for inputs of rank `ndim`; "..." becomes letters.  [LAY-150]

    Parameters
    ----------
    text : str
        "X,Y->Z", "...X,Y->...Z" or "X...,Y->Z...": inputs, kernel, outputs.
    ndim : int, optional
        Rank of the inputs. If it is None, "..." is no axis.

    Returns
    -------
    equation : Equation

    Raises
    ------
    EquationError
        Another form, a letter twice in one operand, an axis of the output that no operand has,
        a contracted axis that only one operand has, or no contracted axis.
    ShapeError
        The inputs have too few or too many axes.

    Examples
    --------
    >>> parse_equation("abc,cde->abde", 3).axes("cde")
    (0,)
    """
    form = _FORM.fullmatch(text) if isinstance(text, str) else None
    expected = "an equation X,Y->Z, ...X,Y->...Z or X...,Y->Z..."
    if form is None:
        raise EquationError(expected, f"{text!r}", "LAY-150")
    left, inputs, right, kernel, out_left, outputs, out_right = form.groups()
    if left != out_left or right != out_right or (left and right):
        raise EquationError(expected, f"{text!r}", "LAY-150")
    spare = 0 if ndim is None else ndim - len(inputs)
    if spare < 0 or (spare and not (left or right)):
        raise ShapeError(f"inputs of the rank of {text!r}", f"rank {ndim}", "LAY-150")
    used = {*inputs, *kernel, *outputs}
    extra = "".join([c for c in string.ascii_uppercase + string.ascii_lowercase if c not in used])
    letters = extra[:spare]
    if left:
        inputs, outputs = letters + inputs, letters + outputs
    elif right:
        inputs, outputs = inputs + letters, outputs + letters
    if any(len(set(term)) != len(term) for term in (inputs, kernel, outputs)):
        raise EquationError("each letter once per operand", f"{text!r}", "LAY-150")
    summed = {*inputs, *kernel} - {*outputs}
    if {*outputs} - {*inputs, *kernel} or not summed or summed - ({*inputs} & {*kernel}):
        expected = "contracted axes that inputs and kernel share, and all others in the output"
        raise EquationError(expected, f"{text!r}", "LAY-150")
    return Equation(inputs, kernel, outputs)


def require_sizes(
    equation: Equation, inputs: tuple[int, ...], kernel: tuple[int, ...]
) -> dict[str, int]:
    """Return the size of every axis, or raise ShapeError where operands differ.  [LAY-150]

    Examples
    --------
    >>> require_sizes(parse_equation("ab,bc->ac", 2), (2, 3), (3, 4))
    {'a': 2, 'b': 3, 'c': 4}
    """
    sizes: dict[str, int] = {}
    if len(inputs) != len(equation.inputs) or len(kernel) != len(equation.kernel):
        got = f"inputs {inputs}, kernel {kernel}"
        raise ShapeError(f"operands of {equation.text!r}", got, "LAY-150")
    for letter, size in [
        *zip(equation.inputs, inputs, strict=True),
        *zip(equation.kernel, kernel, strict=True),
    ]:
        if sizes.setdefault(letter, size) != size:
            got = f"inputs {inputs}, kernel {kernel}"
            expected = f"one size of axis {letter!r} in {equation.text!r}"
            raise ShapeError(expected, got, "LAY-150")
    return sizes
