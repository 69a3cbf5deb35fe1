"""Writes questions to a file, to be answered elsewhere; see `quantcheck.targets.answers`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from quantcheck.errors import SuiteError
from quantcheck.wire.protocol import PROTOCOL
from quantref.formats.files import write_whole


def write_questions(path: Path, questions: Iterable[Mapping[str, Any]]) -> int:
    """Write questions as a target reads them: `start`, one per line, `stop`.  [VER-060]

    The file is written completely or not at all, and replaces an existing one.

    Parameters
    ----------
    path : Path
    questions : iterable of mapping
        Wire questions, for example from `quantcheck.wire.cases.Case.question()`.

    Returns
    -------
    int
        Number of questions.

    Raises
    ------
    SuiteError
        Two questions have the same id.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "questions.jsonl"
    ...     count = write_questions(path, [{"id": "a", "operation": "pack"}])
    ...     print(path.read_text(), end="")
    {"start": {"protocol": 1}}
    {"id": "a", "operation": "pack"}
    {"stop": {}}
    """
    seen: set[str] = set()

    def fill(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(_line({"start": {"protocol": PROTOCOL}}))
            for question in questions:
                identity = str(question["id"])
                if identity in seen:
                    raise SuiteError("one question for each id", f"two for {identity!r}")
                seen.add(identity)
                stream.write(_line(question))
            stream.write(_line({"stop": {}}))

    write_whole(path, fill)
    return len(seen)


def _line(message: Mapping[str, Any]) -> str:
    return json.dumps(message, allow_nan=False) + "\n"
