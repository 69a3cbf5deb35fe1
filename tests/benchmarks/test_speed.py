"""How long the reference takes, for comparison between its own versions: nothing is asserted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantcheck.oracle import exact
from quantref import (
    GPTQConfig,
    abs_max_quantize,
    accumulate_hessian,
    affine_parameters,
    certify,
    gptq_quantize,
    gptq_textbook,
    pack_codes,
    unpack_codes,
)
from quantref.inputs import Array

N = 128
CONFIG = GPTQConfig(None, None, weight_bits=4, group_size=32, activation_order=True)


@pytest.fixture(scope="module")
def tokens() -> Array:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(4 * N, N)) + rng.normal(size=(4 * N, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def weights() -> Array:
    return np.random.default_rng(1).normal(size=(N, N)).astype(np.float32)


@pytest.fixture(scope="module")
def hessian(tokens: Array) -> Array:
    return accumulate_hessian([tokens])


def quickly(benchmark: Any, call: Any, *arguments: Any, **named: Any) -> Any:
    """Measure a few rounds of one call."""
    return benchmark.pedantic(call, arguments, named, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("form", [gptq_quantize, gptq_textbook])
def test_gptq(benchmark: Any, weights: Array, hessian: Array, form: Any, dtype: str) -> None:
    result = quickly(benchmark, form, weights, hessian, CONFIG, dtype=dtype)
    assert result.codes.shape == (N, N)


def test_hessian(benchmark: Any, tokens: Array) -> None:
    batches = np.split(tokens, 8)
    assert quickly(benchmark, accumulate_hessian, batches).shape == (N, N)


def test_certificate(benchmark: Any, weights: Array, hessian: Array) -> None:
    result = gptq_quantize(weights, hessian, CONFIG)
    assert quickly(benchmark, certify, weights, hessian, result, CONFIG).passed


def test_affine(benchmark: Any, weights: Array) -> None:
    scale, _ = quickly(benchmark, affine_parameters, weights, bits=4, group_size=32)
    assert scale.shape == (N, N // 32)


@pytest.mark.parametrize("axis", [0, -1, None])
def test_abs_max(benchmark: Any, axis: int | None) -> None:
    x = np.random.default_rng(2).normal(size=(1024, 1024)).astype(np.float32)
    codes, _ = quickly(benchmark, abs_max_quantize, x, axis)
    assert codes.dtype == np.int8


@pytest.mark.parametrize("bits", [2, 4])
def test_pack(benchmark: Any, bits: int) -> None:
    codes = np.random.default_rng(3).integers(0, 2**bits, (1024, 1024)).astype(np.uint8)
    packed = quickly(benchmark, pack_codes, codes, bits)
    assert (unpack_codes(packed, bits, 1024) == codes).all()


@pytest.mark.parametrize("bits", [2, 4])
def test_unpack(benchmark: Any, bits: int) -> None:
    packed = np.random.default_rng(4).integers(0, 256, (1024 * bits // 8, 1024)).astype(np.uint8)
    assert quickly(benchmark, unpack_codes, packed, bits, 1024).shape == (1024, 1024)


def test_oracle(benchmark: Any, weights: Array, hessian: Array) -> None:
    """Rational arithmetic, on a corner of the problem."""
    small = exact.fractions_of(weights[:2, :12].astype(np.float64).round(3).tolist())
    corner = exact.fractions_of(hessian[:12, :12].round(3).tolist())
    settings: dict[str, Any] = {"bits": 4, "group_size": 4, "damping": exact.HALF}
    assert len(quickly(benchmark, exact.gptq, small, corner, **settings).codes) == 2
