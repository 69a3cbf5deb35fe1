"""Sizes of section HES: tokens, columns and batches of unequal length.

Hessians are diagonal matrices plus products of a few integer vectors, so that they cost little and
are exact; errors of any column reach every other one.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from quantcheck.corpus.draw import refused
from quantcheck.oracle import wide
from quantcheck.properties.sizes import SIZES, integers, swept, upto
from quantcheck.wire.cases import Case
from quantref.inputs import Array

WIDTH = 5  # columns of many tokens
COUNT = 6  # tokens of many columns
DTYPES = ("float32", "float32", "float16", "float64")


def divided(x: Array, seed: int) -> list[Array]:
    """Return batches of unequal length, the last one the shortest, of one rank-3 batch too."""
    n = len(x)
    first = max(1, n // 2 - n // 2 % 2)
    cuts = [c for c in (first, first + (n - first) * 2 // 3) if 0 < c < n]
    parts = np.split(x, sorted(set(cuts)))
    if seed % 2 == 0 and len(parts[0]) % 2 == 0:
        parts[0] = parts[0].reshape(2, len(parts[0]) // 2, -1)
    return [np.ascontiguousarray(part) for part in parts]


def sum_case(batches: list[Array], step: float) -> Case:
    """Return the case of many tokens that are integers times a power of two; it is exact."""
    width = batches[0].shape[-1]
    x = np.concatenate([b.reshape(-1, width).astype(np.float64) for b in batches])
    judging = {
        "tokens": len(x), "batches": len(batches), "absolute": wide.hessian_of(np.abs(x), step),
    }  # fmt: skip
    lengths = ", ".join(str(b.size // width) for b in batches)
    title = f"generated activations of {width} columns, batches of {lengths} tokens"
    return Case("drawn", "hes", title, "hessian", (), {}, {"batches": batches},
                {"outputs": {"hessian": wide.hessian_of(x, step)}}, judging)  # fmt: skip


def _tokens(count: int, width: int, seed: int) -> NDArray[np.float64]:
    """Return activations whose size grows from token to token, multiples of 1/8."""
    x = integers(seed, 0, (count, width), 9)
    x[:, 1:] += x[:, :-1]
    return np.asarray(x * (1 + 3 * np.arange(count) // count)[:, None] / 8)


def _batches(count: int, seed: int) -> Case:
    x = _tokens(count, WIDTH, seed)
    parts = divided(x, seed + count)
    kinds = [DTYPES[(count + k) % 4] for k in range(len(parts))]
    return sum_case([p.astype(d) for p, d in zip(parts, kinds, strict=True)], 1 / 8)


def _columns(width: int, seed: int) -> Case:
    x = _tokens(COUNT, width, seed).astype(np.float32)
    return sum_case([x[:4], x[4:5], x[5:]], 1 / 8)


def hessian(
    width: int, seed: int, *, dead: bool = False, ties: bool = False, large: int = 2
) -> Array:
    """Return a Hessian of integers, (width, width) float64, exact.

    Parameters
    ----------
    large : int
        Largest element of the vectors; with large ones the Hessian is badly conditioned.
    dead : bool
        Whether some columns are never active, the last one among them.
    ties : bool
        Whether the diagonal has few values, so that the order has many ties.
    """
    V = integers(seed, 1, (3, width), large)
    H = V.T @ V
    more = np.abs(integers(seed, 2, (width,), 30)) + 12
    H[np.diag_indices(width)] = 24 + more % 3 * 8 if ties else np.diagonal(H) + more
    if dead and width > 2:
        idle = [*range(width - 1, width // 2, -17)]
        H[idle] = 0
        H[:, idle] = 0
    return np.asarray(H + 0.0)


def uneven(H: Array, seed: int) -> Array:
    """Return H with two triangles that differ by three quarters of what is allowed."""
    width = len(H)
    size = np.sqrt(np.diagonal(H))
    signs = np.where(integers(seed, 3, (width, width), 9) < 0, -1.0, 1.0)
    share = np.triu(signs, 1) * 0.75 * 2.0**-16
    # Multiples of 2⁻²⁴, so that sums of both triangles are exact.
    return np.asarray(H + np.trunc(share * size[:, None] * size * 2**24) / 2**24)


def prepare_case(H: Array, damping: float, *, ordered: bool) -> Case:
    """Return the case of a large Hessian; expected values are exact, and rounded once."""
    width = len(H)
    h = H.astype(np.float64)
    diagonal = np.diagonal(h).copy()
    dead = diagonal == 0
    diagonal[dead] = 1.0
    added = Fraction(damping) * sum(map(Fraction, diagonal.tolist())) / width
    damped = (h + h.T) / 2
    damped[np.diag_indices(width)] = [float(Fraction(d) + added) for d in diagonal.tolist()]
    order = np.argsort(-diagonal, kind="stable") if ordered else np.arange(width)
    outputs = {
        "damped": damped, "dead": dead.astype(np.uint8), "order": order.astype(np.int32),
    }  # fmt: skip
    given = {"damping": damping, "activation_order": ordered}
    title = f"a generated Hessian of {width} columns"
    return Case("drawn", "hes", title, "prepare_hessian", (), given, {"hessian": H},
                {"outputs": outputs})  # fmt: skip


def _prepared(width: int, seed: int) -> Case:
    H = hessian(width, seed, dead=width % 2 == 1, ties=width % 3 == 0)
    return prepare_case(H, 1 / 64, ordered=width % 3 < 2)


def _uneven(width: int, seed: int) -> Case:
    return prepare_case(uneven(hessian(width, seed), seed), 1 / 64, ordered=False)


def _factor(width: int, seed: int) -> Case:
    """Return the case of a factor, of two triangles in every other size.

    Only the form and the product are judged.
    """
    H = hessian(width, seed)
    H = uneven(H, seed) if width % 2 else H
    expected = np.linalg.cholesky(((H + H.T) / 2)[::-1, ::-1])[::-1, ::-1]
    return Case("drawn", "hes", f"a generated Hessian of {width} columns", "factor", (), {},
                {"hessian": H}, {"outputs": {"factor": np.asarray(expected)}})  # fmt: skip


def _refused_tokens(count: int, seed: int) -> Case:
    x = _tokens(count, WIDTH, seed).astype(np.float32)
    x[-1, seed % WIDTH] = (np.nan, np.inf)[count % 2]
    title, batches = f"{count} generated tokens, the last one not finite", {"batches": [x]}
    return refused("hes", "drawn", title, "hessian", "HES-090", "NonFiniteError", {}, batches)


def far_apart(H: Array) -> Array:
    """Return H with another element for its first and last column, which is not its mirror."""
    H[0, -1] += np.sqrt(H[0, 0] * H[-1, -1]) * 2.0**-8
    return H


def indefinite(H: Array) -> Array:
    """Return H with a pivot that is not positive at column 0, which comes last."""
    H[0, 1] = H[1, 0] = np.sqrt(H[0, 0] * H[1, 1]) * 1.25
    return H


def _refused(width: int, seed: int) -> Case:
    H = far_apart(hessian(width, seed))
    title = f"a generated Hessian of {width} columns, asymmetric in the first and the last one"
    given = {"damping": 0.0, "activation_order": False}
    inputs = {"hessian": H}
    return refused("hes", "drawn", title, "prepare_hessian", "HES-090", "NotSymmetricError",
                   given, inputs)  # fmt: skip


def _indefinite(width: int, seed: int) -> Case:
    title = f"a generated indefinite matrix of {width} columns"
    inputs = {"hessian": indefinite(hessian(width, seed))}
    return refused("hes", "drawn", title, "factor", "HES-080", "NotPositiveDefiniteError", {},
                   inputs)  # fmt: skip


PROPERTIES = (
    swept("prop-hes-sizes", "Numbers of tokens around powers of two, batches of unequal length.",
          ("HES-030", "HES-010", "HES-110", "HES-100"), SIZES, _batches),
    swept("prop-hes-sizes-columns", "Numbers of columns around powers of two.",
          ("HES-010", "HES-030", "HES-100"), (*upto(257), 513), _columns),
    swept("prop-hes-sizes-prepared", "Dead columns, damping and order of many columns.",
          ("HES-060", "HES-040", "HES-050"), upto(257), _prepared),
    swept("prop-hes-sizes-asymmetric", "Both triangles of many columns count.",
          ("HES-090", "HES-050", "HES-040", "HES-060"), (9, 65, 127, 128, 129, 257), _uneven),
    swept("prop-hes-sizes-factor", "The factor of many columns.",
          ("HES-070",), (*upto(129), 257), _factor),
    swept("prop-hes-sizes-refused-tokens", "The last of many tokens that is not finite is refused.",
          ("HES-090",), (9, 65, 257, 4097), _refused_tokens),
    swept("prop-hes-sizes-refused", "Asymmetry between columns that are far apart is refused.",
          ("HES-090",), (9, 65, 129), _refused),
    swept("prop-hes-sizes-indefinite", "Indefinite matrices of many columns have no factor.",
          ("HES-080",), (9, 65, 129), _indefinite),
)  # fmt: skip
