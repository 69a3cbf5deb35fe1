"""Section CAL of SPEC.md: one test per vector in vectors/cal/."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quantcheck.suite import needs_plugin

if TYPE_CHECKING:
    from quantcheck.properties import Property
    from quantcheck.wire.cases import Case

# Requirements judged here:
# [CAL-010] [CAL-020] [CAL-030] [CAL-040] [CAL-050] [CAL-060] [CAL-070] [CAL-080] [CAL-090]
# [CAL-100] [CAL-110] [CAL-120] [CAL-130] [CAL-140] [CAL-150] [CAL-160]


@needs_plugin
def test_cal(case: Case, check: Callable[[Case], None]) -> None:
    """The answer to a vector meets every requirement that the vector names."""
    check(case)


@needs_plugin
def test_cal_generated(prop: Property, check_property: Callable[[Property], None]) -> None:
    """The answers to generated questions meet every requirement that the property names."""
    check_property(prop)
