"""Section ABS of SPEC.md: one test per vector in vectors/abs/."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quantcheck.suite import needs_plugin

if TYPE_CHECKING:
    from quantcheck.properties import Property
    from quantcheck.wire.cases import Case

# Requirements judged here:
# [ABS-010] [ABS-020] [ABS-030] [ABS-040] [ABS-050] [ABS-060] [ABS-070] [ABS-080] [ABS-090]
# [ABS-100] [ABS-110]


@needs_plugin
def test_abs(case: Case, check: Callable[[Case], None]) -> None:
    """The answer to a vector meets every requirement that the vector names."""
    check(case)


@needs_plugin
def test_abs_generated(prop: Property, check_property: Callable[[Property], None]) -> None:
    """The answers to generated questions meet every requirement that the property names."""
    check_property(prop)
