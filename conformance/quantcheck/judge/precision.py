"""Precision of a layer's outputs: the bounds of section 9 in the dtype of its sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantcheck.oracle.bounds import growth
from quantcheck.wire.policies import SMALLEST, UNITS, policy_of


@dataclass(frozen=True)
class Precision:
    """What the bounds of section 9 are made of.  [LAY-220]

    Attributes
    ----------
    u : float
        Unit roundoff of the sums: that of the target, or of the policy's compute dtype if larger.
    unit : float
        Unit roundoff of the compute dtype, 2⁻²⁴ without a policy.
    smallest : float
        The smallest positive number of the compute dtype.
    casts : int
        Roundings of a stored scale to the compute dtype: 1 in half precision.
    """

    u: float
    unit: float = UNITS["float32"]
    smallest: float = SMALLEST["float32"]
    casts: int = 0


def precision_of(parameters: Mapping[str, Any], u: float) -> Precision:
    """Return the precision of the outputs of a question, for a target of unit roundoff u.

    Examples
    --------
    >>> precision_of({}, 2.0**-24) == Precision(2.0**-24)
    True
    >>> precision_of({"policy": "mixed_bfloat16"}, 2.0**-53).u
    0.00390625
    """
    policy = policy_of(parameters)
    unit = UNITS[policy.compute]
    own = max(u, unit) if policy.half else u
    return Precision(own, unit, SMALLEST[policy.compute], int(policy.half))


def of_variables(parameters: Mapping[str, Any], u: float) -> tuple[float, float]:
    """Return the unit roundoff of codes of weights, and that of their stored scales.

    Examples
    --------
    >>> of_variables({"policy": "mixed_bfloat16"}, 2.0**-24) == (2.0**-24, 2.0**-24)
    True
    >>> of_variables({"policy": "bfloat16"}, 2.0**-53)
    (0.00390625, 0.00390625)
    """
    variable = policy_of(parameters).variable
    unit = UNITS[variable]
    return (u if variable == "float32" else max(u, unit)), unit


def rescaling(p: Precision) -> float:
    """Return κ: the relative error of sums divided by the scales of section 4.

    Examples
    --------
    >>> rescaling(Precision(2.0**-24)) < 10 * 2.0**-24
    True
    """
    return growth(5 + p.casts, p.u) + growth(4, p.unit)


def last_rounding(p: Precision) -> float:
    """Return ω: the relative error of adding the bias and storing the sum.

    Examples
    --------
    >>> last_rounding(Precision(2.0**-24)) == 2.0**-24
    True
    >>> last_rounding(Precision(2.0**-53)) < 1.0001 * 2.0**-24
    True
    """
    return p.u if p.u >= p.unit else p.unit + 2 * p.u
