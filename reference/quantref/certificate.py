"""Certificate: checks any quantized weight without trusting who made it (SPEC.md, section 8).

The full recurrence is W − Ŵ = E U, so E = (W − Ŵ) R: one triangular product recovers every error
e_j = (w'_j − ŵ_j) / U_jj from the answer alone, and with it every compensated weight. Each code is
then judged given the answer's own earlier codes (teacher forcing).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.checks import (
    Check,
    check_g_idx,
    check_loss,
    check_parameters,
    check_residuals,
    loss_terms,
)
from quantref.config import GPTQConfig
from quantref.errors import ConfigError
from quantref.evidence import U32, U64, Answer, Evidence, gather
from quantref.inputs import require_number
from quantref.problem import GPTQProblem, prepare_problem
from quantref.profile import DEFAULT_PROFILE, Profile, Propagation

__all__ = ["U32", "U64", "Answer", "Certificate", "Check", "certify"]


@dataclass(frozen=True)
class Certificate:
    """Verdict on one quantized weight matrix; the figures are worked out when asked for.

    Attributes
    ----------
    checks : tuple of Check
    evidence : Evidence
    loss : float
        tr((W − Ŵ) H (W − Ŵ)ᵀ) with the damped Hessian.
    loss_bound : float
        Σ ((s_j / 2 + β_j) / U_jj)², actual errors at codes 0 and maxq.
    plain_loss : float
        Loss of plain rounding with the same scales and zero-points.
    plain_rounding : bool
        The codes are those of plain rounding and differ from what feedback asks for.
    clipped, undecided : float
        Shares of codes at 0 or maxq, and of codes whose bound exceeds half a step.
    residuals : (n_out, n_in) float64 array
        (w'_j − ŵ_j) / s_j, original order.
    """

    checks: tuple[Check, ...]
    evidence: Evidence = field(repr=False, compare=False)

    @cached_property
    def loss(self) -> float:
        """See `Certificate`."""
        return float((self.evidence.survey.length**2).sum())

    @cached_property
    def loss_bound(self) -> float:
        """See `Certificate`."""
        return float(loss_terms(self.evidence).sum())

    @cached_property
    def plain_loss(self) -> float:
        """See `Certificate`."""
        v = self.evidence
        z = v.zero_point[:, v.problem.column_group]
        difference = v.problem.weights - v.column_scale * (v.plain_codes - z)
        return float(np.square(difference @ v.problem.factor).sum())

    @cached_property
    def plain_rounding(self) -> bool:
        """See `Certificate`."""
        half_step = [c.passed for c in self.checks if c.requirement == "CERT-010"]
        return half_step == [False] and self.evidence.is_plain_rounding

    @cached_property
    def clipped(self) -> float:
        """See `Certificate`."""
        codes = self.evidence.codes
        return float(((codes == 0) | (codes == self.evidence.problem.maxq)).mean())

    @cached_property
    def undecided(self) -> float:
        """See `Certificate`."""
        return float((self.evidence.target_bound > self.evidence.column_scale / 2).mean())

    @cached_property
    def residuals(self) -> NDArray[np.float64]:
        """See `Certificate`."""
        v = self.evidence
        place = np.argsort(v.problem.prepared.order)
        return np.asarray((v.residuals / v.column_scale)[:, place])

    @property
    def passed(self) -> bool:
        """True if every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def worst(self) -> Check:
        """The first failed check, or the one nearest to its bound."""
        if self.failures:
            return self.failures[0]
        return max(self.checks, key=lambda c: c.observed / c.bound if c.bound > 0 else 0.0)

    def __str__(self) -> str:
        lines = [f"certificate: {'passed' if self.passed else 'FAILED'}"]
        for c in self.checks:
            sign = "ok  " if c.passed else "FAIL"
            lines.append(f"  {sign} {c.name:<16} [{c.requirement}] {c.message}")
        lines.append(
            f"  loss {self.loss:.6g}, bound {self.loss_bound:.6g}, "
            f"plain rounding {self.plain_loss:.6g}, clipped {self.clipped:.1%}"
        )
        if self.plain_rounding:
            lines.append("  this is plain rounding: no error was fed back")
        return "\n".join(lines)


def certify(
    weights: ArrayLike,
    hessian: ArrayLike,
    answer: Answer,
    config: GPTQConfig,
    *,
    profile: Profile = DEFAULT_PROFILE,
    unit_roundoff: float = U32,
    hessian_error: float = 0.0,
) -> Certificate:
    """Check an answer of GPTQ from weights, Hessian and answer alone.

    Parameters
    ----------
    weights : (n_out, n_in) float array
    hessian : (n_in, n_in) float array
        Before dead columns are mended and before damping.
    answer : object with codes, scale, zero_point, g_idx
        Shapes (n_out, n_in), (n_out, n_groups) twice, (n_in,); see `quantref.GPTQResult`.
    config : GPTQConfig
    profile : Profile
        The semantics that the answer declares.
    unit_roundoff : float, default 2^-24
        Of the arithmetic that made the answer: 2^-24 for float32, 2^-53 for float64.
    hessian_error : float, default 0
        η: the Hessian that the answer was made from is within η·√(h_a h_b) of this one, element
        by element, h the damped diagonal.

    Returns
    -------
    Certificate

    Raises
    ------
    AnswerError
        The answer has not the shapes or kinds of dtype of an answer.
    QuantrefError
        Weights, Hessian or config are refused, as in `quantref.gptq_quantize`.

    References
    ----------
    SPEC.md, section 8; arXiv 2507.18553 for the bound.

    Examples
    --------
    >>> from quantref import gptq_quantize
    >>> W, H = np.float32([[0.0, 1.4, 3.0]]), np.eye(3) + 0.5
    >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1)
    >>> certify(W, H, gptq_quantize(W, H, config), config).passed
    True
    """
    narrow = getattr(getattr(weights, "dtype", None), "itemsize", 8) <= 4  # float32 holds them
    problem = prepare_problem(
        weights,
        hessian,
        config,
        profile=profile,
        dtype=np.float32 if narrow else np.float64,
    )
    _ = problem.factor  # refused before the answer is looked at
    error = require_number(hessian_error, "hessian_error", "CERT-070")
    if error < 0:
        raise ConfigError("hessian_error >= 0", f"{error}", "CERT-070")
    return certify_problem(problem, answer, unit_roundoff, error)


def certify_problem(
    problem: GPTQProblem,
    answer: Answer,
    unit_roundoff: float = U32,
    hessian_error: float = 0.0,
) -> Certificate:
    """Check an answer to a problem that is checked itself; see `certify`.

    Examples
    --------
    >>> from quantref.blocked import quantize_problem
    >>> problem = prepare_problem(np.float32([[0.0, 3.0]]), np.eye(2), GPTQConfig(None, None))
    >>> certify_problem(problem, quantize_problem(problem)).passed
    True
    """
    evidence = gather(problem, answer, unit_roundoff, hessian_error)
    # Codes and parameters are judged by the groups of SPEC.md, so that a wrong g_idx hides nothing.
    checks = [check_g_idx(problem, answer)]
    checks += check_residuals(evidence)
    checks += check_parameters(evidence)
    if problem.profile.propagation is Propagation.CHOLESKY:
        checks += check_loss(evidence)
    return Certificate(tuple(checks), evidence)
