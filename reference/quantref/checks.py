"""The single checks of a certificate, on evidence gathered from an answer (SPEC.md, section 8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from quantref.affine import Group
from quantref.arrays import Array
from quantref.bounds import ULP32, for_answer, growth
from quantref.errors import AnswerError
from quantref.problem import GPTQProblem
from quantref.profile import (
    GroupSource,
    ZeroPointRule,
)

U32, U64 = 2.0**-24, 2.0**-53


class Answer(Protocol):
    """What a certificate needs: `GPTQResult` has it, and so has any object with these fields."""

    @property
    def codes(self) -> Array:
        """See `GPTQResult`."""
        ...

    @property
    def scale(self) -> Array:
        """See `GPTQResult`."""
        ...

    @property
    def zero_point(self) -> Array:
        """See `GPTQResult`."""
        ...

    @property
    def g_idx(self) -> Array:
        """See `GPTQResult`."""
        ...


@dataclass(frozen=True)
class Check:
    """One check of a certificate.

    Attributes
    ----------
    name : str
    requirement : str
    passed : bool
    worst : tuple of int
        (row, column) in the original order, (row, group), or ().
    observed, bound : float
        Passed exactly if observed <= bound.
    message : str
        What was expected and what came, at the worst place.
    places : tuple of (row, group)
        All wrong scales or zero-points.
    """

    name: str
    requirement: str
    passed: bool
    worst: tuple[int, ...]
    observed: float
    bound: float
    message: str
    places: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Evidence:
    """Arrays in processing order that all checks read."""

    problem: GPTQProblem
    codes: Array  # (n_out, n_in)
    scale: Array  # (n_out, n_groups) as the answer has it, float64
    zero_point: Array  # (n_out, n_groups)
    column_scale: Array  # (n_out, n_in)
    difference: Array  # (n_out, n_in): W − Ŵ
    E: Array  # (n_out, n_in)
    residuals: Array  # (n_out, n_in): w' − ŵ
    target_bound: Array  # (n_out, n_in)
    base_bound: Array  # (n_out, n_in)
    u: float


def gather(problem: GPTQProblem, answer: Answer, u: float, hessian_error: float = 0.0) -> Evidence:
    """Check shapes and kinds of the answer, and recover what its codes imply.  [CERT-010]"""
    n_out, n_in = problem.weights.shape
    n_groups = len(problem.groups)
    wanted = {"codes": (n_out, n_in), "scale": (n_out, n_groups), "zero_point": (n_out, n_groups)}
    arrays = {name: np.asarray(getattr(answer, name)) for name in wanted}
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise AnswerError(f"{name} of shape {shape}", f"{arrays[name].shape}", "GPTQ-080")
    for name in ("codes", "zero_point"):
        array = arrays[name]
        if array.dtype.kind not in "iu":
            raise AnswerError(f"integer {name}", f"dtype={array.dtype.name}", "GPTQ-080")
    for name, most in (("codes", problem.maxq), ("zero_point", 255)):
        if not 0 <= int(arrays[name].min()) <= int(arrays[name].max()) <= most:
            got = f"[{int(arrays[name].min())}, {int(arrays[name].max())}]"
            raise AnswerError(f"{name} in [0, {most}]", got, "GPTQ-080")
    scale = arrays["scale"].astype(np.float64)
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise AnswerError("scales finite and positive", f"min={float(scale.min())!r}", "GPTQ-080")

    codes = arrays["codes"].astype(np.float64)[:, problem.prepared.order]
    zero_point = arrays["zero_point"].astype(np.float64)
    group = problem.column_group
    column_scale = scale[:, group]
    difference = problem.weights - column_scale * (codes - zero_point[:, group])
    R, U = problem.factor, problem.rows
    E = difference @ R  # [CERT-010]
    residuals = E * np.diagonal(U)  # (n_out, n_in)
    values = problem.weights - difference  # ŵ
    bounds = for_answer(residuals, np.abs(problem.weights) + np.abs(values), R, U)
    target = bounds.target(u) + bounds.target(U64)  # theirs and ours
    target = target + bounds.shifted(hessian_error)  # [CERT-070]
    compensated = np.abs(values + residuals)  # |w'|
    return Evidence(
        problem, codes, scale, zero_point, column_scale, difference, E, residuals,
        target + 3 * u * compensated,  # [CERT-060]
        bounds.base(target),
        u,
    )  # fmt: skip


def check_g_idx(problem: GPTQProblem, answer: Answer) -> Check:
    """Check the group of every column.  [GPTQ-090]"""
    n_in = problem.weights.shape[1]
    g_idx = np.asarray(answer.g_idx)
    if g_idx.shape != (n_in,):
        raise AnswerError(f"g_idx of shape ({n_in},)", f"{g_idx.shape}", "GPTQ-090")
    expected = np.empty(n_in)
    expected[problem.prepared.order] = problem.group_index()
    wrong = np.flatnonzero(g_idx != expected)
    j = int(wrong[0]) if wrong.size else 0
    message = f"{wrong.size} of {n_in} columns in the wrong group"
    if wrong.size:
        message += f"; column {j}: expected {expected[j]:g}, got {float(g_idx[j]):g}"
    return Check("group index", "GPTQ-090", not wrong.size, (j,), float(wrong.size), 0.0, message)


def check_residuals(v: Evidence, columns: int | None = None) -> list[Check]:
    """Check |w' − ŵ| <= s / 2, and that the residual of clipped codes points outwards.

    `columns`: how many columns to look at, in processing order; by default all.
    """
    seen = np.arange(v.codes.shape[1]) < (v.codes.shape[1] if columns is None else columns)
    lowest, highest = v.codes == 0, v.codes == v.problem.maxq
    half = v.column_scale / 2
    above = np.where(highest, -np.inf, v.residuals - half)  # too far up
    below = np.where(lowest, -np.inf, -v.residuals - half)  # too far down
    inner = ~(lowest | highest)
    checks = []
    for name, requirement, mask in (
        ("half step", "CERT-010", inner & seen),  # [CERT-010]
        ("clipped codes", "CERT-020", ~inner & seen),  # [CERT-020]
    ):
        excess = np.where(mask, np.maximum(above, below), -np.inf)
        over = np.maximum(excess, 0.0)
        ratio = np.divide(over, v.target_bound, out=np.zeros_like(over), where=over > 0)
        ratio = np.where(mask, ratio, -1.0)
        i, k = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
        column = int(v.problem.prepared.order[k])
        step = v.residuals[i, k] / v.column_scale[i, k]
        worst = max(float(ratio[i, k]), 0.0)
        allowed = v.target_bound[i, k] / v.column_scale[i, k]
        wrong = int((ratio > 1).sum())
        message = f"{wrong} of {int(mask.sum())} codes off"
        if mask.any():
            message += (
                f"; code [{int(i)}, {column}]={int(v.codes[i, k])}: w' lies {step:+.4f} steps "
                f"from it, allowed ±0.5 within {allowed:.2g}"
            )
        checks.append(Check(name, requirement, worst <= 1, (int(i), column), worst, 1.0, message))
    return checks


def _base_weights(v: Evidence) -> Iterator[Array]:
    """Yield, per group, weights (n_out, n_in) from which its range is taken.  [CERT-030]

    One array, compensated further from group to group: to be read before the next is asked for.
    """
    problem, U = v.problem, v.problem.rows
    base, done, block = problem.weights.copy(), 0, problem.profile.block_size
    compensated = problem.weights - v.difference + v.residuals  # w'
    for group in problem.groups:
        upto = {
            GroupSource.EARLIER_BLOCKS: group.first - group.first % block,
            GroupSource.LIVE: group.first,
            GroupSource.STATIC: 0,
        }[problem.profile.group_source]
        if upto > done:
            base[:, done:upto] = compensated[:, done:upto]  # columns done stay as they were rounded
            base[:, upto:] -= v.E[:, done:upto] @ U[done:upto, upto:]
            done = upto
        yield base


def check_parameters(v: Evidence) -> list[Check]:
    """Recompute scale and zero-point of every group from its base weights.  [CERT-030]"""
    problem = v.problem
    scale_ratio = np.zeros_like(v.scale)
    zero_ratio = np.zeros_like(v.scale)
    expected_scale, expected_zero = np.zeros_like(v.scale), np.zeros_like(v.scale)
    for k, (group, base) in enumerate(zip(problem.groups, _base_weights(v), strict=True)):
        source, error = base[:, group.start : group.end], _base_error(v, group)
        s, z = problem.parameters(base, group)
        expected_scale[:, k], expected_zero[:, k] = s, z
        allowed = 2 * error / problem.maxq + 2 * ULP32 * s
        scale_ratio[:, k] = np.abs(v.scale[:, k] - s) / allowed
        tiny = np.abs(source).max(axis=1) <= error  # all-zero up to rounding: either is admissible
        degenerate = np.abs(v.scale[:, k] * problem.maxq - 2.0) <= 4 * ULP32
        scale_ratio[:, k] = np.where(tiny & degenerate, 0.0, scale_ratio[:, k])
        zero_ratio[:, k] = _zero_ratio(v, k, source, error, z)
    return [
        _parameter_check("scale", scale_ratio, v.scale, expected_scale),
        _parameter_check("zero-point", zero_ratio, v.zero_point, expected_zero),
    ]


def _base_error(v: Evidence, group: Group) -> Array:
    """Return the bound (n_out,) on the error of the ends of a group's range.  [CERT-060]"""
    error = v.base_bound[:, group.start : group.end].max(axis=1)
    first_block = group.first < v.problem.profile.block_size
    live = v.problem.profile.group_source is GroupSource.LIVE and group.first > 0
    if v.problem.profile.group_source is GroupSource.STATIC or (first_block and not live):
        error = np.zeros_like(error)
    if not v.problem.config.per_channel:
        return np.full_like(error, error.max())
    return np.asarray(error)


def _zero_ratio(v: Evidence, k: int, source: Array, error: Array, z: Array) -> Array:
    """Return |z − (−lo / s)| beyond half a code, over its bound, per row.  [CERT-030]"""
    problem, s = v.problem, v.scale[:, k]
    if problem.config.symmetric:
        return np.where(v.zero_point[:, k] == z, 0.0, np.inf)
    low = np.minimum(source.min(axis=1), 0.0)
    if not problem.config.per_channel:
        low = np.full_like(low, low.min())
    tiny = np.abs(source).max(axis=1) <= error
    low = np.where(tiny & (np.abs(s * problem.maxq - 2.0) <= 4 * ULP32), -1.0, low)
    degenerate = (low == 0) & (z > 0) & (source == 0).all(axis=1)
    position = np.where(degenerate, 1.0, -low) / s
    if problem.profile.zero_point_rule is ZeroPointRule.CLIPPED:
        position = np.clip(position, 0, problem.maxq)
    allowed = error / s + np.abs(position) * (3 * v.u + 2 * ULP32) + 1e-300
    over = np.abs(v.zero_point[:, k] - position) - 0.5
    by_profile = v.zero_point[:, k] == z  # the profile's own rule, ranges it may choose included
    return np.where(by_profile, 0.0, np.maximum(over, 0.0) / allowed)


def _parameter_check(name: str, ratio: Array, got: Array, expected: Array) -> Check:
    """Return the check for scales or zero-points from observed / bound per row and group."""
    i, k = (int(x) for x in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    worst = float(ratio[i, k])
    wrong = int((ratio > 1).sum())
    far = f", off by {worst:.3g} of the bound" if 0 < worst < 1e9 else ""
    message = (
        f"{wrong} of {ratio.size} off; row {i}, group {k}: expected {expected[i, k]:.9g}, "
        f"got {got[i, k]:.9g}{far}"
    )
    places = tuple((int(i), int(k)) for i, k in np.argwhere(ratio > 1))
    return Check(name, "CERT-030", worst <= 1, (i, k), worst, 1.0, message, places)


def check_loss(v: Evidence) -> list[Check]:
    """Check tr((W − Ŵ) H (W − Ŵ)ᵀ) = ‖E‖², and the bound of Babai's nearest plane."""
    H = v.problem.hessian
    n = len(H)
    direct = (v.difference @ H * v.difference).sum(axis=1)
    squares = (v.E * v.E).sum(axis=1)
    size = ((np.abs(v.difference) @ np.sqrt(np.diagonal(H))) ** 2) + squares
    ratio = np.abs(direct - squares) / (growth(4 * n + 8, U64) * size + 1e-300)
    i = int(np.argmax(ratio))
    identity = Check(  # [CERT-040]
        "loss identity",
        "CERT-040",
        float(ratio[i]) <= 1,
        (i,),
        float(ratio[i]),
        1.0,
        f"row {i}: tr = {direct[i]:.9g}, sum of squared errors = {squares[i]:.9g}",
    )
    allowed = loss_terms(v).sum(axis=1)
    ratio = np.divide(squares, allowed, out=np.zeros_like(squares), where=allowed > 0)
    i = int(np.argmax(ratio))
    bound = Check(  # [CERT-050]
        "loss bound",
        "CERT-050",
        float(ratio[i]) <= 1,
        (i,),
        float(ratio[i]),
        1.0,
        f"row {i}: loss {squares[i]:.6g}, bound {allowed[i]:.6g}",
    )
    return [identity, bound]


def loss_terms(v: Evidence) -> Array:
    """Return ((s_j / 2 + β_j) / U_jj)² per code, the actual e_j² at 0 and maxq.  [CERT-050]"""
    box = ((v.column_scale / 2 + v.target_bound) / np.diagonal(v.problem.rows)) ** 2
    clipped = (v.codes == 0) | (v.codes == v.problem.maxq)
    return np.asarray(np.where(clipped, v.E**2, box))
