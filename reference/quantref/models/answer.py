"""The answer for a layer or some of its rows: computed, or recovered from dequantized weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quantref.affine import affine_dequantize
from quantref.fast.problem import GPTQProblem
from quantref.hessian import upper_inverse
from quantref.inputs import Array
from quantref.models.figures import Figures, HessianFigures

GRID_TOLERANCE = 1e-4  # of a step: how far from the grid a dequantized weight may lie


@dataclass(frozen=True)
class Answer:
    """Codes and parameters of one part of the weights, with figures about them.

    Attributes
    ----------
    codes : (rows, n_in) uint8 array
    scale, zero_point : (rows, n_groups) float32, uint8 arrays
    g_idx : (n_in,) int32 array
    figures : Figures
    hessian : HessianFigures or None
    """

    codes: NDArray[np.uint8]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.uint8]
    g_idx: NDArray[np.int32]
    figures: Figures = field(default_factory=Figures)
    hessian: HessianFigures | None = None

    def dequantized(self) -> NDArray[np.float32]:
        """Return scale · (codes − zero_point), (rows, n_in), rounded once.  [AFF-160]"""
        return affine_dequantize(self.codes, self.scale, self.zero_point, self.g_idx)


def rows_of(answer: Answer, rows: slice) -> Answer:
    """Return the answer for some rows, without figures.

    Examples
    --------
    >>> ones, none = np.float32([[1], [1]]), np.uint8([[0], [0]])
    >>> both = Answer(np.uint8([[1], [2]]), ones, none, np.int32([0]))
    >>> rows_of(both, slice(1, 2)).codes
    array([[2]], dtype=uint8)
    """
    return Answer(answer.codes[rows], answer.scale[rows], answer.zero_point[rows], answer.g_idx)


def joined(answers: Sequence[Answer]) -> Answer:
    """Return the answer of a layer from those of its parts.

    Examples
    --------
    >>> one = Answer(np.uint8([[1]]), np.float32([[1]]), np.uint8([[0]]), np.int32([0]))
    >>> joined([one, one]).codes.shape
    (2, 1)
    """
    first = answers[0]
    return Answer(
        np.concatenate([a.codes for a in answers]),
        np.concatenate([a.scale for a in answers]),
        np.concatenate([a.zero_point for a in answers]),
        first.g_idx,
        sum((a.figures for a in answers[1:]), start=first.figures),
        first.hessian,
    )


def recovered(problem: GPTQProblem, values: Array) -> Answer:
    """Return the answer whose dequantized weights are `values`.

    The errors of all columns follow from the values alone: E = (W − Ŵ) R. The base weights of every
    group follow from the errors, and scale and zero-point follow from the base weights. So they
    need not be guessed from the grid on which the values lie.

    Parameters
    ----------
    problem : GPTQProblem
    values : (rows, n_in) float array, original order

    Returns
    -------
    answer : Answer
        If a value is not on the grid of these parameters, to the accuracy of float32, its code is
        the nearest one, and the figures hold a failure that names the first such weight.

    Examples
    --------
    >>> from quantref import GPTQConfig, gptq_quantize
    >>> from quantref.fast.problem import prepare_problem
    >>> rng = np.random.default_rng(0)
    >>> W, X = rng.normal(size=(3, 8)).astype(np.float32), rng.normal(size=(40, 8))
    >>> config = GPTQConfig(None, None, weight_bits=3, group_size=4)
    >>> made = gptq_quantize(W, X.T @ X, config)
    >>> found = recovered(prepare_problem(W, X.T @ X, config), made.dequantized())
    >>> bool((found.codes == made.codes).all() and (found.scale == made.scale).all())
    True
    """
    order = problem.prepared.order
    dequantized = np.asarray(values, np.float64)[:, order]
    W = problem.weights.astype(np.float64)
    E, U = (W - dequantized) @ problem.R, upper_inverse(problem.R)
    scales, zeros, codes = [], [], np.empty(W.shape)
    off = np.zeros(W.shape, np.bool_)
    for group in problem.groups:
        columns = slice(group.start, group.end)
        a = problem.errors_applied(group)
        base = W[:, columns] - E[:, :a] @ U[:a, columns]
        scale, zero_point = problem.parameters(base, group)
        scales.append(scale)
        zeros.append(zero_point)
        steps = dequantized[:, columns] / scale.astype(np.float64)[:, None]
        nearest = np.rint(steps)
        code = nearest + zero_point[:, None]
        codes[:, columns] = np.clip(code, 0, problem.maxq)
        off[:, columns] = np.abs(steps - nearest) > GRID_TOLERANCE * (1 + np.abs(steps))
        off[:, columns] |= codes[:, columns] != code
    place = np.argsort(order)
    found = problem.result(codes[:, place].astype(np.uint8), scales, zeros)
    failures: tuple[str, ...] = ()
    if off.any():
        i, j = (int(k) for k in np.argwhere(off[:, place])[0])
        bits, size = problem.config.weight_bits, problem.config.group_size
        message = f"grid: {int(off.sum())} of {off.size} weights are not on that of {bits} bits"
        failures = (f"{message} in groups of {size}, first [{i}, {j}] [CERT-030]",)
    figures = Figures(failures=failures)
    return Answer(found.codes, found.scale, found.zero_point, found.g_idx, figures)
