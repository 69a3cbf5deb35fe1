"""What one Hessian needs: the weights that share it, quantized and certified.

A task is a value and `run_task` a function of it alone, so that tasks can go to other processes and
machines. Rows go in parts of a fixed size, whoever works on them: products of the same shape give
the same bits, and so do any number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quantref.affine import affine_dequantize, affine_parameters, affine_quantize, group_index
from quantref.arrays import Array
from quantref.blocked import quantize_problem
from quantref.certificate import Certificate, certify_problem
from quantref.checks import box_terms
from quantref.config import GPTQConfig
from quantref.problem import GPTQProblem, GPTQResult, prepare_problem

PART = 2048  # rows of a part
EDGES = np.linspace(-1.0, 1.0, 41)  # of the histogram of residuals, in steps
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
    """

    hessian: NDArray[np.float64]
    weights: tuple[Array, ...]
    config: GPTQConfig
    dtype: str = "float32"
    certify: bool = True


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
        Codes; those at 0 or maxq; those that differ from plain rounding with the answer's own
        scales and zero-points.
    residuals : tuple of int
        Histogram of (w' − ŵ) / s between `EDGES`; first and last count what lies beyond.
    failures : tuple of str
        What the certificate says of checks that failed.
    nearest : float
        Largest observed / bound of the checks.
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
    first = task.weights[0]
    problem = prepare_problem(first, task.hessian, task.config, dtype=task.dtype)
    results = []
    for weights in task.weights:
        start = time.perf_counter()
        problem = problem.of(weights)
        results.append((quantize_problem(problem), time.perf_counter() - start))
    # The certificate trusts nothing that was made on the way: its factor is its own.
    judged = prepare_problem(first, task.hessian, task.config, dtype=np.float32)
    known = _of_hessian(judged)
    answers = []
    for weights, (result, seconds) in zip(task.weights, results, strict=True):
        judged = judged.of(weights)
        figures = _figures(judged, result, seconds, certify=task.certify)
        answers.append(
            Answer(result.codes, result.scale, result.zero_point, result.g_idx, figures, known)
        )
    return answers


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


def _figures(problem: GPTQProblem, result: GPTQResult, seconds: float, *, certify: bool) -> Figures:
    start = time.perf_counter()
    certificate = certify_problem(problem, result)
    evidence = certificate.evidence
    checks = certificate.checks if certify else ()
    took = time.perf_counter() - start
    steps = certificate.evidence.residuals / evidence.column_scale
    histogram = np.bincount(np.searchsorted(EDGES, steps.ravel()), minlength=len(EDGES) + 1)
    codes = evidence.codes
    return Figures(
        loss=certificate.loss,
        bound=float(box_terms(evidence).sum()),
        plain_loss=plain_loss(problem),
        codes=codes.size,
        clipped=int(((codes == 0) | (codes == problem.maxq)).sum()),
        differing=int((evidence.plain_codes != codes).sum()),
        residuals=tuple(int(n) for n in histogram),
        failures=tuple(f"{c.name}: {c.message} [{c.requirement}]" for c in checks if not c.passed),
        nearest=_nearest(certificate) if certify else 0.0,
        certified=certify,
        seconds=seconds,
        certificate_seconds=took,
    )


def _nearest(certificate: Certificate) -> float:
    """Return the largest observed / bound."""
    return max((c.observed / c.bound for c in certificate.checks if c.bound > 0), default=0.0)


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
    config, prepared = problem.config, problem.prepared
    bits, size = config.weight_bits, config.group_size
    scale, zero_point = affine_parameters(
        problem.given,
        bits=bits,
        symmetric=config.symmetric,
        per_channel=config.per_channel,
        group_size=size,
    )
    g_idx = group_index(problem.shape[1], size)
    codes = affine_quantize(problem.given, scale, zero_point, g_idx, bits=bits)
    values = affine_dequantize(codes, scale, zero_point, g_idx)
    difference = (problem.given.astype(np.float64) - values).astype(np.float32)
    difference[:, prepared.dead] = 0.0
    errors = difference[:, prepared.order] @ problem.factor.astype(np.float32)
    return float(np.einsum("ij,ij->", errors, errors, dtype=np.float64))
