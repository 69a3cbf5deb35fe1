"""Reads appendix D of SPEC.md: the words that promise a requirement, or the lines that have it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from quantcheck.errors import SpecificationError

QUOTED = ("documented", "original")  # sources that rest on words or lines of others
_APPENDIX = re.compile(
    r"^## Appendix D: sources$(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL
)
_HEAD = re.compile(rf"^\| ({'|'.join(QUOTED)}) \|")
_ROW = re.compile(r"^\| (?P<id>[A-Z]+-\d+) \| (?P<where>.+?) \| (?P<words>.+?) \|$")


@dataclass(frozen=True)
class Source:
    """Where a requirement comes from.

    Attributes
    ----------
    kind : str
        documented or original.
    where : str
        File and name of the documentation, or file and lines of the original code.
    words : str
        A few words from there.
    """

    kind: str
    where: str
    words: str

    def __str__(self) -> str:
        return f"{self.where.replace('`', '')}: “{self.words}”"


def parse(text: str) -> dict[str, Source]:
    r"""Read the tables of appendix D, by requirement; none where there is no such appendix.

    Raises
    ------
    SpecificationError
        A row cannot be read, or a requirement has two rows.

    Examples
    --------
    >>> made = "## Appendix D: sources\n\n| documented | where | words |\n|---|---|---|\n"
    >>> print(parse(made + "| CAL-010 | `core.py`, `get` | dtype int32 |\n")["CAL-010"])
    core.py, get: “dtype int32”
    """
    appendix = _APPENDIX.search(text)
    found: dict[str, Source] = {}
    kind = ""
    for line in appendix["text"].splitlines() if appendix else ():
        head = _HEAD.match(line)
        if head:
            kind = head[1]
        if head or not line.startswith("|") or line.startswith("|---"):
            continue
        row = _ROW.match(line)
        if row is None:
            raise SpecificationError("a row: requirement, where, words", line[:100])
        if row["id"] in found:
            raise SpecificationError("one row for each requirement", f"{row['id']} twice")
        found[row["id"]] = Source(kind, row["where"], row["words"].replace("\\|", "|"))
    return found
