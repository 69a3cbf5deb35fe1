"""Evidence is gathered from an answer: its displacements W − Ŵ, sums of them, and its errors E."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quantref.certificate import U32, hessian_shift, signed_sums
from quantref.checks import Answer, require_answer
from quantref.fast.certificate.bounds import Factor, Roundoffs
from quantref.fast.certificate.errors import LAST, RoughErrors, rough_errors, times_upper
from quantref.fast.certificate.evidence import Evidence, values_of
from quantref.fast.certificate.sums import (
    SignedSums,
    add_signed_rows,
    quadratic,
)
from quantref.fast.certificate.tiles import column_tiles
from quantref.fast.memory import transpose
from quantref.fast.problem import GPTQProblem
from quantref.inputs import Array
from quantref.rules import DEFAULT_PROFILE

LARGEST_SCALE = 2.0**40  # of an answer whose errors are computed in float32 first
LARGE = 512, 2**18  # columns and weights from which on E is computed in float32 first


def gather(
    problem: GPTQProblem,
    answer: Answer,
    roundoffs: Roundoffs,
    factor: Factor | None = None,
    *,
    rough: bool = False,
) -> Evidence:
    """Check an answer, and recover the errors from it.  [CERT-010]

    `factor`: that of the problem, if other answers with the same Hessian share it. `rough`: compute
    the errors in float32 first, where that is safe and saves time.

    Raises
    ------
    AnswerError
    ConfigError
        The Hessian error is too large.  [CERT-070]
    """
    given, scale, zero_point = require_answer(problem, answer)
    codes = _in_processing_order(problem, given)
    scale, zero_point = np.asfortranarray(scale), np.asfortranarray(zero_point)
    rough = rough and _is_large(problem, roundoffs) and bool(scale.max() < LARGEST_SCALE)
    difference = np.empty(codes.shape, np.float32 if rough else np.float64, order="F")  # W − Ŵ
    of_sums, signs = zip(*signed_sums(len(codes)), strict=True)
    d = np.zeros((codes.shape[1], len(of_sums)))
    sums = SignedSums(of_sums, np.concatenate(signs), d.T, np.empty(len(of_sums)))
    largest, displaced = np.zeros(len(codes)), 0.0  # of rows; Σ (w − ŵ)²
    if rough:
        M_last = problem.R[:, -LAST:] / np.diagonal(problem.R)[-LAST:]
        of_last = np.zeros((len(codes), LAST))
    for rows, columns in column_tiles(*codes.shape):
        values = values_of(problem, codes, scale, zero_point, rows, columns)
        part = np.subtract(problem.weights.T[columns, rows], values)
        with np.errstate(over="ignore"):  # `rough_errors` refuses what float32 does not hold
            difference.T[columns, rows] = part
        add_signed_rows(d[columns], part, rows, sums)
        if rough:
            of_last[rows] += part.T @ M_last[columns]
            displaced += float(np.vdot(part, part))
            np.maximum(largest[rows], np.abs(part, out=values).max(axis=0), out=largest[rows])
    sums.loss[:] = quadratic(problem, d.T)
    known: Array | RoughErrors | None
    if rough:
        shared = "M" in vars(problem)
        known = rough_errors(difference, problem.R, problem.M, of_last, largest, displaced, sums)
        if not shared:
            vars(problem).pop("M", None)
        if known is None:
            return gather(problem, answer, roundoffs, factor)
    else:
        known = times_upper(difference, problem.R)  # [CERT-010]
    U_jj = 1.0 / np.diagonal(problem.R)
    factor = factor or Factor(problem.R)
    evidence = Evidence(problem, codes, scale, zero_point, known, U_jj, sums, roundoffs, factor)
    if roundoffs.hessian:
        hessian_shift(evidence.E, problem.R, evidence.factor.U, roundoffs.hessian)  # [CERT-070]
    return evidence


def _is_large(problem: GPTQProblem, roundoffs: Roundoffs) -> bool:
    """Return whether errors in float32 save time, and settle most codes."""
    n_out, n_in = problem.weights.shape
    large = n_in >= LARGE[0] and n_out * n_in >= LARGE[1]
    single = roundoffs.feedback >= U32 and problem.weights.dtype == np.float32
    usual = problem.profile == DEFAULT_PROFILE and problem.config.per_channel
    return large and single and usual and not roundoffs.hessian


def _in_processing_order(problem: GPTQProblem, given: Array) -> NDArray[np.uint8]:
    """Return codes (n_out, n_in) with contiguous columns."""
    n_out, n_in = given.shape
    codes, order = np.empty((n_in, n_out), np.uint8), problem.prepared.order
    transpose(given, codes, order if problem.config.activation_order else slice(0, n_in))
    return codes.T
