"""What a line to a target is, by the schema: a question or none, and what of it nobody knows.

The rules of SPEC.md, section 12, "Which answer", as far as they need no quantizer.  [VER-060]
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from quantcheck.wire.arrays import decode_array
from quantcheck.wire.schema import schema
from quantref.errors import DamagedVectorError

PARTS = ("parameters", "inputs")


def parse(line: bytes | str) -> Any:
    """Return the JSON of a line.

    Raises
    ------
    ValueError
        It is no JSON, or no UTF-8.

    Examples
    --------
    >>> parse(b'{"stop": {}}')
    {'stop': {}}
    """
    text = line if isinstance(line, str) else line.decode("utf-8")
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def why_no_question(message: Any) -> str | None:
    """Say what a message lacks of a question; None where it is one.

    Examples
    --------
    >>> why_no_question([1])
    'a JSON object'
    >>> why_no_question({"id": 5, "operation": "pack"})
    'id, a string that is not empty'
    >>> why_no_question({"id": "a", "operation": "factor", "parameters": {}, "inputs": {}})
    'inputs with hessian'
    """
    if not isinstance(message, dict):
        return "a JSON object"
    for name in ("id", "operation"):
        if not isinstance(message.get(name), str) or not message[name]:
            return f"{name}, a string that is not empty"
    for part in PARTS:
        if not isinstance(message.get(part), dict):
            return f"{part}, an object"
        for name in _rules(message["operation"], part).get("required", ()):
            if name not in message[part]:
                return f"{part} with {name}"
    return None


def unknown_name(question: Mapping[str, Any]) -> str | None:
    """Return a parameter or input that the operation does not have, if the question has one.

    Examples
    --------
    >>> unknown_name({"operation": "factor", "parameters": {"damping": 0}, "inputs": {}})
    'parameters.damping'
    """
    operation = question["operation"]
    if f"{operation}-question" not in schema()["$defs"]:
        return None
    for part in PARTS:
        known = _rules(operation, part).get("properties", {})
        for name in question[part]:
            if name not in known:
                return f"{part}.{name}"
    known = schema()["$defs"]["blocks"]["items"]["properties"]
    blocks = question["parameters"].get("blocks")
    for block in blocks if isinstance(blocks, list) else ():
        for name in block if isinstance(block, dict) else ():
            if name not in known:
                return f"parameters.blocks.{name}"
    return None


def wrong_parameter(question: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return a parameter of another type than its operation gives, as what was expected and got.

    Examples
    --------
    >>> wrong_parameter({"operation": "pack", "parameters": {"bits": 4.0, "axis": 0}})
    ("bits as {'type': 'integer'}", '4.0')
    """
    rules = _rules(question["operation"], "parameters").get("properties", {})
    for name, value in question["parameters"].items():
        if name in rules and not _fits(value, rules[name]):
            return f"{name} as {_resolved(rules[name])}", f"{value!r:.80}"
    return None


def decode_inputs(question: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of a question: an array for an array, a list for a list.  [VEC-020]

    Raises
    ------
    DamagedVectorError
        An array breaks VEC-020, or there is one for several.
    """
    rules = _rules(question["operation"], "inputs").get("properties", {})
    return {name: _decoded(name, value, rules) for name, value in question["inputs"].items()}


def _decoded(name: str, value: Any, rules: Mapping[str, Any]) -> Any:
    several = rules.get(name, {}).get("$ref", "").endswith("/arrays")
    if not several:
        return decode_array(value, f"inputs.{name}")
    if not isinstance(value, list):
        raise DamagedVectorError(f"inputs.{name}: a list of arrays", f"{value!r:.80}", "VEC-020")
    return [decode_array(item, f"inputs.{name}[{k}]") for k, item in enumerate(value)]


def _rules(operation: str, part: str) -> dict[str, Any]:
    """Return what the schema says about the parameters or inputs of an operation, {} for others."""
    question = schema()["$defs"].get(f"{operation}-question", {"properties": {}})
    rules: dict[str, Any] = question["properties"].get(part, {})
    return rules


def _resolved(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in rule:
        return rule
    named: Mapping[str, Any] = schema()["$defs"][rule["$ref"].rpartition("/")[2]]
    return named


def _fits(value: Any, rule: Mapping[str, Any]) -> bool:
    """Tell whether a value follows a rule of the schema, of the kinds that parameters have."""
    rule = _resolved(rule)
    if "anyOf" in rule:
        return any(_fits(value, one) for one in rule["anyOf"])
    if "enum" in rule:
        return any(type(value) is type(one) and value == one for one in rule["enum"])
    types = rule.get("type", [])
    if not any(_is(value, kind) for kind in ([types] if isinstance(types, str) else types)):
        return False
    if isinstance(value, list):
        inside = rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value))
        return inside and all(_fits(item, rule["items"]) for item in value)
    if isinstance(value, dict):
        return all(_items_fit(value, rule))
    return "minimum" not in rule or bool(value >= rule["minimum"])


def _items_fit(value: Mapping[str, Any], rule: Mapping[str, Any]) -> Iterator[bool]:
    yield set(rule.get("required", ())) <= set(value)
    for name, one in rule.get("properties", {}).items():
        yield name not in value or _fits(value[name], one)


def _is(value: Any, kind: str) -> bool:
    """Tell whether a value is of a type of JSON Schema; 4.0 is no integer, True no number."""
    if isinstance(value, bool):
        return kind == "boolean"
    kinds: dict[str, type | tuple[type, ...]] = {
        "null": type(None), "integer": int, "number": (int, float), "string": str,
        "array": list, "object": dict,
    }  # fmt: skip
    return kind in kinds and isinstance(value, kinds[kind])
