"""Files of known deviations: reading, and what an entry holds.  [VER-120]"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantcheck.deviations import causes
from quantcheck.deviations.causes.cause import Cause
from quantcheck.errors import DeviationError
from quantcheck.wire.protocol import Handshake

DIRECTORY = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Deviation:
    """A cause why a released version fails some requirements.

    Attributes
    ----------
    id : str
    requirements, backends : tuple of str
    cause : Cause
    parameters : mapping
        Arguments of the cause's predicate.
    reason, link : str
    reproduction : tuple of str
        Lines of a plain program that show it.
    """

    id: str
    requirements: tuple[str, ...]
    backends: tuple[str, ...]
    cause: Cause
    parameters: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    link: str = ""
    reproduction: tuple[str, ...] = ()


def path_for(handshake: Handshake, directory: Path = DIRECTORY) -> Path | None:
    """Find the file for exactly this name and version, None if there is none."""
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in handshake.name)
    path = directory / f"{safe}-{handshake.version}.json"
    return path if path.is_file() else None


def load(path: Path, handshake: Handshake) -> list[Deviation]:
    """Read the entries of a file that hold for the backend of the handshake.

    Raises
    ------
    DeviationError
        The file breaks its schema or belongs to another target or version, two entries have one
        id, or there is no such cause.
    """
    data = read(path)
    if (data["target"], data["version"]) != (handshake.name, handshake.version):
        raise DeviationError(
            f"deviations of {handshake.name} {handshake.version}",
            f"{path.name} of {data['target']} {data['version']}",
        )
    ids = [entry["id"] for entry in data["deviations"]]
    twice = sorted({id_ for id_ in ids if ids.count(id_) > 1})
    if twice:
        raise DeviationError(f"one entry of each id in {path.name}", f"two of {twice[0]}")
    return [entry_of(e) for e in data["deviations"] if handshake.backend in e["backends"]]


def entry_of(entry: Mapping[str, Any]) -> Deviation:
    """Return the entry of its JSON; raises DeviationError if there is no such cause."""
    name, parameters = entry["cause"]["name"], entry["cause"].get("parameters", {})
    return Deviation(
        id=entry["id"],
        requirements=tuple(entry["requirements"]),
        backends=tuple(entry["backends"]),
        cause=causes.find(name, parameters, entry["id"]),
        parameters=parameters,
        reason=entry["reason"],
        link=entry["link"],
        reproduction=tuple(entry["reproduction"]),
    )


def read(path: Path) -> dict[str, Any]:
    """Read a file and validate it against its schema.

    Raises
    ------
    DeviationError
        The file is no JSON, or breaks the schema.
    """
    import jsonschema

    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DeviationError(f"readable JSON in {path}", str(error)) from None
    schema = json.loads((DIRECTORY / "schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    fault = jsonschema.exceptions.best_match(validator.iter_errors(data))
    if fault is not None:
        raise DeviationError(
            f"{path.name} to follow its schema", f"{fault.json_path}: {fault.message}"
        )
    return data
