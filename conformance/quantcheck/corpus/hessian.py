"""Cases of section HES: sums, dead columns, damping, order, factor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.corpus.draw import dyadic, exact_list, floats, refused
from quantcheck.oracle import exact
from quantcheck.wire.cases import Case
from quantref.inputs import Array


def tokens(seed: int, count: int, n_in: int) -> NDArray[np.float32]:
    """Return correlated activations (count, n_in): multiples of 1/8, exact in float32."""
    x = dyadic(seed, (count, n_in), 8, 2)
    x[:, 1:] += x[:, :-1] / 2
    return x.astype(np.float32)


def exact_hessian(x: Array) -> list[list[Fraction]]:
    """Return (2 / N) Σ x xᵀ of tokens (N, n_in), exact."""
    return exact.hessian_of(exact.fractions_of(exact_list(x)))


def sum_case(identity: str, title: str, batches: list[Array], *requirements: str) -> Case:
    """Return the case of a Hessian of several batches."""
    n_in = batches[0].shape[-1]
    x = np.concatenate([b.reshape(-1, n_in).astype(np.float64) for b in batches])
    H = exact_hessian(x)
    absolute = exact_hessian(np.abs(x))
    judging = {
        "tokens": len(x),
        "batches": len(batches),
        "absolute": floats(absolute, "float64"),
    }
    return Case(
        f"hes-{identity}",
        "hes",
        title,
        "hessian",
        requirements,
        {},
        {"batches": batches},
        {"outputs": {"hessian": floats(H, "float64")}},
        judging,
    )


def prepare_case(
    identity: str, title: str, hessian: Array, damping: float, ordered: bool, *requirements: str
) -> Case:
    """Return the case of dead columns, damping and order."""
    H = exact.fractions_of(exact_list(hessian))
    damped, dead, order = exact.prepare(H, Fraction(damping), ordered)
    outputs = {
        "damped": floats(damped, "float64"),
        "dead": np.array(dead, np.uint8),
        "order": np.array(order, np.int32),
    }
    return Case(
        f"hes-{identity}",
        "hes",
        title,
        "prepare_hessian",
        tuple(dict.fromkeys((*requirements, "HES-040", "HES-050"))),
        {"damping": damping, "activation_order": ordered},
        {"hessian": hessian},
        {"outputs": outputs},
    )


def factor_case(identity: str, title: str, hessian: Array, *requirements: str) -> Case:
    """Return the case of a reversed Cholesky factor, each element rounded from exact parts."""
    factor = exact.ldl(exact.symmetric(exact.fractions_of(exact_list(hessian))))
    n = len(hessian)
    roots = [math.sqrt(float(p)) for p in factor.pivots]
    R = [
        [float(factor.unit(k, j)) * roots[j] if k <= j else 0.0 for j in range(n)] for k in range(n)
    ]
    for j in range(n):
        R[j][j] = roots[j]
    return Case(
        f"hes-{identity}",
        "hes",
        title,
        "factor",
        (*requirements, "HES-070"),
        {},
        {"hessian": hessian},
        {"outputs": {"factor": np.array(R)}},
    )


def hes_cases() -> Iterator[Case]:
    """Yield the cases of section HES."""
    value = ("HES-010", "HES-100")
    x = tokens(500, 32, 8)
    yield sum_case("one-batch", "32 tokens at once", [x], *value)
    yield sum_case("split", "the same tokens in two batches", [x[:16], x[16:]], "HES-030", *value)
    yield sum_case(
        "split-uneven",
        "the same tokens in uneven batches",
        [x[:1], x[1:16], x[16:]],
        "HES-030",
        *value,
    )
    yield sum_case(
        "rank-3",
        "the same tokens as (batch, sequence, feature)",
        [x.reshape(4, 8, 8)],
        "HES-110",
        *value,
    )
    yield sum_case(
        "rank-4", "the same tokens as rank 4", [x.reshape(2, 2, 8, 8)], "HES-110", *value
    )
    yield sum_case(
        "rank-mixed",
        "batches of ranks 2 and 3",
        [x[:16], x[16:].reshape(2, 8, 8)],
        "HES-110",
        "HES-030",
        *value,
    )
    yield sum_case("one-token", "a single token", [x[:1]], *value)
    dead = x.copy()
    dead[:, [2, 5]] = 0
    yield sum_case("dead", "features that are never active", [dead], *value)
    large = x * np.float32(2.0**40)
    yield sum_case("large", "activations of 10¹²", [large], *value)
    rough = dyadic(501, (32, 8), 2**22, 21).astype(np.float32)
    yield sum_case("rough", "full float32 significands", [rough], *value)
    ones = np.where(dyadic(502, (24, 3), 1, 0) < 0, -1.0, 1.0).astype(np.float32)
    ones[0] *= 2.0**12
    yield sum_case(
        "batches-of-one",
        "a token of 2¹² and tokens of 1, each a batch: sums in binary32 lose the later ones",
        [ones[k : k + 1] for k in range(24)],
        "HES-130",
        "HES-030",
        *value,
    )
    yield sum_case(
        "float16", "float16 activations, summed in at least float32", [x.astype(np.float16)], *value
    )

    H = floats(exact_hessian(x), "float64")
    Hd = floats(exact_hessian(dead), "float64")
    tied = H.copy()
    tied[np.diag_indices(8)] = [4, 9, 4, 9, 16, 4, 9, 16]
    for name, title, matrix, damping, ordered, needs in (
        ("damping-none", "no damping", H, 0.0, False, ("HES-050",)),
        ("damping", "damping 1/64 of the mean diagonal", H, 1 / 64, False, ("HES-050",)),
        ("damping-default", "damping 0.01", H, 0.01, False, ("HES-050",)),
        ("damping-one", "damping 1", H, 1.0, False, ("HES-050",)),
        (
            "mend-dead",
            "dead columns get a diagonal of 1 before the mean is taken",
            Hd,
            1 / 64,
            False,
            ("HES-040", "HES-050"),
        ),
        ("order", "descending diagonal", H, 1 / 64, True, ("HES-060",)),
        ("order-ties", "ties by ascending index", tied, 1 / 64, True, ("HES-060",)),
        ("order-dead", "dead columns are ordered as 1", Hd, 1 / 64, True, ("HES-060", "HES-040")),
        (
            "nearly-dead",
            "a column that is nearly dead is not dead",
            np.diag([1.0, 2.0**-30, 0.0, 1.0]),
            0.0,
            False,
            ("HES-040",),
        ),
        (
            "order-near-ties",
            "diagonals that differ by less than float32 sees once damped",
            np.diag([2.0**-20, 1.0, 2.0**-20 + 2.0**-44, 1.0]),
            1.0,
            True,
            ("HES-060",),
        ),
    ):
        yield prepare_case(name, title, matrix, damping, ordered, *needs)
    uneven = np.array([[1.0, 2.0**-17], [0.0, 1.0]])
    yield prepare_case(
        "asymmetric",
        "an asymmetry within 2^-16: both triangles count",
        uneven,
        0.0,
        False,
        "HES-090",
        "HES-050",
    )
    yield prepare_case(
        "order-before-dead",
        "a live diagonal below 1: the dead column comes before it",
        np.diag([0.5, 0.0, 2.0]),
        0.0,
        True,
        "HES-060",
        "HES-040",
    )

    yield factor_case("factor", "a well-conditioned factor", H)
    yield factor_case("factor-diagonal", "a diagonal matrix", np.diag([4.0, 0.25, 9.0, 2.0]))
    title = "an asymmetry within 2^-16: both triangles count"
    yield factor_case("factor-asymmetric", title, uneven, "HES-090")
    duplicated = x.copy()
    duplicated[:, 3] = duplicated[:, 4]
    near = floats(exact_hessian(duplicated), "float64")
    near[np.diag_indices(8)] += 2.0**-10
    yield factor_case("factor-near-singular", "two equal columns, a little damping", near)
    yield from _refused_cases(x, H, floats(exact_hessian(duplicated), "float64"))


def _refused_cases(x: Array, H: Array, singular: Array) -> Iterator[Case]:
    bad = x.copy()
    bad[3, 2] = np.nan
    asymmetric, negative, beside = H.copy(), H.copy(), H.copy()
    asymmetric[0, 1] += 1
    negative[2, 2] = -1
    beside[4, 4] = 0
    batches: list[tuple[str, str, str, list[Any]]] = [
        ("nan", "NaN in a batch", "NonFiniteError", [bad]),
        ("width", "batches of different widths", "ShapeError", [x, x[:, :4]]),
        ("empty", "a batch without tokens", "EmptyArrayError", [x[:0]]),
        ("integers", "integer activations", "DTypeError", [x.astype(np.int32)]),
    ]
    for name, title, error, given in batches:
        yield refused(
            "hes", f"hes-refuse-{name}", title, "hessian", "HES-090", error, {}, {"batches": given}
        )
    for name, title, error, matrix, damping in (
        ("rectangle", "not square", "ShapeError", H[:4], 0.0),
        ("asymmetric", "not symmetric", "NotSymmetricError", asymmetric, 0.0),
        ("negative", "a negative diagonal", "NotPositiveDefiniteError", negative, 0.0),
        (
            "beside-dead",
            "a zero diagonal beside a column that is not zero",
            "NotPositiveDefiniteError",
            beside,
            0.0,
        ),
        ("damping", "damping of 1.5", "ConfigError", H, 1.5),
    ):
        yield refused(
            "hes",
            f"hes-refuse-{name}",
            title,
            "prepare_hessian",
            "HES-090",
            error,
            {"damping": damping, "activation_order": False},
            {"hessian": matrix},
        )
    indefinite = singular.copy()
    indefinite[3, 3] -= 0.5
    yield refused(
        "hes",
        "hes-refuse-indefinite",
        "an indefinite matrix has no factor",
        "factor",
        "HES-080",
        "NotPositiveDefiniteError",
        {},
        {"hessian": indefinite},
    )
