"""Compares the fields of configs: by meaning, and by the one form that SPEC.md chose.  [CFG-140]

An activation quantizer without an axis quantizes along −1 (CFG-150). So a config that shows its
axis as null means the same as one that shows [-1], and only the form differs. So do 0 and [0].
A block size of null means the same as -1 (section 13), and either form is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantcheck.judge.findings import Judging

QUANTIZER = "activation_quantizer"


def changed(got: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Return the names of fields that mean something else than the expected ones.

    Examples
    --------
    >>> def config(axis):
    ...     return {"activation_quantizer": {"class": "AbsMaxQuantizer", "fields": {"axis": axis}}}
    >>> changed(config(None), config([-1])), changed(config([0]), config([-1]))
    ([], ['activation_quantizer'])
    """
    return [name for name in expected if _meaning(got, name) != _meaning(expected, name)]


def other_form(got: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Return the names of fields that mean the expected, in another form.

    Examples
    --------
    >>> quantizer = {"class": "AbsMaxQuantizer", "fields": {"axis": [-1]}}
    >>> other_form({"activation_quantizer": None}, {"activation_quantizer": quantizer})
    []
    """
    unlike = changed(got, expected)
    free = (*unlike, "block_size")
    return [name for name in expected if got.get(name) != expected[name] and name not in free]


def has_form(expected: Mapping[str, Any]) -> bool:
    """Tell whether a config has an axis that can be shown in two forms."""
    return isinstance(expected.get(QUANTIZER), Mapping) or expected.get("axis") is not None


def judge_form(collector: Judging, got: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Judge the form in which a config shows the axis of its activation quantizer.  [CFG-140]"""
    if has_form(expected):
        other = other_form(got, expected)
        message = "fields: in the form of SPEC.md"
        if other:
            name = other[0]
            message = f"field {name}: {got.get(name)!r} means {expected[name]!r}, in another form"
        collector.add("CFG-140", not other, message)


def _meaning(fields: Mapping[str, Any], name: str) -> Any:
    value = fields.get(name)
    if name == "block_size":
        return -1 if value is None and name in fields else value
    if name == "axis":
        return [value] if type(value) is int else value
    inner = value.get("fields") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(inner, Mapping) or "axis" not in inner:
        return value
    axis = _meaning(inner, "axis")
    if axis is None and name == QUANTIZER:
        axis = [-1]
    return {**value, "fields": {**inner, "axis": axis}}
