"""Section GPTQ of SPEC.md: one test per vector in vectors/gptq/."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quantcheck.suite import needs_plugin

if TYPE_CHECKING:
    from quantcheck.properties import Property
    from quantcheck.wire.cases import Case

# Requirements judged here:
# [GPTQ-010] [GPTQ-020] [GPTQ-030] [GPTQ-040] [GPTQ-050] [GPTQ-060] [GPTQ-070] [GPTQ-080]
# [GPTQ-090] [GPTQ-100] [GPTQ-110] [GPTQ-120] [GPTQ-130] [CERT-010] [CERT-020] [CERT-030]


@needs_plugin
def test_gptq(case: Case, check: Callable[[Case], None]) -> None:
    """The answer to a vector meets every requirement that the vector names."""
    check(case)


@needs_plugin
def test_gptq_generated(prop: Property, check_property: Callable[[Property], None]) -> None:
    """The answers to generated questions meet every requirement that the property names."""
    check_property(prop)
