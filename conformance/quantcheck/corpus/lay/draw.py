"""Equations, configs and drawn arrays shared by the cases of section LAY."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantcheck.corpus.draw import dyadic, integers
from quantref.inputs import Array
from quantref.packing import pack_codes

QKV, OUT, HEADS_FIRST = "abc,cde->abde", "abcd,cde->abe", "abc,dce->abde"
PER_TOKEN = {"class": "AbsMaxQuantizer", "arguments": {"axis": -1}}


def drawn(seed: int, *shape: int) -> Array:
    """Return float32 numbers of about four decimal places, short and exact in binary."""
    return dyadic(seed, shape, 4000, 10).astype(np.float32)


def int8(weight: dict[str, Any] | None, activation: dict[str, Any] | None) -> dict[str, Any]:
    """Return the description of a config with these quantizers' arguments."""
    arguments = {"weight_quantizer": weight, "activation_quantizer": activation}
    return {"class": "Int8QuantizationConfig", "arguments": arguments}


def packed_kernel(
    seed: int, n_out: int, n_in: int, *, bits: int, groups: int
) -> tuple[Array, Array, Array]:
    """Return packed codes, scales and zero-points of a kernel."""
    top = 2**bits - 1
    codes = np.array(integers(seed, n_out * n_in, 0, top), np.uint8).reshape(n_out, n_in)
    zero = np.array(integers(seed + 1, n_out * groups, 0, top), np.uint8).reshape(n_out, groups)
    scale = np.array(integers(seed + 2, n_out * groups, 1, 4000), np.float32) / 2**14
    return pack_codes(codes, bits, axis=0), scale.reshape(n_out, groups).astype(np.float32), zero
