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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first; in several processes, keep each file in one of them.

    A test that is marked `apart` runs wherever there is room.
    """
    items.sort(key=lambda item: item.get_closest_marker("apart") is None)
    for item in items:
        group = item.nodeid if item.get_closest_marker("apart") else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group.replace("@", " ")))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout: documents, sources as text, vectors. Code is imported from the wheel."""
    return Path(__file__).resolve().parent.parent
