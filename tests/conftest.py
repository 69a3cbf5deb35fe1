"""Settings that all our tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The backend that the dev extra brings; Keras itself would look for another one first.
os.environ.setdefault("KERAS_BACKEND", "jax")

# `ci` gives the same examples on every run; `--hypothesis-profile=fuzz` looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile(
    "fuzz",
    max_examples=5_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout: documents, sources as text, vectors. Code is imported from the wheel."""
    return Path(__file__).resolve().parent.parent
