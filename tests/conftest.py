"""Settings that all our tests share."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# PyTorch compiles nothing, and is fastest in models that run a few times; Keras's own choice would
# be another one.
os.environ.setdefault("KERAS_BACKEND", "torch" if find_spec("torch") else "jax")

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


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what asks for the tests that repeat on other backends what every run does on one."""
    text = "run the tests marked `everything` too: other backends and releases, and what is long"
    parser.addoption("--everything", action="store_true", help=text)
    text = "with --everything, run every release that has a deviation file, not one of each line"
    parser.addoption("--releases", action="store_true", help=text)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest tests first; in several processes, keep each file in one of them.

    A test that is marked `apart` runs wherever there is room. Those marked `everything` or
    `releases` are skipped unless they are asked for.
    """
    for name in ("everything", "releases"):
        for item in items if not config.getoption(f"--{name}") else ():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=f"runs with --{name}"))
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
