"""Judges the target of `quantcheck.plugin` on every golden vector and every property."""

from __future__ import annotations

from collections.abc import Callable

import pytest

# Without the plugin these tests are skipped with a reason, instead of failing for lack of fixtures.
pytestmark = pytest.mark.skipif(
    "not config.pluginmanager.has_plugin('quantcheck.plugin')",
    reason="needs a target: run `quantcheck TARGET`, or pytest -p quantcheck.plugin --target …",
)


def test_section(case: str, check: Callable[[str], None]) -> None:
    """The answer to a vector meets every requirement that the vector names."""
    check(case)


def test_property(prop: str, check: Callable[[str], None]) -> None:
    """The answers to generated questions meet every requirement that the property names."""
    check(prop)
