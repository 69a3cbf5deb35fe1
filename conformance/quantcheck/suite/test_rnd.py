"""Section RND of SPEC.md: one test per vector in vectors/rnd/."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantref.vectors import Case

# Requirements judged here:


def test_rnd(case: Case, check: Callable[[Case], None]) -> None:
    """The answer to a vector meets every requirement that the vector names."""
    check(case)
