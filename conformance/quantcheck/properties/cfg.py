"""Section CFG: drawn configs survive a round trip; drawn bad ones are refused."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from quantcheck.corpus.cfg import DEFAULT_ABSMAX, DEFAULT_GPTQ, got_case
from quantcheck.corpus.draw import refused
from quantcheck.properties import Sizes, single
from quantcheck.properties.sizes import swept
from quantcheck.properties.strategies import BITS, Draw
from quantcheck.wire.cases import Case
from quantref.inputs import INTEGER_NAMES

EPSILONS = (1e-7, 1e-5, 0.001, 0.5, 3e-9)
WIDE = {"uint8": [0, 255], "int16": [-300, 300], "uint16": [0, 999], "int32": [-999, 70000]}
RANGES = ([-127, 127], [-128, 127], [-8, 7], [-100, 1], [0, 127])


@st.composite
def _arguments(
    draw: Draw, *, dtypes: tuple[str, ...] = ("int8",)
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw arguments of AbsMaxQuantizer, and the fields that they give."""
    axes: st.SearchStrategy[Any] = st.one_of(
        st.none(),
        st.just([]),
        st.integers(-3, 3),
        st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True),
    )
    choices = {
        "axis": axes,
        "value_range": st.sampled_from(RANGES),
        "epsilon": st.sampled_from(EPSILONS),
        "output_dtype": st.just("int8"),
    }
    names = draw(st.sets(st.sampled_from(sorted(choices))))
    given = {name: draw(choices[name]) for name in sorted(names)}
    dtype = draw(st.sampled_from(dtypes))
    if dtype != "int8":
        ends = st.sampled_from(([0, 127], [0, 99], WIDE.get(dtype, [0, 1])))
        given |= {"output_dtype": dtype, "value_range": draw(ends)}
    fields = {**DEFAULT_ABSMAX, **given}
    if isinstance(fields["axis"], int):
        fields["axis"] = [fields["axis"]]
    return given, fields


def _case(name: str, arguments: dict[str, Any], fields: dict[str, Any]) -> Case:
    parameters = {"class": name, "arguments": arguments}
    outputs = {"outputs": {"fields": fields}}
    title = f"a generated {name}"
    return Case("drawn", "cfg", title, "config_round_trip", (), parameters, {}, outputs)


def _absmax(_: Sizes) -> st.SearchStrategy[Case]:
    return _arguments().map(lambda made: _case("AbsMaxQuantizer", *made))


def _wide(_: Sizes) -> st.SearchStrategy[Case]:
    return _arguments(dtypes=INTEGER_NAMES).map(lambda made: _case("AbsMaxQuantizer", *made))


@st.composite
def _int8(draw: Draw, _: Sizes) -> Case:
    arguments: dict[str, Any] = {}
    default = {"class": "AbsMaxQuantizer", "fields": {**DEFAULT_ABSMAX, "axis": [-1]}}
    fields: dict[str, Any] = {"weight_quantizer": None, "activation_quantizer": default}
    for name in ("weight_quantizer", "activation_quantizer"):
        chosen = draw(st.sampled_from(("left out", "none", "quantizer", "default")))
        if chosen == "none":
            arguments[name] = fields[name] = None
        elif chosen == "default" and name == "activation_quantizer":
            arguments[name] = "default"
        elif chosen == "quantizer":
            given, made = draw(_arguments())
            arguments[name] = {"class": "AbsMaxQuantizer", "arguments": given}
            fields[name] = {"class": "AbsMaxQuantizer", "fields": made}
    return _case("Int8QuantizationConfig", arguments, {"mode": "int8", **fields})


@st.composite
def _gptq(draw: Draw, _: Sizes) -> Case:
    choices = {
        "weight_bits": st.sampled_from(BITS),
        "num_samples": st.integers(1, 500),
        "per_channel": st.booleans(),
        "sequence_length": st.integers(1, 4096),
        "hessian_damping": st.sampled_from((0.0, 0.001, 0.01, 0.25, 1.0)),
        "group_size": st.sampled_from((-1, 1, 32, 64, 128, 1000)),
        "symmetric": st.booleans(),
        "activation_order": st.booleans(),
    }
    names = draw(st.sets(st.sampled_from(sorted(choices))))
    given = {name: draw(choices[name]) for name in sorted(names)}
    return _case("GPTQConfig", given, {**DEFAULT_GPTQ, **given})


def _bad(name: str, requirement: str, error: str, faults: dict[str, Any]) -> Any:
    @st.composite
    def drawn(draw: Draw, _: Sizes) -> Case:
        field = draw(st.sampled_from(sorted(faults)))
        parameters = {"class": name, "arguments": {field: draw(faults[field])}}
        title = f"a generated {name} that must be refused: {field}"
        return refused(
            "cfg", "drawn", title, "config_round_trip", requirement, error, parameters, {}
        )

    return drawn


_bad_gptq = _bad("GPTQConfig", "CFG-080", "ConfigError", {
    "weight_bits": st.sampled_from((0, 1, 5, 6, 7, 9, 16, -4)),
    "num_samples": st.integers(-5, 0),
    "sequence_length": st.integers(-5, 0),
    "hessian_damping": st.sampled_from((-0.01, 1.5, -1.0, 2.0)),
    "group_size": st.sampled_from((0, -2, -128)),
})  # fmt: skip
_bad_range = _bad("AbsMaxQuantizer", "CFG-110", "ValueRangeError", {
    "value_range": st.sampled_from(([127, -127], [-129, 127], [-127, 128], [5, 5], [3, 9])),
})  # fmt: skip
_bad_epsilon = _bad("AbsMaxQuantizer", "CFG-130", "ConfigError", {
    "epsilon": st.sampled_from((0.0, -1e-7, -1.0)),
})  # fmt: skip

DTYPES = {"output_dtype": st.sampled_from(("float32", "bfloat16", "int64", "bool", "int7"))}
_bad_dtype = _bad("Quantizer", "CFG-010", "DTypeError", DTYPES)
_bad_dtype_absmax = _bad("AbsMaxQuantizer", "CFG-010", "DTypeError", DTYPES)
NO_QUANTIZERS = st.sampled_from(("int8", "AbsMaxQuantizer", 8, [0]))
NAMED = dict.fromkeys(("weight_quantizer", "activation_quantizer"), NO_QUANTIZERS)
_bad_quantizer = _bad("QuantizationConfig", "CFG-050", "ConfigError", NAMED)
_bad_quantizer_int8 = _bad("Int8QuantizationConfig", "CFG-050", "ConfigError", NAMED)


UNKNOWN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("AbsMaxQuantizer", {"axis": 0, "scale": 1.0}),
    ("Int8QuantizationConfig", {"weight_quantizer": None, "bits": 8}),
    ("GPTQConfig", {"weight_bits": 4, "block_size": 128}),
)


@st.composite
def _unknown(draw: Draw, _: Sizes) -> Case:
    """Draw an argument that a class does not have, beside one that it has."""
    name, given = draw(st.sampled_from(UNKNOWN))
    title = f"a generated {name} that must be refused: an argument that it does not have"
    parameters = {"class": name, "arguments": given}
    return refused(
        "cfg", "drawn", title, "config_round_trip", "CFG-090", "ConfigError", parameters, {}
    )


@st.composite
def _got(draw: Draw, _: Sizes) -> Case:
    """Draw a quantizer and the route by which it is found."""
    route = draw(st.sampled_from(("object", "name", "serialized", "deserialized")))
    given, fields = ({}, DEFAULT_ABSMAX) if route == "name" else draw(_arguments())
    return got_case("drawn", f"a generated AbsMaxQuantizer, by {route}", "AbsMaxQuantizer", route,
                    given, fields)  # fmt: skip


@st.composite
def _got_base(draw: Draw, _: Sizes) -> Case:
    """Draw a quantizer of the base class, found by itself."""
    given = draw(st.sampled_from(({}, *({"output_dtype": name} for name in INTEGER_NAMES))))
    fields = {"output_dtype": "int8", **given}
    return got_case("drawn", "a generated Quantizer, by itself", "Quantizer", "object", given,
                    fields)  # fmt: skip


def _base(_: Sizes) -> st.SearchStrategy[Case]:
    return st.sampled_from(INTEGER_NAMES).map(
        lambda dtype: _case("Quantizer", {"output_dtype": dtype}, {"output_dtype": dtype})
    )


@st.composite
def _config(draw: Draw, _: Sizes) -> Case:
    """Draw a QuantizationConfig: no mode, and None where a quantizer is left out."""
    arguments: dict[str, Any] = {}
    fields: dict[str, Any] = {"weight_quantizer": None, "activation_quantizer": None}
    for name in fields:
        chosen = draw(st.sampled_from(("left out", "none", "base", "quantizer", "quantizer")))
        if chosen == "none":
            arguments[name] = None
        elif chosen == "base":
            arguments[name] = {"class": "Quantizer", "arguments": {}}
            fields[name] = {"class": "Quantizer", "fields": {"output_dtype": "int8"}}
        elif chosen == "quantizer":
            given, made = draw(_arguments())
            arguments[name] = {"class": "AbsMaxQuantizer", "arguments": given}
            fields[name] = {"class": "AbsMaxQuantizer", "fields": made}
    return _case("QuantizationConfig", arguments, fields)


BASE = {"class": "Quantizer", "arguments": {}}
BASE_FIELDS = {"class": "Quantizer", "fields": {"output_dtype": "int8"}}
DEFAULT_INT8 = {
    "mode": "int8",
    "weight_quantizer": None,
    "activation_quantizer": {
        "class": "AbsMaxQuantizer",
        "fields": {**DEFAULT_ABSMAX, "axis": [-1]},
    },
}
GPTQ_VALUES: tuple[dict[str, Any], ...] = (
    *({"weight_bits": bits} for bits in BITS), {"hessian_damping": 1.0},
)  # fmt: skip
ABSMAX_VALUES: tuple[dict[str, Any], ...] = tuple(
    {"output_dtype": name, "value_range": [0, 99]} for name in INTEGER_NAMES
)
EVERY: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    *(("GPTQConfig", given, {**DEFAULT_GPTQ, **given}) for given in GPTQ_VALUES),
    *(("AbsMaxQuantizer", given, {**DEFAULT_ABSMAX, **given}) for given in ABSMAX_VALUES),
    *(("Int8QuantizationConfig", {name: BASE}, {**DEFAULT_INT8, name: BASE_FIELDS})
      for name in ("weight_quantizer", "activation_quantizer")),
)  # fmt: skip
"""Values that every run asks: class, arguments, and the fields that they give."""

PROPERTIES = (
    single("prop-cfg-absmax", "Generated AbsMaxQuantizers survive a round trip.",
           ("CFG-150", "CFG-100", "CFG-120", "CFG-090"), _absmax, 20),
    single("prop-cfg-dtypes", "Generated AbsMaxQuantizers of every output dtype.",
           ("CFG-090",), _wide, 8),
    single("prop-cfg-int8", "Generated Int8QuantizationConfigs, nested quantizers included.",
           ("CFG-060", "CFG-090", "CFG-140"), _int8, 20),
    single("prop-cfg-gptq", "Generated GPTQConfigs.", ("CFG-070", "CFG-090"), _gptq, 15),
    swept("prop-cfg-values", "Every width, dtype and kind of quantizer survives a round trip.",
          ("CFG-090",), EVERY, lambda made, _: _case(*made)),
    single("prop-cfg-refused-gptq", "Settings outside their domain are refused.",
           ("CFG-080",), _bad_gptq, 20),
    single("prop-cfg-refused-range", "Value ranges outside their domain are refused.",
           ("CFG-110",), _bad_range, 8),
    single("prop-cfg-refused-epsilon", "An epsilon that is not positive is refused.",
           ("CFG-130",), _bad_epsilon, 3),
    single("prop-cfg-quantizer", "The base class of quantizers keeps its output dtype.",
           ("CFG-010",), _base, 6),
    single("prop-cfg-get", "A quantizer is found by itself, its name, and what it is saved as.",
           ("CFG-160",), _got, 12),
    single("prop-cfg-get-base", "So is one of the base class, by itself.",
           ("CFG-160",), _got_base, 4),
    single("prop-cfg-refused-dtype", "Codes are integers of at most 32 bits.",
           ("CFG-010",), lambda s: st.one_of(_bad_dtype(s), _bad_dtype_absmax(s)), 8),
    single("prop-cfg-config", "The base class of configs keeps its quantizers, and has no mode.",
           ("CFG-090", "CFG-140"), _config, 10),
    single("prop-cfg-refused-quantizer", "What is no quantizer is refused.",
           ("CFG-050",), lambda s: st.one_of(_bad_quantizer(s), _bad_quantizer_int8(s)), 8),
    single("prop-cfg-refused-unknown", "Arguments that a class does not have are refused.",
           ("CFG-090",), _unknown, 6),
)  # fmt: skip
