"""The special cases of section GPTQ: one rule at a time, hard Hessians, blocks, refusals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantcheck.corpus.draw import floats, refused, single
from quantcheck.corpus.gptq.build import CORE, FULL, gptq_case, problem
from quantcheck.corpus.hessian import exact_hessian, tokens
from quantcheck.wire.cases import Case


def special_cases() -> Iterator[Case]:
    """Yield the special cases of section GPTQ."""
    yield from _isolated_cases()
    yield from _prepared_cases()
    yield from _hard_cases()
    yield from _large_cases()
    yield from _refused_cases()


def _isolated_cases() -> Iterator[Case]:
    """Yield cases with a diagonal Hessian: no error propagates, so that each rule is seen alone."""
    identity = np.eye(16)
    zero = single([k - 7.5 for k in range(16)])  # lo + hi = 0
    rows = np.stack([zero, -zero, zero + np.float32(0.5), zero - np.float32(0.5)])
    yield gptq_case(
        "ties",
        "exact ties at both parities: scale 1, zero-points around 7 and 8",
        rows,
        identity,
        "GPTQ-070",
        "GPTQ-080",
        damping=0.0,
    )
    odd = single(
        [-7, 8, -6.5, -5.5, -4.5, -3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    )
    yield gptq_case(
        "ties-odd-zero",
        "exact ties beside an odd zero-point",
        np.stack([odd, odd * 2]),
        identity,
        "GPTQ-070",
        "GPTQ-080",
        damping=0.0,
    )
    W, _ = problem(630, 4, 16)
    dead = np.diag([0.0 if k in (3, 9) else 1.0 for k in range(16)])
    wide = W.copy()
    wide[:, 3], wide[:, 9] = 40.0, -40.0
    yield gptq_case(
        "dead",
        "dead columns: weights 0 before ranges are taken",
        wide,
        dead,
        "GPTQ-010",
        "GPTQ-070",
        "GPTQ-080",
        "GPTQ-140",
    )
    yield gptq_case(
        "dead-all",
        "every column dead: codes of zero",
        wide,
        np.zeros((16, 16)),
        "GPTQ-010",
        "GPTQ-080",
    )
    yield gptq_case(
        "dead-group",
        "a whole group dead",
        wide,
        np.diag([0.0 if k < 4 else 1.0 for k in range(16)]),
        "GPTQ-010",
        "GPTQ-080",
        group_size=4,
    )
    yield gptq_case(
        "positive",
        "rows of one sign: the range reaches to 0",
        np.abs(W) + np.float32(0.5),
        identity,
        "GPTQ-030",
        "GPTQ-070",
    )
    yield gptq_case(
        "positive-symmetric",
        "rows of one sign, symmetric",
        np.abs(W) + np.float32(0.5),
        identity,
        "GPTQ-030",
        "AFF-140",
        "GPTQ-070",
        symmetric=True,
    )
    constant = np.repeat(single([[0.0], [0.75], [-2.0], [3.0]]), 16, axis=1)
    yield gptq_case(
        "constant", "constant rows, one of zeros", constant, identity, "GPTQ-030", "GPTQ-070"
    )


def _prepared_cases() -> Iterator[Case]:
    """Yield cases in which a mistake in SYMMETRY to DAMPING shows in the codes."""
    wide = 2.0**10  # amplifies the feedback of column 0 to column 1
    uneven = np.array([[wide**2, 3 * 2.0**-18 * wide, 0], [0, 1, 0], [0, 0, 1]])
    fed = 0.4375 * 3 * 2.0**-19 * wide  # to w′_1, by the mean of both triangles
    yield gptq_case(
        "asymmetric",
        "an asymmetry within 2^-16: either triangle alone gives another code",
        single([[1.4375, 1.5 - fed - 2.0**-9, 3], [1.4375, 1.5 - fed + 2.0**-9, 3]]),
        uneven,
        "GPTQ-110",
        bits=2,
        damping=0.0,
    )
    yield gptq_case(
        "order-before-dead",
        "a live diagonal below 1: the dead column comes before it",
        single([[1, 5, 2]]),
        np.diag([0.5, 0.0, 2.0]),
        "GPTQ-020",
        "GPTQ-010",
        bits=2,
        damping=0.0,
        group_size=1,
        block_size=1,
        activation_order=True,
    )
    small = np.diag([1.0, 1.0, 0.0, 0.0, 1.0]) / 64
    small[0, 1] = small[1, 0] = 0.75 / 64
    yield gptq_case(
        "damping-dead",
        "dead columns become 1 before the mean that damps small live ones",
        single([[1.4375, 1.25, 5, -5, 3], [1.5625, 1.75, 5, -5, 3]]),
        small,
        "GPTQ-010",
        bits=2,
    )
    W, _ = problem(650, 4, 16)
    faint = np.diag([2.0**-30 if k in (4, 11) else float(k != 7) for k in range(16)])
    yield gptq_case(
        "nearly-dead",
        "columns that are nearly dead keep their weights",
        W,
        faint,
        "GPTQ-010",
        damping=0.0,
    )


def _hard_cases() -> Iterator[Case]:
    W, H = problem(640, 4, 16)
    mixed = W.copy()
    mixed[0] = np.abs(mixed[0]) + 1
    mixed[1] = 0
    mixed[2, 5] = 1e4
    yield gptq_case("mixed-rows", "a row of one sign, a row of zeros, an outlier", mixed, H, *CORE)
    x = tokens(642, 64, 16)
    x[:, [2, 11]] = 0
    wide = W.copy()
    wide[:, [2, 11]] = 30.0
    dead = floats(exact_hessian(x), "float64")
    yield gptq_case(
        "dead-correlated", "dead columns among correlated ones", wide, dead, "GPTQ-010", *CORE
    )
    yield gptq_case(
        "dead-order",
        "dead columns, activation order, groups",
        wide,
        dead,
        "GPTQ-010",
        "GPTQ-020",
        *CORE,
        activation_order=True,
        group_size=4,
    )
    few = floats(exact_hessian(tokens(644, 4, 16)), "float64")
    yield gptq_case(
        "near-singular", "4 tokens for 16 features: only damping makes it definite", W, few, *CORE
    )
    double = tokens(646, 64, 16)
    double[:, 8:] = double[:, :8]
    yield gptq_case(
        "duplicated", "every column twice", W, floats(exact_hessian(double), "float64"), *CORE
    )
    yield gptq_case(
        "weak",
        "activations of very different size",
        W,
        floats(exact_hessian(tokens(648, 64, 16) * np.float32(2.0) ** -np.arange(16)), "float64"),
        *CORE,
    )
    for name in ("float16", "float64"):
        yield gptq_case(
            f"weights-{name}",
            f"{name} weights, feedback in at least float32",
            W.astype(name),
            H,
            "GPTQ-100",
            *CORE,
        )
    yield gptq_case(
        "weights-float16-8bit",
        "float16 weights at 8 bits, where feedback in float16 shows",
        W.astype(np.float16),
        H,
        "GPTQ-100",
        *CORE,
        bits=8,
    )


def _large_cases() -> Iterator[Case]:
    W, H = problem(660, 4, 40)
    yield gptq_case("40-block-16", "40 columns, ragged last block", W, H, *CORE, block_size=16)
    yield gptq_case(
        "40-group-16",
        "40 columns, ragged groups and blocks of 16",
        W,
        H,
        "GPTQ-050",
        *CORE,
        block_size=16,
        group_size=16,
        activation_order=True,
    )
    W, H = problem(662, 4, 160, 128)
    yield gptq_case(
        "160-whole",
        "160 columns, two blocks of the default size, one group",
        W,
        H,
        "GPTQ-040",
        *CORE,
    )
    yield gptq_case(
        "160-group-32", "160 columns, groups of 32", W, H, "GPTQ-050", *CORE, group_size=32
    )
    yield gptq_case(
        "160-group-128-order",
        "160 columns, groups of 128, activation order, 3 bits",
        W,
        H,
        "GPTQ-020",
        "GPTQ-050",
        *CORE,
        group_size=128,
        activation_order=True,
        bits=3,
    )
    yield gptq_case(
        "160-group-48-symmetric",
        "160 columns, groups of 48 across the blocks, symmetric",
        W,
        H,
        "GPTQ-050",
        *CORE,
        group_size=48,
        symmetric=True,
    )


def _refused_cases() -> Iterator[Case]:
    W, H = problem(680, 2, 8)
    nan, infinite = W.copy(), H.copy()
    nan[1, 3] = np.nan
    infinite[2, 2] = np.inf
    asymmetric, singular = H.copy(), np.ones((8, 8))
    asymmetric[0, 1] += 1
    for name, title, error, weights, hessian, changes in (
        ("size", "a Hessian of another size", "ShapeError", W, H[:7, :7], {}),
        ("rank", "weights of rank 1", "ShapeError", W[0], H, {}),
        ("empty", "weights without rows", "EmptyArrayError", W[:0], H, {}),
        ("nan", "NaN in the weights", "NonFiniteError", nan, H, {}),
        ("infinity", "infinity in the Hessian", "NonFiniteError", W, infinite, {}),
        ("integers", "integer weights", "DTypeError", W.astype(np.int32), H, {}),
        ("asymmetric", "a Hessian that is not symmetric", "NotSymmetricError", W, asymmetric, {}),
        ("bits", "5 bits", "ConfigError", W, H, {"bits": 5}),
        ("group", "groups of 0 columns", "ConfigError", W, H, {"group_size": 0}),
        ("damping", "damping of 2", "ConfigError", W, H, {"damping": 2.0}),
    ):
        yield refused(
            "gptq",
            f"gptq-refuse-{name}",
            title,
            "gptq_quantize",
            "GPTQ-110",
            error,
            {**FULL, **changes},
            {"weights": weights, "hessian": hessian},
        )
    yield refused(
        "gptq",
        "gptq-refuse-singular",
        "a singular Hessian without damping",
        "gptq_quantize",
        "GPTQ-120",
        "NotPositiveDefiniteError",
        {**FULL, "damping": 0.0},
        {"weights": W, "hessian": singular},
    )
