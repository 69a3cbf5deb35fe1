"""Sizes of section AFF: rows, columns and groups, ragged last groups of one column among them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from quantcheck.corpus.affine.build import FULL, admissible_zero_points
from quantcheck.corpus.draw import refused
from quantcheck.oracle import wide
from quantcheck.oracle.bounds import ULP32
from quantcheck.properties.sizes import PAIRS, SLIM, integers, places, spread_over, swept
from quantcheck.wire.arrays import dtype_of
from quantcheck.wire.cases import Case
from quantref.affine import group_layout
from quantref.inputs import Array

GROUPS = (128, 32, -1, 127, 64, 100)
BITS = (4, 8, 3, 2)
ALONE = [(3, 128, 127), (33, 65, 64), (2, 129, 64), (31, 257, 128), (2, 1025, 32), (2, 4097, 128)]
HALVES = [(513, 15), (2, 4096), (65, 127)]
# Rows, columns, columns of a group, and whether ranges are symmetric; no last group has one column.
Grouped = tuple[int, int, int, bool]
SEVERAL: list[Grouped] = sorted(
    [
        (n, m, GROUPS[k % len(GROUPS)], k % 4 == 3)
        for k, (n, m) in enumerate(PAIRS)
        if m > 31 and m % GROUPS[k % len(GROUPS)] != 1
    ]
    + [(3, 254, 127, False), (3, 255, 128, False), (2, 130, 64, True), (2, 1024, 32, True)],
    key=lambda s: (s[0] * s[1], s),
)  # fmt: skip


def _weights(rows: int, columns: int, seed: int) -> Array:
    """Return weights of both signs in every row and column, with an outlier in each row."""
    w = np.abs(integers(seed, 0, (rows, columns), 400)) + 1
    i, j = np.arange(rows), np.arange(columns)
    w[i, places(rows, columns)] += 500 + i % 7
    signs = np.where((i[:, None] + j) % 2, -1, 1)
    return spread_over(w * signs / 16, rows).astype(np.float32)


def parameters_case(weights: Array, **changes: Any) -> Case:
    """Return the case of scales and zero-points of many groups; expected values are exact."""
    given = {**FULL, **changes}
    bits, symmetric = given["bits"], given["symmetric"]
    groups = group_layout(weights.shape[1], given["group_size"])
    w = weights.astype(np.float64)
    axis = 1 if given["per_channel"] else None
    ends = [
        np.broadcast_to(end(w[:, g.start : g.end], axis=axis), len(w))
        for g in groups
        for end in (np.min, np.max)
    ]
    lows, highs = np.stack(ends[::2], axis=1), np.stack(ends[1::2], axis=1)
    scale, zero, margins = wide.affine_ranges(lows, highs, bits=bits, symmetric=symmetric)
    admissible = np.stack([zero, zero], axis=-1)
    for i, k in np.argwhere(~(margins > wide.NEAR * 2**bits)).tolist():
        s, margin = Fraction(float(scale[i, k])), Fraction(float(margins[i, k]))
        low = -1.0 if lows[i, k] == highs[i, k] == 0 else min(float(lows[i, k]), 0.0)
        position = -Fraction(low) / s
        pair = admissible_zero_points(position, s, int(zero[i, k]), margin, 2**bits - 1)
        admissible[i, k] = pair
    zero = zero.astype(np.uint8)
    judging = {"zero_margins": margins, "zero_admissible": admissible.astype(np.uint8)}
    title = f"generated {weights.dtype.name} weights of shape {weights.shape}"
    outputs = {"scale": scale, "zero_point": zero}
    return Case("drawn", "aff", title, "affine_parameters", (), given, {"weights": weights},
                {"outputs": outputs}, judging)  # fmt: skip


def _parameters(size: tuple[int, int], seed: int) -> Case:
    """Return a case of one group a row, in every third size a range of all rows."""
    shared = size[1] == 1 or sum(size) % 3 == 0
    bits = BITS[sum(size) % 4]
    return parameters_case(_weights(*size, seed), bits=bits, per_channel=not shared)


def _groups(size: Grouped, seed: int) -> Case:
    rows, columns, group, symmetric = size
    return parameters_case(
        _weights(rows, columns, seed), bits=BITS[columns % 4], group_size=group,
        symmetric=symmetric,
    )  # fmt: skip


def _alone(size: tuple[int, int, int], seed: int) -> Case:
    """Return a case whose last group has one column: its ranges reach from it to zero."""
    rows, columns, group = size
    return parameters_case(
        _weights(rows, columns, seed), bits=BITS[columns % 4], group_size=group,
    )  # fmt: skip


def _half(size: tuple[int, int], seed: int) -> Case:
    dtype = ("float16", "bfloat16")[(size[0] + seed) % 2]
    weights = _weights(*size, seed).astype(dtype_of(dtype))
    return parameters_case(weights, group_size=64)


def _map(rows: int, columns: int, seed: int) -> tuple[Array, Array, Array, int]:
    """Return scales, some of them powers of two, zero-points, groups in any order, and bits."""
    bits = BITS[(columns + seed) % 4]
    length = 16 if columns > 1024 else 64
    count = -(-columns // length)
    scale = (np.abs(integers(seed, 1, (rows, count), 900)) + 100) / 2048
    scale[::2] = 2.0 ** (np.arange(len(scale[::2])) % 5 - 3)[:, None]
    zero = np.abs(integers(seed, 2, (rows, count), 255)) % 2**bits
    g_idx = np.arange(columns) // length
    if columns % 2:
        g_idx = g_idx[np.argsort(integers(seed, 3, (columns,), 999), kind="stable")]
    return scale.astype(np.float32), zero.astype(np.uint8), g_idx.astype(np.int32), bits


def _codes(size: tuple[int, int], seed: int) -> Case:
    """Return a case of codes; scales of powers of two have exact ties."""
    scale, zero, g_idx, bits = _map(*size, seed)
    maxq = 2**bits - 1
    s, z = scale.astype(np.float64)[:, g_idx], zero.astype(np.float64)[:, g_idx]
    steps = integers(seed, 4, size, 2 * maxq) / 2 - z + maxq / 2
    steps[1::2] = np.rint(steps[1::2]) + 0.25
    weights = (steps * s).astype(np.float32)
    t = weights.astype(np.float64) / s
    codes, margins = wide.codes_and_margins(t, z, 0, maxq)
    power = np.frexp(s)[0] == 0.5
    required = (margins > 2 * ULP32 * (np.abs(t) + maxq)) | ((margins == 0) & power)
    title = f"generated weights of shape {size}, {bits} bits, {scale.shape[1]} groups"
    inputs = {"weights": weights, "scale": scale, "zero_point": zero, "g_idx": g_idx}
    judging = {"margins": margins, "required": required.astype(np.uint8)}
    outputs = {"codes": codes.astype(np.uint8)}
    return Case("drawn", "aff", title, "affine_quantize", (), {"bits": bits}, inputs,
                {"outputs": outputs}, judging)  # fmt: skip


def _values(size: tuple[int, int], seed: int) -> Case:
    scale, zero, g_idx, bits = _map(*size, seed)
    codes = np.abs(integers(seed, 5, size, 255)) % 2**bits
    steps = codes - zero.astype(np.float64)[:, g_idx]
    values = (scale.astype(np.float64)[:, g_idx] * steps).astype(np.float32)
    inputs = {"codes": codes.astype(np.uint8), "scale": scale, "zero_point": zero, "g_idx": g_idx}
    title = f"generated codes of shape {size}, {scale.shape[1]} groups"
    return Case("drawn", "aff", title, "affine_dequantize", (), {}, inputs,
                {"outputs": {"values": values}})  # fmt: skip


def _zero_ties(bits: int, seed: int) -> Case:
    """Return a case of ranges whose zero-point is an exact tie: −lo / s is half-way.

    Scales are powers of two, so that nothing rounds. Ties to both parities come, and one beyond
    each end is clipped.
    """
    maxq = 2**bits - 1
    at = np.arange(maxq) + 0.5
    scale = 2.0 ** ((np.arange(maxq) + seed) % 9 - 4)
    ends = np.stack([-at * scale, (maxq - at) * scale], axis=1)
    inside = integers(seed, 6, (maxq, 6), 8) / 8 * scale[:, None] / 2
    return parameters_case(np.concatenate([ends, inside], axis=1).astype(np.float32), bits=bits)


def _refused(size: tuple[int, int], seed: int) -> Case:
    """Return a case whose last weight alone is not finite."""
    weights = _weights(*size, seed)
    weights[-1, -1] = (np.inf, np.nan)[size[0] % 2]
    title = f"generated weights of shape {size}, the last one not finite"
    return refused("aff", "drawn", title, "affine_parameters", "AFF-110", "NonFiniteError", FULL,
                   {"weights": weights})  # fmt: skip


RANGES = ("AFF-150", "AFF-060", "AFF-180")
PROPERTIES = (
    swept("prop-aff-sizes", "Ranges of rows and columns around powers of two.",
          RANGES, PAIRS, _parameters),
    swept("prop-aff-sizes-groups", "Many groups, the last one shorter.",
          ("AFF-180", "AFF-150", "AFF-060", "AFF-130"), SEVERAL, _groups),
    swept("prop-aff-sizes-last", "A last group of one column behind many others.",
          ("AFF-180", "AFF-150", "AFF-060", "AFF-010"), ALONE, _alone),
    swept("prop-aff-sizes-half", "Many weights of float16 and bfloat16.", RANGES, HALVES, _half),
    swept("prop-aff-sizes-codes", "Codes of many rows, columns and groups.",
          ("AFF-070", "AFF-100", "AFF-120"), SLIM, _codes),
    swept("prop-aff-sizes-values", "Many codes back to weights.",
          ("AFF-160", "AFF-100"), SLIM, _values),
    swept("prop-aff-sizes-refused", "The last of many weights that is not finite is refused.",
          ("AFF-110",), ((8, 9), (65, 8), (257, 31)), _refused),
    swept("prop-aff-zero-ties", "Zero-points half-way between two integers go to the even one.",
          ("AFF-060",), (2, 3, 4, 8), _zero_ties),
)  # fmt: skip
