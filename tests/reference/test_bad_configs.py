"""Bad arguments of configs and quantizers: refused when the object is made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantcheck.targets.reference.operations import answer
from quantref import (
    AbsMaxQuantizer,
    GPTQConfig,
    Int4QuantizationConfig,
    Int8QuantizationConfig,
    QuantizationConfig,
    Quantizer,
    abs_max_quantize,
    affine_parameters,
    gptq_quantize,
    pack_codes,
    prepare_hessian,
    unpack_codes,
)
from quantref import absmax as plain
from quantref.errors import ConfigError, DTypeError, QuantrefError, ValueRangeError

NUMBERS: tuple[Any, ...] = ("a string", None, True, "4", [4], np.True_)
STRUCTURES: tuple[Any, ...] = ([], "blocks", {"layers": []})
GPTQ: list[tuple[str, Any, str]] = [
    *(("weight_bits", bits, "weight_bits in (2, 3, 4, 8)") for bits in (0, 1, 5, 7, 16, -4)),
    *(("group_size", size, "group_size >= 1, or -1") for size in (0, -2, -128)),
    *(("num_samples", count, "num_samples >= 1") for count in (0, -1)),
    *(("sequence_length", count, "sequence_length >= 1") for count in (0, -1)),
    *(("hessian_damping", value, "hessian_damping in [0, 1]") for value in (-0.01, 1.01, 2)),
    *(("hessian_damping", v, "hessian_damping to be finite") for v in (np.nan, np.inf)),
    *(("hessian_damping", value, "hessian_damping to be a number") for value in NUMBERS),
    *((name, value, f"{name} to be an integer")
      for name in ("weight_bits", "group_size", "num_samples", "sequence_length")
      for value in (*NUMBERS, 4.0)),
    *((name, value, f"{name} to be True or False")
      for name in ("per_channel", "symmetric", "activation_order")
      for value in (0, 1, "yes", None)),
    *(("quantization_layer_structure", value, "a dict with keys")
      for value in STRUCTURES),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "expected"), GPTQ, ids=str)
def test_gptq_config(name: str, value: Any, expected: str) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError) as caught:
        GPTQConfig(None, None, **arguments)
    assert expected in caught.value.expected
    assert str(value) in caught.value.got
    assert caught.value.requirement == "CFG-080"


ABSMAX: list[tuple[str, Any, type[QuantrefError], str]] = [
    ("axis", "0", ConfigError, "axis to be an integer"),
    ("axis", True, ConfigError, "axis to be an integer"),
    ("axis", 1.0, ConfigError, "axis to be an integer"),
    ("axis", (0, None), ConfigError, "axis to be an integer"),
    ("axis", (1, 1), ConfigError, "each axis once"),
    ("value_range", None, ValueRangeError, "value_range of two integers"),
    ("value_range", (1, 2, 3), ValueRangeError, "value_range of two integers"),
    ("value_range", (127, -127), ValueRangeError, "lo <= 0 < hi"),
    ("value_range", (-127, 0), ValueRangeError, "lo <= 0 < hi"),
    ("value_range", (1, 127), ValueRangeError, "lo <= 0 < hi"),
    ("value_range", (-127, 128), ValueRangeError, "hi <= 127 (int8)"),
    ("value_range", (-129, 127), ValueRangeError, "-128 <= lo"),
    ("value_range", (-127.0, 127), ConfigError, "value_range[0] to be an integer"),
    ("value_range", (-127, True), ConfigError, "value_range[1] to be an integer"),
    ("value_range", "ab", ConfigError, "value_range[0] to be an integer"),
    ("epsilon", 0, ConfigError, "epsilon > 0"),
    ("epsilon", -1e-7, ConfigError, "epsilon > 0"),
    ("epsilon", 1e-38, ConfigError, "127 / epsilon a finite float32"),
    ("epsilon", "1e-7", ConfigError, "epsilon to be a number"),
    ("epsilon", True, ConfigError, "epsilon to be a number"),
    ("epsilon", float("nan"), ConfigError, "epsilon to be finite"),
    ("output_dtype", "float32", DTypeError, "output_dtype in int8"),
    ("output_dtype", "int64", DTypeError, "output_dtype in int8"),
    ("output_dtype", "int7", DTypeError, "output_dtype in int8"),
    ("output_dtype", 8, DTypeError, "output_dtype in int8"),
    ("output_dtype", "bool", DTypeError, "output_dtype in int8"),
]


@pytest.mark.parametrize(("name", "value", "error", "expected"), ABSMAX, ids=str)
def test_abs_max_quantizer(
    name: str, value: Any, error: type[QuantrefError], expected: str
) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(error) as caught:
        AbsMaxQuantizer(**arguments)
    assert expected in caught.value.expected
    assert caught.value.got
    assert caught.value.requirement.startswith("CFG-")


@pytest.mark.requirement("CFG-010")
def test_the_base_of_quantizers() -> None:
    x = np.array([[0.5, -2.0]], np.float32)
    assert Quantizer("int16").output_dtype == "int16"
    assert np.array_equal(Quantizer()(x), x)
    for wrong in ("int64", "float32", "int7"):
        with pytest.raises(DTypeError, match="output_dtype in int8") as caught:
            Quantizer(wrong)
        assert caught.value.requirement == "CFG-010"


@pytest.mark.requirement("CFG-050")
def test_quantizers_of_configs() -> None:
    wrong: Any = "int8"
    with pytest.raises(ConfigError, match="weight_quantizer to be a Quantizer or None"):
        QuantizationConfig(wrong)
    with pytest.raises(ConfigError, match="activation_quantizer to be a Quantizer or None"):
        QuantizationConfig(None, wrong)
    with pytest.raises(ConfigError, match='activation_quantizer to be a Quantizer, None or "def'):
        Int8QuantizationConfig(activation_quantizer="absmax")
    with pytest.raises(ConfigError, match="weight_quantizer with output_dtype int8, got int16"):
        Int8QuantizationConfig(AbsMaxQuantizer(output_dtype="int16"))
    with pytest.raises(NotImplementedError, match="use a subclass"):
        _ = QuantizationConfig().mode


@pytest.mark.parametrize(
    "data", [{"class_name": "MinMaxQuantizer", "config": {}}, {"config": {}}, "AbsMax", 3, []]
)
def test_unknown_quantizer_classes(data: Any) -> None:
    with pytest.raises(ConfigError, match=r"class_name in .*AbsMaxQuantizer") as caught:
        Int8QuantizationConfig.from_config({"activation_quantizer": data})
    assert repr(data) in caught.value.got


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (AbsMaxQuantizer.from_config, "scale"),
        (Quantizer.from_config, "bits"),
        (GPTQConfig.from_config, "algorithm"),
        (QuantizationConfig.from_config, "mode"),
        (Int8QuantizationConfig.from_config, "axis"),
        (Int4QuantizationConfig.from_config, "bits"),
    ],
)
def test_unknown_arguments(make: Any, name: str) -> None:
    config = {"dataset": None, "tokenizer": None} if make == GPTQConfig.from_config else {}
    with pytest.raises(ConfigError, match=name) as caught:
        make({**config, name: 3})
    assert caught.value.requirement == "CFG-090"
    with pytest.raises(ConfigError, match="got 3"):
        make(3)


@pytest.mark.requirement("CFG-130")
def test_the_smallest_epsilon() -> None:
    """What counts is 127 / epsilon once it is rounded."""
    least, x = 3.732194730702872e-37, np.zeros(1, np.float32)
    assert AbsMaxQuantizer(epsilon=least).epsilon == least
    for quantize in (abs_max_quantize, plain.abs_max_quantize):
        _, scale = quantize(x, -1, epsilon=least)
        assert scale == np.finfo(np.float32).max
        for smaller in (least * (1 - 2.0**-20), 5e-324):
            with pytest.raises(ConfigError, match="a finite float32"):
                quantize(x, -1, epsilon=smaller)
            with pytest.raises(ConfigError, match="a finite float32"):
                AbsMaxQuantizer(epsilon=smaller)


def test_unknown_classes_of_questions() -> None:
    question = {"id": "q", "operation": "config_round_trip", "inputs": {},
                "parameters": {"class": "AWQConfig", "arguments": {}}}  # fmt: skip
    given = answer(question)
    assert given["type"] == "ConfigError"
    assert "'AWQConfig'" in given["refused"]
    assert "GPTQConfig" in given["refused"]
    unknown = answer({**question, "operation": "awq_quantize"})
    assert "awq_quantize" in unknown["unsupported"]


W, H = np.ones((1, 2), np.float32), np.eye(2)
Q = np.ones((2, 2), np.uint8)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: affine_parameters(W, bits=True), "bits to be an integer"),
        (lambda: affine_parameters(W, bits="4"), "bits to be an integer"),  # type: ignore[arg-type]
        (lambda: affine_parameters(W, bits=4, symmetric=1), "symmetric to be True or False"),  # type: ignore[arg-type]
        (lambda: affine_parameters(W, bits=4, per_channel=0), "per_channel to be True or False"),  # type: ignore[arg-type]
        (lambda: affine_parameters(W, bits=4, group_size=True), "group_size to be an integer"),
        (lambda: affine_parameters(W, bits=4, group_size=1.0), "group_size to be an integer"),  # type: ignore[arg-type]
        (lambda: pack_codes(Q, True), "bits to be an integer"),
        (lambda: pack_codes(Q, 4, None), "axis to be an integer"),  # type: ignore[arg-type]
        (lambda: unpack_codes(Q, 4, 4.0), "length to be an integer"),  # type: ignore[arg-type]
        (lambda: prepare_hessian(H, damping="1"), "damping to be a number"),  # type: ignore[arg-type]
        (lambda: prepare_hessian(H, damping=True), "damping to be a number"),
        (lambda: prepare_hessian(H, activation_order=1), "activation_order to be True or False"),  # type: ignore[arg-type]
        (lambda: gptq_quantize(W, H, {"weight_bits": 4}), "config to be a GPTQConfig"),  # type: ignore[arg-type]
        (lambda: gptq_quantize(W, H, Int8QuantizationConfig()), "config to be a GPTQConfig"),  # type: ignore[arg-type]
        (lambda: gptq_quantize(W, H, GPTQConfig(None, None), profile="keras"), "to be a Profile"),  # type: ignore[arg-type]
    ],
)
def test_arguments_of_functions(call: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    assert expected in caught.value.expected
    assert caught.value.got
    assert caught.value.requirement
