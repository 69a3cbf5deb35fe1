"""A task: the weights that share one Hessian are quantized and certified.

A task is a value, and the result of `run_task` depends on the task alone. So tasks can run in other
processes and on other machines. Rows are divided into parts of a fixed size, since products of the
same shape give the same bits. So the result does not depend on the number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.certificate import U32, U64
from quantref.config import GPTQConfig
from quantref.fast.certificate import LazyCertificate, certify_problem
from quantref.fast.certificate.bounds import Factor, Roundoffs
from quantref.fast.certificate.gathering import gather
from quantref.fast.gptq import quantize_problem
from quantref.fast.problem import GPTQProblem, prepare_problem
from quantref.inputs import Array
from quantref.models.answer import Answer, recovered
from quantref.models.figures import Figures, of_hessian, plain_loss, tally

ROWS_PER_PART = 2048  # rows of a part


@dataclass(frozen=True)
class Task:
    """A Hessian, and rows of weights of the layers that share it.

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
    unit_roundoff, factor_roundoff : float, float or None
        Of the arithmetic that made the answers to judge; see `quantref.certify`.
    to_judge : tuple of Answer or (rows, n_in) float arrays
        For each part an answer of another quantizer, which is judged: codes with their scales, or
        dequantized weights alone. If it is empty, the parts are quantized here.
    """

    hessian: NDArray[np.float64]
    weights: tuple[Array, ...]
    config: GPTQConfig
    dtype: str = "float32"
    certify: bool = True
    unit_roundoff: float = U32
    factor_roundoff: float | None = None
    to_judge: tuple[Answer | Array, ...] = ()


def parts_of(n_out: int, config: GPTQConfig) -> list[slice]:
    """Divide the rows of a layer into parts; if all rows share ranges, there is one part.

    Examples
    --------
    >>> [part.stop for part in parts_of(5000, GPTQConfig(None, None))]
    [2048, 4096, 5000]
    """
    if not config.per_channel:
        return [slice(0, n_out)]
    return [
        slice(start, min(start + ROWS_PER_PART, n_out)) for start in range(0, n_out, ROWS_PER_PART)
    ]


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
    start = time.perf_counter()
    problem = prepare_problem(task.weights[0], task.hessian, task.config, dtype=task.dtype)
    if task.certify or task.to_judge:
        _ = problem.R  # one factor for both; CERT-110 compares it with the Hessian itself
    results = [] if task.to_judge else [*_quantized(task, problem, start)]
    vars(problem).pop("M", None)  # the certificate needs memory, and not this
    judged = problem
    if judged.dtype != np.float32:
        judged = prepare_problem(task.weights[0], task.hessian, task.config, dtype=np.float32)
    known = of_hessian(judged)
    answers, factor = [], Factor(judged.R)
    for k, weights in enumerate(task.weights):
        judged = judged.with_weights(weights) if k else judged
        if task.to_judge:
            given = task.to_judge[k]
            result = given if isinstance(given, Answer) else recovered(judged, given)
        else:
            result = results[k]
        figures = _figures(judged, result, _roundoffs(task), factor, certify=task.certify)
        before = result.figures
        failures = (*before.failures, *figures.failures)
        figures = replace(figures, seconds=before.seconds, failures=failures)
        answers.append(replace(result, figures=figures, hessian=known))
    return answers


def _quantized(task: Task, problem: GPTQProblem, start: float) -> Iterator[Answer]:
    """Yield the answer of each part, and the seconds that it took; the first began at `start`."""
    for k, weights in enumerate(task.weights):
        problem = problem.with_weights(weights) if k else problem
        found = quantize_problem(problem)
        took, start = time.perf_counter() - start, time.perf_counter()
        yield Answer(found.codes, found.scale, found.zero_point, found.g_idx, Figures(seconds=took))


def _roundoffs(task: Task) -> dict[str, Any]:
    """Return the precisions of the answers: as declared, or of `quantize_problem`."""
    if task.to_judge:
        u, u_f = task.unit_roundoff, task.factor_roundoff
    else:
        u, u_f = (U32 if task.dtype == "float32" else U64), U64
    return {"unit_roundoff": u, "factor_roundoff": u_f}


def _figures(
    problem: GPTQProblem,
    result: Answer,
    roundoffs: dict[str, Any],
    factor: Factor,
    *,
    certify: bool,
) -> Figures:
    start = time.perf_counter()
    certificate = (
        certify_problem(problem, result, **roundoffs, factor=factor, figures=True)
        if certify  # otherwise only its losses are used
        else LazyCertificate((), gather(problem, result, Roundoffs.declared(U32)))
    )
    checks = certificate.checks
    undecided = certificate.undecided if certify and not certificate.failures else 0.0
    took = time.perf_counter() - start
    return replace(
        tally(certificate.evidence),
        loss=certificate.loss,
        plain_loss=plain_loss(problem),
        failures=tuple(f"{c.name}: {c.message} [{c.requirement}]" for c in checks if not c.passed),
        nearest=max((c.observed / c.bound for c in checks if not c.passed), default=0.0),
        certified=certify,
        undecided=undecided,
        certificate_seconds=took,
    )
