"""Deviations on large problems: answers that are wrong in one respect, and otherwise exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from quantcheck.run.selftest.large.problems import DRAWS, ROWS, Large
from quantref.certificate import U32, U64
from quantref.fast.certificate.bounds import Roundoffs
from quantref.fast.certificate.checks import failing_rows
from quantref.fast.certificate.gathering import gather
from quantref.fast.gptq import quantize_problem
from quantref.fast.problem import GPTQProblem
from quantref.hessian import reversed_cholesky, upper_inverse
from quantref.inputs import Array

WINDOW, WINDOWS = 64, 128  # tokens of a window, and windows of a calibration
Low = Callable[[Array], Array]


@dataclass(frozen=True)
class Deviation:
    """One way of being wrong.

    Attributes
    ----------
    id : str
    base : "blocks", "original" or "live"
        The weights from which ranges are taken.
    block : int
        Added to the size of column blocks.
    scale_error : float
        Relative error of one scale in each draw; all that follows is computed with it.
    zero_point : int
        Added to one zero-point in each draw, away from the ends.
    carried, product : callable, optional
        Rounds the compensated weights after each column, and factors of the product that feeds
        errors back to later blocks.
    last_column : bool
        False: the last column of a block is not fed back to later blocks.
    flipped : int
        Number of codes that are moved by one in each draw, after the answer is made.
    hessian : callable, optional
        Returns another damped Hessian.
    """

    id: str
    base: str = "blocks"
    block: int = 0
    scale_error: float = 0.0
    zero_point: int = 0
    carried: Low | None = None
    product: Low | None = None
    last_column: bool = True
    flipped: int = 0
    hessian: Callable[[Large], Array] | None = None


@dataclass(frozen=True)
class Found:
    """In how many draws a deviation was found, for both precisions of the factor."""

    single: int
    double: int


def bits_kept(bits: int) -> Low:
    """Return a function that rounds float64 to so many significant bits.

    Examples
    --------
    >>> float(bits_kept(8)(np.array([1 + 2.0**-7 + 2.0**-9]))[0])
    1.0078125
    """

    def rounded(x: Array) -> Array:
        mantissa, exponent = np.frexp(x)
        return np.asarray(np.ldexp(np.rint(mantissa * 2.0**bits) / 2.0**bits, exponent))

    return rounded


def damped_by(share: float) -> Callable[[Large], Array]:
    """Return the Hessian damped by (1 + share)·λ."""

    def other(large: Large) -> Array:
        mean = float(np.mean(large.hessian.diagonal()))
        return large.damped + share * large.damping * mean * np.eye(large.n_in)

    return other


def with_window(share: float) -> Callable[[Large], Array]:
    """Return the Hessian of other calibration data: one window more, of a share of all tokens."""

    def other(large: Large) -> Array:
        rng = np.random.default_rng([large.n_in, 3])
        tokens = rng.standard_normal((WINDOW, large.n_in)) @ large.problem.R.T
        H = large.hessian + share * (tokens.T @ tokens / WINDOW - large.hessian)
        return H + large.damping * float(np.mean(H.diagonal())) * np.eye(large.n_in)

    return other


def deviations() -> Iterator[Deviation]:
    """Yield all deviations, those with a size from large to small."""
    yield Deviation("ranges of the original weights", base="original")
    yield Deviation("ranges of live weights", base="live")
    for size in (1e-2, 1e-3, 1e-4, 1e-5):
        yield Deviation(f"one scale off by {size:g}", scale_error=size)
    yield Deviation("one zero-point off by one", zero_point=1)
    for size in (0.1, 0.01, 0.001):
        yield Deviation(f"damping off by {size:.1%}", hessian=damped_by(size))
    for size in (1 / WINDOWS, -1 / WINDOWS, 1 / (8 * WINDOWS), 1 / (64 * WINDOWS)):
        name = "more" if size > 0 else "less"
        share = f"1/{round(1 / abs(size))}"
        yield Deviation(f"a window {name}, {share} of the tokens", hessian=with_window(size))
    yield Deviation("feedback in bfloat16", carried=bits_kept(8))
    yield Deviation("feedback in float16", carried=bits_kept(11))
    yield Deviation("products in TF32", product=bits_kept(11))
    yield Deviation("last column of a block not fed back", last_column=False)
    yield Deviation("blocks of 127", block=-1)
    yield Deviation("one code moved by one", flipped=1)


SPECIAL = ("permutation not undone", "weights of dead columns kept", "ragged group like the last")


def find_special(large: Large) -> dict[str, Found]:
    """Return in how many draws each of `SPECIAL` is found, on problems that have what it needs."""
    ordered = {"activation_order": True}
    made = {SPECIAL[0]: _found(replace(large, special=ordered), _in_processing_order)}
    made[SPECIAL[1]] = _found(replace(large, special={"dead": 4}), _dead_kept)
    ragged = replace(large, group_size=large.n_in // 3 + 1)
    made[SPECIAL[2]] = _found(ragged, _last_group_again)
    return made


def _found(large: Large, change: Callable[[Large, dict[str, Array]], None]) -> Found:
    """Count the draws in which a right answer is found to be wrong once it is changed."""
    result = quantize_problem(large.problem)
    names = ("codes", "scale", "zero_point")
    answer = {name: getattr(result, name).astype(np.float64) for name in names}
    change(large, answer)
    answer |= {name: answer[name].astype(np.int64) for name in ("codes", "zero_point")}
    return _count(large, answer, result.g_idx)


def _in_processing_order(large: Large, answer: dict[str, Array]) -> None:
    answer["codes"] = answer["codes"][:, large.problem.prepared.order]


def _dead_kept(large: Large, answer: dict[str, Array]) -> None:
    dead = large.problem.prepared.dead
    groups = large.problem.column_group[dead]
    s, z = answer["scale"][:, groups], answer["zero_point"][:, groups]
    kept = np.rint(large.weights[:, dead] / s) + z
    answer["codes"][:, dead] = np.clip(kept, 0, large.problem.maxq)


def _last_group_again(_: Large, answer: dict[str, Array]) -> None:
    for name in ("scale", "zero_point"):
        answer[name][:, -1] = answer[name][:, -2]


def find(large: Large, one: Deviation) -> Found | None:
    """Return in how many draws a deviation is found; None where it changes nothing."""
    if large.group_size == -1 and (one.base != "blocks" or one.block):
        return None  # the only group starts in the first block
    if one.base == "live" and large.group_size % large.block_size == 0:
        return None  # every group starts with its block, whose weights are the live ones
    return _count(large, _wrong_answer(large, one), large.problem.column_group)


def _count(large: Large, answer: dict[str, Array], g_idx: Array) -> Found:
    """Return in how many draws a check of the certificate fails."""
    counts = []
    for u_f in (U32, U64):
        roundoffs, given = Roundoffs.declared(U32, u_f), SimpleNamespace(**answer, g_idx=g_idx)
        failed = failing_rows(gather(large.problem, given, roundoffs, large.factor))
        counts.append(int(failed.reshape(DRAWS, ROWS).any(axis=1).sum()))
    return Found(*counts)


def _wrong_answer(large: Large, one: Deviation) -> dict[str, Array]:
    """Return codes, scales and zero-points of all draws."""
    rng = np.random.default_rng([large.n_in, 4])
    groups = len(large.problem.groups)
    chosen = [(k * ROWS + int(rng.integers(ROWS)), int(rng.integers(groups))) for k in range(DRAWS)]
    U = large.factor.U
    if one.hessian is not None:
        U = upper_inverse(reversed_cholesky(one.hessian(large), damping=0.0))
    answer = wrong_answer(large.problem, U, one, chosen)
    for k in range(DRAWS if one.flipped else 0):
        i, j = k * ROWS + int(rng.integers(ROWS)), int(rng.integers(large.n_in))
        answer["codes"][i, j] += 1 if answer["codes"][i, j] < large.problem.maxq else -1
    return answer


def wrong_answer(
    problem: GPTQProblem, U: Array, one: Deviation, chosen: Sequence[tuple[int, int]]
) -> dict[str, Array]:
    """Return codes, scales and zero-points in processing order, in float64 but for the deviation.

    `chosen`: rows and groups whose scale or zero-point is wrong.
    """
    original, n_in, maxq = problem.weights.astype(np.float64), problem.shape[1], problem.maxq
    W, groups = original.copy(), problem.groups
    starts = {group.first: k for k, group in enumerate(groups)}
    scale = np.empty((len(W), len(groups)), np.float32)
    zero, codes = np.empty(scale.shape, np.int64), np.empty(W.shape, np.int64)
    size = problem.block_size + one.block
    for a in range(0, n_in, size):
        b = min(a + size, n_in)
        base, E = W.copy(), np.zeros((len(W), b - a))
        for j in range(a, b):
            if j in starts:
                k = starts[j]
                source = {"blocks": base, "original": original, "live": W}[one.base]
                part = source[:, groups[k].start : groups[k].end]
                scale[:, k], zero[:, k] = problem.parameters(part, groups[k])
                for i in (i for i, at in chosen if at == k):
                    scale[i, k] *= np.float32(1 + one.scale_error)
                    zero[i, k] += one.zero_point if zero[i, k] < maxq // 2 else -one.zero_point
                s, z = scale[:, k].astype(np.float64), zero[:, k]
            w = W[:, j]
            codes[:, j] = np.clip(np.rint(w / s) + z, 0, maxq)
            E[:, j - a] = (w - s * (codes[:, j] - z)) / U[j, j]
            W[:, j + 1 : b] -= np.outer(E[:, j - a], U[j, j + 1 : b])
            if one.carried is not None:
                W[:, j + 1 : b] = one.carried(W[:, j + 1 : b])
        _feed_back(W, E, U, slice(a, b), one)
    return {"codes": codes, "scale": scale, "zero_point": zero}


def _feed_back(W: Array, E: Array, U: Array, block: slice, one: Deviation) -> None:
    """Feed the errors of a block back to later blocks."""
    rows, later = U[block, block.stop :], W[:, block.stop :]
    if not one.last_column:
        E[:, -1] = 0
    later -= E @ rows if one.product is None else one.product(E) @ one.product(rows)
    if one.carried is not None:
        later[:] = one.carried(later)
