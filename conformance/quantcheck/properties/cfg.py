"""Section CFG: drawn configs survive a round trip; drawn bad ones are refused."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from quantcheck.corpus.cfg import DEFAULT_ABSMAX, DEFAULT_GPTQ
from quantcheck.corpus.draw import refused
from quantcheck.properties import Sizes, single
from quantcheck.properties.strategies import BITS, Draw
from quantcheck.wire.cases import Case

EPSILONS = (1e-7, 1e-5, 0.001, 0.5, 3e-9)
RANGES = ([-127, 127], [-128, 127], [-8, 7], [-100, 1], [0, 127])


@st.composite
def _arguments(draw: Draw) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw arguments of AbsMaxQuantizer, and the fields that they give."""
    axes = st.one_of(
        st.none(),
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


@st.composite
def _int8(draw: Draw, _: Sizes) -> Case:
    arguments: dict[str, Any] = {}
    default = {"class": "AbsMaxQuantizer", "fields": {**DEFAULT_ABSMAX, "axis": [-1]}}
    fields: dict[str, Any] = {"weight_quantizer": None, "activation_quantizer": default}
    for name in ("weight_quantizer", "activation_quantizer"):
        chosen = draw(st.sampled_from(("left out", "none", "quantizer")))
        if chosen == "none":
            arguments[name] = fields[name] = None
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
        "hessian_damping": st.sampled_from((0.001, 0.01, 0.25, 0.5)),
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
_bad_range = _bad("AbsMaxQuantizer", "CFG-030", "ValueRangeError", {
    "value_range": st.sampled_from(([127, -127], [-129, 127], [-127, 128], [5, 5], [3, 9])),
})  # fmt: skip
_bad_epsilon = _bad("AbsMaxQuantizer", "CFG-040", "ConfigError", {
    "epsilon": st.sampled_from((0.0, -1e-7, -1.0)),
})  # fmt: skip

PROPERTIES = (
    single("prop-cfg-absmax", "Generated AbsMaxQuantizers survive a round trip.",
           ("CFG-020", "CFG-030", "CFG-040", "CFG-090"), _absmax, 20),
    single("prop-cfg-int8", "Generated Int8QuantizationConfigs, nested quantizers included.",
           ("CFG-060", "CFG-090"), _int8, 20),
    single("prop-cfg-gptq", "Generated GPTQConfigs.", ("CFG-070", "CFG-090"), _gptq, 15),
    single("prop-cfg-refused-gptq", "Settings outside their domain are refused.",
           ("CFG-080",), _bad_gptq, 20),
    single("prop-cfg-refused-range", "Value ranges outside their domain are refused.",
           ("CFG-030",), _bad_range, 8),
    single("prop-cfg-refused-epsilon", "An epsilon that is not positive is refused.",
           ("CFG-040",), _bad_epsilon, 3),
)  # fmt: skip
