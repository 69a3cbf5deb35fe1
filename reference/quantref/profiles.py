"""Profiles of other quantizers of this family, as appendix A of SPEC.md sets them side by side."""

from __future__ import annotations

from quantref.rules import (
    Profile,
    add_then_round,
    count_sequences,
    dead_kept,
    g_idx_fractional,
    groups_per_block,
    mirror_where_negative,
    order_damped_float32,
    ragged_padded,
    range_with_zero_if_asymmetric,
    raw_range,
    rows_of_inverse,
    scale_rounded_twice,
    widen_any_equal,
    zero_point_wrapped,
)

ORIGINAL_PROFILE = Profile(
    name="original GPTQ code",
    mirror=mirror_where_negative,
    scale=scale_rounded_twice,
    tokens=count_sequences,
)
"""The code published with the paper (arXiv 2210.17323); its sort is not stable."""

KERAS_PROFILE = Profile(
    name="Keras 3.15",
    range=raw_range,
    mirror=mirror_where_negative,
    degenerate=widen_any_equal,
    scale=scale_rounded_twice,
    zero_point=zero_point_wrapped,
    code=add_then_round,
    groups=groups_per_block,
    ragged=ragged_padded,
    order=order_damped_float32,
    dead=dead_kept,
    rows=rows_of_inverse,
    g_idx=g_idx_fractional,
)
"""Keras 3.15 with float32 layers, as read in its source. Half-precision layers carry weights in
their own dtype: `carry_storage_precision`."""

KERAS_316_PROFILE = Profile(
    name="Keras 3.16",
    range=range_with_zero_if_asymmetric,
    mirror=mirror_where_negative,
    degenerate=widen_any_equal,
    scale=scale_rounded_twice,
    code=add_then_round,
    order=order_damped_float32,
    dead=dead_kept,
)
"""Keras 3.16 with float32 layers, as read in the source of its development version 2026102704.
Other layers round scales to their own dtype before codes are chosen."""
