"""A packed kernel in rational arithmetic, element by element."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from quantcheck.oracle.layers import Numbers
from quantref.equations import Equation
from quantref.inputs import Array


def exact_kernel(
    equation: Equation,
    shape: tuple[int, ...],
    packed: Array,
    scale: Array,
    zero_point: Array,
    g_idx: Array,
    bits: int,
) -> Numbers:
    """Return the dequantized kernel, element by element from its byte."""
    inner = equation.axes(equation.kernel)
    outer = tuple(k for k in range(len(shape)) if k not in inner)
    per_byte = {2: 4, 4: 2}.get(bits, 1)
    kernel: Numbers = {}
    for index in np.ndindex(*shape):
        column = row = 0
        for k in inner:
            column = column * shape[k] + index[k]
        for k in outer:
            row = row * shape[k] + index[k]
        byte = int(packed[row // per_byte, column])
        code = byte >> (bits * (row % per_byte)) & (2**bits - 1)
        group = int(g_idx[column])
        step = Fraction(float(scale[row, group]))
        kernel[index] = step * (code - int(zero_point[row, group]))
    return kernel
