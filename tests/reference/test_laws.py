"""Laws that hold whatever the numbers: scaling, order of rows, round trips, splits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantcheck.oracle.bounds import growth
from quantref import (
    HessianAccumulator,
    abs_max_dequantize,
    abs_max_quantize,
    accumulate_hessian,
    affine_dequantize,
    affine_parameters,
    affine_quantize,
    gptq_quantize,
    group_index,
    pack_codes,
    unpack_codes,
)
from quantref.inputs import Array
from quantref.packing import code_bounds

from .problems import BITS, integer_arrays, normal_problem

SEEDS = st.integers(0, 2**32)
SHIFTS = st.integers(-30, 30)
SETTINGS = st.fixed_dictionaries(
    {
        "bits": st.sampled_from(BITS),
        "symmetric": st.booleans(),
        "group_size": st.sampled_from([-1, 4, 7, 16]),
        "activation_order": st.booleans(),
        "block_size": st.sampled_from([1, 8, 128]),
    }
)
WEIGHTS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.floats(-1024, 1024, width=32).filter(lambda x: x == 0 or abs(x) > 2.0**-20),
)


@given(weights=WEIGHTS, shift=SHIFTS, bits=st.sampled_from(BITS), symmetric=st.booleans())
def test_affine_scales_with_powers_of_two(
    weights: Array, shift: int, bits: int, symmetric: bool
) -> None:
    """Codes and zero-points stay, scales follow; rows of zeros have no scale to follow."""
    factor = np.float32(2.0**shift)
    scale, zero = affine_parameters(weights, bits=bits, symmetric=symmetric)
    scale2, zero2 = affine_parameters(weights * factor, bits=bits, symmetric=symmetric)
    zeros = ~weights.any(axis=1, keepdims=True)
    np.testing.assert_array_equal(zero2, zero)
    np.testing.assert_array_equal(scale2, np.where(zeros, scale, scale * factor))
    g_idx = group_index(weights.shape[1], -1)
    np.testing.assert_array_equal(
        affine_quantize(weights * factor, scale2, zero2, g_idx, bits=bits),
        affine_quantize(weights, scale, zero, g_idx, bits=bits),
    )


@given(seed=SEEDS, shift=SHIFTS, settings=SETTINGS, per_channel=st.booleans())
def test_gptq_scales_with_powers_of_two(
    seed: int, shift: int, settings: dict[str, Any], per_channel: bool
) -> None:
    problem = normal_problem(seed, 3, 20, per_channel=per_channel, **settings)
    factor = np.float32(2.0**shift)
    one = gptq_quantize(
        problem.weights, problem.hessian, problem.config, block_size=problem.block_size
    )
    two = gptq_quantize(
        problem.weights * factor, problem.hessian, problem.config, block_size=problem.block_size
    )
    for name in ("codes", "zero_point", "g_idx"):
        np.testing.assert_array_equal(getattr(two, name), getattr(one, name))
    np.testing.assert_array_equal(two.scale, one.scale * factor)
    # A factor of the Hessian cancels, damping included.
    three = gptq_quantize(
        problem.weights,
        problem.hessian * float(factor),
        problem.config,
        block_size=problem.block_size,
    )
    np.testing.assert_array_equal(three.codes, one.codes)


@given(x=WEIGHTS, bounds=st.sampled_from([(-127, 127), (-128, 127), (-100, 127), (0, 127)]))
def test_abs_max_of_the_opposite(x: Array, bounds: tuple[int, int]) -> None:
    """Codes change sign where they are not clipped: the lower bound need not mirror the upper."""
    lo, hi = bounds
    wide, scale = abs_max_quantize(x, -1, (-127, 127))
    codes, scale2 = abs_max_quantize(-x, -1, bounds)
    np.testing.assert_array_equal(scale2, scale)
    np.testing.assert_array_equal(codes, np.clip(-wide.astype(int), lo, hi))


@given(weights=WEIGHTS, bits=st.sampled_from(BITS))
def test_symmetric_affine_of_the_opposite(weights: Array, bits: int) -> None:
    """Codes mirror at the zero-point; 2^b − z, one beyond maxq, is clipped to it."""
    g_idx = group_index(weights.shape[1], -1)
    maxq, z = 2**bits - 1, 2 ** (bits - 1)
    scale, zero = affine_parameters(weights, bits=bits, symmetric=True)
    scale2, zero2 = affine_parameters(-weights, bits=bits, symmetric=True)
    np.testing.assert_array_equal(scale2, scale)
    assert (zero == z).all()
    assert (zero2 == z).all()
    codes = affine_quantize(weights, scale, zero, g_idx, bits=bits).astype(int)
    mirrored = affine_quantize(-weights, scale, zero, g_idx, bits=bits).astype(int)
    inner = codes < maxq  # maxq stands for two numbers of steps
    np.testing.assert_array_equal(mirrored[inner], np.minimum(2 * z - codes, maxq)[inner])
    assert np.isin(mirrored[~inner], (0, 1)).all()


@given(seed=SEEDS, settings=SETTINGS)
def test_rows_may_be_permuted_and_taken_apart(seed: int, settings: dict[str, Any]) -> None:
    problem = normal_problem(seed, 7, 20, **settings)
    rng = np.random.default_rng(seed)

    def solve(weights: Array) -> Any:
        return gptq_quantize(
            weights, problem.hessian, problem.config, block_size=problem.block_size
        )

    whole, order = solve(problem.weights), rng.permutation(7)
    permuted = solve(problem.weights[order])
    part = solve(problem.weights[2:5])
    for name in ("codes", "zero_point"):
        np.testing.assert_array_equal(getattr(permuted, name), getattr(whole, name)[order])
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[2:5])
    # Products of another size may add in another order: the last bit of a scale is theirs.
    np.testing.assert_allclose(permuted.scale, whole.scale[order], rtol=2.0**-22)
    np.testing.assert_allclose(part.scale, whole.scale[2:5], rtol=2.0**-22)
    np.testing.assert_array_equal(part.g_idx, whole.g_idx)


@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=7),
    bits=st.sampled_from(BITS),
    signed=st.booleans(),
    data=st.data(),
)
def test_unpacking_undoes_packing(
    shape: tuple[int, ...], bits: int, signed: bool, data: st.DataObject
) -> None:
    dtype = np.int8 if signed else np.uint8
    codes = data.draw(hnp.arrays(dtype, shape, elements=st.integers(*code_bounds(bits, signed))))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1), label="axis")
    packed = pack_codes(codes, bits, axis)
    per_byte = {2: 4, 3: 1, 4: 2, 8: 1}[bits]
    lengths = list(shape)
    lengths[axis] = -(-shape[axis] // per_byte)
    assert packed.shape == tuple(lengths)
    again = unpack_codes(packed, bits, shape[axis], axis)
    assert again.dtype == packed.dtype == codes.dtype
    np.testing.assert_array_equal(again, codes)


@given(weights=WEIGHTS, bits=st.integers(2, 8), symmetric=st.booleans(),
       group_size=st.sampled_from([-1, 1, 3]))  # fmt: skip
def test_affine_codes_of_dequantized_weights(
    weights: Array, bits: int, symmetric: bool, group_size: int
) -> None:
    n_in = weights.shape[1]
    g_idx = group_index(n_in, group_size)
    scale, zero = affine_parameters(weights, bits=bits, symmetric=symmetric, group_size=group_size)
    codes = affine_quantize(weights, scale, zero, g_idx, bits=bits)
    values = affine_dequantize(codes, scale, zero, g_idx)
    np.testing.assert_array_equal(affine_quantize(values, scale, zero, g_idx, bits=bits), codes)


@given(x=WEIGHTS, dtype=st.sampled_from(["float32", "float64"]))
def test_abs_max_codes_of_dequantized_values(x: Array, dtype: str) -> None:
    """Epsilon moves the scale of slices that are not far above it: x has nothing below 2⁻²⁰."""
    codes, scale = abs_max_quantize(x.astype(dtype) * 64, -1)
    values = abs_max_dequantize(codes, scale)
    again, _ = abs_max_quantize(values, -1)
    np.testing.assert_array_equal(again, codes)


SPLITS = st.lists(st.integers(1, 30), max_size=4)


@given(n_in=st.integers(1, 5), splits=SPLITS, data=st.data())
def test_dyadic_tokens_may_be_split_anyhow(
    n_in: int, splits: list[int], data: st.DataObject
) -> None:
    tokens = data.draw(integer_arrays((31, n_in), 200), label="tokens") / 16
    whole = accumulate_hessian([tokens])
    pieces = [p for p in np.split(tokens, sorted(set(splits))) if len(p)]
    np.testing.assert_array_equal(accumulate_hessian(pieces), whole)
    np.testing.assert_array_equal(
        accumulate_hessian(p[None, :, None].astype(np.float32) for p in pieces), whole
    )
    merged = HessianAccumulator(n_in)
    for piece in pieces:
        part = HessianAccumulator(n_in)
        part.update(piece)
        merged.merge(part)
    np.testing.assert_array_equal(merged.hessian(), whole)
    assert merged.tokens == 31
    np.testing.assert_array_equal(whole, whole.T)


@given(seed=SEEDS, splits=SPLITS)
def test_any_tokens_may_be_split_within_the_bound(seed: int, splits: list[int]) -> None:
    tokens = np.random.default_rng(seed).normal(size=(31, 5))
    pieces = [p for p in np.split(tokens, sorted(set(splits))) if len(p)]
    bound = growth(31 + 4 * len(pieces) + 4, 2.0**-53) * accumulate_hessian([np.abs(tokens)])
    off = np.abs(accumulate_hessian(pieces) - accumulate_hessian([tokens]))
    assert (off <= 2 * bound).all()
    halves = [HessianAccumulator(5), HessianAccumulator(5)]
    for k, piece in enumerate(pieces):
        halves[k % 2].update(piece)
    halves[0].merge(halves[1])
    assert (np.abs(halves[0].hessian() - accumulate_hessian([tokens])) <= 2 * bound).all()


def test_a_refused_batch_changes_nothing() -> None:
    total = HessianAccumulator(2)
    total.update(np.ones((3, 2)))
    before = total.hessian()
    with pytest.raises(ValueError, match="finite batch"):
        total.update(np.array([[1.0, 2.0], [np.nan, 1.0]]))
    np.testing.assert_array_equal(total.hessian(), before)
    assert total.tokens == 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_in", [3, 130])  # within a band, and in more than one
def test_a_finished_hessian_does_not_change_when_the_next_sum_begins(dtype: str, n_in: int) -> None:
    x = np.random.default_rng(n_in).integers(-8, 9, (4, 40, n_in)).astype(np.float32)
    total = HessianAccumulator(n_in, dtype=dtype)
    for batch in x[:3]:
        total.update(batch)
    first = total.hessian()
    expected = 2 * np.einsum("bti,btj->ij", x[:3], x[:3], dtype=np.float64) / 120
    np.testing.assert_allclose(first, expected, rtol=2**-52)  # sums of integers: exact
    finished = total.finish()
    np.testing.assert_array_equal(finished, first)
    assert total.tokens == 0
    total.update(x[3])
    np.testing.assert_array_equal(total.hessian(), accumulate_hessian([x[3]]))
    np.testing.assert_array_equal(finished, first)
