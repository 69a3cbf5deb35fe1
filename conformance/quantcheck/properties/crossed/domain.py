"""Domains: the full cross of what a property draws, from which `quantcheck interface` counts.

A domain has fields, and the values of each field for a kind of layer. A draw takes one value of
each field, one policy and one use, all independent of each other. So every value occurs together
with every policy and use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantcheck.properties.crossed.kinds import REVERSIBLE, LayerKind
from quantcheck.wire.policies import ALONE, CALIBRATED_WITH

OMIT = "left out"
QUANTIZER = "a quantizer"
SAVED = "saved"
Fields = dict[str, Any]
Choices = Mapping[str, tuple[Any, ...]]

RANGES = (OMIT, [-127, 127], [-128, 127], [-63, 63])
EPSILONS = (OMIT, 1e-7, 3e-9, 0.25)
CODES = (OMIT, "int8")
WIDE_RANGES = (*RANGES, [-1000, 1000])
ALL_CODES = (OMIT, "int8", "uint8", "int16", "uint16", "int32", "uint32")
"""Activations may have codes of other dtypes; a config refuses those of weights (CFG-060)."""
AXES: tuple[Any, ...] = (OMIT, None, 0, -1, [0, 1], [-1], [])
WITHOUT_EFFECT = (OMIT, None, -1, [-1])
"""Stored axes of activation quantizers that mean −1, as in the reverse of an embedding."""
GIVEN, NULL = "given", "null"
CALIBRATION = (
    "num_samples", "sequence_length", "hessian_damping", "symmetric", "activation_order",
)  # fmt: skip
FILTERS = (NULL, "name", "function")


@dataclass(frozen=True)
class Domain:
    """What a property draws.

    Attributes
    ----------
    identity, title : str
    mode : str
        "int8", "gptq", or "calibrated": GPTQ, whose codes are read.
    kinds : tuple of LayerKind
    policies, uses : tuple of str
        Names of dtype policies; uses of `quantcheck.wire.policies`, and `SAVED`.
    choices : callable
        Returns the values of each field for a kind of layer.
    places : tuple of str
        Where layers stand: of `quantcheck.wire.policies`.
    """

    identity: str
    mode: str
    kinds: tuple[LayerKind, ...]
    policies: tuple[str, ...]
    uses: tuple[str, ...]
    choices: Callable[[LayerKind], Choices]
    places: tuple[str, ...] = (ALONE,)

    def fields(self, kind: LayerKind) -> Iterator[Fields]:
        """Yield fields in which every value of every field occurs."""
        choices = self.choices(kind)
        first = {name: values[0] for name, values in choices.items()}
        for name, values in choices.items():
            owner = name.partition(".")[0]
            for value in values:
                made = {**first, name: value}
                yield {**made, owner: QUANTIZER} if "." in name else made


def int8_choices(kind: LayerKind) -> Choices:
    """Return the choices for a config of two quantizers; that of weights stores fitting axes."""
    return {**_int8(kind), "weight.axis": _fitting(kind)} if not kind.untied else _int8(kind)


def axis_choices(kind: LayerKind) -> Choices:
    """Return the choices for a weight quantizer that stores no axis.  [LAY-170]"""
    return {**_int8(kind), "weight": (QUANTIZER,), "weight.axis": (OMIT, None), "config": (GIVEN,)}


def _int8(kind: LayerKind) -> Choices:
    weight = (OMIT, None) if kind.untied else (OMIT, None, QUANTIZER)
    quantizer = {"value_range": RANGES, "epsilon": EPSILONS, "output_dtype": CODES}
    wide = {**quantizer, "value_range": WIDE_RANGES, "output_dtype": ALL_CODES}
    return {
        "weight": weight,
        "activation": (OMIT, "default", None, QUANTIZER),
        **{f"weight.{name}": values for name, values in quantizer.items()},
        **{f"activation.{name}": values for name, values in wide.items()},
        "activation.axis": AXES,
        "mode": (GIVEN, NULL, OMIT),
        "config": (GIVEN, NULL, OMIT),
        "type_check": (OMIT, True, False),
        "reverse": (False, True) if kind.family == REVERSIBLE else (False,),
    }


def _fitting(kind: LayerKind) -> tuple[Any, ...]:
    """Return the ways to write the contracted axes of a kernel."""
    axes, rank = kind.contracted, len(kind.kernel)
    if len(axes) == 1:
        return (axes[0], axes[0] - rank, [axes[0]], [axes[0] - rank])
    return (list(axes), [a - rank for a in axes])


def placed_choices(kind: LayerKind) -> Choices:
    """Return the choices for a layer of a model, whose `quantize` has filters too."""
    return {**int8_choices(kind), "filters": (OMIT, *FILTERS)}


def gptq_choices(_: LayerKind) -> Choices:
    """Return the choices for a packed kernel."""
    return {
        "weight_bits": (4, OMIT, 2, 3, 8),
        "group_size": (4, OMIT, -1, 1),
        "per_channel": (OMIT, True, False),
        "mode": (GIVEN, NULL, OMIT),
        "type_check": (OMIT, True, False),
    }


def calibrated_choices(kind: LayerKind) -> Choices:
    """Return the choices for a packed layer of a model, which is calibrated first."""
    return {
        **gptq_choices(kind),
        "num_samples": (4, OMIT, 1),
        "sequence_length": (64, OMIT, 1),
        "hessian_damping": (0.5, OMIT, 0.0, 1.0),
        "symmetric": (OMIT, True, False),
        "activation_order": (OMIT, True, False),
        "filters": (OMIT, *FILTERS),
        **CALIBRATED_WITH,
    }


def calibrated_with(fields: Fields) -> dict[str, Any]:
    """Return with what a model is calibrated."""
    return {name: fields[name] for name in CALIBRATED_WITH}


def _calibration(fields: Fields) -> dict[str, Any]:
    """Return the arguments of a GPTQConfig that calibration heeds.

    Without damping the Hessian has to be regular, so that it needs more tokens than columns.
    """
    given = {name: fields[name] for name in CALIBRATION if fields.get(name, OMIT) != OMIT}
    if given.get("hessian_damping") == 0:
        given |= {"num_samples": 4, "sequence_length": 64}
    return given


def config_of(mode: str, fields: Fields) -> dict[str, Any]:
    """Return the description of the config of a draw.

    Examples
    --------
    >>> config_of("gptq", {"weight_bits": 8, "group_size": OMIT, "per_channel": True})
    {'class': 'GPTQConfig', 'arguments': {'weight_bits': 8, 'per_channel': True}}
    """
    if mode != "int8":
        names = ("weight_bits", "group_size", "per_channel")
        given = {name: fields[name] for name in names if fields[name] != OMIT}
        return {"class": "GPTQConfig", "arguments": given | _calibration(fields)}
    arguments = {}
    for part in ("weight", "activation"):
        if fields["config"] == GIVEN and fields[part] != OMIT:
            made = _quantizer(part, fields) if fields[part] == QUANTIZER else fields[part]
            arguments[f"{part}_quantizer"] = made
    return {"class": "Int8QuantizationConfig", "arguments": arguments}


def _quantizer(part: str, fields: Fields) -> dict[str, Any]:
    names = ("axis", "value_range", "epsilon", "output_dtype")
    values = {name: fields.get(f"{part}.{name}", OMIT) for name in names}
    given = {name: value for name, value in values.items() if value != OMIT}
    return {"class": "AbsMaxQuantizer", "arguments": fitting_codes(given)}


def fitting_codes(given: dict[str, Any]) -> dict[str, Any]:
    """Return arguments whose range lies in the dtype of the codes; a quantizer refuses others.

    Examples
    --------
    >>> fitting_codes({"output_dtype": "uint8"})
    {'output_dtype': 'uint8', 'value_range': [0, 127]}
    """
    unsigned = given.get("output_dtype", "int8").startswith("u")
    if unsigned and given.get("value_range", RANGES[1])[0] < 0:
        return {**given, "value_range": [0, 127]}
    narrow = given.get("output_dtype", "int8") == "int8"
    wide = given.get("value_range") == WIDE_RANGES[-1]
    return {**given, "output_dtype": "int16"} if narrow and wide else given


def arguments_of(fields: Fields) -> dict[str, Any]:
    """Return how `quantize` is called; without a config it needs a mode."""
    config = fields.get("config", GIVEN)
    made = {} if config == GIVEN else {"config": config}
    if fields["mode"] != GIVEN and config == GIVEN:
        made["mode"] = fields["mode"]
    extra = {name: fields.get(name, OMIT) for name in ("type_check", "filters")}
    return made | {name: value for name, value in extra.items() if value != OMIT}


def reversed_of(kind: LayerKind, fields: Fields) -> bool:
    """Tell whether an embedding is called in reverse.

    Where the activation quantizer stores an axis that is not the last one, it is not: its effect is
    a choice (LAY-170), which other questions ask about.
    """
    given = fields["config"] == GIVEN and fields["activation"] == QUANTIZER
    stored = fields["activation.axis"] if given else OMIT
    return kind.family == REVERSIBLE and bool(fields["reverse"]) and stored in WITHOUT_EFFECT
