"""Finds the requirement that wrong scales, zero-points or codes of section AFF break."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from quantcheck.judge.naming.common import Explanation, Outputs, off
from quantcheck.oracle.bounds import ULP32
from quantcheck.wire.cases import Case
from quantref.affine import group_layout, range_parameters
from quantref.errors import OverflowRangeError
from quantref.inputs import Array
from quantref.rules import (
    Group,
    Profile,
    mirror_always,
    mirror_where_negative,
    range_with_zero,
    raw_range,
    round_then_add,
    widen_any_equal,
    widen_zeros,
    zero_point_clipped,
    zero_point_wrapped,
)


def affine_parameters(case: Case, outputs: Outputs) -> Explanation:
    """Explain scales and zero-points of section AFF, for each group and row."""
    expected, parameters = case.expected["outputs"], case.parameters
    if outputs["scale"].shape != expected["scale"].shape:
        return []  # one group in place of several: judged by itself
    scale = outputs["scale"].astype(np.float64)
    zero = outputs["zero_point"].astype(np.float64)
    right = expected["scale"].astype(np.float64)
    admissible = case.judging["zero_admissible"]
    scale_off = off(scale, right, 2 * ULP32)
    wrong = scale_off | (zero < admissible[..., 0]) | (zero > admissible[..., 1])
    w = case.inputs["weights"].astype(np.float64)
    groups = group_layout(w.shape[1], parameters["group_size"])
    blamed: dict[str, None] = {}
    mistakes = [(name, s, z) for name, s, z in _mistaken_parameters(w, groups, parameters)]
    lo = np.stack([w[:, g.start : g.end].min(axis=1) for g in groups], axis=1)
    hi = np.stack([w[:, g.start : g.end].max(axis=1) for g in groups], axis=1)
    for i, k in np.argwhere(wrong).tolist():
        found = ""
        if parameters["symmetric"] and not scale_off[i, k]:
            found = "AFF-130"
        for name, s, z in mistakes:
            same = abs(scale[i, k] - s[i, k]) <= 4 * ULP32 * s[i, k]
            same &= bool(scale_off[i, k]) or zero[i, k] == z[i, k]
            found = found or (name if same else "")
        if not found and lo[i, k] == hi[i, k] == 0:
            found = "AFF-020"
        if not found and right[i, k] == 2.0**-126:
            found = "AFF-050"
        if not found:
            return []
        blamed[found] = None
    return list(blamed)


def _mistaken_parameters(
    w: Array, groups: list[Group], parameters: dict[str, Any]
) -> Iterator[tuple[str, Array, Array]]:
    """Yield requirement, scales and zero-points for every known mistake."""
    lo = np.stack([w[:, g.start : g.end].min(axis=1) for g in groups], axis=1)
    hi = np.stack([w[:, g.start : g.end].max(axis=1) for g in groups], axis=1)
    whole = w.min(axis=1)[:, None] + 0 * lo, w.max(axis=1)[:, None] + 0 * hi
    merged = lo.copy(), hi.copy()
    if len(groups) > 1:
        merged[0][:, -2] = merged[0][:, -1] = lo[:, -2:].min(axis=1)
        merged[1][:, -2] = merged[1][:, -1] = hi[:, -2:].max(axis=1)
    shared = lo.min(axis=0) + 0 * lo, hi.max(axis=0) + 0 * hi
    all_shared = lo.min() + 0 * lo, hi.max() + 0 * hi
    own = (lo, hi) if parameters["per_channel"] else shared
    ranges = [("AFF-020", own, range_with_zero), ("AFF-010", own, raw_range)]
    if parameters["symmetric"]:
        below, above = np.minimum(own[0], 0), np.maximum(own[1], 0)
        for m in (abs(own[0]), abs(own[1]), abs(below), above):
            ranges += [("AFF-130", (-m, m), range_with_zero)]
    others = [whole, merged, (lo, hi), shared, all_shared]
    if len(groups) > 1:
        before = [np.append(end[:, :-1], end[:, -2:-1], axis=1) for end in own]
        others.append((before[0], before[1]))
    others += _of_other_groups(w, len(groups), parameters)
    ranges += [("AFF-180", other, range_with_zero) for other in others]
    choices = itertools.product(
        ranges,
        (mirror_always, mirror_where_negative),
        (widen_zeros, widen_any_equal),
        (zero_point_clipped, zero_point_wrapped),
    )
    for (name, (low, high), taken), mirror, degenerate, zero_point in choices:
        profile = Profile(range=taken, mirror=mirror, degenerate=degenerate, zero_point=zero_point)
        try:
            s, z = range_parameters(
                low,
                high,
                bits=parameters["bits"],
                symmetric=parameters["symmetric"],
                profile=profile,
            )
        except OverflowRangeError:
            continue
        if parameters["symmetric"] and mirror is not mirror_always:
            plain = name == "AFF-020" and degenerate is widen_zeros
            name = "AFF-140" if plain and zero_point is zero_point_clipped else name
        yield name, s.astype(np.float64), z.astype(np.float64)


def _of_other_groups(w: Array, count: int, parameters: dict[str, Any]) -> list[tuple[Array, Array]]:
    """Return the ranges of groups of one column less or more, if there are as many groups."""
    found = []
    axis = 1 if parameters["per_channel"] else None
    for size in (parameters["group_size"] - 1, parameters["group_size"] + 1):
        groups = group_layout(w.shape[1], size) if size > 0 else []
        if len(groups) == count:
            parts = [w[:, group.start : group.end] for group in groups]
            ends = [
                np.stack([np.broadcast_to(end(part, axis=axis), len(w)) for part in parts], axis=1)
                for end in (np.min, np.max)
            ]
            found.append((ends[0], ends[1]))
    return found


def affine_codes(case: Case, outputs: Outputs) -> Explanation:
    """Explain codes or dequantized weights: columns that use another group's parameters."""
    inputs = case.inputs
    scale, zero = inputs["scale"].astype(np.float64), inputs["zero_point"].astype(np.float64)

    def result(columns: Array, s: Array, z: Array) -> Array:
        if "bits" not in case.parameters:
            return np.asarray(s * (columns - z))
        return round_then_add(columns, s, z, 2 ** case.parameters["bits"] - 1)

    name, source = ("values", "codes") if "codes" in inputs else ("codes", "weights")
    got, given = outputs[name].astype(np.float64), inputs[source].astype(np.float64)
    n_groups = scale.shape[1]
    g_idx = inputs["g_idx"]
    own = result(given, scale[:, g_idx], zero[:, g_idx])
    for j in np.flatnonzero(off(got, own, 4 * ULP32).any(axis=0)).tolist():
        others = result(given[:, j, None], scale, zero)
        if off(got[:, j, None], others, 4 * ULP32).any(axis=0).all():
            return []
    return ["AFF-100"] if n_groups > 1 else []
