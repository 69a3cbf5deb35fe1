"""Rules of appendix A that a target declares: an answer that they give is not held against it.

A library that never promised SPEC.md's rules says in its handshake which ones it follows. A failure
is a difference where the answer is the one that these rules predict.  [VER-140]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from quantcheck.deviations.causes.cause import Asked
from quantcheck.deviations.causes.rule import PREDICTED, predicted
from quantcheck.deviations.causes.rules import RULES, Rules
from quantcheck.errors import TargetProtocolError
from quantcheck.judge.verdict import Judgement, Verdict

FAULTS = {
    "rows_of_inverse", "groups_per_block", "zero_point_wrapped", "zero_point_saturated",
    "g_idx_fractional", "abs_of_minimum_lost",
}  # fmt: skip
"""Rules that no target may declare: the original code, or the meaning of what is stored, excludes
them."""
DECLARABLE = tuple(name for name in RULES if name not in FAULTS)


def require_declarable(names: Iterable[str]) -> tuple[str, ...]:
    """Return the rules that a handshake declares.

    Raises
    ------
    TargetProtocolError
        There is no such rule, or it is a fault that nobody may declare.

    Examples
    --------
    >>> require_declarable(["raw_range"])
    ('raw_range',)
    >>> require_declarable(["rows_of_inverse"])
    Traceback (most recent call last):
    quantcheck.errors.TargetProtocolError: expected rules among ..., got 'rows_of_inverse'
    """
    for name in names:
        if name not in DECLARABLE:
            raise TargetProtocolError(f"rules among {', '.join(DECLARABLE)}", repr(name))
    return tuple(names)


def as_declared(
    asked: Sequence[Asked | None], judgements: Sequence[Judgement], rules: Sequence[str]
) -> list[Judgement]:
    """Turn failures into differences where declared rules predict every answer.

    Parameters
    ----------
    asked : sequence of Asked or None
        The questions with their answers; None for an answer that cannot be read.
    judgements : sequence of Judgement
    rules : sequence of str
        Those that the target declares.
    """
    failed = any(j.verdict == Verdict.FAIL for j in judgements)
    if not failed or not rules or not all(each and _follows(each, rules) for each in asked):
        return list(judgements)
    reason = f"as by rules that the target declares: {', '.join(rules)}"
    return [
        replace(j, verdict=Verdict.DIFFERENCE, reason=reason) if j.verdict == Verdict.FAIL else j
        for j in judgements
    ]


def _follows(asked: Asked, rules: Sequence[str]) -> bool:
    if asked.case.operation not in PREDICTED or "outputs" not in asked.answer:
        return False
    with np.errstate(all="ignore"):
        return predicted(asked, Rules.named(rules))
