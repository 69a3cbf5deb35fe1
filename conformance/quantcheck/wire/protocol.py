"""The protocol between the suite and a target: the form of each line.  [VER-060]

`quantcheck/wire/v1.schema.json` describes the same forms for other languages. The checks here are
faster, since they run for every line. A test compares them with the schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quantcheck.errors import TargetProtocolError

PROTOCOL = 1
UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}
ORDERS = ("block", "stages")
"""Orders of calibration: a block at once, or each layer after those whose outputs it gets."""
ANSWER_KEYS = ("outputs", "refused", "unsupported", "error")


@dataclass(frozen=True)
class Handshake:
    """The target's description of itself, sent before the first question.

    `choices`: the choices of SPEC.md that the target follows, see `quantcheck.judge.choices`.
    `rules`: the rules of appendix A that it follows in place of the default ones, see
    `quantcheck.deviations.declared`. `calibration_order`: one of `ORDERS`. `compiles`: whether the
    target compiles its code for each shape, so that each size of generated cases costs it time.
    """

    name: str
    version: str
    backend: str = ""
    precision: str = "float32"
    factor_precision: str | None = None
    operations: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    calibration_order: str = "block"
    compiles: bool = False

    @property
    def unit_roundoff(self) -> float:
        """Half the spacing of floats just above one, in the target's working precision."""
        return UNIT_ROUNDOFF[self.precision]

    @property
    def factor_roundoff(self) -> float | None:
        """That of the precision in which the target factors a Hessian, if it is declared."""
        return None if self.factor_precision is None else UNIT_ROUNDOFF[self.factor_precision]

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Handshake:
        """Read the first line that a target writes.

        Raises
        ------
        TargetProtocolError
            The line is no well-formed handshake.
        """
        if "ready" not in line:
            raise TargetProtocolError('{"ready": {…}} as first line', short(line))
        return cls.from_wire(line["ready"])

    @classmethod
    def from_wire(cls, ready: object) -> Handshake:
        """Read the object under `ready`.

        Raises
        ------
        TargetProtocolError
            A field is missing or has a wrong form.
        """
        if not isinstance(ready, dict):
            raise TargetProtocolError('{"ready": {…}} as first line', short(ready))
        version = ready.get("protocol")
        if version != PROTOCOL or isinstance(version, bool):
            raise TargetProtocolError(f"protocol {PROTOCOL}", f"protocol {ready.get('protocol')!r}")
        for key in ("name", "version"):
            if not isinstance(ready.get(key), str) or not ready[key]:
                raise TargetProtocolError(f"ready.{key} as text", repr(ready.get(key)))
        precision = ready.get("precision", "float32")
        if not isinstance(precision, str) or precision not in UNIT_ROUNDOFF:
            raise TargetProtocolError(f"precision in {sorted(UNIT_ROUNDOFF)}", repr(precision))
        factor = ready.get("factor_precision", precision)
        if not isinstance(factor, str) or factor not in UNIT_ROUNDOFF:
            expected = f"factor_precision in {sorted(UNIT_ROUNDOFF)}"
            raise TargetProtocolError(expected, repr(factor))
        order = ready.get("calibration_order", "block")
        if order not in ORDERS:
            raise TargetProtocolError(f"calibration_order in {list(ORDERS)}", repr(order))
        operations, choices = _names(ready, "operations"), _names(ready, "choices")
        backend = ready.get("backend", "")
        if not isinstance(backend, str):
            raise TargetProtocolError("ready.backend as text", repr(backend))
        versions = ready.get("versions", {})
        if not isinstance(versions, dict) or not all(isinstance(v, str) for v in versions.values()):
            raise TargetProtocolError("ready.versions as object of texts", repr(versions))
        return cls(
            name=ready["name"],
            version=ready["version"],
            backend=backend,
            precision=precision,
            factor_precision=ready.get("factor_precision"),
            operations=operations,
            versions=dict(versions),
            choices=choices,
            rules=_names(ready, "rules"),
            calibration_order=order,
            compiles=_flag(ready, "compiles"),
        )


def _flag(ready: Mapping[str, Any], key: str) -> bool:
    """Return a boolean in a handshake, false where it is left out."""
    value = ready.get(key, False)
    if not isinstance(value, bool):
        raise TargetProtocolError(f"ready.{key} as true or false", repr(value))
    return value


def _names(ready: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return a list of names in a handshake, empty where it is left out."""
    names = ready.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TargetProtocolError(f"ready.{key} as list of names", repr(names))
    return tuple(names)


def read_line(line: bytes, due: str) -> dict[str, Any]:
    """Read a line that must be a JSON object.

    Parameters
    ----------
    line : bytes
    due : str
        The expected kind of line, for the message.

    Raises
    ------
    TargetProtocolError
        The line is no JSON, or no object.
    """
    try:
        thing = json.loads(line)
    except (ValueError, RecursionError):
        raise TargetProtocolError(f"{due} as one line of JSON", short(line)) from None
    if not isinstance(thing, dict):
        raise TargetProtocolError(f"{due} as JSON object", short(line))
    return thing


def check_answer(answer: Mapping[str, Any], identity: str) -> None:
    """Raise unless this is an answer to the question with an id.

    Raises
    ------
    TargetProtocolError
        The id differs, or there is not exactly one kind of answer, or its type is wrong.
    """
    if answer.get("id") != identity:
        raise TargetProtocolError(f"answer with id {identity!r}", short(answer))
    kinds = [key for key in ANSWER_KEYS if key in answer]
    if len(kinds) != 1:
        raise TargetProtocolError(f"exactly one of {', '.join(ANSWER_KEYS)}", short(answer))
    (kind,) = kinds
    if not isinstance(answer[kind], dict if kind == "outputs" else str):
        wanted = "an object" if kind == "outputs" else "text"
        raise TargetProtocolError(f"{kind} as {wanted}", short(answer))


def short(thing: object, width: int = 200) -> str:
    """Return the beginning of a value as text, for a message."""
    text = repr(thing)
    return text if len(text) <= width else f"{text[:width]}… ({len(text)} characters)"
