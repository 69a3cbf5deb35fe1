"""Bounds on the errors of a layer's inputs and of its Hessian (SPEC.md, section 10).

Running error analysis: every array of the forward pass has a bound on the error of each of its
elements, for arithmetic of unit roundoff u.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantcheck.oracle.bounds import growth
from quantref.calibration import Block, run_layer
from quantref.inputs import Array

DEQUANTIZED = 4
"""Roundings of a dequantized weight, whose relative error is up to 2⁻²² (AFF-160)."""


@dataclass(frozen=True)
class Bounded:
    """An array, with a bound on the error of a correct implementation.

    Attributes
    ----------
    value, error : arrays of the same shape
    """

    value: Array
    error: Array


def run_layer_bounded(
    x: Bounded, weights: Array, bias: Array, activation: str, *, u: float, exact: bool
) -> Bounded:
    """Return the output of a layer; `exact` says that its weights have no error.  [CAL-170]

    Examples
    --------
    >>> x = Bounded(np.array([[1.0]]), np.array([[0.5]]))
    >>> y = run_layer_bounded(x, np.array([[2.0]]), np.zeros(1), "linear", u=0.0, exact=True)
    >>> y.value, y.error
    (array([[2.]]), array([[1.]]))
    """
    value = run_layer(x.value, weights, bias, activation)
    size = np.abs(weights.astype(np.float64))
    roundings = weights.shape[1] + 2 + (0 if exact else DEQUANTIZED)
    sums = (np.abs(x.value) + x.error) @ size.T + np.abs(bias)
    return Bounded(value, x.error @ size.T + growth(roundings, u) * sums)


def run_block_bounded(
    block: Block, weights: Sequence[Array], x: Bounded, *, u: float, dequantized: int = 0
) -> tuple[list[Bounded], Bounded]:
    """Return the input of every layer and the block's output, with their errors.  [CAL-170]

    The weights of the first `dequantized` layers are dequantized ones; the others are exact.
    """
    inputs, y = [], x
    layers = zip(weights, block.biases, block.activations, strict=True)
    for k, (w, bias, activation) in enumerate(layers):
        inputs.append(y)
        y = run_layer_bounded(y, w, bias, activation, u=u, exact=k >= dequantized)
    if block.residual:
        error = x.error + y.error
        error = error + u * (np.abs(x.value) + np.abs(y.value) + error)
        y = Bounded(x.value + y.value, error)
    return inputs, y


def hessian_bounded(x: Bounded, *, batches: int, damping: float, u: float) -> tuple[Array, float]:
    """Return the Hessian of inputs and η, the bound on its relative error.  [CAL-170]

    Parameters
    ----------
    x : Bounded, arrays (..., n_in)
    batches : int
        Number of parts into which the tokens may be divided.
    damping : float
    u : float

    Returns
    -------
    hessian : (n_in, n_in) float64 array
    error : float
        |ΔH_kl| <= error · √(h_k h_l), h the damped diagonal; infinite where a column may be dead.

    Examples
    --------
    >>> x = Bounded(np.eye(2), np.zeros((2, 2)))
    >>> hessian_bounded(x, batches=1, damping=0.0, u=0.0)
    (array([[1., 0.],
           [0., 1.]]), 0.0)
    """
    n_in = x.value.shape[-1]
    value, error = x.value.reshape(-1, n_in).astype(np.float64), x.error.reshape(-1, n_in)
    size, tokens = np.abs(value), len(value)
    H = 2 / tokens * value.T @ value
    crossed = size.T @ error
    bound = 2 / tokens * (crossed + crossed.T + error.T @ error)
    most = size + error
    bound += growth(tokens + 4 * batches + 4, u) * 2 / tokens * (most.T @ most)
    diagonal = np.diagonal(H).copy()
    if (np.diagonal(bound)[diagonal == 0] > 0).any():
        return H, np.inf  # the error decides whether the column is dead
    diagonal[diagonal == 0] = 1.0
    bound += damping * float(np.mean(np.diagonal(bound))) * np.eye(n_in)
    h = diagonal + damping * float(np.mean(diagonal))
    return (H + H.T) / 2, float((bound / np.sqrt(np.outer(h, h))).max())
