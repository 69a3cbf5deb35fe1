"""Known mistakes of GPTQ, each a question whose right answer is what the mistake makes.

An answer that the certificate rejects is certified again under a changed rule, Hessian or setting.
If it is accepted then, the change explains the whole answer. The most particular mistakes come
first, those of dead columns and of order; then feedback, ranges and the Hessian; and last
precision, which explains answers of any other mistake too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from quantref.config import GPTQConfig
from quantref.hessian import prepare_hessian, reversed_cholesky, upper_inverse
from quantref.inputs import Array, require_hessian
from quantref.rules import (
    DEFAULT_PROFILE,
    Group,
    Profile,
    add_then_round,
    dead_kept,
    groups_per_block,
    mirror_where_negative,
    order_damped_float32,
    original_weights,
    ragged_padded,
    raw_range,
    rows_of_inverse,
    scale_rounded_once,
    widen_any_equal,
    zero_point_wrapped,
)

PLAIN_ROUNDING = "plain rounding: no error was fed back"


@dataclass(frozen=True)
class Question:
    """The arguments of `certify`, but scale and zero-point of the answer."""

    weights: Array
    hessian: Array
    codes: Array
    g_idx: Array
    config: GPTQConfig
    block_size: int
    unit_roundoff: float
    profile: Profile = DEFAULT_PROFILE

    def ruled(self, **rules: Any) -> Question:
        """Return the question under other rules."""
        return replace(self, profile=replace(self.profile, **rules))

    def configured(self, **changes: Any) -> Question:
        """Return the question with another config."""
        return replace(self, config=GPTQConfig.from_config({**self.config.get_config(), **changes}))


@dataclass(frozen=True)
class Mistake:
    """A mistake: the requirement that it breaks, its name, and the questions that it answers.

    `requirement` is empty where the check that failed says it best. `strong`: it explains an answer
    only with a certificate that is not weak.
    """

    requirement: str
    name: str
    questions: Callable[[Question], Iterator[Question]]
    strong: bool = True


def mistakes() -> Iterator[Mistake]:
    """Yield all known mistakes, those that explain most first."""
    kept = partial(_ruled, {"dead": dead_kept})
    yield Mistake("GPTQ-010", "weights of dead columns kept", kept, strong=False)
    yield Mistake("GPTQ-020", "another order of columns", orders, strong=False)
    yield Mistake("GPTQ-080", "codes left in processing order", processing_order, strong=False)
    yield Mistake("GPTQ-060", PLAIN_ROUNDING, _rows(_pivots_alone))
    for name, rows in ROWS.items():
        yield Mistake("GPTQ-060", name, _rows(rows))
    yield Mistake("GPTQ-060", "errors stay inside their column block", _inside_blocks)
    for requirement, name, rules in RULES:
        yield Mistake(requirement, name, partial(_ruled, rules))
    yield Mistake("GPTQ-030", "group ranges taken from live weights", _blocks_of_one)
    yield Mistake("GPTQ-030", "column blocks of another size", _other_blocks)
    yield Mistake("", "one range for all rows, or for each row", _other_rows)
    yield from HESSIANS
    single = "passes as float32: a precision was declared that it does not have"
    yield Mistake("", single, _single)


# FEEDBACK
def _rows(rows: Callable[[Array], Array]) -> Callable[[Question], Iterator[Question]]:
    """Return the question in which errors are carried along other rows."""
    return partial(_ruled, {"rows": rows})


def _pivots_alone(U: Array) -> Array:
    return np.diag(U.diagonal())


def _undivided(U: Array) -> Array:
    return np.triu(U, 1) + np.eye(len(U))


def _opposite(U: Array) -> Array:
    return np.asarray(2 * np.diag(U.diagonal()) - U)


def _displacements_opposite(U: Array) -> Array:
    R = upper_inverse(U)
    return upper_inverse(2 * np.diag(R.diagonal()) - R)


def _not_reversed(U: Array) -> Array:
    """Return U for the factor L of H = L Lᵀ, turned, that is of the Hessian turned."""
    R = upper_inverse(U)
    L = np.linalg.cholesky(R @ R.T)
    return upper_inverse(L[::-1, ::-1])


def _other_triangle(U: Array) -> Array:
    """Return the upper factor V of H⁻¹ = V Vᵀ."""
    return np.asarray(reversed_cholesky(U.T @ U, damping=0.0))


def _pivot_squared(U: Array) -> Array:
    return np.asarray(np.triu(U, 1) / U.diagonal()[:, None] + np.diag(U.diagonal()))


ROWS: dict[str, Callable[[Array], Array]] = {
    "errors carried along rows of the inverse, not of its Cholesky factor": rows_of_inverse,
    "error not divided by the pivot": _undivided,
    "error divided by the square of the pivot": _pivot_squared,
    "errors added, not subtracted": _opposite,
    "displacements subtracted, not added": _displacements_opposite,
    "the Hessian not reversed before it is factored": _not_reversed,
    "the factor of the Hessian in place of that of its inverse": upper_inverse,
    "the other triangle: H⁻¹ = V Vᵀ in place of Uᵀ U": _other_triangle,
}


def _inside_blocks(asked: Question) -> Iterator[Question]:
    n, size = asked.weights.shape[1], asked.block_size
    block = np.arange(n) // size
    if block[-1]:
        yield asked.ruled(rows=lambda U: np.where(block[:, None] == block, U, 0.0))


# RANGES
def _half_scale(lo: Array, hi: Array, maxq: int) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        return scale_rounded_once(lo, hi, maxq).astype(np.float16).astype(np.float32)


def _coarse_scale(lo: Array, hi: Array, maxq: int) -> Array:
    bits = scale_rounded_once(lo, hi, maxq).astype(np.float32).view(np.uint32)
    odd = (bits >> 16) & 1
    return np.asarray(((bits + 0x7FFF + odd) & np.uint32(0xFFFF0000)).view(np.float32))


def _more_steps(lo: Array, hi: Array, maxq: int) -> Array:
    return scale_rounded_once(lo, hi, maxq + 1)


def _floored(lo: Array, s: Array, maxq: int) -> Array:
    return np.asarray(np.clip(np.floor(-lo / s), 0, maxq))


def _by_lowest(lo: Array, hi: Array) -> tuple[Array, Array]:  # noqa: ARG001
    return -np.abs(lo), np.abs(lo)


def _by_highest(lo: Array, hi: Array) -> tuple[Array, Array]:  # noqa: ARG001
    return -np.abs(hi), np.abs(hi)


def _to_the_end(n_in: int, size: int, block_size: int) -> list[Group]:  # noqa: ARG001
    """Let the range of the last whole group cover the short last group too."""
    starts = range(0, n_in, size)
    ends = [min(a + size, n_in) for a in starts]
    return [
        Group(a, b, a, n_in if n_in - a < 2 * size else b)
        for a, b in zip(starts, ends, strict=True)
    ]


RULES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("GPTQ-030", "group ranges taken from the original weights", {"base": original_weights}),
    ("", "ranges without zero", {"range": raw_range}),
    ("", "ranges without zero, zero-points wrapped",
     {"range": raw_range, "zero_point": zero_point_wrapped}),
    ("", "ranges of one value widened to it ± 1", {"degenerate": widen_any_equal}),
    ("AFF-140", "ranges mirrored only where a weight is negative",
     {"mirror": mirror_where_negative}),
    ("", "symmetric ranges of the smallest weight alone", {"mirror": _by_lowest}),
    ("", "symmetric ranges of the largest weight alone", {"mirror": _by_highest}),
    ("", "ranges divided into 2^b steps, not 2^b - 1", {"scale": _more_steps}),
    ("", "zero-points rounded down", {"zero_point": _floored}),
    ("", "the zero-point added before rounding", {"code": add_then_round}),
    ("", "zero-points wrapped, not clipped", {"zero_point": zero_point_wrapped}),
    ("", "scales stored in float16", {"scale": _half_scale}),
    ("", "scales stored in bfloat16", {"scale": _coarse_scale}),
    ("GPTQ-040", "groups computed again in each column block", {"groups": groups_per_block}),
    ("GPTQ-050", "the short last group in the range of the one before", {"groups": _to_the_end}),
    ("GPTQ-050", "the short last group padded with zeros", {"ragged": ragged_padded}),
)  # fmt: skip


def _ruled(rules: dict[str, Any], asked: Question) -> Iterator[Question]:
    yield asked.ruled(**rules)


def _blocks_of_one(asked: Question) -> Iterator[Question]:
    yield replace(asked, block_size=1)


def _other_rows(asked: Question) -> Iterator[Question]:
    yield asked.configured(per_channel=not asked.config.per_channel)


def _other_blocks(asked: Question) -> Iterator[Question]:
    for size in (32, 64, 127, 128, 256, 512):
        if size != asked.block_size:
            yield replace(asked, block_size=size)


# HESSIAN
def _mended(asked: Question) -> tuple[Array, Array, float]:
    """Return the Hessian with 1 in the place of dead columns, which these are, and λ."""
    h = require_hessian(asked.hessian, "GPTQ-110").copy()
    dead = np.diagonal(h) == 0
    h[dead, dead] = 1.0
    return h, dead, float(asked.config.hessian_damping)


def _damped_by(added: Callable[[Array, float], float]) -> Callable[[Question], Iterator[Question]]:
    """Return the question in which `added` of the diagonal and λ is added to the diagonal.

    The diagonal is that before dead columns become 1.
    """

    def changed(asked: Question) -> Iterator[Question]:
        h, dead, damping = _mended(asked)
        if damping:
            more = added(np.where(dead, 0.0, np.diagonal(h)), damping)
            live = np.where(dead, asked.weights.dtype.type(0), asked.weights)
            undamped = asked.configured(hessian_damping=0.0)
            yield replace(undamped, hessian=h + more * np.eye(len(h)), weights=live)

    return changed


HESSIANS = (
    Mistake("", "damping forgotten", _damped_by(lambda *_: 0.0)),
    Mistake("", "damping without the mean of the diagonal", _damped_by(lambda _, x: x)),
    Mistake("", "damping before dead columns became 1", _damped_by(lambda h, x: x * h.mean())),
    Mistake("", "damping by the sum of the diagonal", _damped_by(lambda h, x: x * h.sum())),
    Mistake("", "damping by the largest of the diagonal", _damped_by(lambda h, x: x * h.max())),
)  # fmt: skip


# ORDER
def _ties_descending(diagonal: Array, damped: Array) -> Array:  # noqa: ARG001
    """Sort the diagonal in descending order, ties by descending index."""
    return np.lexsort((-np.arange(len(diagonal)), -diagonal))


def orders(asked: Question) -> Iterator[Question]:
    """Yield the question with other orders, and with an unordered Hessian.  [GPTQ-020]"""
    if not asked.config.activation_order:
        return
    unordered = asked.configured(activation_order=False)
    yield unordered
    for rule in (_ties_descending, order_damped_float32):
        yield asked.ruled(order=rule)
    h, dead, _ = _mended(asked)
    live = asked.weights.copy()
    live[:, dead] = 0
    order = prepare_hessian(h, activation_order=True).order
    ascending = np.argsort(np.diagonal(h), kind="stable")
    for weights_by, hessian_by in ((order, np.arange(len(h))), (ascending, ascending)):
        yield replace(
            unordered,
            weights=live[:, weights_by],
            hessian=h[np.ix_(hessian_by, hessian_by)],
            codes=asked.codes[:, weights_by],
            g_idx=asked.g_idx[weights_by],
        )


def processing_order(asked: Question) -> Iterator[Question]:
    """Yield the question for codes that stand in processing order.  [GPTQ-080]"""
    if not asked.config.activation_order:
        return
    order = prepare_hessian(asked.hessian, activation_order=True).order
    place = np.argsort(order)
    moved = asked.codes[:, place]
    if (moved == asked.codes).all():
        return  # codes that are the same in both orders are not in the wrong one
    yield replace(asked, codes=moved)
    yield replace(asked, codes=moved, g_idx=asked.g_idx[place])


# PRECISION
def _single(asked: Question) -> Iterator[Question]:
    if asked.unit_roundoff < 2.0**-25:
        yield replace(asked, unit_roundoff=2.0**-24)
