"""Certificate: judges an answer of GPTQ from weights, Hessian and answer (SPEC.md, section 8).

This is the section as code, in float64 and in whole arrays. `quantref.fast.certificate` gives the
same verdicts and messages, and computes only what a verdict needs.

Letters, all columns in processing order: W weights and H Hessian after PREPARE, Ŵ = s·(q − z) the
answer's weights, R upper with H = R Rᵀ, U = R⁻¹, M_kj = R_kj / R_jj, E errors, r residuals, u unit
roundoff, h and χ the diagonals of H and of H⁻¹; β and δ bound the errors of w′ (and so of r) and
of base weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.affine import SMALLEST_SCALE
from quantref.checks import (
    Answer,
    Certificate,
    Check,
    check_g_idx,
    code_message,
    identity_check,
    loss_figures,
    parameter_figures,
    place_of,
    require_answer,
    require_hessian_error,
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
MOST_SUMS = 8  # of rows, in CERT-080
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
        u of the arithmetic that made the answer: 2^-24 for float32, 2^-53 for float64.
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
    eta, u = require_hessian_error(hessian_error), unit_roundoff
    codes, scale, zero_point = require_answer(problem, answer)

    # WHAT AN ANSWER SHOWS
    W, R, U = problem.weights, problem.R, problem.U
    q = codes[:, problem.prepared.order]
    s, z = scale[:, problem.column_group], zero_point[:, problem.column_group]
    values = s * (q - z)  # Ŵ
    E = (W - values) @ R  # since W − Ŵ = E U  [GPTQ-060]
    r = E * U.diagonal()  # w′ = ŵ + r

    # THE BOUNDS β AND δ
    rho = error_bound(E, np.abs(W) + np.abs(values), R, U, u=u, eta=eta)
    beta = rho + 3 * u * np.abs(values + r)  # [CERT-060]
    delta = base_bound(problem, rho)

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
        undecided=float((beta > s / 2).mean()),
        residual_steps=(r / s)[:, problem.prepared.place],
    )


# THE BOUNDS β AND δ
def growth(k: float, u: float) -> float:
    """Return γ(k, u) = k · u / (1 − k · u), for k roundings.

    Examples
    --------
    >>> growth(10, 2.0**-24) < 6e-7
    True
    """
    product = k * u
    return product / (1 - product) if product < 1 else math.inf


def roundings_of(n_in: int) -> int:
    """Return how many roundings inverse, factor and recurrence of n_in columns accumulate.

    Examples
    --------
    >>> roundings_of(16)
    56
    """
    return 3 * n_in + 8


def amplified(hessian_error: float, spread: float) -> float:
    """Return η / (1 − η S), or raise where nothing can be certified.

    Examples
    --------
    >>> amplified(0.125, 4.0)
    0.25
    """
    if hessian_error * spread >= 1:  # [CERT-070]
        expected = f"hessian_error < {1 / spread:.3g}, below which the Hessian has a factor"
        raise ConfigError(expected, f"{hessian_error:.3g}", "CERT-070")
    return hessian_error / (1 - hessian_error * spread)


def norm_bound(T: Array) -> float:
    """Return ν(T) = √(largest column sum · largest row sum) of |T|, at least ‖T‖₂.

    Examples
    --------
    >>> norm_bound(np.array([[3.0, 0.0], [1.0, 0.0]]))
    3.4641016151377544
    """
    T = np.abs(T)
    return math.sqrt(float(T.sum(axis=0).max()) * float(T.sum(axis=1).max()))


def error_bound(
    E: Array, magnitudes: Array, R: Array, U: Array, *, u: float, eta: float = 0.0
) -> NDArray[np.float64]:
    """Return the bracket of β, (n_out, n_in): ρ(u) + ρ(2⁻⁵³) and the term of the Hessian's error.

    `magnitudes`: |W| + |Ŵ|, (n_out, n_in).

    Examples
    --------
    >>> one = np.eye(1)
    >>> (error_bound(one, 0 * one, one, one, u=2.0**-24) * 2**24).round(3)
    array([[33.]])
    """
    roundings = roundings_of(len(R))
    E, R, U = np.abs(E), np.abs(R), np.abs(U)
    M = R / R.diagonal()
    h, chi = (R**2).sum(axis=1), (U**2).sum(axis=0)  # H = R Rᵀ, H⁻¹ = Uᵀ U
    root_h, root_chi = np.sqrt(h), np.sqrt(chi)

    # ALWAYS
    A = E @ U @ root_h  # (n_out,)
    B = U.diagonal() * (U @ root_h)  # (n_in,)
    G = E @ R.T @ root_chi  # (n_out,)
    C = root_chi @ M  # (n_in,)
    always = (E @ U + magnitudes) @ M + np.outer(A, B) + np.outer(G, C)

    # LIKELY
    B2 = norm_bound(U * root_h) * U.diagonal() * np.sqrt(U**2 @ h)  # B′
    C2 = norm_bound(root_chi[:, None] * R) * np.sqrt(chi @ M**2)  # C′
    length = np.sqrt((E**2).sum(axis=1))  # ‖E‖₂
    likely = np.sqrt((E**2 @ U**2 + magnitudes**2) @ M**2) + np.outer(length, B2 + C2)

    def rho(u: float) -> Array:
        bound, gamma = LIKELY * math.sqrt(roundings) * u * likely, growth(roundings, u)
        return np.asarray(np.minimum(gamma * always, bound) if math.isfinite(gamma) else bound)

    S = float(((U @ root_h) ** 2).sum())
    return np.asarray(rho(u) + rho(U64) + amplified(eta, S) * np.outer(A, B))  # [CERT-060]


def base_bound(problem: Problem, rho: Array) -> NDArray[np.float64]:
    """Return δ, (n_out, n_groups); `rho` is the bracket of β."""
    carried = rho @ np.abs(problem.R.diagonal()[:, None] * problem.U)  # |M⁻¹|
    delta = np.zeros((len(rho), len(problem.groups)))
    for k, group in enumerate(problem.groups):
        if problem.errors_applied(group):
            delta[:, k] = carried[:, group.start : group.end].max(axis=1)  # [CERT-060]
    if not problem.config.per_channel:
        delta[:] = delta.max(axis=0)
    return delta


# CODES
def check_codes(found: Recovered, name: str, requirement: str, judged: Array) -> Check:
    """Check that residuals lie within half a step, or point outwards from a clipped code."""
    above = np.where(found.q == found.problem.maxq, -np.inf, found.r - found.s / 2)
    below = np.where(found.q == 0, -np.inf, -found.r - found.s / 2)
    excess = np.where(judged, np.maximum(above, below), -np.inf)  # [CERT-010] [CERT-020]
    ratio = np.divide(excess, found.beta, out=np.zeros_like(excess), where=excess > 0)
    off = int((ratio > 1).sum())
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
    return np.abs(scale * problem.maxq - 2.0) <= 2 * RELATIVE32


# LOSS
def signed_sums(n_out: int) -> Iterator[tuple[slice, Array]]:
    """Yield the rows of each sum of CERT-080, and their signs, −1 or 1.

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
    sums, root_h = [*signed_sums(len(difference))], np.sqrt(H.diagonal())
    loss, squares, allowed = np.zeros((3, len(sums)))
    for k, (rows, signs) in enumerate(sums):
        d, f = signs @ difference[rows], signs @ found.E[rows]
        loss[k], squares[k] = d @ H @ d, f @ f
        length = float(np.sqrt((found.E[rows] ** 2).sum(axis=1)).sum())
        size = float((np.abs(difference[rows]) @ root_h).sum()) ** 2 + length**2
        gamma = growth(4 * len(H) + 2 * len(signs) + 6, U64)
        allowed[k] = gamma * size + LEAST_BOUND  # [CERT-080]
    return identity_check([rows for rows, _ in sums], loss, squares, allowed)


def check_loss_bound(found: Recovered) -> Check:
    """Check that the loss of each row is at most that of Babai's nearest plane."""
    loss, allowed = (found.E**2).sum(axis=1), loss_terms(found).sum(axis=1)
    ratio = np.divide(loss, allowed, out=np.zeros_like(loss), where=allowed > 0)
    passed = bool((ratio <= 1).all())
    return Check("loss bound", "CERT-050", passed, 1.0, *loss_figures(ratio, loss, allowed))


def loss_terms(found: Recovered) -> NDArray[np.float64]:
    """Return c_j = (s_j/2 + β_j)² / U_jj², and e_j² where the code is 0 or maxq."""
    terms = ((found.s / 2 + found.beta) / found.problem.U.diagonal()) ** 2
    return np.where(found.clipped, found.E**2, terms)  # [CERT-050]
