"""A layer's kernel as a matrix (n_out, n_in), and its inputs as tokens, by its equation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from quantref.equations import parse_equation
from quantref.errors import EquationError, ShapeError
from quantref.inputs import Array


@dataclass(frozen=True)
class Geometry:
    """Axes of a kernel: the contracted ones make n_in, the kept ones n_out.  [LAY-110]

    Parameters
    ----------
    equation : str
        The equation of EinsumDense; "...x,xy->...y" is Dense.
    kernel_shape : tuple of int

    Raises
    ------
    EquationError
        An equation of another form, or with an axis that inputs, kernel and outputs share. Such a
        layer has a weight matrix and a Hessian for each index of that axis.
    ShapeError
        The kernel has another rank than the equation.

    Examples
    --------
    >>> heads = Geometry("abcd,cde->abe", (2, 3, 5))
    >>> heads.n_in, heads.n_out
    (6, 5)
    >>> heads.tokens(np.zeros((8, 9, 2, 3))).shape
    (8, 9, 6)
    """

    equation: str
    kernel_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        equation = parse_equation(self.equation)
        if len(self.kernel_shape) != len(equation.kernel):
            expected = f"a kernel of rank {len(equation.kernel)} for {self.equation!r}"
            raise ShapeError(expected, f"{self.kernel_shape}", "LAY-150")
        shared = {*equation.inputs} & {*equation.kernel} & {*equation.outputs}
        if shared:
            got = f"axes {sorted(shared)} of {self.equation!r} in inputs, kernel and outputs"
            raise EquationError("one weight matrix for all tokens", got, "LAY-110")

    @property
    def inner(self) -> tuple[int, ...]:
        """Contracted axes of the kernel, in their order."""
        equation = parse_equation(self.equation)
        return equation.axes(equation.kernel)

    @property
    def order(self) -> tuple[int, ...]:
        """Axes of the kernel: contracted ones first, each kind in its order."""
        return parse_equation(self.equation).kernel_order

    @property
    def n_in(self) -> int:
        """Number of weights of an output."""
        return math.prod(self.kernel_shape[k] for k in self.inner)

    @property
    def n_out(self) -> int:
        """Number of outputs of a token."""
        return math.prod(self.kernel_shape) // max(self.n_in, 1)

    def matrix(self, kernel: Array) -> Array:
        """Return a kernel as (n_out, n_in).  [LAY-110]

        Examples
        --------
        >>> Geometry("...x,xy->...y", (2, 1)).matrix(np.array([[3], [4]]))
        array([[3, 4]])
        """
        if kernel.shape != self.kernel_shape:
            raise ShapeError(f"a kernel of shape {self.kernel_shape}", f"{kernel.shape}", "LAY-150")
        return kernel.transpose(self.order).reshape(self.n_in, self.n_out).T

    def kernel(self, matrix: Array) -> Array:
        """Return a matrix (n_out, n_in) as a kernel: the inverse of `matrix`.  [LAY-110]

        Examples
        --------
        >>> geometry = Geometry("ab,bcd->acd", (2, 3, 4))
        >>> kernel = np.arange(24).reshape(2, 3, 4)
        >>> bool((geometry.kernel(geometry.matrix(kernel)) == kernel).all())
        True
        """
        if matrix.shape != (self.n_out, self.n_in):
            expected = f"a matrix of shape {(self.n_out, self.n_in)}"
            raise ShapeError(expected, f"{matrix.shape}", "LAY-150")
        shape = [self.kernel_shape[k] for k in self.order]
        return matrix.T.reshape(shape).transpose(np.argsort(self.order))

    def tokens(self, inputs: Array) -> Array:
        """Return inputs as (..., n_in), contracted axes last and in the order of the kernel.

        Examples
        --------
        >>> Geometry("ab,ab->", (2, 3)).tokens(np.array([[0, 1, 2], [3, 4, 5]]))
        Traceback (most recent call last):
        quantref.errors.EquationError: ...
        >>> Geometry("ncab,bad->ncd", (3, 2, 4)).tokens(np.arange(6).reshape(1, 1, 2, 3))
        array([[[0, 3, 1, 4, 2, 5]]])
        """
        equation = parse_equation(self.equation, inputs.ndim)
        places = [equation.inputs.index(letter) for letter in equation.contracted]
        if tuple(inputs.shape[k] for k in places) != tuple(
            self.kernel_shape[k] for k in self.inner
        ):
            expected = f"inputs of {self.equation!r} for a kernel {self.kernel_shape}"
            raise ShapeError(expected, f"{inputs.shape}", "LAY-150")
        kept = [k for k in range(inputs.ndim) if k not in places]
        shape = [inputs.shape[k] for k in kept]
        return inputs.transpose(*kept, *places).reshape(*shape, self.n_in)
