"""Figures of a quantized layer: losses, counts of codes, and its Hessian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantref.affine import affine_parameters, group_index
from quantref.fast.certificate.evidence import Evidence
from quantref.fast.certificate.tiles import column_tiles
from quantref.fast.problem import GPTQProblem

EDGES = np.linspace(-1.0, 1.0, 41)  # of the histogram of residuals, in steps
SHOWN = 256  # pivots that are kept, evenly spaced in processing order


@dataclass(frozen=True)
class Figures:
    """Figures of the rows of a part; those of a layer are their sum.

    Attributes
    ----------
    loss, bound, plain_loss : float
        The loss tr((W − Ŵ) H (W − Ŵ)ᵀ) with the damped H. Its bound Σ (s_j / 2 U_jj)², with actual
        errors at codes 0 and maxq (CERT-050). The loss of plain rounding: each weight is rounded to
        the nearest code, with ranges of the original weights.
    codes, clipped, differing : int
        The number of codes. The number of codes at 0 or maxq that are more than half a step from
        the compensated weight. The number of codes that differ from plain rounding with the
        answer's own scales and zero-points.
    residuals : tuple of int
        Histogram of (w' − ŵ) / s between `EDGES`; first and last count the values beyond them.
    failures : tuple of str
        Messages of the certificate's failed checks.
    nearest : float
        Largest observed / bound of the failed checks, 0 without one: computing it for passed checks
        would take longer than the certificate. Of int8, largest observed / bound of all codes.
    certified : bool
        Whether a certificate was computed.
    undecided : float
        Largest share of codes for which rounding errors always admit another code (CERT-100).
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
    undecided: float = 0.0
    seconds: float = 0.0
    certificate_seconds: float = 0.0

    def __add__(self, other: Figures) -> Figures:
        """Return the sum of the figures.

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
            undecided=max(self.undecided, other.undecided),
        )


@dataclass(frozen=True)
class HessianFigures:
    """Figures of a Hessian.

    Attributes
    ----------
    added : float
        λ · mean diagonal, the number added to the diagonal.
    dead : int
        Number of dead columns.
    condition : float
        Condition number of the damped Hessian in the 1-norm, estimated by LAPACK's dpocon.
    pivots : tuple of float
        R_jj² = 1 / U_jj² of at most `SHOWN` columns, in processing order.
    """

    added: float
    dead: int
    condition: float
    pivots: tuple[float, ...]


def tally(evidence: Evidence) -> Figures:
    """Return bound, counts and histogram, computed in one pass over all codes.

    Examples
    --------
    >>> from quantref import GPTQConfig
    >>> from quantref.fast.gptq import quantize_problem
    >>> from quantref.fast.certificate import certify_problem
    >>> from quantref.fast.problem import prepare_problem
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
    for rows, columns in column_tiles(*evidence.codes.shape):
        codes, errors = evidence.codes.T[columns, rows], evidence.E.T[columns, rows]
        scale = evidence.scale.T[:, rows][groups[columns]]
        U_jj = evidence.U_jj[columns, None]
        ends = (codes == 0) | (codes == maxq)
        box = scale / (2 * U_jj)
        bound += float(np.square(np.where(ends, errors, box), out=box).sum())
        steps = errors * U_jj
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


def of_hessian(problem: GPTQProblem) -> HessianFigures:
    """Return the figures of a problem's Hessian.

    Examples
    --------
    >>> from quantref.config import GPTQConfig
    >>> from quantref.fast.problem import prepare_problem
    >>> H = np.diag([4.0, 1.0])
    >>> of_hessian(prepare_problem(np.ones((1, 2)), H, GPTQConfig(None, None))).added
    0.025
    """
    from scipy.linalg.lapack import dpocon

    factor, prepared = problem.R, problem.prepared
    norm = float(np.abs(prepared.damped).sum(axis=0).max())
    # R reversed is the lower factor of H reversed, which has the same condition number.
    inverse_of_condition, _ = dpocon(factor[::-1, ::-1], norm, uplo="L")
    pivots = np.diagonal(factor) ** 2
    shown = np.unique(np.linspace(0, len(pivots) - 1, SHOWN).astype(np.intp))
    return HessianFigures(
        prepared.added,
        int(prepared.dead.sum()),
        float(1 / inverse_of_condition) if inverse_of_condition > 0 else float("inf"),
        tuple(float(p) for p in pivots[shown]),
    )


def plain_loss(problem: GPTQProblem) -> float:
    """Return the loss of rounding each weight by itself, columns in their own order.

    Scales and zero-points are those of the original weights. Dead columns are left out, as in GPTQ.

    Examples
    --------
    >>> from quantref import GPTQConfig
    >>> from quantref.fast.problem import prepare_problem
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
    for rows, columns in column_tiles(n_out, n_in):
        w = problem.given[rows, prepared.order[columns]].T.astype(np.float32)
        s, z = (a.T[:, rows][g_idx[columns]].astype(np.float32) for a in (scale, zero_point))
        steps = np.rint(w / s)
        np.clip(steps, -z, maxq - z, out=steps)
        steps *= s
        w -= steps
        w[prepared.dead[prepared.order[columns]]] = 0.0
        difference.T[columns, rows] = w
    factor = problem.R.astype(np.float32, order="F")
    errors = strmm(1.0, factor, difference, side=1, overwrite_b=1)
    return float(np.einsum("ij,ij->", errors, errors, dtype=np.float64))
