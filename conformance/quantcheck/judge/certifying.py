"""Certifies one answer under many rules: what the rules share is computed once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np

from quantref.checks import Answer, Check
from quantref.config import GPTQConfig
from quantref.fast.certificate import failing_checks
from quantref.fast.certificate.bounds import Factor
from quantref.fast.problem import GPTQProblem, prepare_problem
from quantref.inputs import Array
from quantref.rules import Profile


class Certifying:
    """Certificates of one answer, for questions that differ in few of their arguments.

    Examples
    --------
    >>> from quantref import GPTQConfig, gptq_quantize
    >>> from quantref.rules import DEFAULT_PROFILE
    >>> W, H = np.float32([[0.0, 1.4, 3.0]]), np.eye(3) + 0.5
    >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1)
    >>> answer, rules = gptq_quantize(W, H, config), {"profile": DEFAULT_PROFILE, "block_size": 128}
    >>> list(Certifying().failing(W, H, answer, config, **rules, unit_roundoff=2.0**-24))
    []
    """

    def __init__(self) -> None:
        self._factors: dict[Hashable, tuple[Array, Factor]] = {}
        self._rows: dict[Hashable, Array] = {}

    def failing(
        self,
        weights: Array,
        hessian: Array,
        answer: Answer,
        config: GPTQConfig,
        *,
        profile: Profile,
        block_size: int,
        unit_roundoff: float,
        factor_roundoff: float | None = None,
        hessian_error: float = 0.0,
    ) -> Iterator[Check]:
        """Yield the checks that fail, each as soon as it is known; see `quantref.certify`.

        Raises
        ------
        QuantrefError
            The question or the form of the answer is refused.
        """
        problem = prepare_problem(
            weights,
            hessian,
            config,
            profile=profile,
            block_size=block_size,
            dtype=np.float32 if weights.dtype.itemsize <= 4 else np.float64,
        )
        return failing_checks(
            problem,
            answer,
            unit_roundoff=unit_roundoff,
            factor_roundoff=factor_roundoff,
            hessian_error=hessian_error,
            factor=self._factor(hessian, problem),
        )

    def _factor(self, hessian: Array, problem: GPTQProblem) -> Factor:
        """Return the factor of a problem; problems with the same order and damping share it."""
        config, profile = problem.config, problem.profile
        prepared = (
            id(hessian), config.hessian_damping, config.activation_order,
            profile.dead, profile.order,
        )  # fmt: skip
        key: Any = (*prepared, profile.rows)
        if key in self._factors:
            factor = self._factors[key][1]
            vars(problem)["R"] = factor.R
            return factor
        if prepared in self._rows:
            vars(problem)["cholesky_rows"] = self._rows[prepared]
        factor = Factor(problem.R, shared=True)
        self._factors[key] = hessian, factor  # the Hessian is kept, and with it its id
        if "cholesky_rows" in vars(problem):
            self._rows[prepared] = problem.cholesky_rows
        return factor
