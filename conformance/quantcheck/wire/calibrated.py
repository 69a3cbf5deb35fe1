"""The model of a question on a calibrated layer: its table of tokens, its dataset, its matrices.

A layer of GPTQ has a matrix of weights (n_out, n_in) and vectors of n_in inputs, whatever the shape
of its kernel (SPEC.md, section 12, *Calibrated layers*).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from quantcheck.wire.policies import CALLED_TWICE, place_of
from quantref.equations import Equation, parse_equation
from quantref.inputs import Array
from quantref.layers import DENSE


def table_of(x: Array) -> Array:
    """Return the embedding of the model: a row for each of x, and a unit row for each column.

    Examples
    --------
    >>> table_of(np.float32([[3, 4]])).tolist()
    [[3.0, 4.0], [1.0, 0.0], [0.0, 1.0]]
    """
    rows = x.reshape(len(x), -1)
    return np.concatenate([rows, np.eye(rows.shape[1], dtype=rows.dtype)])


def tokens_of(rows: int, num_samples: int, sequence_length: int) -> Array:
    """Return the dataset, (num_samples, sequence_length) int32: the rows of the table in turn.

    Examples
    --------
    >>> tokens_of(3, 2, 2).tolist()
    [[0, 1], [2, 0]]
    """
    count = num_samples * sequence_length
    return (np.arange(count, dtype=np.int32) % rows).reshape(num_samples, sequence_length)


def equation_of(parameters: Mapping[str, Any], x: Array) -> Equation:
    """Return the equation of the layer of a question."""
    return parse_equation(parameters.get("equation", DENSE), x.ndim)


def matrix_of(kernel: Array, equation: Equation) -> Array:
    """Return a kernel as (n_out, n_in).  [LAY-110]"""
    order = equation.kernel_order
    n_in = int(np.prod([kernel.shape[k] for k in equation.axes(equation.kernel)]))
    return np.ascontiguousarray(kernel.transpose(order).reshape(n_in, -1).T)


def vectors_of(x: Array, windows: Array, parameters: Mapping[str, Any]) -> Array:
    """Return what the layer gets while the model sees windows, (vectors, n_in).

    A layer that is called twice gets it twice.
    """
    equation = equation_of(parameters, x)
    rows = table_of(x)[windows.ravel()].reshape(-1, *x.shape[1:])
    contracted = [equation.inputs.index(letter) for letter in equation.contracted]
    kept = [axis for axis in range(rows.ndim) if axis not in contracted]
    n_in = int(np.prod([rows.shape[axis] for axis in contracted]))
    made = rows.transpose(*kept, *contracted).reshape(-1, n_in)
    return np.concatenate([made, made]) if place_of(parameters) == CALLED_TWICE else made
