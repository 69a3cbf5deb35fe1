"""Faults of configs and of calibration, which every kind of layer has to refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from quantcheck.properties.crossed.domain import (
    Choices,
    Fields,
    calibrated_choices,
    gptq_choices,
    int8_choices,
)
from quantcheck.properties.crossed.kinds import LayerKind


@dataclass(frozen=True)
class Fault:
    """What is wrong with a question, and what its refusal shows.

    Attributes
    ----------
    requirement, error : str
        The requirement that asks for the refusal, and the reference's type of error.
    arguments : mapping
        Arguments of the config that replace good ones.
    calibrated_with : mapping
        With what the model is calibrated, in place of what is good.
    """

    requirement: str
    error: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    calibrated_with: Mapping[str, str] = field(default_factory=dict)


OTHER_MODE, OTHER_AXIS, AXIS_TWICE, NO_AXIS = "mode", "axis", "axis twice", "axis beyond the rank"
AXES = {
    OTHER_AXIS: Fault("LAY-170", "AxisError"),
    AXIS_TWICE: Fault("LAY-170", "ConfigError"),
    NO_AXIS: Fault("LAY-170", "AxisError"),
}
CONFIGS = {
    "bits": Fault("CFG-080", "ConfigError", {"weight_bits": 5}),
    "groups": Fault("CFG-080", "ConfigError", {"group_size": 0}),
    "negative groups": Fault("CFG-080", "ConfigError", {"group_size": -2}),
}
CALIBRATIONS = {
    "damping": Fault("CFG-080", "ConfigError", {"hessian_damping": 1.5}),
    "samples": Fault("CFG-080", "ConfigError", {"num_samples": 0}),
    "length": Fault("CFG-080", "ConfigError", {"sequence_length": -1}),
    "string": Fault("CAL-180", "ConfigError", {}, {"dataset": "one string"}),
    "tokens": Fault("CAL-080", "DTypeError", {}, {"dataset": "no tokens"}),
    "tokenizer": Fault(
        "CAL-080", "ConfigError", {}, {"dataset": "list of strings", "tokenizer": "none"}
    ),
    "blocks": Fault("CAL-160", "ConfigError", {}, {"structure": "no blocks"}),
}
FAULTS = {OTHER_MODE: Fault("LAY-150", "ConfigError"), **AXES, **CONFIGS, **CALIBRATIONS}


def _faulty(
    choices: Callable[[LayerKind], Choices], *faults: str
) -> Callable[[LayerKind], Choices]:
    """Return the choices of faults; all else has the first value that it has in good questions."""

    def chosen(kind: LayerKind) -> Choices:
        plain = {name: values[:1] for name, values in choices(kind).items() if "." not in name}
        return {**plain, "fault": faults}

    return chosen


INT8 = _faulty(int8_choices, OTHER_MODE, *AXES)
PLACED = _faulty(int8_choices, OTHER_MODE)
GPTQ = _faulty(gptq_choices, *CONFIGS)
CALIBRATED = _faulty(calibrated_choices, OTHER_MODE, *CONFIGS, *CALIBRATIONS)


def fault_of(fields: Fields) -> Fault | None:
    """Return the fault of a draw, if it has one."""
    return FAULTS[fields["fault"]] if "fault" in fields else None


def faulty_config(
    mode: str, kind: LayerKind, fields: Fields, good: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the config of a draw with its fault, given the good one.

    Examples
    --------
    >>> from quantcheck.properties.crossed.kinds import LAYER_KINDS
    >>> faulty_config("int8", LAYER_KINDS[0], {"fault": "mode"}, {})
    {'class': 'GPTQConfig', 'arguments': {}}
    """
    name = fields["fault"]
    if name == OTHER_MODE:
        other = "GPTQConfig" if mode == "int8" else "Int8QuantizationConfig"
        return {"class": other, "arguments": {}}
    if name in AXES:
        quantizer = {"class": "AbsMaxQuantizer", "arguments": {"axis": _axis(name, kind)}}
        return {"class": good["class"], "arguments": {"weight_quantizer": quantizer}}
    return {"class": good["class"], "arguments": good["arguments"] | FAULTS[name].arguments}


def _axis(name: str, kind: LayerKind) -> Any:
    """Return an axis, or several, that do not fit the weights of a kind of layer."""
    first, rank = kind.contracted[0], len(kind.kernel)
    if name == AXIS_TWICE:
        return [first, first]
    if name == NO_AXIS:
        return rank
    single = kind.untied or len(kind.contracted) > 1
    return first if single else next(axis for axis in range(rank) if axis != first)
