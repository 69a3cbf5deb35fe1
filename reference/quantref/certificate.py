"""Certificate: judges an answer of GPTQ from weights, Hessian and answer (SPEC.md, section 8).

This is the section as code, in float64 and in whole arrays. `quantref.fast.certificate` gives the
same verdicts and messages, and computes only what a verdict needs.

Letters, all columns in processing order: W weights and H Hessian after PREPARE, Ŵ = s·(q − z) the
answer's weights, R upper with H = R Rᵀ, U = R⁻¹, E errors, r residuals, u and u_f unit
roundoffs of the target and of its factor; β and δ bound the errors of w′ (and so of r) and of
base weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.affine import SMALLEST_SCALE
from quantref.checks import (
    LOOSE_SCALE,
    Answer,
    Certificate,
    Check,
    check_g_idx,
    code_message,
    evenly_spaced,
    horizons,
    identity_check,
    loss_figures,
    parameter_figures,
    place_of,
    require_answer,
    require_hessian_error,
    require_roundoffs,
    unlike_plain_rounding,
)
from quantref.config import GPTQConfig
from quantref.errors import ConfigError
from quantref.gptq import BLOCK_SIZE, Problem, Settings, prepare_problem
from quantref.inputs import Array
from quantref.rules import (
    DEFAULT_PROFILE,
    Group,
    Profile,
    round_then_add,
    rows_of_cholesky,
    zero_point_clipped,
)

U32, U64 = 2.0**-24, 2.0**-53  # unit roundoff of float32 and of float64
RELATIVE32 = 2.0**-22  # the relative error that section 0 allows a float32
LIKELY = 8.0  # standard deviations
STOP = 16  # columns after which displacements and gradients are looked at
MOST_SUMS = 8  # of rows, in CERT-110
Noise = Sequence[tuple[Array, Array]]  # V and V′ for each horizon
LEAST_BOUND = 1e-300  # added to bounds that may be 0: an error of 0 is then 0 of it, not 0/0


@dataclass(frozen=True)
class Recovered:
    """What an answer shows, columns in processing order; (n_out, n_in) arrays but for δ."""

    problem: Problem
    q: Array
    s: NDArray[np.float64]  # of the group of each weight
    z: NDArray[np.float64]
    values: NDArray[np.float64]  # Ŵ
    E: NDArray[np.float64]
    r: NDArray[np.float64]
    beta: NDArray[np.float64]
    delta: NDArray[np.float64]  # (n_out, n_groups)
    u: float

    @property
    def clipped(self) -> NDArray[np.bool_]:
        """Which codes are 0 or maxq."""
        return np.asarray((self.q == 0) | (self.q == self.problem.maxq))


def certify(
    weights: ArrayLike,
    hessian: ArrayLike,
    answer: Answer,
    config: GPTQConfig,
    *,
    profile: Profile = DEFAULT_PROFILE,
    block_size: int = BLOCK_SIZE,
    unit_roundoff: float = U32,
    factor_roundoff: float | None = None,
    hessian_error: float = 0.0,
) -> Certificate:
    """Judge an answer of GPTQ from weights, Hessian and answer alone (SPEC.md, section 8).

    Parameters
    ----------
    weights, hessian, config, profile, block_size
        The arguments of `quantref.gptq_quantize` that the answer is an answer to.
    answer : object with codes, scale, zero_point, g_idx
        Arrays (n_out, n_in), (n_out, n_groups) twice, (n_in,); see `quantref.GPTQResult`.
    unit_roundoff : float, default 2^-24
        u of section 0, of what made the answer: 2^-24 for float32, 2^-53 for float64.
    factor_roundoff : float, optional
        u_f of section 0, of what factored the Hessian; by default u, but at most 2^-24.
    hessian_error : float, default 0
        η: the answer was made from a Hessian within η·√(h_k h_l) of this one, element by element.

    Returns
    -------
    Certificate

    Raises
    ------
    AnswerError
        A shape, dtype or value of the answer is impossible.
    QuantrefError
        Another argument is refused, as in `quantref.gptq_quantize`.

    Examples
    --------
    >>> from quantref import gptq_textbook
    >>> W, H = np.float32([[0.0, 1.4, 3.0]]), np.eye(3) + 0.5
    >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1)
    >>> certify(W, H, gptq_textbook(W, H, config), config).passed
    True
    """
    # BAD INPUT
    problem = prepare_problem(weights, hessian, config, profile=profile, block_size=block_size)
    u, u_f = require_roundoffs(unit_roundoff, factor_roundoff)
    eta = require_hessian_error(hessian_error)
    codes, scale, zero_point = require_answer(problem, answer)

    # WHAT AN ANSWER SHOWS
    W, R, U = problem.weights, problem.R, problem.U
    q = codes[:, problem.prepared.order]
    s, z = scale[:, problem.column_group], zero_point[:, problem.column_group]
    values = s * (q - z)  # Ŵ
    E = (W - values) @ R  # since W − Ŵ = E U  [GPTQ-060]
    r = E * U.diagonal()  # w′ = ŵ + r

    # THE BOUNDS β AND δ
    noise = [rounding_noise(W, E[:, :n], R, U, u=u, u_f=u_f) for n in horizons(len(R))]
    shift = hessian_shift(E, R, U, eta)
    beta = error_bound(noise, shift, R, U, np.diag(U.diagonal()), np.arange(len(R)) + 1)
    beta += 3 * u * np.abs(values + r)  # [CERT-090]
    of_rows = base_bound(problem, noise, shift)
    delta = of_rows if config.per_channel else np.broadcast_to(of_rows.max(axis=0), of_rows.shape)

    # CHECKS
    found = Recovered(problem, q, s, z, values, E, r, beta, delta, u)
    half_step = check_codes(found, "half step", "CERT-010", ~found.clipped)
    checks = [check_g_idx(problem, answer), half_step]
    checks += [check_codes(found, "clipped codes", "CERT-020", found.clipped)]
    checks += check_parameters(found, scale, zero_point)
    if profile.rows is rows_of_cholesky:  # with others ‖E‖² is not the loss: section 8, Other rows
        checks += [check_loss_identity(found), check_loss_bound(found)]

    # FIGURES
    plain = s * (round_then_add(W, s, z, problem.maxq) - z)
    unlike = unlike_plain_rounding(problem, W, q, s, z, u)
    return Certificate(
        tuple(checks),
        loss=float((E**2).sum()),
        loss_bound=float(loss_terms(found).sum()),
        plain_loss=float((((W - plain) @ R) ** 2).sum()),
        plain_rounding=not half_step.passed and not unlike.any(),
        clipped=float(found.clipped.mean()),
        undecided=undecided_share(beta, of_rows[:, problem.column_group], s, problem.maxq),
        residual_steps=(r / s)[:, problem.prepared.place],
    )


# THE BOUNDS β AND δ
def rounding_noise(
    W: Array, E: Array, R: Array, U: Array, *, u: float, u_f: float
) -> tuple[Array, Array]:
    """Return V of weights and V′ of gradients, (n_out, n_in), by the errors E up to a horizon.

    Examples
    --------
    >>> one = np.eye(1)
    >>> of_weights, of_gradients = rounding_noise(one, one, one, one, u=2.0**-24, u_f=2.0**-24)
    >>> (of_weights * 3 * 2**48).round(6), (of_gradients * 3 * 2**48).round(6)
    (array([[18.]]), array([[2.]]))
    """
    A, G = largest_moves(E, R, U)
    recurrence = (np.arange(len(R)) + 4) * (np.abs(W) + A) ** 2
    feedback, factor = (u**2 + U64**2) / 3, (u_f**2 + U64**2) / 3  # and of this computation
    of_weights = feedback * recurrence + factor * (G**2 @ factor_noise(U.T @ U))
    return of_weights, factor * (A**2 @ factor_noise(R @ R.T))  # [CERT-090]


def largest_moves(E: Array, R: Array, U: Array) -> tuple[Array, Array]:
    """Return A and G: the largest displacement and gradient of each weight, (n_out, n_in) each."""
    displacement, gradient, A, G = np.zeros((4, len(E), len(R)))
    for start in range(0, E.shape[1], STOP):
        done = slice(start, min(start + STOP, E.shape[1]))
        displacement += E[:, done] @ U[done]
        gradient += E[:, done] @ R[:, done].T
        A, G = np.maximum(A, np.abs(displacement)), np.maximum(G, np.abs(gradient))
    return A, G


def factor_noise(H: Array) -> NDArray[np.float64]:
    """Return the variances of a factor's errors, in units of u²/3.

    Examples
    --------
    >>> factor_noise(np.array([[2.0, 1.0], [1.0, 1.0]]))
    array([[12.,  4.],
           [ 4.,  3.]])
    """
    return np.asarray(len(H) * H**2 + np.outer(H.diagonal(), H.diagonal()))


def hessian_shift(E: Array, R: Array, U: Array, eta: float) -> tuple[Array, Array]:
    """Return two vectors (n_out,), (n_in,); their product bounds what the Hessian's error moves.

    Examples
    --------
    >>> hessian_shift(np.eye(2), np.eye(2), np.eye(2), 0.25)
    (array([0.5, 0.5]), array([1., 1.]))
    """
    a = np.abs(U) @ np.sqrt((R**2).sum(axis=1))  # |U| √h
    S = float((a**2).sum())
    if eta * S >= 1:  # [CERT-070]
        expected = f"hessian_error < {1 / S:.3g}, below which the Hessian has a factor"
        raise ConfigError(expected, f"{eta:.3g}", "CERT-070")
    return eta / (1 - eta * S) * (np.abs(E) @ a), a


def error_bound(
    noise: Noise, shift: tuple[Array, Array], R: Array, U: Array, t: Array, reached: Array
) -> Array:
    """Return the bound on errors of weights that carry so many columns; `t` as in section 8."""
    variance = np.empty((len(shift[0]), t.shape[1]))
    for k, (of_weights, of_gradients) in enumerate(noise):
        at = np.searchsorted(horizons(len(R)), reached) == k  # the first that is not smaller
        variance[:, at] = of_weights @ (R @ t[:, at]) ** 2
        variance[:, at] += of_gradients @ (U.T @ t[:, at]) ** 2
    by_hessian = np.outer(shift[0], shift[1] @ np.abs(t))  # [CERT-070]
    return np.asarray(LIKELY * np.sqrt(variance) + by_hessian)


def base_bound(problem: Problem, noise: Noise, shift: tuple[Array, Array]) -> NDArray[np.float64]:
    """Return δ of each row alone, (n_out, n_groups).  [CERT-090]"""
    U_jj, reached = problem.U.diagonal(), np.arange(len(problem.U)) + 1
    delta = np.zeros((problem.shape[0], len(problem.groups)))
    for k, group in enumerate(problem.groups):
        c = problem.errors_applied(group)
        if c:
            t = problem.U.copy()
            t[:c], t[:, :c] = 0, np.diag(U_jj)[:, :c]  # before c: as they were rounded
            own = slice(group.start, group.end)
            t, done = t[:, own], np.minimum(reached[own], c)
            delta[:, k] = error_bound(noise, shift, problem.R, problem.U, t, done).max(axis=1)
    return delta


def undecided_share(beta: Array, delta: Array, s: Array, maxq: int) -> float:
    """Return the share of codes for which the bounds admit another code, or another scale."""
    decided = (beta <= s / 2) & (2 * delta / maxq <= LOOSE_SCALE * s)  # (n_out, n_in)
    return float((~decided)[evenly_spaced(len(s))].mean())  # [CERT-100]


# CODES
def check_codes(found: Recovered, name: str, requirement: str, judged: Array) -> Check:
    """Check that residuals lie within half a step, or point outwards from a clipped code."""
    above = np.where(found.q == found.problem.maxq, -np.inf, found.r - found.s / 2)
    below = np.where(found.q == 0, -np.inf, -found.r - found.s / 2)
    excess = np.where(judged, np.maximum(above, below), -np.inf)  # [CERT-010] [CERT-020]
    ratio = np.divide(excess, found.beta, out=np.zeros_like(excess), where=excess > 0)
    off = int((~(ratio <= 1)).sum())
    i, k = place_of(np.where(judged, ratio, -1.0))
    place = (i, int(found.problem.prepared.order[k]))
    steps, allowed = found.r[i, k] / found.s[i, k], found.beta[i, k] / found.s[i, k]
    message = code_message(off, int(judged.sum()), place, int(found.q[i, k]), steps, allowed)
    return Check(name, requirement, off == 0, 1.0, float(ratio[i, k]), place, message)


# PARAMETERS
def base_weights(found: Recovered, group: Group) -> NDArray[np.float64]:
    """Return the base weights of a group, (n_out, columns)."""
    problem = found.problem
    c = problem.errors_applied(group)
    base = problem.weights - found.E[:, :c] @ problem.U[:c]  # [CERT-030]
    base[:, :c] = (found.values + found.r)[:, :c]  # before c: as they were rounded
    return base[:, group.start : group.end]


def check_parameters(found: Recovered, scale: Array, zero_point: Array) -> list[Check]:
    """Check scale and zero-point of every group against its base weights."""
    lo, hi = np.empty(scale.shape), np.empty(scale.shape)
    for k, group in enumerate(found.problem.groups):
        base = base_weights(found, group)
        lo[:, k], hi[:, k] = base.min(axis=1), base.max(axis=1)
    if not found.problem.config.per_channel:
        lo[:], hi[:] = lo.min(axis=0), hi.max(axis=0)
    expected, got = expected_parameters(found.problem, lo, hi), (scale, zero_point)
    judged = judge_parameters(found.problem, (lo, hi), expected, got, found.delta, found.u)
    checks = []
    for k, (name, (ratio, wanted)) in enumerate(zip(("scale", "zero-point"), judged, strict=True)):
        figures, passed = parameter_figures(ratio, wanted, got[k]), bool((ratio <= 1).all())
        checks.append(Check(name, "CERT-030", passed, 1.0, *figures))  # [CERT-030]
    return checks


def expected_parameters(problem: Settings, lo: Array, hi: Array) -> tuple[Array, Array]:
    """Return scale and zero-point of smallest and largest base weights, (n_out, n_groups)."""
    ends = zip(lo.T, hi.T, problem.groups, strict=True)
    pairs = [problem.parameters(np.stack([a, b], axis=1), group) for a, b, group in ends]
    scales, zero_points = zip(*pairs, strict=True)
    return np.stack(scales, axis=1).astype(float), np.stack(zero_points, axis=1).astype(float)


def judge_parameters(
    problem: Settings,
    ranges: tuple[Array, Array],
    expected: tuple[Array, Array],
    got: tuple[Array, Array],
    delta: Array,
    u: float,
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return observed / bound and the expected values, of scales and of zero-points.

    `ranges`, `expected`, `got`: smallest and largest base weight, scale and zero-point of these,
    and those of the answer, (n_out, n_groups) arrays as `delta` is.
    """
    (lo, hi), (s, z), (scale, zero_point), maxq = ranges, expected, got, problem.maxq

    # ZEROS: where no base weight exceeds δ, the range is −1 … 1, or one of rounding errors
    s_zeros, z_zeros = (a[:, None] for a in problem.parameters(0 * lo[:, :1], problem.groups[0]))
    vanishing = np.maximum(-lo, hi) <= delta
    zeros = vanishing & has_scale_of_zeros(problem, scale)
    rounding = vanishing & ~zeros & (delta > 0)
    degenerate = (lo == 0) & (hi == 0) & (z > 0)  # the range is −1 … 1

    # SCALE
    nearest = np.where(degenerate & rounding, SMALLEST_SCALE, s)
    allowed = 2 * delta / maxq + RELATIVE32 * nearest
    scale_ratio = np.where(zeros, 0.0, np.abs(scale - nearest) / allowed)

    # ZERO-POINT
    low = np.where(zeros | degenerate & ~rounding, -1.0, np.minimum(lo, 0.0))
    position = -low / scale  # which the zero-point rounds
    if problem.profile.zero_point is zero_point_clipped:
        position = np.clip(position, 0, maxq)
    allowed = delta / scale + np.abs(position) * (3 * u + RELATIVE32) + LEAST_BOUND
    over = np.maximum(np.abs(zero_point - position) - 0.5, 0.0)
    exact = np.where(zeros, zero_point == z_zeros, zero_point == z)
    exact &= ~rounding | (scale_ratio <= 1)
    zero_ratio = np.where(exact, 0.0, over / allowed)
    if problem.config.symmetric:
        zero_ratio = np.where(zero_point == z, 0.0, np.inf)

    vanished = vanishing & (delta > 0)
    s, z = np.where(vanished, s_zeros, s), np.where(vanished, z_zeros, z)
    return (scale_ratio, s), (zero_ratio, z)


def has_scale_of_zeros(problem: Settings, scale: Array) -> NDArray[np.bool_]:
    """Return which scales are those of the range −1 … 1, within the relative error allowed."""
    of_zeros = float(np.float32(2.0 / problem.maxq))
    return np.asarray(np.abs(scale - of_zeros) <= RELATIVE32 * of_zeros)


# LOSS
def signed_sums(n_out: int) -> Iterator[tuple[slice, Array]]:
    """Yield the rows of each sum of CERT-110, and their signs, −1 or 1.

    Examples
    --------
    >>> [(rows.start, rows.stop) for rows, _ in signed_sums(18)][-2:]
    [(12, 15), (15, 18)]
    """
    signs = np.random.default_rng(0).choice([-1.0, 1.0], n_out)
    size = -(-n_out // MOST_SUMS)
    for start in range(0, n_out, size):
        rows = slice(start, min(start + size, n_out))
        yield rows, signs[rows]


def check_loss_identity(found: Recovered) -> Check:
    """Check d H dᵀ = ‖f‖² for sums d of rows of W − Ŵ and f of rows of E."""
    H, difference = found.problem.prepared.permuted(), found.problem.weights - found.values
    sums, n_in, h = [*signed_sums(len(difference))], len(H), H.diagonal()
    loss, squares, allowed = np.zeros((3, len(sums)))
    for k, (rows, signs) in enumerate(sums):
        d, f = signs @ difference[rows], signs @ found.E[rows]
        loss[k], squares[k] = (H @ d) @ d, f @ f
        of_factor = n_in * d**2 @ (H**2 @ d**2 + (H @ d) ** 2) + (d**2 @ h) ** 2
        of_errors = f**2 @ ((difference[rows] ** 2).sum(axis=0) @ found.problem.R**2 + f**2)
        of_squares = 4 * (n_in + len(signs)) * of_errors + n_in * squares[k] ** 2
        variance = U64**2 / 3 * (of_factor + of_squares)
        allowed[k] = LIKELY * math.sqrt(variance) + LEAST_BOUND  # [CERT-110]
    return identity_check([rows for rows, _ in sums], loss, squares, allowed)


def check_loss_bound(found: Recovered) -> Check:
    """Check that the loss of each row is at most that of Babai's nearest plane."""
    loss, allowed = (found.E**2).sum(axis=1), loss_terms(found).sum(axis=1)
    ratio = np.divide(loss, allowed, out=np.zeros_like(loss), where=allowed > 0)
    passed = bool((ratio <= 1).all())
    return Check("loss bound", "CERT-050", passed, 1.0, *loss_figures(ratio, loss, allowed))


def loss_terms(found: Recovered) -> NDArray[np.float64]:
    """Return B_j: (s_j/2 + β_j)² / U_jj², and e_j² where the code is 0 or maxq."""
    terms = ((found.s / 2 + found.beta) / found.problem.U.diagonal()) ** 2
    return np.where(found.clipped, found.E**2, terms)  # [CERT-050]
