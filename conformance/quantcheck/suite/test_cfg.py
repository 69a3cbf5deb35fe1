"""Section CFG of SPEC.md: one test per vector in vectors/cfg/."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quantcheck.suite import needs_plugin

if TYPE_CHECKING:
    from quantcheck.properties import Property
    from quantcheck.wire.cases import Case

# Requirements judged here:
# [CFG-010] [CFG-020] [CFG-030] [CFG-040] [CFG-050] [CFG-060] [CFG-070] [CFG-080] [CFG-090]


@needs_plugin
def test_cfg(case: Case, check: Callable[[Case], None]) -> None:
    """The answer to a vector meets every requirement that the vector names."""
    check(case)


@needs_plugin
def test_cfg_generated(prop: Property, check_property: Callable[[Property], None]) -> None:
    """The answers to generated questions meet every requirement that the property names."""
    check_property(prop)
