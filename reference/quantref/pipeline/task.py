"""What one Hessian needs: the weights that share it, quantized and certified.

A task is a value and `run_task` a function of it alone, so that tasks can go to other processes and
machines. Rows go in parts of a fixed size, whoever works on them: products of the same shape give
the same bits, and so do any number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from quantref.affine import affine_dequantize, affine_parameters, group_index
from quantref.arrays import Array
from quantref.blocked import quantize_problem
from quantref.certificate import certify_problem
from quantref.config import GPTQConfig
from quantref.evidence import Evidence, tiles
from quantref.factor import upper_inverse
from quantref.problem import GPTQProblem, prepare_problem

PART = 2048  # rows of a part
EDGES = np.linspace(-1.0, 1.0, 41)  # of the histogram of residuals, in steps
GRID = 1e-4  # of a step: how far from the grid a dequantized weight may lie
SHOWN = 256  # pivots that are kept, evenly spaced in processing order


@dataclass(frozen=True)
class Task:
    """A Hessian, and rows of weights that see it.

    Attributes
    ----------
    hessian : (n_in, n_in) float64 array
    weights : tuple of (rows, n_in) float arrays
        Parts of one layer or of several.
    config : GPTQConfig
        Without dataset and tokenizer.
    dtype : str
        Working precision of the feedback.
    certify : bool
    given : tuple of Answer or (rows, n_in) float arrays
        What somebody else made of each part, to be judged: codes with their scales, or the
        dequantized weights alone. Empty: the parts are quantized here.
    """

    hessian: NDArray[np.float64]
    weights: tuple[Array, ...]
    config: GPTQConfig
    dtype: str = "float32"
    certify: bool = True
    given: tuple[Answer | Array, ...] = ()


@dataclass(frozen=True)
class Figures:
    """What is known of the rows of a part; those of a layer are added up.

    Attributes
    ----------
    loss, bound, plain_loss : float
        tr((W − Ŵ) H (W − Ŵ)ᵀ) with the damped H; Σ (s_j / 2 U_jj)², actual errors at codes 0 and
        maxq (CERT-050); the loss of plain rounding, each weight to the nearest code of ranges taken
        from the original weights.
    codes, clipped, differing : int
        Codes; those at 0 or maxq with more than half a step between weight and value; those that
        differ from plain rounding with the answer's own scales and zero-points.
    residuals : tuple of int
        Histogram of (w' − ŵ) / s between `EDGES`; first and last count what lies beyond.
    failures : tuple of str
        What the certificate says of checks that failed.
    nearest : float
        Largest observed / bound of the checks that failed; where none did, it would take longer
        than the certificate, and is 0. Of int8, that of all codes.
    certified : bool
        Whether there was a certificate.
    seconds, certificate_seconds : float
    """

    loss: float = 0.0
    bound: float = 0.0
    plain_loss: float = 0.0
    codes: int = 0
    clipped: int = 0
    differing: int = 0
    residuals: tuple[int, ...] = (0,) * (len(EDGES) + 1)
    failures: tuple[str, ...] = ()
    nearest: float = 0.0
    certified: bool = True
    seconds: float = 0.0
    certificate_seconds: float = 0.0

    def __add__(self, other: Figures) -> Figures:
        """Return the figures of both.

        Examples
        --------
        >>> (Figures(loss=1.0, nearest=0.5) + Figures(loss=2.0, nearest=0.25)).loss
        3.0
        """
        sums = {
            name: getattr(self, name) + getattr(other, name)
            for name in (
                "loss", "bound", "plain_loss", "codes", "clipped", "differing", "failures",
                "seconds", "certificate_seconds",
            )
        }  # fmt: skip
        return Figures(
            **sums,
            residuals=tuple(a + b for a, b in zip(self.residuals, other.residuals, strict=True)),
            nearest=max(self.nearest, other.nearest),
            certified=self.certified and other.certified,
        )


@dataclass(frozen=True)
class HessianFigures:
    """What is known of a Hessian.

    Attributes
    ----------
    damping : float
        λ · mean diagonal, as it was added to the diagonal.
    dead : int
        Columns that calibration never saw.
    condition : float
        Of the damped Hessian in the 1-norm, as LAPACK's dpocon estimates it.
    pivots : tuple of float
        R_jj² = 1 / U_jj² of at most `SHOWN` columns, in processing order.
    """

    damping: float
    dead: int
    condition: float
    pivots: tuple[float, ...]


@dataclass(frozen=True)
class Answer:
    """What comes back for one part of the weights.

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
        """Return scale · (codes − zero_point), (rows, n_in), rounded once.  [AFF-080]"""
        return affine_dequantize(self.codes, self.scale, self.zero_point, self.g_idx)


def parts_of(n_out: int, config: GPTQConfig) -> list[slice]:
    """Divide the rows of a layer; ranges that all rows share keep them together.

    Examples
    --------
    >>> [part.stop for part in parts_of(5000, GPTQConfig(None, None))]
    [2048, 4096, 5000]
    """
    if not config.per_channel:
        return [slice(0, n_out)]
    return [slice(start, min(start + PART, n_out)) for start in range(0, n_out, PART)]


def rows_of(answer: Answer, rows: slice) -> Answer:
    """Return the answer for some rows; its figures are left out.

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


def run_task(task: Task) -> list[Answer]:
    """Quantize all parts of a task, and certify them.

    Raises
    ------
    QuantrefError
        As `quantref.gptq_quantize`.

    Examples
    --------
    >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1)
    >>> (answer,) = run_task(Task(np.eye(2), (np.float32([[0.0, 3.0]]),), config))
    >>> answer.codes, answer.figures.failures
    (array([[0, 3]], dtype=uint8), ())
    """
    results = [] if task.given else [*_quantized(task)]
    # The certificate trusts nothing that was made on the way: its factor is its own.
    judged = prepare_problem(task.weights[0], task.hessian, task.config, dtype=np.float32)
    known = _of_hessian(judged)
    answers = []
    for k, weights in enumerate(task.weights):
        judged = judged.of(weights)
        if task.given:
            theirs = task.given[k]
            result = theirs if isinstance(theirs, Answer) else recovered(judged, theirs)
        else:
            result = results[k]
        figures = _figures(judged, result, certify=task.certify)
        before = result.figures
        failures = (*before.failures, *figures.failures)
        figures = replace(figures, seconds=before.seconds, failures=failures)
        answers.append(replace(result, figures=figures, hessian=known))
    return answers


def _quantized(task: Task) -> Iterator[Answer]:
    """Yield the answer of each part, with the time that it took."""
    start = time.perf_counter()
    problem = prepare_problem(task.weights[0], task.hessian, task.config, dtype=task.dtype)
    for weights in task.weights:
        problem = problem.of(weights)
        found = quantize_problem(problem)
        took, start = time.perf_counter() - start, time.perf_counter()
        yield Answer(found.codes, found.scale, found.zero_point, found.g_idx, Figures(seconds=took))


def recovered(problem: GPTQProblem, values: Array) -> Answer:
    """Return the answer whose dequantized weights are `values`, as far as there is one.

    The errors of all columns follow from the values alone, E = (W − Ŵ) R, and with them the
    weights that every group's range was taken from. So scale and zero-point need not be guessed
    from the grid on which the values lie: the certificate compares the codes that they give.

    Parameters
    ----------
    problem : GPTQProblem
    values : (rows, n_in) float array, original order

    Returns
    -------
    answer : Answer
        Where the values are not on the grid of these parameters, to an accuracy of float32, it has
        the nearest codes, and a failure that names the first such weight.

    Examples
    --------
    >>> from quantref import gptq_quantize
    >>> rng = np.random.default_rng(0)
    >>> W, X = rng.normal(size=(3, 8)).astype(np.float32), rng.normal(size=(40, 8))
    >>> config = GPTQConfig(None, None, weight_bits=3, group_size=4)
    >>> made = gptq_quantize(W, X.T @ X, config)
    >>> found = recovered(prepare_problem(W, X.T @ X, config), made.dequantized())
    >>> bool((found.codes == made.codes).all() and (found.scale == made.scale).all())
    True
    """
    order, profile = problem.prepared.order, problem.profile
    ours = np.asarray(values, np.float64)[:, order]
    W = problem.weights.astype(np.float64)
    E, U = (W - ours) @ problem.factor, upper_inverse(problem.factor)
    scales, zeros, codes = [], [], np.empty(W.shape)
    off = np.zeros(W.shape, np.bool_)
    for group in problem.groups:
        columns = slice(group.start, group.end)
        a = group.first - group.first % profile.block_size
        base = W[:, columns] - E[:, :a] @ U[:a, columns]
        scale, zero_point = problem.parameters(base, group)
        scales.append(scale)
        zeros.append(zero_point)
        steps = ours[:, columns] / scale.astype(np.float64)[:, None]
        nearest = np.rint(steps)
        code = nearest + zero_point[:, None]
        codes[:, columns] = np.clip(code, 0, problem.maxq)
        off[:, columns] = np.abs(steps - nearest) > GRID * (1 + np.abs(steps))
        off[:, columns] |= codes[:, columns] != code
    place = np.argsort(order)
    found = problem.result(codes[:, place].astype(np.uint8), scales, zeros)
    failures: tuple[str, ...] = ()
    if off.any():
        i, j = (int(k) for k in np.argwhere(off[:, place])[0])
        bits, size = problem.config.weight_bits, problem.config.group_size
        beside = f"grid: {int(off.sum())} of {off.size} weights are not on that of {bits} bits"
        failures = (f"{beside} in groups of {size}, first [{i}, {j}] [CERT-030]",)
    figures = Figures(failures=failures)
    return Answer(found.codes, found.scale, found.zero_point, found.g_idx, figures)


def _of_hessian(problem: GPTQProblem) -> HessianFigures:
    from scipy.linalg.lapack import dpocon

    factor, prepared = problem.factor, problem.prepared
    norm = float(np.abs(prepared.damped).sum(axis=0).max())
    # R backwards is the lower factor of H backwards, whose condition is the same.
    inverse_of_condition, _ = dpocon(factor[::-1, ::-1], norm, uplo="L")
    pivots = np.diagonal(factor) ** 2
    shown = np.unique(np.linspace(0, len(pivots) - 1, SHOWN).astype(np.intp))
    return HessianFigures(
        prepared.damping,
        int(prepared.dead.sum()),
        float(1 / inverse_of_condition) if inverse_of_condition > 0 else float("inf"),
        tuple(float(p) for p in pivots[shown]),
    )


def _figures(problem: GPTQProblem, result: Answer, *, certify: bool) -> Figures:
    start = time.perf_counter()
    certificate = certify_problem(problem, result)
    checks = certificate.checks if certify else ()
    took = time.perf_counter() - start
    return replace(
        tally(certificate.evidence),
        loss=certificate.loss,
        plain_loss=plain_loss(problem),
        failures=tuple(f"{c.name}: {c.message} [{c.requirement}]" for c in checks if not c.passed),
        nearest=max((c.observed / c.bound for c in checks if not c.passed), default=0.0),
        certified=certify,
        certificate_seconds=took,
    )


def tally(evidence: Evidence) -> Figures:
    """Return what one pass over all codes tells: bound, counts, histogram.

    Examples
    --------
    >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1, hessian_damping=0.0)
    >>> problem = prepare_problem(np.float32([[0.0, 1.25, 3.0]]), np.eye(3), config)
    >>> found = tally(certify_problem(problem, quantize_problem(problem)).evidence)
    >>> found.codes, found.clipped, found.differing, sum(found.residuals)
    (3, 0, 0, 3)
    """
    maxq, groups = evidence.problem.maxq, evidence.problem.column_group
    bound, clipped, differing = 0.0, 0, 0
    histogram = np.zeros(len(EDGES) + 1, np.intp)
    bins = len(EDGES) - 1
    for rows, columns in tiles(*evidence.codes.shape):
        codes, errors = evidence.codes.T[columns, rows], evidence.E.T[columns, rows]
        scale = evidence.scale.T[:, rows][groups[columns]]
        pivots = evidence.pivots[columns, None]
        ends = (codes == 0) | (codes == maxq)
        box = scale / (2 * pivots)
        bound += float(np.square(np.where(ends, errors, box), out=box).sum())
        steps = errors * pivots
        steps /= scale
        clipped += int((np.abs(steps) > 0.5)[ends].sum())
        differing += int(evidence.unlike_plain(rows, columns).sum())
        steps -= EDGES[0]
        steps *= bins / (EDGES[-1] - EDGES[0])
        np.clip(steps, -1, bins, out=steps)
        places = np.floor(steps, out=steps).astype(np.intp) + 1
        histogram += np.bincount(places.ravel(), minlength=bins + 2)
    return Figures(
        bound=bound,
        codes=evidence.codes.size,
        clipped=clipped,
        differing=differing,
        residuals=tuple(int(n) for n in histogram),
    )


def plain_loss(problem: GPTQProblem) -> float:
    """Return the loss of rounding each weight by itself, columns in their own order.

    Scales and zero-points are those of the original weights. Columns that calibration never saw
    are left out, as GPTQ leaves them out.

    Examples
    --------
    >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1, hessian_damping=0.0)
    >>> plain_loss(prepare_problem(np.float32([[0.0, 1.25, 3.0]]), np.eye(3), config))
    0.0625
    """
    from scipy.linalg.blas import strmm

    config, prepared = problem.config, problem.prepared
    n_out, n_in = problem.shape
    scale, zero_point = affine_parameters(
        problem.given,
        bits=config.weight_bits,
        symmetric=config.symmetric,
        per_channel=config.per_channel,
        group_size=config.group_size,
    )
    g_idx = group_index(n_in, config.group_size)[prepared.order]
    maxq = np.float32(problem.maxq)
    difference = np.empty((n_out, n_in), np.float32, order="F")  # in processing order
    for rows, columns in tiles(n_out, n_in):
        w = problem.given[rows, prepared.order[columns]].T.astype(np.float32)
        s, z = (a.T[:, rows][g_idx[columns]].astype(np.float32) for a in (scale, zero_point))
        steps = np.rint(w / s)
        np.clip(steps, -z, maxq - z, out=steps)
        steps *= s
        w -= steps
        w[prepared.dead[prepared.order[columns]]] = 0.0
        difference.T[columns, rows] = w
    factor = problem.factor.astype(np.float32, order="F")
    errors = strmm(1.0, factor, difference, side=1, overwrite_b=1)
    return float(np.einsum("ij,ij->", errors, errors, dtype=np.float64))
