"""Questions of the smoke test: a small valid one per operation, and invalid ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantcheck.wire import schema as wire

if TYPE_CHECKING:
    from quantcheck.wire.cases import Case

SMALL = 4  # least size of an input, since a single element cannot show a wrong shape
USUAL = ("float32", "float64", "int8", "uint8", "int32")
WRONG = {
    "bits": 99,
    "axis": 99,
    "class": "NoSuchClass",
    "sequence_length": 0,
}  # values outside the domain of parameters
UNKNOWN = {"operation": "no_such_operation", "parameters": {}, "inputs": {}}


@dataclass(frozen=True)
class Probe:
    """A valid question, and outputs that have the form of a right answer.

    Attributes
    ----------
    operation : str
    question : dict
        As on the wire.
    outputs : dict
        Expected outputs, of which only names, shapes and kinds are used.
    """

    operation: str
    question: dict[str, Any]
    outputs: Mapping[str, Any]


def probes(cases: Iterable[Case]) -> list[Probe]:
    """Choose the smallest vector of each operation that has an expected answer.

    Calibrated layers have none: the certificate judges them.

    Parameters
    ----------
    cases : iterable of Case
        The vectors.

    Returns
    -------
    list of Probe
        In the order in which the cases name the operations.
    """
    found: dict[str, list[Case]] = {}
    for case in cases:
        if "outputs" in case.expected:
            found.setdefault(case.operation, []).append(case)
    chosen = (min(group, key=_size) for group in found.values())
    return [
        Probe(
            case.operation,
            {**case.question(), "id": f"smoke-{case.operation}"},
            case.expected["outputs"],
        )
        for case in chosen
    ]


def _size(case: Case) -> tuple[bool, int]:
    """Return a sort key: cases that can show a wrong shape come first, then shorter ones."""
    arrays = [a for value in case.inputs.values() for a in _arrays(value)]
    telling = all(a.dtype.name in USUAL for a in arrays)
    telling = telling and max((a.size for a in arrays), default=SMALL) >= SMALL
    return not telling, len(json.dumps(case.question()))


def _arrays(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def misfit(probe: Probe, outputs: object) -> str | None:
    """Return how outputs differ in form from those of a right answer; values are ignored.

    Returns
    -------
    str or None
        The expected and the given form; None if the form is right.
    """
    from quantcheck.wire.arrays import decode_array
    from quantref.errors import QuantrefError

    definition = f"{probe.operation}-outputs"
    if definition in wire.schema()["$defs"]:
        fault = wire.fault(definition, outputs)
        if fault is not None:
            return f"outputs{fault.removeprefix('$')}"
    if not isinstance(outputs, dict):
        return f"expected outputs as object, got {type(outputs).__name__}"
    for name, expected in probe.outputs.items():
        if not isinstance(expected, np.ndarray):
            if not isinstance(outputs.get(name), type(expected)):
                return f"expected {name} as JSON {type(expected).__name__}"
            continue
        try:
            got = decode_array(outputs.get(name), name)
        except QuantrefError as error:
            return str(error)
        if got.shape != expected.shape:
            return f"expected {name} of shape {list(expected.shape)}, got {list(got.shape)}"
    return None


def invalidate(question: Mapping[str, Any]) -> dict[str, Any]:
    """Change a valid question so that it must be refused.

    Examples
    --------
    >>> x = {"dtype": "float32", "shape": [1], "data": [0.5]}
    >>> invalidate({"id": "a", "inputs": {"x": x}})["inputs"]["x"]["data"]
    ['NaN']
    """
    made: dict[str, Any] = json.loads(json.dumps(question))
    for value in made["inputs"].values():
        for array in _arrays(value):
            if array["dtype"].endswith(("16", "32", "64")) and "float" in array["dtype"]:
                array["data"][0] = "NaN"
                return made
    for name, wrong in WRONG.items():
        if name in made["parameters"]:
            made["parameters"][name] = wrong
            break
    return made
