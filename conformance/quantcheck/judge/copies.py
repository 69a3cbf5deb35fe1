"""Judges of what is made of a quantized layer: a file, a clone, a layer deserialized, a second try.

A copy has the codes of the layer. So its outputs are the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from quantcheck.judge import fields
from quantcheck.judge.findings import Judging
from quantcheck.wire.policies import CALLED_TWICE, COPIED, TWICE, place_of, use_of
from quantref.absmax import AbsMaxQuantizer
from quantref.errors import AnswerError, QuantrefError
from quantref.inputs import Array

Fits = Callable[[Array, Any], bool]


def judge_copies(collector: Judging, fits: Fits | None = None) -> None:
    """Judge outputs and fields of the copies that a question asks for.

    Parameters
    ----------
    collector : Judging
    fits : callable, optional
        Tells whether outputs are right for another activation quantizer. If those of the loaded
        layer are right for the loaded config, the config is wrong, and not the outputs.
    """
    parameters = collector.case.parameters
    if parameters["reload"]:  # [LAY-130] [LAY-140]
        changed = _changed(collector)
        explained = bool(changed) and fits is not None and _as_configured(collector, fits)
        _judge_same(collector, "reloaded", "LAY-140" if explained else "LAY-130")
        _judge_fields(collector, changed, "LAY-140", "the reload")
    if place_of(parameters) == CALLED_TWICE:  # [LAY-250]
        _judge_same(collector, "second", "LAY-250")
    if "calibrated_with" in parameters:  # [CAL-090] [LAY-250]
        calibrated = collector.outputs.get("calibrated") is True
        was = "gave" if calibrated else "did not give"
        for requirement in ("CAL-090", "LAY-250"):
            collector.add(requirement, calibrated, f"quantizing the model {was} the layer codes")
    use = use_of(parameters)
    if use in COPIED:  # [LAY-200]
        _judge_same(collector, "again", "LAY-200")
        _judge_fields(collector, _changed(collector), "LAY-200", "the copy")
    if use == TWICE:  # [LAY-240]
        _judge_same(collector, "again", "LAY-240")


def _fields(collector: Judging) -> Mapping[str, Any]:
    got = collector.outputs.get("fields")
    if not isinstance(got, dict):
        raise AnswerError("output 'fields', an object", type(got).__name__, collector.case.id)
    return got


def _changed(collector: Judging) -> list[str]:
    return fields.changed(_fields(collector), collector.expected["fields"])


def _judge_same(collector: Judging, name: str, requirement: str) -> None:
    """Judge that later outputs have the bits of the first ones."""
    values, later = collector.output("values"), collector.output(name)
    wrong = values != later
    index = tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.any() else None
    message = f"{name}: {int(wrong.sum())} of {wrong.size} differ from values"
    details: dict[str, Any] = {"index": index}
    if index is not None:
        details |= {"got": str(later[index]), "expected": str(values[index])}
        message += f"; at {list(index)} before {values[index]}, after {later[index]}"
    same = not wrong.any() and values.dtype == later.dtype
    collector.add(requirement, same, message, **details)


def _judge_fields(collector: Judging, changed: list[str], requirement: str, after: str) -> None:
    got, expected = _fields(collector), collector.expected["fields"]
    message = f"fields: all equal after {after}"
    if changed:
        key = changed[0]
        message = f"field {key}: expected {expected[key]!r}, got {got.get(key)!r}"
    collector.add(requirement, not changed, message)
    fields.judge_form(collector, got, expected)


def _as_configured(collector: Judging, fits: Fits) -> bool:
    """Tell whether the loaded layer's outputs are right for the loaded config."""
    given = _fields(collector).get("activation_quantizer")
    try:
        quantizer = None if given is None else AbsMaxQuantizer(**given["fields"])
    except (KeyError, QuantrefError, TypeError):
        return False
    return fits(collector.output("reloaded"), quantizer)
