"""Runs every command and example of README.md, or compares it with the command that CI runs."""

from __future__ import annotations

import doctest
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from quantcheck.cli import parser as command_line
from quantcheck.report.outputs import wanted
from quantcheck.targets import open_target

FENCE = re.compile(
    r"(?:<!-- (?P<label>.+?) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\((?!https?:)(?P<target>[^)#]+)")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


@dataclass(frozen=True)
class Block:
    """A fenced block of README.md, with the comment before it."""

    label: str
    kind: str
    text: str
    line: int


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def blocks(readme: str) -> list[Block]:
    return [
        Block(m["label"] or "", m["kind"], m["text"], readme[: m.start("text")].count("\n"))
        for m in FENCE.finditer(readme)
    ]


def command(blocks: list[Block], label: str) -> list[str]:
    (block,) = (block for block in blocks if block.label == label)
    assert block.kind == "sh"
    return shlex.split(block.text)


def test_every_block_is_of_a_kind_that_is_tested(readme: str, blocks: list[Block]) -> None:
    assert readme.count("```") == 2 * len(blocks)
    for block in blocks:
        if block.kind == "sh":
            assert block.label in {"conformance command", "test command"}
        elif block.kind == "python":
            assert ">>> " in block.text or block.label.startswith("file: ")
        elif block.kind == "yaml":
            assert block.label == "workflow"
        else:
            assert block.kind == "console"
            assert block.text.startswith("$ ")


def test_it_opens_with_the_two_commands(blocks: list[Block]) -> None:
    assert [block.label for block in blocks[:2]] == ["conformance command", "test command"]


def test_the_examples_in_python(blocks: list[Block]) -> None:
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    report: list[str] = []
    for block in blocks:
        if block.kind == "python" and ">>> " in block.text:
            parsed = doctest.DocTestParser().get_doctest(
                block.text, names, "README", "README.md", block.line
            )
            runner.run(parsed, out=report.append, clear_globs=False)
            names = parsed.globs
    assert runner.tries > 0
    assert not runner.failures, "".join(report)


def steps(block: Block) -> list[tuple[str, str]]:
    """Commands of a console block, each with its expected output."""
    shown = re.split(r"^\$ (.+)\n", block.text, flags=re.MULTILINE)[1:]
    return list(zip(shown[::2], shown[1::2], strict=True))


def test_the_table_of_losses_is_what_was_measured(root: Path, readme: str) -> None:
    made = json.loads((root / "tests/data/characters/losses.json").read_text("utf-8"))
    for row in made["rows"]:
        losses = ("raises" if loss is None else f"{loss:.3f}" for loss in row["losses"])
        group = "row" if row["group_size"] == -1 else row["group_size"]
        assert f"| {row['bits']} | {group} | {' | '.join(losses)} |\n" in readme
    assert f"held-out loss of {made['float']:.3f} nats" in readme
    assert f"on Keras {made['keras']}" in readme


@pytest.mark.everything
@pytest.mark.slow
@pytest.mark.apart
def test_the_commands_at_the_console(root: Path, blocks: list[Block], tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(root / "tests")
    for block in blocks:
        if block.label.startswith("file: "):
            (tmp_path / block.label.removeprefix("file: ")).write_text(block.text, "utf-8")
    scripts = sysconfig.get_path("scripts")
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")]),
        "COLUMNS": "120",
        **({"KERAS_BACKEND": "torch"} if importlib.util.find_spec("torch") else {}),
    }
    commands = [step for block in blocks if block.kind == "console" for step in steps(block)]
    assert commands
    for line, expected in commands:
        words = shlex.split(line)
        assert words[0] in {"quantref", "quantcheck"}, line
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        # An ellipsis stands for anything that was printed, and also for nothing.
        assert doctest.OutputChecker().check_output(expected, done.stdout, FLAGS), (
            f"{line}\n{done.stdout}"
        )


def test_the_workflow_for_others(root: Path, blocks: list[Block]) -> None:
    (block,) = (block for block in blocks if block.label == "workflow")
    workflow = yaml.safe_load(block.text)
    assert workflow["name"]
    assert True in workflow, "YAML 1.1 reads the key `on` as true"
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    for step in steps:
        assert "uses" not in step or re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
    written: set[str] = set()
    installed: set[str] = set()
    for line in (line for step in steps for line in step.get("run", "").splitlines()):
        command, *words = shlex.split(line)
        if command == "quantcheck":
            assert installed, "nothing is installed yet"
            options = command_line().parse_args(words)
            for target in options.targets:
                open_target(target)
            written |= set(wanted(options).values())
        else:
            assert [command, words[0]] == ["pip", "install"]
            for word in words[1:]:
                installed |= Requirement(word.removeprefix("./")).extras
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert installed <= set(project["optional-dependencies"])
    (kept,) = (step for step in steps if "upload-artifact" in step.get("uses", ""))
    assert kept["if"] == "always()"
    patterns = kept["with"]["path"].split()
    assert written
    assert {name for name in written if any(fnmatch(name, p) for p in patterns)} == written


def test_the_conformance_command(root: Path, blocks: list[Block]) -> None:
    python, folder, target = command(blocks, "conformance command")
    assert python == "python3"
    assert (root / folder / "__main__.py").is_file()
    from quantcheck.targets import list_targets

    assert target in dict(list_targets())


def test_the_test_command_is_the_one_that_ci_runs(root: Path, blocks: list[Block]) -> None:
    python, folder = command(blocks, "test command")
    assert python == "python3"
    assert (root / folder).resolve() == Path(__file__).resolve().parent
    assert (root / folder / "__main__.py").is_file()
    script = root / ".ci" / "run"
    assert os.access(script, os.X_OK) or sys.platform == "win32"
    text = script.read_text("utf-8")
    assert "<!-- test command -->" in text
    assert f"{python} {folder}" not in text, "CI reads the command, and does not repeat it"


@pytest.mark.skipif(sys.platform == "win32", reason="the CI script is bash")
@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ("echo '== 3 passed in 1s =='", 0),
        ("echo '== no tests ran in 1s =='", 5),
        ("echo '== 0 passed in 1s =='", 5),
        ("exit 5", 5),
        ("echo '1 failed, 3 passed'; exit 1", 1),
    ],
)
def test_the_ci_script_runs_what_the_readme_shows(
    root: Path, tmp_path: Path, shown: str, status: int
) -> None:
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "run"
    script.write_bytes((root / ".ci" / "run").read_bytes())
    (tmp_path / "conformance").mkdir()
    (tmp_path / "conformance" / "__main__.py").touch()
    (tmp_path / "README.md").write_text(
        f"```sh\nexit 9\n```\n<!-- test command -->\n```sh\n{shown}\n```\n```sh\nexit 9\n```\n"
    )
    done = subprocess.run(["bash", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == status, done.stderr


def test_the_links_between_documents(root: Path) -> None:
    for document in sorted(root.glob("*.md")):
        for match in LINK.finditer(document.read_text("utf-8")):
            assert (root / match["target"]).exists(), f"{document.name}: {match['target']}"
