"""Kernels in groups with zero-points, against section 3 and by their meaning.  [FOUR-010]"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from quantref import (
    AbsMaxQuantizer,
    Int4QuantizationConfig,
    Quantizer,
    QuantrefError,
    affine_dequantize,
    group_index,
)
from quantref.errors import ConfigError
from quantref.int4 import grouped_dequantize, grouped_quantize

RNG = np.random.default_rng(4)


@pytest.mark.requirement("FOUR-010", "FOUR-080")
@pytest.mark.parametrize("size", [1, 3, 8, 100])
@pytest.mark.parametrize("shift", [-9.0, 0.0, 9.0])
def test_values_come_back_within_half_a_step(size: int, shift: float) -> None:
    """Also those of one sign and of one value; ends may be clipped, by half a step."""
    w = (RNG.normal(size=(13, 5)) + shift).astype(np.float32)
    w[:, 2] = 0.75 + shift
    codes, scale, zero_point = grouped_quantize(w, size)
    assert scale.shape == zero_point.shape == (-(-13 // size), 5)
    groups = group_index(13, size)
    back = grouped_dequantize(codes, scale, zero_point, groups)
    assert (np.abs(back - w) <= scale[groups] * (1 + 1e-6)).all()


@pytest.mark.requirement("FOUR-090")
def test_back_is_that_of_section_3_transposed() -> None:
    codes = RNG.integers(-8, 8, (9, 4)).astype(np.int8)
    zero = RNG.integers(-8, 8, (3, 4)).astype(np.int8)
    scale = RNG.uniform(0.1, 2, (3, 4)).astype(np.float32)
    groups = RNG.integers(0, 3, 9)
    got = grouped_dequantize(codes, scale, zero, groups)
    np.testing.assert_array_equal(got, affine_dequantize(codes.T, scale.T, zero.T, groups).T)


@pytest.mark.requirement("FOUR-070")
def test_groups_of_zeros() -> None:
    codes, scale, zero_point = grouped_quantize(np.zeros((6, 2), np.float32), 4)
    assert (scale > 0).all()
    assert (grouped_dequantize(codes, scale, zero_point, group_index(6, 4)) == 0).all()


W = np.ones((4, 2), np.float32)


@pytest.mark.requirement("FOUR-120")
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: grouped_quantize(W[0], 2), r"weights of shape \(n_in, n_out\), got shape=\(2,\)"),
        (lambda: grouped_quantize(W, 0), "block_size >= 1, got 0"),
        (lambda: grouped_quantize(W, True), "block_size"),
        (lambda: grouped_quantize(W, 2, (7, -8)), r"-128 <= lo < hi <= 127 \(int8\)"),
        (lambda: grouped_quantize(W, 2, (0, 128)), r"-128 <= lo < hi <= 127"),
        (lambda: grouped_quantize(W, 2, epsilon=0), "epsilon / 15 a normal float32"),
        (lambda: grouped_quantize(W * np.nan, 2), "finite weights"),
        (lambda: grouped_dequantize(W, W, W, [0]), "integer codes"),
    ],
)
def test_refused(call: Any, words: str) -> None:
    with pytest.raises(QuantrefError, match=words + r".*\[FOUR-120\]"):
        call()


EIGHT_BITS = AbsMaxQuantizer()
FOUR_BITS = AbsMaxQuantizer(axis=0, value_range=(-8, 7))


@pytest.mark.requirement("FOUR-140", "FOUR-180")
def test_a_config_and_its_round_trip() -> None:
    config = Int4QuantizationConfig()
    assert (config.mode, config.block_size, config.activation_quantizer) == ("int4", 128, None)
    per_channel = Int4QuantizationConfig(FOUR_BITS, AbsMaxQuantizer(axis=-1), block_size=None)
    for made in (config, per_channel, Int4QuantizationConfig(block_size=-1)):
        text = json.dumps(made.get_config())
        assert Int4QuantizationConfig.from_config(json.loads(text)) == made
    assert config != per_channel
    assert Int4QuantizationConfig.from_config({}).block_size is None  # as before there were groups


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"block_size": 0}, r"block_size >= 1, -1 or None, got 0 \[FOUR-150\]"),
        ({"block_size": -2}, r"got -2 \[FOUR-150\]"),
        ({"block_size": True}, r"block_size to be an integer, got True \[FOUR-150\]"),
        ({"weight_quantizer": FOUR_BITS}, r"no weight_quantizer with block_size 128.*160\]"),
        ({"activation_quantizer": FOUR_BITS, "block_size": 8}, r"no activation_quantizer.*160\]"),
        ({"weight_quantizer": EIGHT_BITS, "block_size": -1}, r"got \(-127, 127\).*170\]"),
        ({"weight_quantizer": Quantizer(), "block_size": None}, r"value_range \(-8, 7\).*170\]"),
        ({"activation_quantizer": "int4"}, r'None or "default", got \'int4\' \[CFG-050\]'),
        ({"weight_quantizer": 4, "block_size": -1}, r"a Quantizer or None.*CFG-050\]"),
    ],
)  # fmt: skip
def test_refused_configs(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Int4QuantizationConfig(**arguments)
