"""Section HES of SPEC.md: one test per vector in vectors/hes/."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quantcheck.suite import needs_plugin

if TYPE_CHECKING:
    from quantcheck.properties import Property
    from quantcheck.wire.cases import Case

# Requirements judged here:
# [HES-010] [HES-020] [HES-030] [HES-040] [HES-050] [HES-060] [HES-070] [HES-080] [HES-090]
# [HES-100]


@needs_plugin
def test_hes(case: Case, check: Callable[[Case], None]) -> None:
    """The answer to a vector meets every requirement that the vector names."""
    check(case)


@needs_plugin
def test_hes_generated(prop: Property, check_property: Callable[[Property], None]) -> None:
    """The answers to generated questions meet every requirement that the property names."""
    check_property(prop)
