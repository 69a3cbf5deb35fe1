"""Cases of the config of section FOUR: defaults, round trips, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quantcheck.corpus.cfg import DEFAULT_ABSMAX
from quantcheck.corpus.draw import refused
from quantcheck.wire.cases import Case

NAME = "Int4QuantizationConfig"
DEFAULT_INT4: dict[str, Any] = {
    "mode": "int4",
    "weight_quantizer": None,
    "activation_quantizer": None,
    "block_size": 128,
}
FOUR_BITS: dict[str, Any] = {"value_range": [-8, 7]}
"""Arguments of a weight quantizer; its codes are int8."""


def quantizer(arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the description of an AbsMaxQuantizer, and how an answer shows it."""
    fields = {**DEFAULT_ABSMAX, **arguments}
    if isinstance(fields["axis"], int):
        fields["axis"] = [fields["axis"]]
    name = "AbsMaxQuantizer"
    return {"class": name, "arguments": arguments}, {"class": name, "fields": fields}


def config_case(identity: str, title: str, arguments: dict[str, Any], changes: Any) -> Case:
    """Return the case of a config; `changes`: the fields that are not the default ones."""
    fields = {**DEFAULT_INT4, **changes}
    default = arguments.get("activation_quantizer", "default") == "default"
    nested = any(isinstance(value, dict) for value in arguments.values())
    requirements = (
        *(("CFG-090",) if nested else ()),
        "FOUR-140",
        *(("FOUR-180",) if default else ()),
        *(("CFG-140",) if fields["activation_quantizer"] else ()),
        *(("CFG-090",) if arguments and not nested else ()),
    )
    return Case(
        identity, "four", title, "config_round_trip", requirements,
        {"class": NAME, "arguments": arguments}, {}, {"outputs": {"fields": fields}},
    )  # fmt: skip


def refused_config(identity: str, title: str, requirement: str, arguments: Any) -> Case:
    """Return the case of a config that has to be refused."""
    described = {"class": NAME, "arguments": arguments}
    return refused(
        "four", identity, title, "config_round_trip", requirement, "ConfigError", described, {}
    )


def int4_config_cases() -> Iterator[Case]:
    """Yield the cases of Int4QuantizationConfig."""
    yield config_case("four-config-default", "documented defaults", {}, {})
    title = 'activations stay as they are where "default" is given'
    given: dict[str, Any] = {"activation_quantizer": "default", "block_size": -1}
    yield config_case("four-config-activation", title, given, {"block_size": -1})
    for name, title, size in (
        ("blocks", "groups of 32 rows", 32), ("rows", "groups of one row", 1),
        ("channel", "one group per channel, written -1", -1),
        ("none", "one group per channel, written None", None),
    ):  # fmt: skip
        given = {"block_size": size}
        yield config_case(f"four-config-{name}", title, given, given)
    weights, shown_weights = quantizer({**FOUR_BITS, "axis": 0, "epsilon": 1e-05})
    inputs, shown_inputs = quantizer({"axis": -1, "value_range": [-100, 100]})
    nested = {"weight_quantizer": weights, "activation_quantizer": inputs}
    shown = {"weight_quantizer": shown_weights, "activation_quantizer": shown_inputs}
    channel = {"block_size": -1}
    yield config_case("four-config-nested", "quantizers per channel keep axis and ranges",
                      {**nested, **channel}, {**shown, **channel})  # fmt: skip
    for name, title, low in (("zero", "groups of no rows", 0), ("low", "groups of -2 rows", -2)):
        identity = f"four-refuse-config-block-{name}"
        yield refused_config(identity, title, "FOUR-150", {"block_size": low})
    for name, described in nested.items():
        identity = f"four-refuse-config-{name.partition('_')[0]}"
        title = f"a {name} with groups".replace("a act", "an act")
        given = {name: described, "block_size": 32}
        yield refused_config(identity, title, "FOUR-160", given)
    for name, title, changes in (
        ("range", "a weight quantizer of 8 bits", {"value_range": [-127, 127]}),
        ("symmetric", "a weight quantizer of -7 … 7", {"value_range": [-7, 7]}),
        ("dtype", "a weight quantizer of int16 codes", {**FOUR_BITS, "output_dtype": "int16"}),
    ):
        identity = f"four-refuse-config-{name}"
        given = {"weight_quantizer": quantizer(changes)[0], **channel}
        yield refused_config(identity, title, "FOUR-170", given)
