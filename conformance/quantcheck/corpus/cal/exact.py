"""Small models in exact arithmetic: every value is an integer over a power of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from quantcheck.oracle import exact
from quantref.calibration import Block, Model
from quantref.inputs import Array


@dataclass(frozen=True)
class Dyadic:
    """An array of integers (Python's, of any size) over 2^exponent.

    Attributes
    ----------
    numbers : object array of int
    exponent : int
    """

    numbers: Array
    exponent: int

    def __add__(self, other: Dyadic) -> Dyadic:
        exponent = max(self.exponent, other.exponent)
        return Dyadic(self.scaled(exponent) + other.scaled(exponent), exponent)

    def times(self, other: Dyadic) -> Dyadic:
        """Return self · otherᵀ."""
        return Dyadic(self.numbers @ other.numbers.T, self.exponent + other.exponent)

    def scaled(self, exponent: int) -> Array:
        """Return the integers over a larger power of two."""
        return np.asarray(self.numbers * 2 ** (exponent - self.exponent))

    def fractions(self) -> exact.Matrix:
        """Return nested lists of fractions."""
        return [[Fraction(n, 2**self.exponent) for n in row] for row in self.numbers.tolist()]


def dyadic_of(values: Any) -> Dyadic:
    """Return nested floats or fractions with denominators 2^k as a `Dyadic`.

    Examples
    --------
    >>> dyadic_of([0.5, 3.0]).numbers.tolist()
    [1, 6]
    """
    array = np.array(values, dtype=object)
    parts = [Fraction(v) for v in array.ravel()]
    exponent = max((part.denominator.bit_length() - 1 for part in parts), default=0)
    flat = np.empty(len(parts), object)
    flat[:] = [part.numerator * (2**exponent // part.denominator) for part in parts]
    return Dyadic(flat.reshape(array.shape), exponent)


def run_block_exact(
    block: Block, weights: Sequence[Dyadic], x: Dyadic
) -> tuple[list[Dyadic], Dyadic]:
    """Return the input (tokens, n_in) of every layer and the output of the block."""
    inputs, y = [], x
    for w, bias, activation in zip(weights, block.biases, block.activations, strict=True):
        inputs.append(y)
        y = y.times(w) + dyadic_of(bias.tolist())
        if activation == "relu":
            y = Dyadic(np.maximum(y.numbers, 0), y.exponent)
    return inputs, y + x if block.residual else y


def quantize_model_exact(
    model: Model, windows: Array, settings: dict[str, Any]
) -> list[exact.ExactGPTQ]:
    """Return the exact answer for every layer of the blocks, as `models.quantize_model_gptq`.

    `settings` are those of `exact.gptq`.
    """
    x = dyadic_of(model.embedding.astype(np.float64)[windows.ravel()].tolist())
    done = []
    for block in model.blocks:
        floats = [dyadic_of(w.astype(np.float64).tolist()) for w in block.weights]
        inputs, _ = run_block_exact(block, floats, x)
        values = []
        for w, entered in zip(floats, inputs, strict=True):
            gram = entered.numbers.T @ entered.numbers
            unit = Fraction(2, len(entered.numbers)) / 4**entered.exponent
            hessian = [[unit * n for n in row] for row in gram.tolist()]
            answer = exact.gptq(w.fractions(), hessian, **settings)
            values.append(dyadic_of(_dequantized(answer)))
            done.append(answer)
        _, x = run_block_exact(block, values, x)
    return done


def _dequantized(answer: exact.ExactGPTQ) -> exact.Matrix:
    """Return s · (q − z), columns in their original order."""
    place = np.argsort(answer.order)
    rows = []
    for codes, scale, zero in zip(answer.codes, answer.scale, answer.zero_point, strict=True):
        values = [scale[g] * (q - zero[g]) for q, g in zip(codes, answer.group, strict=True)]
        rows.append([values[k] for k in place])
    return rows
