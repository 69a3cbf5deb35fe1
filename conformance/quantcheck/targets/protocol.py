"""The protocol between the suite and a target: what each line has to be.  [VER-060]"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quantcheck.errors import TargetProtocolError

PROTOCOL = 1
UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}
ANSWER_KEYS = ("outputs", "refused", "unsupported", "error")


@dataclass(frozen=True)
class Handshake:
    """What a target says about itself before the first question."""

    name: str
    version: str
    backend: str = ""
    precision: str = "float32"
    operations: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def unit_roundoff(self) -> float:
        """Half the spacing of floats just above one, in the target's working precision."""
        return UNIT_ROUNDOFF[self.precision]

    @classmethod
    def from_wire(cls, ready: object) -> Handshake:
        """Read the object under `ready`.

        Raises
        ------
        TargetProtocolError
            When a field is missing or is not what the protocol says.
        """
        if not isinstance(ready, dict):
            raise TargetProtocolError('{"ready": {…}} as first line', short(ready))
        if ready.get("protocol") != PROTOCOL:
            raise TargetProtocolError(f"protocol {PROTOCOL}", f"protocol {ready.get('protocol')!r}")
        for key in ("name", "version"):
            if not isinstance(ready.get(key), str) or not ready[key]:
                raise TargetProtocolError(f"ready.{key} as text", repr(ready.get(key)))
        precision = ready.get("precision", "float32")
        if precision not in UNIT_ROUNDOFF:
            raise TargetProtocolError(f"precision in {sorted(UNIT_ROUNDOFF)}", repr(precision))
        operations = ready.get("operations", [])
        if not isinstance(operations, list) or not all(isinstance(o, str) for o in operations):
            raise TargetProtocolError("ready.operations as list of names", repr(operations))
        versions = ready.get("versions", {})
        if not isinstance(versions, dict):
            raise TargetProtocolError("ready.versions as object", repr(versions))
        return cls(
            name=ready["name"],
            version=ready["version"],
            backend=str(ready.get("backend") or ""),
            precision=precision,
            operations=tuple(operations),
            versions={str(k): str(v) for k, v in versions.items()},
        )


def check_answer(answer: Mapping[str, Any], identity: str) -> None:
    """Refuse what is not an answer to the question with this id.

    Raises
    ------
    TargetProtocolError
        When the id is another, or there is not exactly one kind of answer.
    """
    if answer.get("id") != identity:
        raise TargetProtocolError(f"answer with id {identity!r}", short(answer))
    if sum(key in answer for key in ANSWER_KEYS) != 1:
        raise TargetProtocolError(f"exactly one of {', '.join(ANSWER_KEYS)}", short(answer))


def short(thing: object, width: int = 200) -> str:
    """Show the beginning of what came, for a message."""
    text = repr(thing)
    return text if len(text) <= width else f"{text[:width]}… ({len(text)} characters)"
