"""Requirements as SPEC.md writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantcheck.errors import SpecificationError
from quantcheck.spec import requirements
from quantcheck.spec.sections import SECTIONS

TEXT = """
# 7 GPTQ

**[GPTQ-060]** (check: certificate, level: core) The error of column j MUST be within
s_j/2 (see 3.). Codes at the border are judged apart.

- **[GPTQ-070]** (check: exact, level: optional) Codes MUST be `clip(rint(w/s) + z, 0, maxq)`.

A paragraph that cites [GPTQ-060] and **bold** text.
"""


def test_parsed() -> None:
    found = requirements.parse(TEXT)
    assert list(found) == ["GPTQ-060", "GPTQ-070"]
    first = found["GPTQ-060"]
    assert (first.check, first.level, first.section) == ("certificate", "core", "gptq")
    assert first.text == "The error of column j MUST be within s_j/2 (see 3.)."
    assert found["GPTQ-070"].text == "Codes MUST be `clip(rint(w/s) + z, 0, maxq)`."


@pytest.mark.parametrize(
    "text",
    [
        "**[PACK-010]** Low field first.",
        "**[PACK-010]** (check: exact, level: core) A.\n\n" * 2,
    ],
)
def test_damaged(text: str) -> None:
    with pytest.raises(SpecificationError):
        requirements.parse(text)


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
