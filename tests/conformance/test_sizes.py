"""Sizes: every run visits each of them, and the large arrays' exact forms equal the fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from quantcheck import properties
from quantcheck.corpus.absmax import absmax_case
from quantcheck.corpus.affine.build import parameters_case, quantize_case
from quantcheck.corpus.hessian import prepare_case, sum_case
from quantcheck.oracle import exact, wide
from quantcheck.properties import sizes
from quantcheck.properties.sizes import abs as of_abs
from quantcheck.properties.sizes import aff, hes, pack
from quantcheck.run.draws import Draws, draw
from quantcheck.wire.cases import Case

pytestmark = pytest.mark.requirement("VER-070")

SWEPT = {p.id: p for p in properties.load().values() if p.sweep is not None}


def same(large: Case, small: Case) -> None:
    """Both forms of one case have the same question and the same expected values."""
    for name, array in small.inputs.items():
        if isinstance(array, list):
            continue
        assert np.array_equal(np.asarray(large.inputs[name]), np.asarray(array)), name
    for name, array in small.expected["outputs"].items():
        got = large.expected["outputs"][name]
        assert got.dtype == array.dtype, name
        assert np.array_equal(got, array), name


def _columns(case: Case) -> int:
    inputs = case.inputs
    return int((inputs["hessian"] if "hessian" in inputs else inputs["batches"][0]).shape[-1])


def test_every_size_comes_as_rows_and_as_columns() -> None:
    wanted = {n + k for n in sizes.AROUND for k in (-1, 0, 1)} - {0}
    assert {shape[0] for shape in sizes.PAIRS} == wanted
    assert {shape[1] for shape in sizes.PAIRS} == wanted
    for name, most in (("prop-gptq-sizes-rows", 4097), ("prop-hes-sizes", 4097)):
        cases = [s.cases[0] for s in draw(SWEPT[name])]
        counts = {
            len(c.inputs["weights"]) if "weights" in c.inputs else c.judging["tokens"]
            for c in cases
        }
        assert counts == {n for n in wanted if n <= most}
    for section in ("gptq", "hes"):
        counts = {
            _columns(case)
            for prop in SWEPT.values() if prop.section == section
            for sample in draw(prop) for case in sample.cases
        }  # fmt: skip
        assert {n for n in wanted if n <= 257} | {513} <= counts


def test_the_first_failure_is_the_smallest() -> None:
    for name in ("prop-abs-sizes", "prop-aff-sizes", "prop-aff-sizes-codes"):
        counts = [max(np.size(v) for v in s.cases[0].inputs.values()) for s in draw(SWEPT[name])]
        assert counts == sorted(counts)


def test_a_part_of_the_draws_has_a_part_of_the_sizes() -> None:
    prop = SWEPT["prop-pack-sizes"]
    parts = [[s.cases[0].title for s in draw(prop, Draws(seed=k, factor=0.2))] for k in range(5)]
    assert sorted(title for part in parts for title in part) == sorted(
        s.cases[0].title for s in draw(prop)
    )


@pytest.mark.parametrize("name", sorted(SWEPT))
def test_a_target_that_compiles_gets_one_of_three_sizes_in_a_row(name: str) -> None:
    every = [s.cases[0].id for s in draw(SWEPT[name])]
    some = [s.cases[0].id for s in draw(SWEPT[name], Draws(compiled=True))]
    places = [every.index(identity) for identity in some]
    step = min(3, len(every))
    rows = [place // step for place in places]
    assert rows == list(dict.fromkeys(rows))
    assert set(rows) >= set(range(len(every) // step))
    if len(some) > 2:
        assert len({place % step for place in places}) == 3


@pytest.mark.parametrize("axis", [0, -1])
def test_absmax(axis: int) -> None:
    x = of_abs._values((17, 9, axis), 3).astype(np.float32)
    same(of_abs.large_case(x, axis), absmax_case("a", "", x, axis=axis))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_ranges(bits: int, symmetric: bool) -> None:
    rng = np.random.default_rng(bits)
    for weights in (
        aff._weights(9, 17, bits),
        aff._zero_ties(bits, 0).inputs["weights"],
        (rng.integers(-9, 9, (40, 4)) / 2).astype(np.float32),
    ):
        given = {"bits": bits, "symmetric": symmetric, "group_size": 3}
        large, small = (
            aff.parameters_case(weights, **given),
            parameters_case("a", "", weights, **given),
        )
        same(large, small)
        got, wanted = (c.judging["zero_admissible"] for c in (large, small))
        assert np.array_equal(got, wanted)


def test_a_quotient_on_a_tie_of_binary32_is_decided_by_fractions() -> None:
    """(hi − lo) / 3 is next to a tie that float64 cannot tell from it."""
    hi = 3.0 * (1 + 2.0**-24) + 2.0**-51
    scale, _, _ = wide.affine_ranges(np.array([0.0]), np.array([hi]), bits=2, symmetric=False)
    assert scale[0] == float(exact.nearest_float(Fraction(hi) / 3))


def test_codes_and_values() -> None:
    for size in ((9, 7), (7, 65)):
        case = aff._codes(size, 1)
        given = [case.inputs[n] for n in ("weights", "scale", "zero_point", "g_idx")]
        small = quantize_case("a", "", *given, bits=case.parameters["bits"])
        same(case, small)
        assert np.array_equal(case.judging["required"], small.judging["required"])


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_packing(bits: int) -> None:
    codes = pack._codes((7, 5), bits, bits)
    lines = [exact.pack(line, bits) for line in codes.T.tolist()]
    wanted = np.array(lines, np.int64).astype(np.uint8).view(codes.dtype).T
    assert np.array_equal(wide.pack(codes, bits, 0), wanted)
    assert np.array_equal(wide.pack(codes.T.copy(), bits, 1), wanted.T)


def test_sums_and_preparation() -> None:
    case = hes._batches(17, 2)
    same(case, sum_case("a", "", case.inputs["batches"]))
    H = hes.uneven(hes.hessian(9, 1, dead=True), 1)
    same(hes.prepare_case(H, 1 / 64, ordered=True), prepare_case("a", "", H, 1 / 64, True))
