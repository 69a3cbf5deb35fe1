"""Cases of section AFF: ranges, zero-points, ties, groups."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from quantcheck.corpus.draw import U32, ULP32, exact_list, floats, is_power_of_two, shortened
from quantcheck.oracle import exact
from quantcheck.wire.cases import Case
from quantref.affine import group_layout
from quantref.inputs import Array

FULL: dict[str, Any] = {"bits": 4, "symmetric": False, "per_channel": True, "group_size": -1}


def admissible_zero_points(
    position: Fraction, scale: Fraction, zero_point: int, margin: Fraction, maxq: int
) -> tuple[int, int]:
    """Return the lowest and highest admissible zero-point, which differ for a near-tie.

    If the scale is a power of two, no arithmetic rounds, and an exact tie goes to the even number.
    For any other scale an exact tie counts as a near-tie, since a product with the rounded
    reciprocal may lie on either side of it.
    """
    exact_tie = margin == 0 and position.denominator == 2 and is_power_of_two(float(scale))
    if exact_tie or margin > position * (3 * U32 + 2 * ULP32):
        return zero_point, zero_point
    below = int(position)  # position >= 0
    return min(below, maxq), min(below + 1, maxq)


def parameters_case(
    identity: str, title: str, weights: Array, *requirements: str, **changes: Any
) -> Case:
    """Return the case of scale and zero-point of a weight matrix; expected values are exact."""
    parameters = {**FULL, **changes}
    bits, symmetric = parameters["bits"], parameters["symmetric"]
    maxq = 2**bits - 1
    W = exact.fractions_of(exact_list(weights))
    n_out, n_in = weights.shape
    scale: Any = [[] for _ in range(n_out)]
    zero: Any = [[] for _ in range(n_out)]
    admissible: Any = [[] for _ in range(n_out)]
    margins: Any = [[] for _ in range(n_out)]
    for group in group_layout(n_in, parameters["group_size"]):
        ranges = [
            (min(row[group.start : group.end]), max(row[group.start : group.end])) for row in W
        ]
        if not parameters["per_channel"]:
            ranges = [(min(r[0] for r in ranges), max(r[1] for r in ranges))] * n_out
        for i, (lo, hi) in enumerate(ranges):
            s, z, margin = exact.affine_range(lo, hi, bits=bits, symmetric=symmetric)
            lowest = Fraction(-1) if lo == hi == 0 else min(lo, Fraction(0))
            position = -lowest / s
            scale[i].append(s)
            zero[i].append(z)
            margins[i].append(margin)
            pair = (z, z) if symmetric else admissible_zero_points(position, s, z, margin, maxq)
            admissible[i].append(pair)
    outputs = {"scale": floats(scale, "float32"), "zero_point": np.array(zero, np.uint8)}
    judging = {
        "zero_margins": shortened(margins),
        "zero_admissible": np.array(admissible, np.uint8),
    }
    return Case(
        f"aff-{identity}",
        "aff",
        title,
        "affine_parameters",
        tuple(dict.fromkeys((*requirements, "AFF-150", "AFF-060", "AFF-180"))),
        parameters,
        {"weights": weights},
        {"outputs": outputs},
        judging,
    )


def quantize_case(
    identity: str,
    title: str,
    weights: Array,
    scale: Array,
    zero_point: Array,
    g_idx: Array,
    *requirements: str,
    bits: int = 4,
) -> Case:
    """Return the case of codes for given parameters; expected values are exact."""
    W, S = exact.fractions_of(exact_list(weights)), exact.fractions_of(exact_list(scale))
    Z, groups, maxq = zero_point.tolist(), g_idx.tolist(), 2**bits - 1
    codes, margins, required = [], [], []
    for i, row in enumerate(W):
        pairs, needed = [], []
        for j, w in enumerate(row):
            s = S[i][groups[j]]
            code, margin = exact.code_and_margin(w / s, Z[i][groups[j]], 0, maxq)
            power = (s.numerator & (s.numerator - 1)) == 0  # dyadic scale 2^k: exact everywhere
            pairs.append((code, margin))
            needed.append(margin > 4 * U32 * (abs(w / s) + maxq) or (margin == 0 and power))
        codes.append([c for c, _ in pairs])
        margins.append([m for _, m in pairs])
        required.append(needed)
    judging = {"margins": shortened(margins), "required": np.array(required, np.uint8)}
    inputs = {"weights": weights, "scale": scale, "zero_point": zero_point, "g_idx": g_idx}
    return Case(
        f"aff-{identity}",
        "aff",
        title,
        "affine_quantize",
        tuple(dict.fromkeys((*requirements, "AFF-070", "AFF-120"))),
        {"bits": bits},
        inputs,
        {"outputs": {"codes": np.array(codes, np.uint8)}},
        judging,
    )
