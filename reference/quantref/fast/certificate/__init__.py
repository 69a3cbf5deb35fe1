"""The certificate, fast: verdicts at once, figures when they are used (SPEC.md, section 8).

Lower bounds that need no inverse settle most codes, so most checks never compute U or the bounds.
Whether a certificate without failures is weak is found at once too, and in single precision needs
U. `quantref.certificate` is the plain form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from quantref.certificate import U32
from quantref.checks import MOST_UNDECIDED, Answer, Certificate, Check, check_g_idx
from quantref.config import GPTQConfig
from quantref.fast.certificate.bounds import Factor, Roundoffs
from quantref.fast.certificate.checks import (
    check_loss,
    check_parameters,
    check_residuals,
    loss_terms,
)
from quantref.fast.certificate.evidence import Evidence
from quantref.fast.certificate.gathering import gather
from quantref.fast.certificate.undecided import undecided_share
from quantref.fast.problem import GPTQProblem, prepare_problem
from quantref.gptq import BLOCK_SIZE
from quantref.rules import DEFAULT_PROFILE, Profile, rows_of_cholesky

__all__ = ["LazyCertificate", "certify", "certify_problem", "failing_checks"]


class LazyCertificate(Certificate):
    """A certificate whose figures are computed from `evidence` when they are used."""

    evidence: Evidence

    def __init__(self, checks: tuple[Check, ...], evidence: Evidence) -> None:
        vars(self).update(checks=checks, evidence=evidence)

    @cached_property
    def is_weak(self) -> bool:
        """True if more codes are undecided than a certificate may have.  [CERT-100]"""
        share = undecided_share(self.evidence, MOST_UNDECIDED)
        if not 0 < share <= MOST_UNDECIDED:  # then it is no upper bound
            vars(self).update(undecided=share)
        return share > MOST_UNDECIDED

    def __getattr__(self, name: str) -> Any:
        if name not in FIGURES:
            raise AttributeError(name)
        figure = vars(self)[name] = FIGURES[name](self)
        return figure


FIGURES: dict[str, Callable[[LazyCertificate], Any]] = {
    "loss": lambda c: float((c.evidence.norms**2).sum()),
    "loss_bound": lambda c: float(loss_terms(c.evidence).sum()),
    "plain_loss": lambda c: c.evidence.plain_loss,
    "plain_rounding": lambda c: _fails_half_step(c.checks) and c.evidence.is_plain_rounding,
    "clipped": lambda c: float(c.evidence.clipped.mean()),
    "undecided": lambda c: undecided_share(c.evidence),
    "residual_steps": lambda c: c.evidence.residual_steps,
}


def _fails_half_step(checks: tuple[Check, ...]) -> bool:
    return any(not check.passed for check in checks if check.requirement == "CERT-010")


def certify(
    weights: ArrayLike,
    hessian: ArrayLike,
    answer: Answer,
    config: GPTQConfig,
    *,
    profile: Profile = DEFAULT_PROFILE,
    block_size: int = BLOCK_SIZE,
    unit_roundoff: float = U32,
    factor_roundoff: float | None = None,
    hessian_error: float = 0.0,
) -> LazyCertificate:
    """Judge an answer of GPTQ; parameters and errors are those of `quantref.certificate.certify`.

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
        block_size=block_size,
        dtype=np.float32 if narrow else np.float64,
    )
    _ = problem.R  # refused before the answer is looked at
    return certify_problem(
        problem,
        answer,
        unit_roundoff=unit_roundoff,
        factor_roundoff=factor_roundoff,
        hessian_error=hessian_error,
    )


def certify_problem(
    problem: GPTQProblem,
    answer: Answer,
    *,
    unit_roundoff: float = U32,
    factor_roundoff: float | None = None,
    hessian_error: float = 0.0,
    factor: Factor | None = None,
    figures: bool = False,
) -> LazyCertificate:
    """Judge an answer to a problem that is checked itself; see `certify`.

    `factor`: that of the problem, if other answers with the same Hessian share it. `figures`: they
    will be used too, so all errors are computed in float64 at once.

    Examples
    --------
    >>> from quantref.fast.gptq import quantize_problem
    >>> problem = prepare_problem(np.float32([[0.0, 3.0]]), np.eye(2), GPTQConfig(None, None))
    >>> certify_problem(problem, quantize_problem(problem)).passed
    True
    """
    roundoffs = Roundoffs.declared(unit_roundoff, factor_roundoff, hessian_error)
    own = factor or Factor.of(problem)
    evidence = gather(problem, answer, roundoffs, own, rough=not figures)
    checks = (check_g_idx(problem, answer), *_checks(evidence))
    evidence.forget_residuals()
    certificate = LazyCertificate(checks, evidence)
    if not certificate.failures:
        _ = certificate.is_weak  # while the Hessian is what it was
    if factor is None:
        own.forget_hessian()
    return certificate


def failing_checks(
    problem: GPTQProblem,
    answer: Answer,
    *,
    unit_roundoff: float = U32,
    factor_roundoff: float | None = None,
    hessian_error: float = 0.0,
    factor: Factor | None = None,
) -> Iterator[Check]:
    """Yield the checks of `certify_problem` that fail, each as soon as it is known.

    The first one alone costs less than a certificate.

    Examples
    --------
    >>> from quantref.fast.gptq import quantize_problem
    >>> problem = prepare_problem(np.float32([[0.0, 3.0]]), np.eye(2), GPTQConfig(None, None))
    >>> list(failing_checks(problem, quantize_problem(problem)))
    []
    """
    roundoffs = Roundoffs.declared(unit_roundoff, factor_roundoff, hessian_error)
    evidence = gather(problem, answer, roundoffs, factor, rough=True)
    groups = check_g_idx(problem, answer)
    return (check for check in chain([groups], _checks(evidence)) if not check.passed)


def _checks(evidence: Evidence) -> Iterator[Check]:
    """Yield the checks of codes, parameters and loss.

    Codes and parameters are judged by the groups of SPEC.md, so that a wrong g_idx hides nothing.
    """
    yield from check_residuals(evidence)
    yield from check_parameters(evidence)
    if evidence.problem.profile.rows is rows_of_cholesky:  # otherwise ‖E‖² is not the loss
        yield from check_loss(evidence)
