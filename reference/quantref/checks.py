"""The words of a certificate: answers, checks, figures, messages (SPEC.md, section 8).

Both forms of the certificate use this module, so their messages are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quantref.errors import AnswerError, ConfigError
from quantref.gptq import Settings
from quantref.inputs import Array, require_number

MOST_UNDECIDED = 0.01  # share of codes
MOST_ROWS = 64  # from which it is taken
LOOSE_SCALE = 1e-3  # relative error of a scale that leaves the codes of its group undecided
HORIZON = 128  # columns up to which moves are looked at for the first columns; then twice as many
FLOAT32 = 2.0**-24  # the largest unit roundoff of a factor for which none is declared


class Answer(Protocol):
    """An answer that can be judged: a `GPTQResult`, or any object with these arrays."""

    @property
    def codes(self) -> Array:
        """Integers in 0 … maxq, (n_out, n_in), columns in the original order."""
        ...

    @property
    def scale(self) -> Array:
        """Positive floats, (n_out, n_groups)."""
        ...

    @property
    def zero_point(self) -> Array:
        """Integers, (n_out, n_groups)."""
        ...

    @property
    def g_idx(self) -> Array:
        """Group of each column, (n_in,), columns in the original order."""
        ...


@dataclass(frozen=True)
class Check:
    """One check of a certificate.

    Attributes
    ----------
    name, requirement : str
    passed : bool
        observed <= bound.
    bound, observed : float
        `observed` is the error divided by its bound, and `bound` is 1. For the group index,
        `observed` is the number of wrong columns, and `bound` is 0.
    worst : tuple of int
        The place that the message names: (row, column) or (column,) in the original order,
        (row, group) or (row,).
    message : str
        The expected and the given value at the worst place.
    places : tuple of (row, group)
        All wrong scales or zero-points.
    """

    name: str
    requirement: str
    passed: bool
    bound: float
    observed: float
    worst: tuple[int, ...]
    message: str
    places: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Certificate:
    """Verdict on one quantized weight matrix.

    Attributes
    ----------
    checks : tuple of Check
    loss : float
        tr((W − Ŵ) H (W − Ŵ)ᵀ) with the damped Hessian.
    loss_bound : float
        The bound of CERT-050, summed over all rows.
    plain_loss : float
        Loss of plain rounding with the answer's scales and zero-points.
    plain_rounding : bool
        The half-step check failed, and the codes are those of plain rounding.
    clipped : float
        Fraction of codes at 0 or maxq.
    undecided : float
        Fraction of codes for which rounding errors always admit another code, or another scale.
    residual_steps : (n_out, n_in) float64 array
        r_j / s_j, columns in the original order.
    """

    checks: tuple[Check, ...]
    loss: float
    loss_bound: float
    plain_loss: float
    plain_rounding: bool
    clipped: float
    undecided: float
    residual_steps: NDArray[np.float64] = field(repr=False, compare=False)

    @property
    def verdict(self) -> str:
        """`failed` if a check failed, `weak` if too much is undecided, else `passed`."""
        if self.failures:
            return "failed"
        return "weak" if self.is_weak else "passed"

    @property
    def is_weak(self) -> bool:
        """True if more codes are undecided than a certificate may have."""
        return self.undecided > MOST_UNDECIDED  # [CERT-100]

    @property
    def passed(self) -> bool:
        """True if every check passed, and enough is decided."""
        return self.verdict == "passed"

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def worst(self) -> Check:
        """The first failed check, or the one nearest to its bound."""
        if self.failures:
            return self.failures[0]
        return max(self.checks, key=lambda c: c.observed / c.bound if c.bound > 0 else 0.0)

    def __str__(self) -> str:
        decided = f"weak: rounding errors leave {1 - self.undecided:.1%} of the codes decided"
        verdict = {"failed": "FAILED", "weak": decided}
        lines = [f"certificate: {verdict.get(self.verdict, self.verdict)}"]
        for c in self.checks:
            sign = "ok  " if c.passed else "FAIL"
            lines.append(f"  {sign} {c.name:<16} [{c.requirement}] {c.message}")
        lines.append(
            f"  loss {self.loss:.6g}, bound {self.loss_bound:.6g}, "
            f"plain rounding {self.plain_loss:.6g}, clipped {self.clipped:.1%}"
        )
        if self.plain_rounding:
            lines.append("  this is plain rounding: no error was fed back")
        return "\n".join(lines)


def require_hessian_error(hessian_error: float) -> float:
    """Return η >= 0, or raise.  [CERT-070]"""
    error = require_number(hessian_error, "hessian_error", "CERT-070")
    if error < 0:
        raise ConfigError("hessian_error >= 0", f"{error}", "CERT-070")
    return error


def require_roundoffs(feedback: float, factor: float | None) -> tuple[float, float]:
    """Return u and u_f, or raise unless both are numbers between 0 and 1.  [CERT-090]

    Examples
    --------
    >>> require_roundoffs(2.0**-8, None), require_roundoffs(2.0**-24, 2.0**-53)
    ((0.00390625, 5.960464477539063e-08), (5.960464477539063e-08, 1.1102230246251565e-16))
    """
    given = {"unit_roundoff": feedback, "factor_roundoff": FLOAT32 if factor is None else factor}
    for name, value in given.items():
        if not 0 < require_number(value, name, "CERT-090") < 1:
            raise ConfigError(f"0 < {name} < 1", f"{value}", "CERT-090")
    u = float(feedback)
    return u, min(u, FLOAT32) if factor is None else float(factor)


def evenly_spaced(n_out: int) -> NDArray[np.intp]:
    """Return the rows from which the undecided share is taken.  [CERT-100]

    Examples
    --------
    >>> evenly_spaced(3), len(evenly_spaced(1000))
    (array([0, 1, 2]), 64)
    """
    return np.unique(np.arange(MOST_ROWS) * n_out // MOST_ROWS)


def horizons(n_in: int) -> list[int]:
    """Return after how many columns displacements and gradients may be looked at last.

    Examples
    --------
    >>> horizons(40), horizons(600)
    ([40], [128, 256, 512, 600])
    """
    powers = takewhile(lambda n: n < n_in, (HORIZON << k for k in count()))
    return [*powers, n_in]


def require_answer(problem: Settings, answer: Answer) -> tuple[Array, Array, Array]:
    """Return codes as they are, scales and zero-points as float64, or raise.  [GPTQ-080]"""
    n_out, n_in = problem.shape
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
        least, largest = int(arrays[name].min()), int(arrays[name].max())
        if not 0 <= least <= largest <= most:
            raise AnswerError(f"{name} in [0, {most}]", f"[{least}, {largest}]", "GPTQ-080")
    scale = arrays["scale"].astype(np.float64)
    wrong = np.argwhere(~(np.isfinite(scale) & (scale > 0)))
    if wrong.size:
        i, k = (int(x) for x in wrong[0])
        got = f"{float(scale[i, k])} in row {i}, group {k}"
        raise AnswerError("scales finite and positive", got, "GPTQ-080")
    return arrays["codes"], scale, arrays["zero_point"].astype(np.float64)


def check_g_idx(problem: Settings, answer: Answer) -> Check:
    """Check the group of every column.  [GPTQ-090]"""
    n_in = problem.shape[1]
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
    return Check("group index", "GPTQ-090", not wrong.size, 0.0, float(wrong.size), (j,), message)


def identity_check(rows: Sequence[slice], loss: Array, squares: Array, allowed: Array) -> Check:
    """Return the check of all sums of rows.  [CERT-110]

    If a sum fails, the message names the worst. Otherwise the ratio is rounding error alone, and
    the message names the largest sum.
    """
    ratio = np.abs(loss - squares) / allowed
    k, passed = int(np.argmax(ratio)), bool((ratio <= 1).all())
    shown = int(np.argmax(allowed)) if passed else k
    first, last = rows[shown].start, rows[shown].stop - 1
    where = f"row {first}" if first == last else f"rows {first} to {last}, added up with signs"
    message = f"{where}: tr = {loss[shown]:.9g}, sum of squared errors = {squares[shown]:.9g}"
    worst = float(ratio[k])
    return Check("loss identity", "CERT-110", passed, 1.0, worst, (first,), message)


def code_message(
    off: int, total: int, place: tuple[int, int], code: int, steps: float, allowed: float
) -> str:
    """Say how many codes are off, and where w′ lies from the code at a place.

    `steps` is the distance in steps, `allowed` the part beyond half a step that β allows.
    """
    message = f"{off} of {total} codes off"
    if total:
        message += f"; code [{place[0]}, {place[1]}]={code}: w' lies {steps:+.4f} steps "
        message += f"from it, allowed ±0.5 within {allowed:.2g}"
    return message


def parameter_figures(
    ratio: Array, expected: Array, got: Array
) -> tuple[float, tuple[int, int], str, tuple[tuple[int, int], ...]]:
    """Return what a `Check` of all scales or zero-points has after its bound.

    `ratio`: error divided by its bound, (n_out, n_groups).
    """
    place = place_of(ratio)
    worst = float(ratio[place])
    share = f", off by {worst:.3g} of the bound" if 0 < worst < 1e9 else ""
    message = (
        f"{int((ratio > 1).sum())} of {ratio.size} off; row {place[0]}, group {place[1]}: "
        f"expected {float(expected[place]):.9g}, got {float(got[place]):.9g}{share}"
    )
    return worst, place, message, places_beyond(ratio)


def loss_figures(ratio: Array, loss: Array, bound: Array) -> tuple[float, tuple[int], str]:
    """Return observed / bound, place and message of the row nearest to its bound."""
    i = int(np.argmax(ratio))
    message = f"row {i}: loss {float(loss[i]):.6g}, bound {float(bound[i]):.6g}"
    return float(ratio[i]), (i,), message


def unlike_plain_rounding(
    problem: Settings, W: Array, q: Array, s: Array, z: Array, u: float
) -> NDArray[np.bool_]:
    """Return where plain rounding gives another code; all arrays are (n_out, n_in).

    That is |w/s + z − q| > 1/2 by more than the rounding of w/s, towards a code that exists.
    Dead columns do not count, because plain rounding knows no calibration.
    """
    w = W / s
    steps, half = w + z - q, 0.5 + 4 * u * np.abs(w)
    unlike = (steps > half) & (q < problem.maxq) | (steps < -half) & (q > 0)
    return np.asarray(unlike & ~problem.prepared.dead[problem.prepared.order])


def place_of(ratio: Array) -> tuple[int, int]:
    """Return row and column of the first largest element."""
    i, k = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    return int(i), int(k)


def places_beyond(ratio: Array) -> tuple[tuple[int, int], ...]:
    """Return rows and columns where a ratio exceeds 1."""
    return tuple((int(i), int(k)) for i, k in np.argwhere(ratio > 1))
