"""What the wheel holds, and that it is the wheel that is tested."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import quantcheck
import quantref

CHECKOUT = ("pyproject.toml", "README.md", "LICENSE", "SPEC.md")
FOLDERS = ("reference", "conformance", "vectors")


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return table


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """A wheel built here and now, from a copy: a build leaves nothing behind in the checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in CHECKOUT:
        shutil.copy(root / name, copy)
    for name in FOLDERS:
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    done = subprocess.run(
        command, cwd=copy, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (built,) = (copy / "dist").glob("*.whl")
    with zipfile.ZipFile(built) as opened:
        yield opened


def files_below(folder: Path, pattern: str = "*") -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }


def below(names: set[str], prefix: str) -> set[str]:
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


@pytest.fixture(scope="module")
def names(wheel: zipfile.ZipFile) -> set[str]:
    return set(wheel.namelist())


def test_the_wheel_holds_two_packages_and_nothing_else(names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"quantref", "quantcheck", f"quantref-{quantref.__version__}.dist-info"}
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]


def test_the_wheel_holds_every_module_and_data_file(root: Path, names: set[str]) -> None:
    for folder, package in [("reference", "quantref"), ("conformance", "quantcheck")]:
        source = files_below(root / folder / package)
        assert "py.typed" in source
        assert not source - below(names, f"{package}/")


def test_the_wheel_holds_the_vectors_and_the_specification(
    root: Path, wheel: zipfile.ZipFile, names: set[str]
) -> None:
    vectors = files_below(root / "vectors")
    assert "MANIFEST.json" in vectors
    assert below(names, "quantcheck/_vectors/") == vectors
    for name in vectors:
        assert wheel.read(f"quantcheck/_vectors/{name}") == (root / "vectors" / name).read_bytes()
    assert wheel.read("quantcheck/_spec/SPEC.md") == (root / "SPEC.md").read_bytes()


def test_the_wheel_holds_its_licence_and_commands(wheel: zipfile.ZipFile) -> None:
    info = f"quantref-{quantref.__version__}.dist-info"
    assert b"Apache License" in wheel.read(f"{info}/licenses/LICENSE")
    entry_points = wheel.read(f"{info}/entry_points.txt").decode().split("\n")
    assert "quantref = quantref.cli:main" in entry_points
    assert "quantcheck = quantcheck.__main__:main" in entry_points
    assert "[pytest11]" not in entry_points


def test_the_core_needs_numpy_and_scipy_alone(project: dict[str, Any]) -> None:
    assert {Requirement(line).name for line in project["dependencies"]} == {"numpy", "scipy"}
    declared = importlib.metadata.requires("quantref") or []
    core = [r for r in map(Requirement, declared) if r.marker is None]
    assert {requirement.name for requirement in core} == {"numpy", "scipy"}


def test_the_extra_of_the_suite_brings_all_that_it_imports(
    root: Path, project: dict[str, Any]
) -> None:
    """Targets import their frameworks; the rest of quantcheck needs no other extra."""
    suite = root / "conformance/quantcheck"
    imported = set()
    for path in set(suite.rglob("*.py")) - set((suite / "targets").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add((node.module or "").partition(".")[0])
    others = imported - set(sys.stdlib_module_names) - {"quantref", "quantcheck"}
    # jinja2 brings one; pytest imports its plugin itself; matplotlib is asked for in words.
    others -= {"markupsafe", "pytest", "matplotlib"}
    lines = [*project["dependencies"], *project["optional-dependencies"]["conformance"]]
    brought = {Requirement(line).name for line in lines}
    assert {name.replace("markdown_it", "markdown-it-py") for name in others} <= brought


def test_frameworks_come_by_their_extras_alone(project: dict[str, Any]) -> None:
    frameworks = {"keras", "jax", "tensorflow", "tensorflow-cpu", "torch", "openvino"}
    extras = project["optional-dependencies"]
    with_frameworks = {
        extra
        for extra, lines in extras.items()
        if {Requirement(line).name for line in lines} & frameworks
    }
    libraries = {"llmcompressor", "neural-compressor", "torchao", "gptqmodel"}
    backends = {"jax", "tensorflow", "torch", "openvino"}
    assert with_frameworks == backends | libraries | {"dev", "everything"}


def test_the_metadata_says_what_the_package_says(project: dict[str, Any]) -> None:
    metadata = importlib.metadata.metadata("quantref")
    assert metadata["Version"] == project["version"] == quantref.__version__
    assert metadata["Requires-Python"] == project["requires-python"]
    assert metadata["License-Expression"] == project["license"] == "Apache-2.0"
    assert metadata["Summary"] == project["description"]


def test_the_changelog_knows_the_version(root: Path, project: dict[str, Any]) -> None:
    headings = re.findall(
        r"^## \[(.+?)\]", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    assert headings[0] == "Unreleased"
    assert project["version"] in headings


@pytest.mark.skipif(
    not os.environ.get("QUANTREF_TEST_WHEEL"), reason="not started by `python3 tests`"
)
@pytest.mark.parametrize("package", [quantref, quantcheck])
def test_what_is_tested_is_the_installed_wheel(package: Any, root: Path, names: set[str]) -> None:
    here = Path(package.__file__).resolve()
    assert "site-packages" in here.parts
    assert not here.is_relative_to(root / "reference")
    assert not here.is_relative_to(root / "conformance")
    installed = {str(path) for path in importlib.metadata.files("quantref") or []}
    prefix = f"{package.__name__}/"
    assert below(names, prefix) == {n for n in below(installed, prefix) if "__pycache__" not in n}
    assert str(root / "reference") not in sys.path
    assert str(root / "conformance") not in sys.path
