"""Reads the requirements of SPEC.md: id, check, level, first sentence and paragraph."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from quantcheck.errors import SpecificationError
from quantcheck.spec.places import spec_path

_PARAGRAPH = re.compile(
    r"^\s*(?:[-*]\s+)?\*\*\[(?P<id>[A-Z]+-\d+)\]\*\*\s*"
    r"\(check:\s*(?P<check>[\w-]+)\s*,\s*level:\s*(?P<level>\w+)\s*\)\s*(?P<text>.*)$",
    re.DOTALL,
)
_SENTENCE = re.compile(r"^(.*?[.!?])(?:\s+(?=[A-Z`*(])|\s*$)", re.DOTALL)


@dataclass(frozen=True)
class Requirement:
    """One requirement of SPEC.md.

    Attributes
    ----------
    id : str
        Such as GPTQ-060.
    check : str
        Kind of check: exact, bound, certificate, error or law.
    level : str
        core or optional.
    text : str
        The first sentence.
    paragraph : str
        The whole paragraph.
    """

    id: str
    check: str
    level: str
    text: str
    paragraph: str = ""

    @property
    def section(self) -> str:
        """The part of the id before the dash, lower case."""
        return self.id.split("-")[0].lower()


def parse(text: str) -> dict[str, Requirement]:
    """Read requirements, in the order of the text.

    Raises
    ------
    SpecificationError
        An id occurs twice, or a bold id has no check and level.

    Examples
    --------
    >>> text = "**[PACK-010]** (check: exact, level: core) Low field MUST come first. Why: so."
    >>> parse(text)["PACK-010"].text
    'Low field MUST come first.'
    """
    found: dict[str, Requirement] = {}
    for paragraph in _paragraphs(text):
        if not re.match(r"\s*(?:[-*]\s+)?\*\*\[[A-Z]+-\d+\]\*\*", paragraph):
            continue
        match = _PARAGRAPH.match(paragraph)
        if match is None:
            raise SpecificationError("(check: …, level: …) after the id", paragraph[:80])
        if match["id"] in found:
            raise SpecificationError("every requirement id once", f"{match['id']} twice")
        body = " ".join(match["text"].split())
        sentence = _SENTENCE.match(body)
        first = sentence[1] if sentence else body
        found[match["id"]] = Requirement(match["id"], match["check"], match["level"], first, body)
    return found


def load(path: Path | None = None) -> dict[str, Requirement]:
    """Read SPEC.md, by default the one that belongs to the installed reference.

    Raises
    ------
    SpecificationError
        The file cannot be read, or has no requirement.
    """
    if path is None:
        path = spec_path()
    try:
        found = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecificationError("a readable SPEC.md", str(error)) from None
    if not found:
        raise SpecificationError("requirements in SPEC.md", f"none in {path}")
    return found


def _paragraphs(text: str) -> Iterable[str]:
    """Yield blocks of lines; a line that starts with a bold id begins a block too."""
    block: list[str] = []
    for line in text.splitlines():
        starts = re.match(r"\s*(?:[-*]\s+)?\*\*\[", line) is not None
        if block and (not line.strip() or starts):
            yield "\n".join(block)
            block = []
        if line.strip():
            block.append(line)
    if block:
        yield "\n".join(block)
