"""`python3 conformance` and `python3 tests`, short of making an environment."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from quantcheck.targets.libraries import LIBRARIES


@pytest.fixture
def bootstrap(root: Path) -> ModuleType:
    """The file itself: it belongs to no package, and runs before there is one."""
    spec = importlib.util.spec_from_file_location("bootstrap", root / "conformance/bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["conformance/bootstrap.py", "conformance/__main__.py"])
def test_it_needs_the_standard_library_alone(root: Path, name: str) -> None:
    tree = ast.parse((root / name).read_text("utf-8"))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    tops = {module.partition(".")[0] for module in imported}
    assert tops <= set(sys.stdlib_module_names) | {"bootstrap"}


def test_its_examples(bootstrap: ModuleType) -> None:
    results = doctest.testmod(bootstrap)
    assert results.attempted > 0
    assert results.failed == 0


def test_every_extra_it_asks_for_exists(root: Path, bootstrap: ModuleType) -> None:
    extras = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    assert set(bootstrap.EXTRAS.values()) <= set(extras)
    assert bootstrap.extras_for(["keras:torch", "keras:jax"]) == ["conformance", "jax", "torch"]
    assert bootstrap.extras_for(["process:./quantize"]) == ["conformance"]


def test_an_old_python_is_told_so(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 1))
    assert bootstrap.guarded(bootstrap.conformance) == bootstrap.EXIT_NOTHING_DONE
    assert "Python 3.11 or newer is needed" in capsys.readouterr().err


class Recorded:
    """Replaces the environment; records what would be made, installed and run."""

    def __init__(self, bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.calls: list[str] = []
        (root / "pyproject.toml").write_text("")
        monkeypatch.setattr(bootstrap, "ROOT", root)
        monkeypatch.setattr(bootstrap, "quietly", self.quietly)
        monkeypatch.setattr(bootstrap, "run", self.run)

    def quietly(self, command: Sequence[str | Path], complaint: str) -> None:
        words = [str(word) for word in command]
        assert complaint
        if "venv" in words:
            python = Path(words[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()
            self.calls.append("venv")
        else:
            self.calls.append(words[-1])

    def run(self, command: Sequence[str | Path], **_: Any) -> int:
        self.calls.append(" ".join(["quantcheck", *map(str, command[1:])]))
        return 3

    def taken(self) -> list[str]:
        calls, self.calls = self.calls, []
        return calls


@pytest.fixture
def recorded(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorded:
    if sys.platform == "win32":
        pytest.skip("the stand-in lays out a POSIX environment")
    return Recorded(bootstrap, monkeypatch, tmp_path)


def test_the_environment_is_made_once_grown_and_refreshed(
    bootstrap: ModuleType, recorded: Recorded, tmp_path: Path
) -> None:
    def conformance(*arguments: str) -> list[str]:
        assert bootstrap.conformance(arguments) == 3  # the suite's own exit status
        return recorded.taken()

    first = ["venv", ".[conformance,jax]", "quantcheck keras:jax"]
    assert conformance("keras:jax") == first
    assert conformance("keras:jax", "--json", "x") == ["quantcheck keras:jax --json x"]
    assert conformance("--help") == ["quantcheck --help"]
    more = [".[conformance,jax,torch]", "quantcheck keras:torch"]
    assert conformance("keras:torch") == more
    (tmp_path / "pyproject.toml").write_text("# another\n")
    assert conformance("keras:jax") == first


def test_an_interrupted_set_up_is_repeated(
    bootstrap: ModuleType, recorded: Recorded, tmp_path: Path
) -> None:
    bootstrap.conformance(["--help"])
    stamp = tmp_path / ".venv-conformance" / "bootstrap.json"
    assert json.loads(stamp.read_text())["extras"] == ["conformance"]
    recorded.taken()
    stamp.unlink()
    bootstrap.conformance(["--help"])
    assert recorded.taken() == ["venv", ".[conformance]", "quantcheck --help"]


def test_a_failing_command_shows_what_it_printed(bootstrap: ModuleType) -> None:
    command = [sys.executable, "-c", "print('no route'); raise SystemExit(1)"]
    with pytest.raises(bootstrap.BootstrapError, match=r"(?s)It printed:.*no route"):
        bootstrap.quietly(command, "Is there a network connection? It printed:")


def test_exit_statuses_are_passed_on(bootstrap: ModuleType) -> None:
    assert bootstrap.run([sys.executable, "-c", "raise SystemExit(5)"]) == 5


def test_a_release_of_keras_is_asked_for(bootstrap: ModuleType) -> None:
    assert bootstrap.release_of(["keras:jax", "--keras=3.14.1"]) == ("3.14.1", ["keras:jax"])
    wanted = bootstrap.requirements_of("3.16.0.dev2026102704", ["conformance", "jax"])
    assert "jax" in wanted
    assert [r for r in wanted if r.startswith("keras")] == ["keras-nightly==3.16.0.dev2026102704"]
    assert "keras==3.12.4" in bootstrap.requirements_of("3.12.4", ["jax"])


def test_the_keras_of_tensorflow_is_removed_beside_a_development_version(
    bootstrap: ModuleType, recorded: Recorded, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text((root / "pyproject.toml").read_text("utf-8"))
    bootstrap.conformance(["--keras", "3.16.0.dev2026102704", "keras:tensorflow"])
    made, *removed, asked = recorded.taken()[1:]
    assert (made, asked) == (".", "quantcheck keras:tensorflow")
    assert removed == ["keras", "keras-nightly==3.16.0.dev2026102704"]
    bootstrap.conformance(["--keras", "3.15.1", "keras:tensorflow"])
    assert "keras" not in recorded.taken()


@pytest.mark.parametrize("words", [["--keras"], ["--keras", "keras:jax"], ["--keras=latest"]])
def test_a_release_that_is_no_version(words: list[str], bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.BootstrapError, match="expected a version after --keras"):
        bootstrap.release_of(words)


def test_a_library_has_an_environment_of_its_own(
    bootstrap: ModuleType, recorded: Recorded, tmp_path: Path
) -> None:
    assert bootstrap.conformance(["nncf", "--section", "gptq"]) == 3
    made = ["venv", ".[conformance,nncf]", "quantcheck nncf --section gptq"]
    assert recorded.taken() == made
    assert (tmp_path / ".venv-nncf").is_dir()
    assert not (tmp_path / ".venv-conformance").exists()


def test_every_library_that_is_a_target_can_be_asked_for(bootstrap: ModuleType) -> None:
    assert set(bootstrap.LIBRARIES) == set(LIBRARIES)


@pytest.mark.parametrize("words", [["nncf", "torchao"], ["keras:jax", "nncf"]])
def test_a_library_beside_another_target(
    words: list[str], bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    status = bootstrap.guarded(lambda _: bootstrap.conformance(words))
    assert status == bootstrap.EXIT_NOTHING_DONE
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line == f"error: expected nncf as the only target, got {', '.join(words)}"
