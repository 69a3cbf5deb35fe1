"""Every rule has its effect, in numbers that can be checked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from quantref import (
    GPTQResult,
    Profile,
    accumulate_hessian,
    affine_parameters,
    gptq_textbook,
)
from quantref.errors import NotPositiveDefiniteError
from quantref.inputs import Array
from quantref.rules import (
    add_then_round,
    carry_storage_precision,
    count_sequences,
    dead_kept,
    errors_of_earlier_blocks,
    g_idx_fractional,
    groups_per_block,
    mirror_where_negative,
    order_damped_float32,
    original_weights,
    ragged_padded,
    raw_range,
    rows_of_inverse,
    scale_rounded_twice,
    widen_any_equal,
    zero_point_wrapped,
)

from .problems import plain_config

# H = R Rᵀ, R of ones on and above the diagonal; H⁻¹: (1, −1, 0), (−1, 2, −1), (0, −1, 1).
STAIRS = np.array([[3.0, 2.0, 1.0], [2.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
# M_01 = 2/4: half of the first column's error is carried to the second.
PAIR = np.array([[5.0, 2.0], [2.0, 4.0]])


def single(values: Any) -> Array:
    return np.array(values, dtype=np.float32)


def parameters(row: Sequence[float], **fields_: Any) -> tuple[list[float], list[int]]:
    """Return scales and zero-points of one row of 2-bit codes."""
    settings = {k: fields_.pop(k) for k in ("symmetric", "group_size") if k in fields_}
    scale, zero = affine_parameters(single([row]), bits=2, profile=Profile(**fields_), **settings)
    return scale[0].tolist(), zero[0].tolist()


def solve(
    weights: Any, hessian: Array, config: dict[str, Any], block_size: int = 128, **rules: Any
) -> GPTQResult:
    profile = Profile(**rules)
    return gptq_textbook(
        weights, hessian, plain_config(**config), profile=profile, block_size=block_size
    )


def f32(x: float) -> float:
    return float(np.float32(x))


RAW: dict[str, Any] = {"range": raw_range}


def test_range() -> None:
    assert parameters([1, 2, 4]) == ([f32(4 / 3)], [0])
    assert parameters([1, 2, 4], **RAW) == ([1.0], [0])  # −1 is clipped
    assert parameters([-4, -2, -1], **RAW) == ([1.0], [3])  # so is 4


def test_degenerate() -> None:
    assert parameters([0, 0]) == ([f32(2 / 3)], [1])  # 1 / f32(2/3) lies below 1.5
    assert parameters([5, 5], **RAW) == ([2.0**-126], [0])
    assert parameters([5, 5], **RAW, degenerate=widen_any_equal) == ([f32(2 / 3)], [0])


def test_mirror() -> None:
    mirrored: dict[str, Any] = {"symmetric": True, "mirror": mirror_where_negative}
    assert parameters([0, 1, 2, 3], symmetric=True) == ([2.0], [2])
    assert parameters([0, 1, 2, 3], **mirrored) == ([1.0], [2])
    assert parameters([-1, 1, 2, 3], **mirrored) == ([2.0], [2])
    fields_: dict[str, Any] = {"mirror": mirror_where_negative}
    symmetric = {"symmetric": True}
    weights = single([[0, 1, 2, 3]])
    # 0, 0.5, 1, 1.5 steps; without the mirror 0, 1, 2, 3, clipped at half range.
    assert solve(weights, np.eye(4), symmetric).codes.tolist() == [[2, 2, 3, 3]]
    assert solve(weights, np.eye(4), symmetric, **fields_).codes.tolist() == [[2, 3, 3, 3]]


def test_scale() -> None:
    """(1 + 2⁻²⁴ + 2⁻⁴⁰) / 3 is 11184811.33 units of 2⁻²⁵; the range alone rounds to 1 + 2⁻²³."""
    row = [-(2.0**-24) - 2.0**-40, 1.0]
    assert parameters(row)[0] == [11184811 * 2.0**-25]
    assert parameters(row, scale=scale_rounded_twice)[0] == [11184812 * 2.0**-25]


def test_zero_point() -> None:
    wrapped = {**RAW, "zero_point": zero_point_wrapped}
    assert parameters([1, 2, 4], **wrapped) == ([1.0], [255])
    assert parameters([-4, -2, -1], **wrapped) == ([1.0], [4])
    result = solve(single([[1, 2, 4]]), np.eye(3), {}, **wrapped)
    assert result.codes.tolist() == [[3, 3, 3]]  # 1 + 255, clipped
    assert solve(single([[1, 2, 4]]), np.eye(3), {}, **RAW).codes.tolist() == [[1, 2, 3]]


def test_code() -> None:
    weights = single([[-1, 0.5, 2]])
    assert solve(weights, np.eye(3), {}).codes.tolist() == [[0, 1, 3]]
    other = solve(weights, np.eye(3), {}, code=add_then_round)
    assert other.codes.tolist() == [[0, 2, 3]]


SHARED = {"group_size": 1, "per_channel": False}
# Column 0: steps of 1 in both rows, residuals 0 and 1/4. Column 1 becomes (0, 6.125).
ROWS = [[3.0, 0.0], [1.25, 6.0]]


@pytest.mark.parametrize(
    ("source", "block_size", "largest"),
    [
        (errors_of_earlier_blocks, 2, 6.0),
        (errors_of_earlier_blocks, 1, 6.125),
        (original_weights, 1, 6.0),
    ],
)
def test_base_and_block_size(source: Any, block_size: int, largest: float) -> None:
    result = solve(single(ROWS), PAIR, SHARED, base=source, block_size=block_size)
    assert result.scale.tolist() == [[1.0, f32(largest / 3)]] * 2


def test_groups() -> None:
    """One row 1.25, 3 in one group of two blocks: the second block sees 3.125."""
    weights = single([[1.25, 3.0]])
    assert solve(weights, PAIR, {}, block_size=1).scale.tolist() == [[1.0]]
    anew = solve(weights, PAIR, {}, block_size=1, groups=groups_per_block)
    assert anew.scale.tolist() == [[1.0, f32(3.125 / 3)]]
    assert anew.g_idx.tolist() == [0, 1]


def test_ragged() -> None:
    row: dict[str, Any] = {"row": [1, 4, 6], "group_size": 2, **RAW}
    assert parameters(**row) == ([1.0, 2.0**-126], [0, 0])
    padded = parameters(**row, ragged=ragged_padded)
    assert padded == ([1.0, 2.0], [0, 0])


def test_order() -> None:
    tied = np.diag([1.0, 3.0, 1.0, 3.0])
    near = np.diag([1.0, 1.0 + 2.0**-30, 3.0, 3.0])
    weights, ordered = np.ones((1, 4), np.float32), {"activation_order": True}
    damped: dict[str, Any] = {"order": order_damped_float32}
    assert solve(weights, tied, ordered).order.tolist() == [1, 3, 0, 2]
    assert solve(weights, near, ordered).order.tolist() == [2, 3, 1, 0]
    assert solve(weights, near, ordered, **damped).order.tolist() == [2, 3, 0, 1]
    # Damping of 2^24 swallows what tells 1 from 3 in float32.
    added = order_damped_float32(np.array([1.0, 3.0]), np.array([1.0, 3.0]) + 2.0**26)
    assert added.tolist() == [0, 1]


def test_dead() -> None:
    weights, hessian = single([[6, 3]]), np.diag([0.0, 1.0])
    zeroed, kept = (
        solve(weights, hessian, {}),
        solve(weights, hessian, {}, dead=dead_kept),
    )
    assert (zeroed.codes.tolist(), zeroed.scale.tolist()) == ([[0, 3]], [[1.0]])
    assert (kept.codes.tolist(), kept.scale.tolist()) == ([[3, 2]], [[2.0]])  # 1.5: a tie, to 2


def test_tokens() -> None:
    batch = np.array([[[1.0, 0.0], [1.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]]])
    total = np.array([[3.0, 4.0], [4.0, 8.0]])
    by_sequence = Profile(tokens=count_sequences)
    np.testing.assert_allclose(accumulate_hessian([batch]), total * 2 / 6, rtol=1e-15)
    assert (accumulate_hessian([batch], by_sequence) == total * 2 / 2).all()
    assert (accumulate_hessian([batch[0]], by_sequence) ==
            accumulate_hessian([batch[0]])).all()  # fmt: skip


def test_rows() -> None:
    """Column 1 leaves 0.4, of which rows of U carry all and rows of H⁻¹ half: 1.6 and 1.4."""
    weights = single([[3.0, 1.4, 1.2]])
    assert solve(weights, STAIRS, {}).codes.tolist() == [[3, 1, 2]]
    inverse = solve(weights, STAIRS, {}, rows=rows_of_inverse)
    assert inverse.codes.tolist() == [[3, 1, 1]]
    # The first column's error is carried alike.
    two = single([[1.4, 3.0, 1.0]])
    assert (
        solve(two, STAIRS, {}).codes[0, 1]
        == solve(two, STAIRS, {}, rows=rows_of_inverse).codes[0, 1]
    )


def test_not_positive_definite() -> None:
    with pytest.raises(NotPositiveDefiniteError, match=r"after damping 0.*pivot 0"):
        solve(single([[3.0, 1.4, 1.3]]), np.ones((3, 3)), {})


def test_carry() -> None:
    """2048.125 is no half: stored as float16, the compensation is lost."""
    rows = np.array([[3.0, 0.0], [1.25, 2048.0]], np.float16)
    carried = solve(rows, PAIR, SHARED, block_size=1)
    stored = solve(rows, PAIR, SHARED, block_size=1, carry=carry_storage_precision)
    assert carried.scale[0].tolist() == [1.0, f32(2048.125 / 3)]
    assert stored.scale[0].tolist() == [1.0, f32(2048 / 3)]


def test_g_idx() -> None:
    weights, halves = single([[1, 2, 3, 4]]), {"group_size": 2}
    whole = solve(weights, np.eye(4), halves)
    fractional = solve(weights, np.eye(4), halves, g_idx=g_idx_fractional)
    assert (whole.g_idx.tolist(), whole.g_idx.dtype.name) == ([0, 0, 1, 1], "int32")
    assert (fractional.g_idx.tolist(), fractional.g_idx.dtype.name) == ([0, 0.5, 1, 1.5], "float32")
    assert (whole.dequantized() == fractional.dequantized()).all()
