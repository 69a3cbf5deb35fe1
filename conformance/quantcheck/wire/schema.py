"""The JSON Schema of the protocol, which describes the form of every line.  [VER-060]"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from quantcheck.wire.protocol import PROTOCOL

PATH = Path(__file__).resolve().parent / f"v{PROTOCOL}.schema.json"


@cache
def schema() -> dict[str, Any]:
    """Return the schema, which callers must not modify."""
    read: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return read


def fault(definition: str, thing: object) -> str | None:
    """Return what is wrong with a value under a definition of the schema, None if it is valid.

    Parameters
    ----------
    definition : str
        Name of the definition, such as "handshake", "question", "answer" or "pack-outputs".
    thing : object
        JSON.

    Returns
    -------
    str or None
        Place and fault.

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
