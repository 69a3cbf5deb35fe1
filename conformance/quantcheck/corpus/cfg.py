"""Cases of section CFG: defaults, round trips, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quantcheck.corpus.draw import refused
from quantcheck.wire.cases import Case

DEFAULT_ABSMAX: dict[str, Any] = {
    "axis": None,
    "value_range": [-127, 127],
    "epsilon": 1e-07,
    "output_dtype": "int8",
}
DEFAULT_GPTQ: dict[str, Any] = {
    "mode": "gptq",
    "weight_bits": 4,
    "num_samples": 128,
    "per_channel": True,
    "sequence_length": 512,
    "hessian_damping": 0.01,
    "group_size": 128,
    "symmetric": False,
    "activation_order": False,
}


def _config(
    identity: str, title: str, requirement: str, name: str, arguments: Any, fields: Any
) -> Case:
    stored = ("CFG-150", "CFG-100", "CFG-120") if name == "AbsMaxQuantizer" else ()
    form = ("CFG-140",) if fields.get("activation_quantizer") else ()
    kept = () if identity.endswith("-default") else ("CFG-090",)
    return Case(
        f"cfg-{identity}",
        "cfg",
        title,
        "config_round_trip",
        tuple(dict.fromkeys((requirement, *form, *stored, *kept))),
        {"class": name, "arguments": arguments},
        {},
        {"outputs": {"fields": fields}},
    )


def got_case(identity: str, title: str, name: str, route: str, arguments: Any, fields: Any) -> Case:
    """Return the case of a quantizer that is found by one of the routes of section 12."""
    parameters = {"class": name, "arguments": arguments, "route": route}
    outputs = {"outputs": {"fields": fields}}
    return Case(identity, "cfg", title, "config_round_trip", ("CFG-160",), parameters, {}, outputs)


def _bad_config(identity: str, title: str, requirement: str, name: str, arguments: Any) -> Case:
    error = "ValueRangeError" if "range" in identity else "ConfigError"
    return refused(
        "cfg",
        f"cfg-refuse-{identity}",
        title,
        "config_round_trip",
        requirement,
        error,
        {"class": name, "arguments": arguments},
        {},
    )


def cfg_cases() -> Iterator[Case]:
    """Yield the cases of section CFG."""
    quantizer = {"class": "AbsMaxQuantizer", "fields": {**DEFAULT_ABSMAX, "axis": [-1]}}
    int8 = {"mode": "int8", "weight_quantizer": None, "activation_quantizer": quantizer}
    yield _config(
        "absmax-default",
        "defaults of AbsMaxQuantizer",
        "CFG-150",
        "AbsMaxQuantizer",
        {},
        DEFAULT_ABSMAX,
    )
    yield _config(
        "absmax-axis",
        "an integer axis is stored as a tuple",
        "CFG-150",
        "AbsMaxQuantizer",
        {"axis": 0},
        {**DEFAULT_ABSMAX, "axis": [0]},
    )
    yield _config(
        "absmax-axes",
        "several axes",
        "CFG-150",
        "AbsMaxQuantizer",
        {"axis": [0, -1]},
        {**DEFAULT_ABSMAX, "axis": [0, -1]},
    )
    arguments: dict[str, Any] = {"axis": -1, "value_range": [-8, 7], "epsilon": 1e-05}
    yield _config(
        "absmax-range",
        "range and epsilon survive",
        "CFG-100",
        "AbsMaxQuantizer",
        arguments,
        {**DEFAULT_ABSMAX, **arguments, "axis": [-1]},
    )
    full: dict[str, Any] = {
        "axis": [1],
        "value_range": [-128, 127],
        "epsilon": 0.001,
        "output_dtype": "int8",
    }
    yield _config("absmax-full", "every argument", "CFG-120", "AbsMaxQuantizer", full, full)
    for name, kind, route, given in (
        ("name", "AbsMaxQuantizer", "name", {}),
        ("object", "Quantizer", "object", {"output_dtype": "int16"}),
        ("serialized", "AbsMaxQuantizer", "serialized", full),
    ):
        default = DEFAULT_ABSMAX if kind == "AbsMaxQuantizer" else {}
        yield got_case(f"cfg-get-{name}", f"a quantizer is found by its {name}", kind, route, given,
                       {**default, **given})  # fmt: skip
    yield _config(
        "int8-default",
        '"default" is AbsMaxQuantizer with axis -1',
        "CFG-060",
        "Int8QuantizationConfig",
        {},
        int8,
    )
    yield _config(
        "int8-no-activation",
        "None leaves activations alone",
        "CFG-060",
        "Int8QuantizationConfig",
        {"activation_quantizer": None},
        {**int8, "activation_quantizer": None},
    )
    nested = {
        "weight_quantizer": {"class": "AbsMaxQuantizer", "arguments": {"axis": 0}},
        "activation_quantizer": {
            "class": "AbsMaxQuantizer",
            "arguments": {"axis": [-1], "value_range": [-100, 100], "epsilon": 1e-06},
        },
    }
    yield _config(
        "int8-nested",
        "nested quantizers keep axis and ranges",
        "CFG-060",
        "Int8QuantizationConfig",
        nested,
        {
            "mode": "int8",
            "weight_quantizer": {
                "class": "AbsMaxQuantizer",
                "fields": {**DEFAULT_ABSMAX, "axis": [0]},
            },
            "activation_quantizer": {
                "class": "AbsMaxQuantizer",
                "fields": {
                    "axis": [-1],
                    "value_range": [-100, 100],
                    "epsilon": 1e-06,
                    "output_dtype": "int8",
                },
            },
        },
    )
    yield _config("gptq-default", "documented defaults", "CFG-070", "GPTQConfig", {}, DEFAULT_GPTQ)
    other = {
        "weight_bits": 3,
        "num_samples": 7,
        "per_channel": False,
        "sequence_length": 33,
        "hessian_damping": 0.25,
        "group_size": -1,
        "symmetric": True,
        "activation_order": True,
    }
    yield _config(
        "gptq-full",
        "every setting survives",
        "CFG-070",
        "GPTQConfig",
        other,
        {"mode": "gptq", **other},
    )
    for name, title, arguments in (
        ("bits", "5 bits", {"weight_bits": 5}),
        ("samples", "no samples", {"num_samples": 0}),
        ("length", "sequences of length 0", {"sequence_length": 0}),
        ("damping-high", "damping above 1", {"hessian_damping": 1.5}),
        ("damping-low", "negative damping", {"hessian_damping": -0.01}),
        ("group-zero", "groups of 0 columns", {"group_size": 0}),
        ("group-low", "groups of -2 columns", {"group_size": -2}),
    ):
        yield _bad_config(f"gptq-{name}", title, "CFG-080", "GPTQConfig", arguments)
    title = "an argument that the class does not have"
    yield _bad_config("gptq-unknown", title, "CFG-090", "GPTQConfig", {"foo": 1})
    for name, title, bounds in (
        ("range-outside", "-129 is no int8", [-129, 127]),
        ("range-above", "128 is no int8", [-127, 128]),
        ("range-reversed", "127 … -127", [127, -127]),
    ):
        yield _bad_config(name, title, "CFG-110", "AbsMaxQuantizer", {"value_range": bounds})
    yield _bad_config("epsilon", "an epsilon of 0", "CFG-130", "AbsMaxQuantizer", {"epsilon": 0.0})
