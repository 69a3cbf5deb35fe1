"""Golden vectors: the type of a case, its canonical text, and loading (SPEC.md, section 11).

A vector is plain JSON. It can be read without Python, and nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantcheck.spec.places import directory
from quantcheck.wire.arrays import decode, encode
from quantcheck.wire.recipes import Inputs, read, written
from quantref.errors import DamagedVectorError

FORMAT = 1
FIELDS = (
    "header", "id", "section", "title", "operation", "requirements", "parameters", "inputs",
    "expected", "judging", "kills",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """One golden vector.

    Attributes
    ----------
    id, section, title, operation : str
    requirements : tuple of str
        The requirements that the case covers. The first one fails if no more specific one does.
    parameters, inputs : dict
        Arguments of the operation; inputs hold arrays (or lists of arrays), some made by recipe.
    expected : dict
        {"outputs": {name: array}}, {"refused": name of the error type}, or, where the certificate
        alone judges, {"forms": {name: {"dtype", "shape"}}}.
    judging : dict
        Margins, required codes and bounds; see SPEC.md, section 11.
    kills : tuple of str
        Ids of the mutants that fail this case.
    """

    id: str
    section: str
    title: str
    operation: str
    requirements: tuple[str, ...]
    parameters: dict[str, Any]
    inputs: Mapping[str, Any]
    expected: dict[str, Any]
    judging: dict[str, Any] = field(default_factory=dict)
    kills: tuple[str, ...] = ()

    @property
    def by_recipe(self) -> bool:
        """Whether inputs are made by recipe."""
        return isinstance(self.inputs, Inputs)

    @property
    def large(self) -> bool:
        """Whether the case is asked with `--large` alone."""
        return isinstance(self.inputs, Inputs) and self.inputs.large

    def question(self, *, made: bool = True) -> dict[str, Any]:
        """Return the question that a target is asked; unless `made`, recipes stay recipes.

        [VER-060] [VEC-080]
        """
        return {
            "id": self.id,
            "operation": self.operation,
            "parameters": self.parameters,
            "inputs": encode(dict(self.inputs)) if made else written(self.inputs),
        }


def dump(case: Case, *, generator: str, spec: str) -> str:
    """Return the canonical text of a case.  [VEC-010] [VEC-030]"""
    body: dict[str, Any] = {
        "id": case.id,
        "section": case.section,
        "title": case.title,
        "operation": case.operation,
        "requirements": list(case.requirements),
        "parameters": case.parameters,
        "inputs": written(case.inputs),
        "expected": encode(case.expected),
        "judging": encode(case.judging),
        "kills": list(case.kills),
    }
    header = {
        "format": FORMAT,
        "generator": generator,
        "spec": spec,
        "sha256": content_hash(body),
    }
    return pretty({"header": header, **body}) + "\n"


def content_hash(body: dict[str, Any]) -> str:
    """Return the SHA-256 of the body as JSON without spaces, keys sorted.  [VEC-030]"""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def pretty(value: Any, indent: str = "") -> str:
    """Return JSON with one line per key, lists of numbers on one line.

    Examples
    --------
    >>> print(pretty({"a": [1, 2], "b": {}}))
    {
     "a": [1, 2],
     "b": {}
    }
    """
    inner = indent + " "
    if isinstance(value, dict) and value:
        items = [f"{inner}{json.dumps(k)}: {pretty(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(items) + "\n" + indent + "}"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return "[\n" + ",\n".join(inner + pretty(v, inner) for v in value) + "\n" + indent + "]"
    return json.dumps(value, allow_nan=False)


def parse(text: str, where: str) -> Case:
    """Return the case of a file's text.  [VEC-010] [VEC-030]

    Raises
    ------
    DamagedVectorError
        The text is not JSON, a field is missing or unknown, or format or hash are wrong. The
        message names file and field.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise DamagedVectorError(f"{where}: JSON", str(error), "VEC-010") from None
    if not isinstance(data, dict) or set(data) != set(FIELDS):
        keys = sorted(set(data) ^ set(FIELDS)) if isinstance(data, dict) else type(data).__name__
        raise DamagedVectorError(f"{where}: fields {', '.join(FIELDS)}", f"{keys}", "VEC-010")
    header = data.pop("header")
    _require_header(header, data, where)
    _require_kinds(data, where)
    return Case(
        id=data["id"],
        section=data["section"],
        title=data["title"],
        operation=data["operation"],
        requirements=tuple(data["requirements"]),
        parameters=data["parameters"],
        inputs=read(data["inputs"], f"{where}: inputs"),
        expected=decode(data["expected"], f"{where}: expected"),
        judging=decode(data["judging"], f"{where}: judging"),
        kills=tuple(data["kills"]),
    )


def _require_header(header: Any, data: dict[str, Any], where: str) -> None:
    """Raise unless format and content hash are right.  [VEC-030]"""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        got = f"{header.get('format') if isinstance(header, dict) else header!r}"
        raise DamagedVectorError(f"{where}: header.format {FORMAT}", got, "VEC-010")
    digest = content_hash(data)
    if header.get("sha256") != digest:
        got = f"content {digest[:16]}…"
        raise DamagedVectorError(f"{where}: header.sha256 {header.get('sha256')}", got, "VEC-030")


def _require_kinds(data: dict[str, Any], where: str) -> None:
    """Raise unless every field has a value of the right kind.  [VEC-010]"""
    for name in ("id", "section", "title", "operation"):
        if not isinstance(data[name], str):
            raise DamagedVectorError(f"{where}: {name} a string", f"{data[name]!r}", "VEC-010")
    for name in ("parameters", "inputs", "expected", "judging"):
        if not isinstance(data[name], dict):
            raise DamagedVectorError(f"{where}: {name} an object", f"{data[name]!r:.40}", "VEC-010")
    for name in ("requirements", "kills"):
        if not isinstance(data[name], list) or not all(isinstance(v, str) for v in data[name]):
            raise DamagedVectorError(f"{where}: {name} strings", f"{data[name]!r:.40}", "VEC-010")


def _refuse_constant(name: str) -> float:
    """Refuse NaN and Infinity without quotes, which are not JSON."""
    raise ValueError(f"{name} is not JSON; special values are strings")


def load(path: str | Path) -> Case:
    """Return the case in a file; errors name file and field."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedVectorError(
            f"{file.name}: a readable text file", str(error), "VEC-010"
        ) from None
    case = parse(text, file.name)
    if file.stem != case.id or file.parent.name != case.section:
        got = f"{case.section}/{case.id}"
        raise DamagedVectorError(f"{file.name}: {file.parent.name}/{file.stem}", got, "VEC-010")
    return case


def load_all(folder: str | Path | None = None) -> list[Case]:
    """Return all cases of a folder, after a check of MANIFEST.json.  [VEC-040]

    Raises
    ------
    DamagedVectorError
        A file is missing, damaged, or not in the manifest.
    """
    root = directory() if folder is None else Path(folder)
    manifest = root / "MANIFEST.json"
    try:
        listed = dict(json.loads(manifest.read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedVectorError(f"{manifest.name} with files", f"{error!r}", "VEC-040") from None
    present = {path.relative_to(root).as_posix() for path in root.glob("*/*.json")}
    if present != set(listed):
        got = ", ".join(sorted(present ^ set(listed))[:5])
        raise DamagedVectorError("the files of MANIFEST.json, no more, no fewer", got, "VEC-040")
    cases = []
    for name, digest in listed.items():
        data = (root / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise DamagedVectorError(f"{name} with SHA-256 {digest}", "another", "VEC-040")
        cases.append(load(root / name))
    return cases
