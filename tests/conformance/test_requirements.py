"""Requirements as SPEC.md writes them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from quantcheck.errors import SpecificationError
from quantcheck.spec import requirements, sources
from quantcheck.spec.places import spec_path
from quantcheck.spec.sections import SECTIONS

TEXT = """
# 7 GPTQ

**[GPTQ-060]** (check: certificate, level: core, source: original) The error of column j
MUST be within s_j/2 (see 3.). Codes at the border are judged apart.

- **[GPTQ-070]** (check: exact, level: optional, source: choice) Codes MUST be
`clip(rint(w/s) + z, 0, maxq)`.

A paragraph that cites [GPTQ-060] and **bold** text.
"""


def test_parsed() -> None:
    found = requirements.parse(TEXT)
    assert list(found) == ["GPTQ-060", "GPTQ-070"]
    first = found["GPTQ-060"]
    assert (first.check, first.level, first.section) == ("certificate", "core", "gptq")
    assert (first.source, first.chosen) == ("original", False)
    assert found["GPTQ-070"].chosen
    assert first.text == "The error of column j MUST be within s_j/2 (see 3.)."
    assert found["GPTQ-070"].text == "Codes MUST be `clip(rint(w/s) + z, 0, maxq)`."


@pytest.mark.parametrize(
    "text",
    [
        "**[PACK-010]** Low field first.",
        "**[PACK-010]** (check: exact, level: core) A.",
        "**[PACK-010]** (check: exact, level: core, source: rumour) A.",
        "**[PACK-010]** (check: exact, level: core, source: choice) A.\n\n" * 2,
    ],
)
def test_damaged(text: str) -> None:
    with pytest.raises(SpecificationError):
        requirements.parse(text)


SOURCES = """
**[CAL-010]** (check: exact, level: core, source: documented) Windows MUST be int32.

## Appendix D: sources

| documented | where | words |
|---|---|---|
| CAL-010 | `core.py`, `get` | dtype a \\| b |

| original | where | line |
|---|---|---|
"""


def test_words_of_a_source() -> None:
    (found,) = requirements.parse(SOURCES).values()
    assert found.basis == "core.py, get: “dtype a | b”"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("source: documented", "source: choice"),
        ("| CAL-010 |", "| CAL-020 |"),
        ("| dtype a \\| b |\n", "| dtype |\n| CAL-010 | `core.py` | again |\n"),
        ("| CAL-010 | `core.py`, `get`", "| CAL-010"),
    ],
)
def test_damaged_sources(old: str, new: str) -> None:
    assert old in SOURCES
    with pytest.raises(SpecificationError):
        requirements.parse(SOURCES.replace(old, new))


def test_no_requirements(tmp_path: Path) -> None:
    (tmp_path / "SPEC.md").write_text("nothing", encoding="utf-8")
    with pytest.raises(SpecificationError, match="none in"):
        requirements.load(tmp_path / "SPEC.md")
    with pytest.raises(SpecificationError, match="readable"):
        requirements.load(tmp_path / "absent.md")


def test_the_specification_of_the_package() -> None:
    found = requirements.load()
    assert {r.section for r in found.values()} >= set(SECTIONS)
    assert {r.level for r in found.values()} <= {"core", "optional"}
    assert all(r.text for r in found.values())


def test_a_source_of_others_is_quoted_and_no_other() -> None:
    found = requirements.load().values()
    assert {r.source for r in found} == {"documented", "original", "arithmetic", "choice"}
    quoted = {r.id for r in found if r.source in sources.QUOTED}
    assert {r.id for r in found if r.basis} == quoted


def test_the_words_of_keras_are_in_keras() -> None:
    """Docstrings, messages and comments of the installed release, in the file that is named."""
    keras = importlib.util.find_spec("keras")
    if keras is None or keras.origin is None:
        pytest.skip("Keras is not installed")
    source = Path(keras.origin).parent / "src"
    missing = []
    for identity, found in sources.parse(spec_path().read_text(encoding="utf-8")).items():
        if found.kind == "documented" and found.where.startswith("`"):
            path = found.where.split("`")[1]
            text = " ".join((source / path).read_text(encoding="utf-8").split())
            missing += [f"{identity}: {found.words}"] if found.words not in text else []
    assert not missing


def test_other_libraries_are_named_with_their_release() -> None:
    found = sources.parse(spec_path().read_text(encoding="utf-8")).values()
    others = [s.where for s in found if s.kind == "documented" and not s.where.startswith("`")]
    assert others
    assert all(re.match(r"[A-Za-z -]+ \d+(\.\d+)+(\.dev\d+)?, ", where) for where in others)


def test_the_lines_of_the_original_are_named() -> None:
    found = sources.parse(spec_path().read_text(encoding="utf-8")).values()
    original = [source.where for source in found if source.kind == "original"]
    assert original
    assert all(re.match(r"`\w+\.py`, lines? \d+", where) for where in original)
