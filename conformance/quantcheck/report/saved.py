"""Reads the files that `quantcheck TARGET --json FILE` wrote, and refuses any other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quantcheck.errors import ReportError
from quantcheck.report.document import FORMAT, schema

EXPECTED = f"a report of quantcheck TARGET --json, format {FORMAT}"
MOST = 200  # characters of a message
SPELLED = ("margin", "observed", "bound", "verdict")  # the schema allows few words for these


def read(path: str | Path) -> dict[str, Any]:
    """Read a report, and hold it against `report.schema.json`.

    Raises
    ------
    ReportError
        The file cannot be read, is no JSON, is no report, or has another format. The message
        names the file and what is wrong.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "old.json")
    ...     _ = path.write_text('{"format": 2, "reports": []}')
    ...     read(path)
    Traceback (most recent call last):
    quantcheck.errors.ReportError: expected a report of quantcheck TARGET --json, format 3, got ...
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        document = json.loads(text, parse_constant=_no_number)
    except OSError as error:
        raise _error(path, error.strerror or str(error)) from None
    except (ValueError, RecursionError) as error:
        raise _error(path, f"no JSON in UTF-8: {error}") from None
    if not isinstance(document, dict) or "reports" not in document:
        raise _error(path, "JSON without reports of targets")
    if document.get("format") != FORMAT:
        raise _error(path, f"format {document.get('format')}")
    for place, message in _complaints(document):
        raise _error(path, f"{place}: {message}")
    return document


def _error(path: str | Path, got: str) -> ReportError:
    line = " ".join(got.split())
    return ReportError(EXPECTED, f"{path}: {line if len(line) <= MOST else line[:MOST] + ' …'}")


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _complaints(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield places and messages of what the schema does not allow."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema())
    for error in validator.iter_errors(_thinned(document)):
        yield error.json_path, error.message


def _thinned(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with one judgement of each shape: they are many and alike.

    What the schema says of a judgement depends on its shape alone.
    """
    seen: set[Any] = set()

    def thin_case(case: Any) -> Any:
        if not isinstance(case, dict) or not isinstance(case.get("judgements"), list):
            return case
        kept = []
        for judgement in case["judgements"]:
            shape = _shape(judgement)
            if shape not in seen:
                seen.add(shape)
                kept.append(judgement)
        return {**case, "judgements": kept}

    def thin(made: Any) -> Any:
        if not isinstance(made, dict) or not isinstance(made.get("cases"), list):
            return made
        return {**made, "cases": [thin_case(case) for case in made["cases"]]}

    reports = document["reports"]
    return {**document, "reports": list(map(thin, reports)) if isinstance(reports, list) else None}


def _shape(value: Any, name: str = "") -> Any:
    """Return what the schema looks at: names, types, and the words of a verdict or a number."""
    if isinstance(value, dict):
        return tuple((key, _shape(each, key)) for key, each in value.items())
    if isinstance(value, list):
        return frozenset(_shape(each) for each in value)
    return value if name in SPELLED and isinstance(value, str) else type(value)
