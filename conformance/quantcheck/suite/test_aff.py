"""Section AFF of SPEC.md: one test per vector in vectors/aff/."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quantcheck.suite import needs_plugin

if TYPE_CHECKING:
    from quantcheck.properties import Property
    from quantcheck.wire.cases import Case

# Requirements judged here:
# [AFF-010] [AFF-020] [AFF-030] [AFF-040] [AFF-050] [AFF-060] [AFF-070] [AFF-080] [AFF-090]
# [AFF-100] [AFF-110] [AFF-120]


@needs_plugin
def test_aff(case: Case, check: Callable[[Case], None]) -> None:
    """The answer to a vector meets every requirement that the vector names."""
    check(case)


@needs_plugin
def test_aff_generated(prop: Property, check_property: Callable[[Property], None]) -> None:
    """The answers to generated questions meet every requirement that the property names."""
    check_property(prop)
