"""Reads the requirements of SPEC.md: id, check, level, first sentence and paragraph."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from quantcheck.errors import SpecificationError
from quantcheck.spec import sources
from quantcheck.spec.places import spec_path

_PARAGRAPH = re.compile(
    r"^\s*(?:[-*]\s+)?\*\*\[(?P<id>[A-Z]+-\d+)\]\*\*\s*"
    r"\(check:\s*(?P<check>[\w-]+)\s*,\s*level:\s*(?P<level>\w+)\s*,"
    r"\s*source:\s*(?P<source>documented|original|arithmetic|choice)\s*\)\s*(?P<text>.*)$",
    re.DOTALL,
)
CHOICE = "choice"
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
    source : str
        Why it is required: documented, original, arithmetic, or choice (SPEC.md, section 0).
    text : str
        The first sentence.
    paragraph : str
        The whole paragraph.
    basis : str
        Words of the documentation, or lines of the original code, and where they are; "" for
        other sources.
    """

    id: str
    check: str
    level: str
    source: str
    text: str
    paragraph: str = ""
    basis: str = ""

    @property
    def section(self) -> str:
        """The part of the id before the dash, lower case."""
        return self.id.split("-")[0].lower()

    @property
    def chosen(self) -> bool:
        """Whether it is a choice of SPEC.md alone, of which a target is not blamed unasked."""
        return self.source == CHOICE


def parse(text: str) -> dict[str, Requirement]:
    """Read requirements, in the order of the text, with their rows of appendix D.

    Raises
    ------
    SpecificationError
        An id occurs twice, a bold id has no check, level and known source, or appendix D says
        otherwise.

    Examples
    --------
    >>> head = "**[PACK-010]** (check: exact, level: core, source: documented)"
    >>> text = f"{head} Low field MUST come first. Why: so."
    >>> parse(text)["PACK-010"].text
    'Low field MUST come first.'
    """
    found: dict[str, Requirement] = {}
    quoted = sources.parse(text)
    for paragraph in _paragraphs(text):
        if not re.match(r"\s*(?:[-*]\s+)?\*\*\[[A-Z]+-\d+\]\*\*", paragraph):
            continue
        match = _PARAGRAPH.match(paragraph)
        if match is None:
            raise SpecificationError(
                "(check: …, level: …, source: …) after the id", paragraph[:100]
            )
        if match["id"] in found:
            raise SpecificationError("every requirement id once", f"{match['id']} twice")
        body = " ".join(match["text"].split())
        sentence = _SENTENCE.match(body)
        first = sentence[1] if sentence else body
        named = quoted.pop(match["id"], None)
        if named is not None and named.kind != match["source"]:
            got = f"{match['id']} with source {match['source']}"
            raise SpecificationError(f"source {named.kind}, as in appendix D", got)
        found[match["id"]] = Requirement(
            match["id"],
            match["check"],
            match["level"],
            match["source"],
            first,
            body,
            str(named or ""),
        )
    if quoted:
        raise SpecificationError("requirements in appendix D", ", ".join(quoted))
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


@cache
def choices() -> frozenset[str]:
    """Return the ids of the choices: the requirements that are SPEC.md's alone.

    Examples
    --------
    >>> "CAL-040" in choices(), "CAL-010" in choices()
    (True, False)
    """
    return frozenset(r.id for r in load().values() if r.chosen)


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
