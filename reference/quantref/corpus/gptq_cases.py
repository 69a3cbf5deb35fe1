"""The cases of section GPTQ; `quantref.corpus.gptq` computes what they expect."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantref.arrays import Array
from quantref.corpus.draw import alternating, dyadic, floats, refused, single
from quantref.corpus.gptq import FULL, gptq_case
from quantref.corpus.hessian import exact_hessian, tokens
from quantref.vectors import Case

CORE = ("GPTQ-060", "GPTQ-070", "GPTQ-080", "GPTQ-090", "GPTQ-030")


def problem(seed: int, n_out: int, n_in: int, count: int = 64) -> tuple[Array, Array]:
    """Return weights (n_out, n_in) float32 and the Hessian (n_in, n_in) of correlated tokens."""
    weights = dyadic(seed, (n_out, n_in), 2000, 10).astype(np.float32)
    hessian = floats(exact_hessian(tokens(seed + 1, count, n_in)), "float64")
    return weights, hessian


def gptq_cases() -> Iterator[Case]:
    """Yield the cases of section GPTQ."""
    yield from _plain_cases()
    yield from _group_cases()
    yield from _order_cases()
    yield from _isolated_cases()
    yield from _hard_cases()
    yield from _large_cases()
    yield from _refused_cases()


def _plain_cases() -> Iterator[Case]:
    W, H = problem(600, 4, 16)
    for bits in (2, 3, 4, 8):
        for symmetric in (False, True):
            kind = "symmetric" if symmetric else "asymmetric"
            yield gptq_case(
                f"{bits}bit-{kind}",
                f"{bits} bits, {kind}, one group",
                W,
                H,
                *CORE,
                bits=bits,
                symmetric=symmetric,
            )
    for bits in (2, 4, 8):
        yield gptq_case(
            f"{bits}bit-per-tensor",
            f"{bits} bits, all rows share one range",
            W,
            H,
            *CORE,
            bits=bits,
            per_channel=False,
        )
    yield gptq_case("damping-none", "no damping", W, H, *CORE, damping=0.0)
    yield gptq_case("damping-default", "damping 0.01", W, H, *CORE, damping=0.01)
    yield gptq_case("damping-one", "damping 1", W, H, *CORE, damping=1.0)
    yield gptq_case("one-row", "a single row", W[:1], H, *CORE)
    yield gptq_case("one-column", "a single column", W[:, :1], H[:1, :1], *CORE)


def _group_cases() -> Iterator[Case]:
    W, H = problem(610, 4, 24)
    W = alternating(W)
    groups = ("GPTQ-050", *CORE)
    for size, name in (
        (8, "equal to the block"),
        (4, "smaller than the block"),
        (12, "across blocks"),
        (16, "larger than the block, ragged"),
        (24, "all columns"),
        (100, "larger than n_in"),
        (5, "ragged, across blocks"),
        (1, "of one column"),
    ):
        yield gptq_case(
            f"group-{size}-block-8",
            f"groups {name}: {size} of 24 columns, block 8",
            W,
            H,
            *groups,
            group_size=size,
            block_size=8,
        )
    yield gptq_case(
        "whole-block-8",
        "one group over three blocks: parameters taken once",
        W,
        H,
        "GPTQ-040",
        *CORE,
        block_size=8,
    )
    yield gptq_case(
        "group-8-block-128",
        "groups within one block: ranges of the original weights",
        W,
        H,
        *groups,
        group_size=8,
    )
    yield gptq_case(
        "group-8-symmetric",
        "symmetric groups, block 8",
        W,
        H,
        *groups,
        group_size=8,
        block_size=8,
        symmetric=True,
        bits=3,
    )
    yield gptq_case(
        "group-12-per-tensor",
        "groups across blocks, rows share ranges",
        W,
        H,
        *groups,
        group_size=12,
        block_size=8,
        per_channel=False,
    )
    for bits in (2, 3, 8):
        yield gptq_case(
            f"group-8-{bits}bit",
            f"groups of 8, {bits} bits, block 8",
            W,
            H,
            *groups,
            group_size=8,
            block_size=8,
            bits=bits,
        )


def _order_cases() -> Iterator[Case]:
    ordered = ("GPTQ-020", *CORE)
    W, H = problem(620, 4, 16)
    yield gptq_case("order", "activation order, one group", W, H, *ordered, activation_order=True)
    yield gptq_case(
        "order-groups",
        "activation order: groups of the ordered columns",
        W,
        H,
        *ordered,
        activation_order=True,
        group_size=4,
    )
    yield gptq_case(
        "order-ragged",
        "activation order, ragged groups, block 8",
        W,
        H,
        *ordered,
        activation_order=True,
        group_size=6,
        block_size=8,
    )
    yield gptq_case(
        "order-symmetric",
        "activation order, symmetric, 3 bits",
        W,
        H,
        *ordered,
        activation_order=True,
        symmetric=True,
        bits=3,
    )
    tied = H.copy()
    mean = float(np.diagonal(tied).mean())
    tied[np.diag_indices(16)] = [mean * 2, mean * 4] * 8
    yield gptq_case(
        "order-ties",
        "tied metrics: ascending index decides the groups",
        W,
        tied,
        *ordered,
        activation_order=True,
        group_size=4,
        damping=1.0,
    )
    near = np.diag([1.0 + (k % 4) * 2.0**-40 for k in range(16)])
    yield gptq_case(
        "order-near-ties",
        "metrics that differ by less than float32 sees",
        W,
        near,
        "GPTQ-020",
        "GPTQ-070",
        "GPTQ-090",
        activation_order=True,
        group_size=4,
    )


def _isolated_cases() -> Iterator[Case]:
    """Yield cases with a diagonal Hessian, where nothing propagates: one rule at a time."""
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
        "GPTQ-070",
        symmetric=True,
    )
    constant = np.repeat(single([[0.0], [0.75], [-2.0], [3.0]]), 16, axis=1)
    yield gptq_case(
        "constant", "constant rows, one of zeros", constant, identity, "GPTQ-030", "GPTQ-070"
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
