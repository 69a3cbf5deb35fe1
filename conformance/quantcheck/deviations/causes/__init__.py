"""The known causes of deviations, by name.  [VER-120]

A cause predicts what the answer to a question is, and says nothing about any other answer. Each
module has the causes of one family; `rule` is the one for rules of appendix A of SPEC.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantcheck.deviations.causes import (
    absmax,
    calibration,
    copies,
    gptq,
    grouped,
    half,
    layers,
    nan,
    plain,
    rounding,
    rule,
    stored,
    weight_only,
)
from quantcheck.deviations.causes.cause import Cause
from quantcheck.errors import DeviationError

CAUSES: dict[str, Cause] = {
    cause.name: cause
    for module in (
        rule,
        rounding,
        absmax,
        plain,
        gptq,
        grouped,
        half,
        layers,
        copies,
        calibration,
        nan,
        stored,
        weight_only,
    )
    for cause in module.CAUSES
}


def find(name: str, parameters: Mapping[str, Any], where: str) -> Cause:
    """Return a cause that takes these parameters.

    Raises
    ------
    DeviationError
        There is no such cause, or it has other parameters.
    """
    if name not in CAUSES:
        raise DeviationError(f"a cause in {', '.join(sorted(CAUSES))} in {where}", repr(name))
    cause = CAUSES[name]
    cause.check(parameters, where)
    return cause
