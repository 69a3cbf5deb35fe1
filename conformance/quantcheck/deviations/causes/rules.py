"""Rules that a target may follow instead of SPEC.md's, one for each point of appendix A."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from quantref import rules as of
from quantref.inputs import Array


def mirror_without_abs(mirror: Any) -> Any:
    """Return a rule for m = max(lo, hi): the magnitude of a negative lo loses its Abs."""

    def mirrored(lo: Array, hi: Array) -> of.Ends:
        m = np.maximum(lo, hi)
        return (-m if mirror is of.mirror_always else np.where(lo < 0, -m, lo)), m

    return mirrored


def positive(scale: Any) -> Any:
    """Return a rule of scales that are 1e-8 where the range is not positive."""

    def made(lo: Array, hi: Array, maxq: int) -> Any:
        s = scale(lo, hi, maxq)
        return np.where(s <= 0, np.float32(1e-8), s)

    return made


def at_least_epsilon(scale: Any) -> Any:
    """Return a rule of scales that are at least 2⁻²³."""
    return lambda lo, hi, maxq: np.maximum(scale(lo, hi, maxq), np.float32(2.0**-23))


def zero_point_saturated(lo: Array, s: Array, maxq: int) -> Array:  # noqa: ARG001
    """Return clip(rint(−lo / s), 0, 255), as a cast to uint8 that saturates gives it."""
    return np.asarray(np.clip(np.rint(-lo / s), 0, 255))


def order_with_any_ties(diagonal: Array, damped: Array) -> Any:
    """Sort as `order_damped_float32`; ties may fall in any order, see `_order_of`."""
    return of.order_damped_float32(diagonal, damped)


PROFILE_RULES = {
    "range": (of.raw_range, of.range_with_zero_if_asymmetric),
    "mirror": (of.mirror_where_negative,),
    "degenerate": (of.widen_any_equal,),
    "scale": (of.scale_rounded_twice,),
    "zero_point": (of.zero_point_wrapped, zero_point_saturated),
    "code": (of.add_then_round,),
    "groups": (of.groups_per_block,),
    "ragged": (of.ragged_padded,),
    "base": (of.original_weights,),
    "order": (of.order_damped_float32, order_with_any_ties),
    "dead": (of.dead_kept,),
    "rows": (of.rows_of_inverse,),
    "tokens": (of.count_sequences,),
    "g_idx": (of.g_idx_fractional,),
}
FIELDS = {rule.__name__: (name, rule) for name, some in PROFILE_RULES.items() for rule in some}
OTHERS = {
    "one_group_per_tensor": "without per-channel ranges the group size is ignored",
    "scale_without_floor": "a scale may be below the smallest normal float32; subnormal ranges may "
    "be flushed to zero",
    "scale_in_dtype_of_weights": "the scale of float64 weights is float64",
    "abs_of_minimum_lost": "without groups, the magnitude of a negative minimum stays negative",
    "hessian_as_given": "an asymmetric Hessian is inverted as it is: (H + Hᵀ) / 2 is not taken",
    "hessian_of_lower_triangle": "of an asymmetric Hessian the lower triangle, in the order of "
    "processing, is factored",
    "scale_rounded_to_storage": "a scale is rounded to the dtype of the weights before codes are "
    "chosen",
    "any_scale_of_zeros": "a group of zeros has any positive scale, and a zero-point in 0 … maxq",
    "dead_in_ranges": "ranges are those of the weights as given: dead columns count in them, "
    "though their codes are those of 0",
    "scale_at_least_epsilon": "a scale is at least 2⁻²³, the spacing of float32 at 1",
    "live_groups": "a group that starts inside a column block sees the errors of the block so far",
}
RULES = (*FIELDS, *OTHERS)


@dataclass(frozen=True)
class Rules:
    """Rules that hold together: a profile, and rules that no profile has."""

    profile: of.Profile
    others: frozenset[str]

    @classmethod
    def named(cls, names: Iterable[str]) -> Rules:
        """Return SPEC.md with the named rules in place of its own."""
        names = list(names)
        changed: Any = dict(FIELDS[name] for name in names if name in FIELDS)
        profile = replace(of.DEFAULT_PROFILE, name="known deviations", **changed)
        if "scale_at_least_epsilon" in names:
            profile = replace(profile, scale=at_least_epsilon(profile.scale))
        return cls(profile, frozenset(names).intersection(OTHERS))
