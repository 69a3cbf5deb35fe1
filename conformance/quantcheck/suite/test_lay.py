"""Section LAY of SPEC.md: one test per vector in vectors/lay/."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quantcheck.suite import needs_plugin

if TYPE_CHECKING:
    from quantcheck.properties import Property
    from quantcheck.wire.cases import Case

# Requirements judged here:
# [LAY-010] [LAY-020] [LAY-030] [LAY-040] [LAY-050] [LAY-060] [LAY-070] [LAY-080] [LAY-090]
# [LAY-100] [LAY-110] [LAY-120] [LAY-130] [LAY-140] [LAY-150]


@needs_plugin
def test_lay(case: Case, check: Callable[[Case], None]) -> None:
    """The answer to a vector meets every requirement that the vector names."""
    check(case)


@needs_plugin
def test_lay_generated(prop: Property, check_property: Callable[[Property], None]) -> None:
    """The answers to generated questions meet every requirement that the property names."""
    check_property(prop)
