"""Answers of section HES as rules predict them."""

from __future__ import annotations

import numpy as np

from quantcheck.deviations.causes.cause import Asked, near
from quantcheck.deviations.causes.rules import Rules
from quantcheck.oracle.bounds import growth


def hessian(asked: Asked, rules: Rules) -> bool:
    """Compare a sum with (2 / N) Σ x xᵀ, where N counts what the rules count."""
    if "refused" in asked.case.expected:
        return False  # batches without tokens, or of different widths, have no sum
    batches = asked.case.inputs["batches"]
    count = sum(rules.profile.tokens(batch.shape) for batch in batches)
    x = np.concatenate([b.astype(np.float64).reshape(-1, b.shape[-1]) for b in batches])
    bound = growth(len(x) + 4 * len(batches) + 4, asked.unit_roundoff)
    expected, size = 2 / count * x.T @ x, 2 / count * np.abs(x).T @ np.abs(x)
    return near(asked.array("hessian", expected.shape), expected, bound * size)
