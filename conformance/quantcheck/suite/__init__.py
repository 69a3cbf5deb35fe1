"""The suite: one module per section of SPEC.md, run through `quantcheck.plugin`."""

from __future__ import annotations

import pytest

# Whoever collects this package without the plugin gets skips with a reason, no missing fixtures.
needs_plugin = pytest.mark.skipif(
    "not config.pluginmanager.has_plugin('quantcheck.plugin')",
    reason="needs a target: run `quantcheck TARGET`, or pytest -p quantcheck.plugin --target …",
)
