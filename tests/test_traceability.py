"""SPEC.md, the code and the vectors name the same requirements.

Every live id of SPEC.md is cited as `[ID]` by the code that implements it. Those that an answer can
break are in the table of judges, in a vector or in a property; the others are marked on a test.
Every `exact` one has a vector, and nothing names an id that SPEC.md does not have.
"""

from __future__ import annotations

import ast
import io
import itertools
import json
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from quantcheck import properties
from quantcheck.judge.judges import TABLE

SECTIONS = ("CFG", "RND", "AFF", "ABS", "PACK", "HES", "GPTQ", "CERT", "LAY", "CAL", "VEC", "VER",
            "FOUR")  # fmt: skip
WITH_VECTORS = set(SECTIONS) - {"CERT", "VEC", "VER"}  # of a target
CHECKS = {"exact", "bound", "certificate", "error"}
LEVELS = {"core", "optional"}
SOURCES = {"documented", "original", "arithmetic", "choice"}

ID = re.compile(rf"\b(?:{'|'.join(SECTIONS)})-\d+\b")
CITATION = re.compile(rf"\[({ID.pattern}(?:, *{ID.pattern})*)\]")
HEAD = re.compile(r"^\*\*\[([A-Z]+-\d+)\]\*\*", re.MULTILINE)
LINE = re.compile(
    r"^\*\*\[(?P<id>[A-Z]+-\d{3})\]\*\* "
    r"\(check: (?P<check>\w+), level: (?P<level>\w+), source: (?P<source>\w+)\) (?P<text>\S.*)",
    re.MULTILINE,
)

OF_NO_TARGET = {
    "CAL-170": "how models are judged",
}
"""Requirements of sections of targets that no answer can break; a test of ours judges each."""

COLLECT = """
import json, sys
import pytest
class Marks:
    found = []
    def pytest_collection_finish(self, session):
        for item in session.items:
            if item.get_closest_marker("everything") is None:
                ids = [i for mark in item.iter_markers("requirement") for i in mark.args]
                self.found += [(i, item.nodeid) for i in ids]
marks = Marks()
code = pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", *sys.argv[1:]], [marks])
print(json.dumps(marks.found))
sys.exit(code)
"""


@dataclass(frozen=True)
class Requirement:
    """A requirement line of SPEC.md."""

    id: str
    check: str
    level: str
    source: str
    text: str

    @property
    def section(self) -> str:
        return self.id.partition("-")[0]


def parse(spec: str) -> list[Requirement]:
    return [Requirement(**match.groupdict()) for match in LINE.finditer(spec)]


def cited(source: str) -> set[str]:
    """Ids cited as `[ID]` in comments and docstrings of Python source."""
    texts = [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented):
            texts.append(ast.get_docstring(node) or "")  # noqa: PERF401 -- two kinds in one list
    return {i for text in texts for group in CITATION.findall(text) for i in ID.findall(group)}


def sources(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def read(paths: Iterable[Path]) -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture(scope="module")
def spec(root: Path) -> str:
    return (root / "SPEC.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def requirements(spec: str) -> list[Requirement]:
    found = parse(spec)
    assert found, "SPEC.md has no requirement"
    return found


@pytest.fixture(scope="module")
def known(requirements: list[Requirement]) -> set[str]:
    return {requirement.id for requirement in requirements}


@pytest.fixture(scope="module")
def marked(root: Path) -> dict[str, list[str]]:
    """Tests marked with `requirement`, by its ids: as pytest collects them, and runs each time."""
    texts = read(sources(root / "tests"))
    files = [
        str(path)
        for path, text in texts.items()
        if "mark.requirement(" in text and path.name.startswith("test_")
    ]
    done = subprocess.run(
        [sys.executable, "-P", "-c", COLLECT, *files],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    for identity, test in json.loads(done.stdout.splitlines()[-1]):
        found.setdefault(identity, []).append(test)
    return found


@pytest.fixture(scope="module")
def vector_requirements(root: Path) -> dict[str, set[str]]:
    """Ids that each vector names, by the vector's path."""
    paths = sorted((root / "vectors").glob("*/*.json"))
    assert paths, "no vectors"
    return {
        path.relative_to(root).as_posix(): set(json.loads(path.read_text("utf-8"))["requirements"])
        for path in paths
    }


def test_the_parser_itself() -> None:
    text = (
        "**[ABS-010]** (check: exact, level: core, source: choice) Codes MUST.\n\nSee [ABS-020].\n"
    )
    assert parse(text) == [Requirement("ABS-010", "exact", "core", "choice", "Codes MUST.")]
    source = '"""Doc [ABS-010, ABS-020]."""\nx = "[ABS-030]"  # [ABS-040] and ABS-050\n'
    assert cited(source) == {"ABS-010", "ABS-020", "ABS-040"}


def test_every_requirement_line_is_well_formed(spec: str, requirements: list[Requirement]) -> None:
    assert HEAD.findall(spec) == [requirement.id for requirement in requirements]
    for requirement in requirements:
        assert requirement.section in SECTIONS, requirement
        assert requirement.check in CHECKS, requirement
        assert requirement.level in LEVELS, requirement
        assert requirement.source in SOURCES, requirement


def test_ids_are_unique_and_step_by_ten(requirements: list[Requirement]) -> None:
    """Not in their order: a requirement that was split has its successors in its place."""
    ids = [requirement.id for requirement in requirements]
    assert not [i for i, times in Counter(ids).items() if times > 1]
    for section in SECTIONS:
        numbers = [int(i.partition("-")[2]) for i in ids if i.startswith(f"{section}-")]
        assert all(n > 0 and n % 10 == 0 for n in numbers), f"{section}: not steps of ten"


def test_sections_stand_together(requirements: list[Requirement]) -> None:
    in_turn = [section for section, _ in itertools.groupby(r.section for r in requirements)]
    assert in_turn == [section for section in SECTIONS if section in in_turn]


def test_every_requirement_is_cited_by_the_code(root: Path, known: set[str]) -> None:
    code = read(sources(root / "reference" / "quantref", root / "conformance" / "quantcheck"))
    cites = set().union(*(cited(text) for text in code.values()))
    assert not sorted(known - cites), "no comment or docstring cites these"


def test_every_requirement_of_a_target_is_judged(
    requirements: list[Requirement],
    vector_requirements: dict[str, set[str]],
    marked: dict[str, list[str]],
) -> None:
    """The table of judges, a vector, a property, or a test if no target can break it."""
    judged = {i for row in TABLE for i in row.requirements}
    judged |= set().union(*vector_requirements.values())
    judged |= {i for prop in properties.load().values() for i in prop.requirements}
    of_targets = {r.id for r in requirements if r.section in WITH_VECTORS}
    assert of_targets - judged == set(OF_NO_TARGET)
    assert not sorted(set(OF_NO_TARGET) - marked.keys()), "no test is marked with these"


def test_every_requirement_of_ours_is_judged_by_a_test(
    requirements: list[Requirement], marked: dict[str, list[str]]
) -> None:
    ours = {r.id for r in requirements if r.section not in WITH_VECTORS}
    assert not sorted(ours - marked.keys()), "no test is marked with these"


def test_judges_properties_and_tests_name_known_requirements(
    known: set[str], marked: dict[str, list[str]]
) -> None:
    assert {i for row in TABLE for i in row.requirements} <= known
    assert {i for prop in properties.load().values() for i in prop.requirements} <= known
    assert marked.keys() <= known


def test_every_exact_requirement_has_a_vector(
    requirements: list[Requirement], vector_requirements: dict[str, set[str]]
) -> None:
    needed = {r.id for r in requirements if r.check == "exact" and r.section in WITH_VECTORS}
    assert not sorted(needed - set().union(*vector_requirements.values()))


def test_vectors_name_known_requirements(
    vector_requirements: dict[str, set[str]], known: set[str]
) -> None:
    wrong = {path: ids - known for path, ids in vector_requirements.items() if ids - known}
    assert not wrong
    assert not [path for path, ids in vector_requirements.items() if not ids]


def test_no_file_names_an_unknown_requirement(root: Path, spec: str, known: set[str]) -> None:
    texts = read(sources(root / "reference", root / "conformance", root / "tests"))
    texts |= read(root.glob("*.md"))
    texts |= read((root / "conformance" / "quantcheck" / "deviations").glob("*.json"))
    wrong = []
    for path, text in texts.items():
        if path.name == Path(__file__).name:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for found in ID.findall(line):
                # A test may need an id that no specification has: one that is no multiple of ten.
                made_up = path.is_relative_to(root / "tests") and not found.endswith("0")
                if found not in known and not made_up:
                    wrong.append(f"{path.relative_to(root)}:{number} {found}")
    assert not wrong
