"""The protocol's JSON Schema, which says in every language what a line has to be.  [VER-060]"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from quantcheck.wire.protocol import PROTOCOL

PATH = Path(__file__).resolve().parent / f"v{PROTOCOL}.schema.json"


@cache
def schema() -> dict[str, Any]:
    """Return the schema; not to be changed."""
    read: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return read


def fault(definition: str, thing: object) -> str | None:
    """Say what is wrong with a thing under a definition of the schema, None where nothing is.

    Parameters
    ----------
    definition : str
        Such as "handshake", "question", "answer" or "pack-outputs".
    thing : object
        JSON.

    Returns
    -------
    str or None
        Where, and what.

    Examples
    --------
    >>> fault("answer", {"id": "a", "unsupported": "not yet"})
    >>> fault("answer", {"id": "a", "unsupported": True})
    "$.unsupported: True is not of type 'string'"
    """
    import jsonschema

    found = jsonschema.exceptions.best_match(_validator(definition).iter_errors(thing))
    return None if found is None else f"{found.json_path}: {found.message}"


@cache
def _validator(definition: str) -> Any:
    import jsonschema

    part = {**schema(), "$ref": f"#/$defs/{definition}"}
    del part["anyOf"]
    return jsonschema.Draft202012Validator(part)
