"""GPTQ: one column at a time, each error carried to all later columns (SPEC.md, section 7).

Read it together with the paper (arXiv 2210.17323, algorithm 1). Letters: W weights, H Hessian, R
upper triangular with H = R Rᵀ, U = R⁻¹, q codes, s scale, z zero-point, e error of a column. W′ is
`compensated`: the weights with the errors of all earlier columns. Columns are in processing order
until RESULT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from quantref.affine import group_layout, group_parameters
from quantref.config import GPTQConfig
from quantref.hessian import PreparedHessian, prepared_of, reversed_cholesky, upper_inverse
from quantref.inputs import (
    Array,
    require_count,
    require_hessian,
    require_instance,
    require_representable,
    require_rule,
    require_weights,
    require_working_precision,
)
from quantref.rules import (
    DEFAULT_PROFILE,
    Group,
    Profile,
    errors_of_earlier_blocks,
    original_weights,
    rows_of_cholesky,
)

BLOCK_SIZE = 128
BASE_RULES = (errors_of_earlier_blocks, original_weights)
"""Rules `base` that every form has. `gptq_quantize` calls any function. The certificate and the
fast form do not: they have to know which errors base weights carry, and know it for these two."""


def gptq_quantize(
    weights: ArrayLike,
    hessian: ArrayLike,
    config: GPTQConfig,
    *,
    profile: Profile = DEFAULT_PROFILE,
    dtype: DTypeLike = np.float64,
    block_size: int = BLOCK_SIZE,
) -> GPTQResult:
    """Quantize a weight matrix by GPTQ (arXiv 2210.17323, algorithm 1; SPEC.md, section 7).

    Parameters
    ----------
    weights : (n_out, n_in) float array
    hessian : (n_in, n_in) float array
        Symmetric, positive semidefinite; see `quantref.accumulate_hessian`.
    config : GPTQConfig
        All settings but those of calibration.
    profile : Profile
    dtype : float64 (default) or float32
        Working precision of compensated weights. The factor is computed in float64.
    block_size : int >= 1, default 128
        Columns of a column block.

    Returns
    -------
    GPTQResult

    Raises
    ------
    ShapeError, EmptyArrayError, DTypeError, NonFiniteError, ConfigError, NotSymmetricError,
    NotPositiveDefiniteError, OverflowRangeError

    Examples
    --------
    >>> config = GPTQConfig(
    ...     dataset=None, tokenizer=None, weight_bits=2, group_size=-1, hessian_damping=0.0
    ... )
    >>> result = gptq_quantize(np.float32([[0.0, 1.4, 3.0]]), np.eye(3), config)
    >>> result.codes, result.dequantized()
    (array([[0, 1, 3]], dtype=uint8), array([[0., 1., 3.]]))
    """
    # PREPARE
    problem = prepare_problem(
        weights, hessian, config, profile=profile, dtype=dtype, block_size=block_size
    )
    W, U = problem.weights, problem.U
    compensated = W.copy()  # W′
    codes = np.empty(W.shape, np.uint8)
    starts = {group.first: group for group in problem.groups}
    scales, zero_points = [], []

    for j in range(W.shape[1]):
        # BLOCK
        if j % problem.block_size == 0:
            base = profile.base(W, compensated.copy())  # [GPTQ-030]

        # GROUP
        if j in starts:
            group = starts[j]
            columns = base[:, group.start : group.end]
            scale, zero_point = problem.parameters(columns, group)  # [GPTQ-040] [GPTQ-050]
            scales.append(scale)
            zero_points.append(zero_point)
            s, z = scale.astype(W.dtype), zero_point.astype(W.dtype)  # (n_out,)

        # CODE
        w = compensated[:, j]
        q = profile.code(w, s, z, problem.maxq)  # [GPTQ-070]
        codes[:, j] = q

        # ERROR
        e = (w - s * (q - z)) / U[j, j]

        # FEEDBACK
        later = compensated[:, j + 1 :] - np.outer(e, U[j, j + 1 :])  # [GPTQ-060]
        compensated[:, j + 1 :] = profile.carry(later, problem.storage)  # [GPTQ-100]

    # RESULT
    place = problem.prepared.place
    return problem.result(codes[:, place], scales, zero_points)  # [GPTQ-080]


@dataclass(frozen=True)
class GPTQResult:
    """The answer of GPTQ for one weight matrix, columns in their original order."""

    codes: NDArray[np.uint8]  # (n_out, n_in), in 0 … 2^bits − 1
    scale: NDArray[np.float32]  # (n_out, n_groups)
    zero_point: NDArray[np.uint8]  # (n_out, n_groups)
    g_idx: NDArray[np.int32]  # (n_in,): column j has the scale and zero-point at [:, g_idx[j]]
    order: NDArray[np.int32]  # π, (n_in,): original index of the column that is quantized k-th
    config: GPTQConfig
    profile: Profile = DEFAULT_PROFILE
    dtype: str = "float64"  # working precision

    def dequantized(self) -> NDArray[np.float64]:
        """Return Ŵ = s · (q − z), (n_out, n_in) float64."""
        groups = self.g_idx.astype(np.intp)
        scale = self.scale.astype(np.float64)[:, groups]  # (n_out, n_in)
        return scale * (self.codes.astype(np.float64) - self.zero_point[:, groups])


@dataclass(frozen=True)
class Settings:
    """A checked problem without its weights and factors."""

    shape: tuple[int, int]  # (n_out, n_in)
    groups: list[Group]
    prepared: PreparedHessian
    config: GPTQConfig
    profile: Profile
    dtype: np.dtype  # working precision
    storage: np.dtype  # of the weights as they were given
    block_size: int

    @property
    def maxq(self) -> int:
        """Largest code, 2^bits − 1."""
        return int(2**self.config.weight_bits - 1)

    @property
    def column_group(self) -> NDArray[np.int32]:
        """Group of every column in processing order, (n_in,)."""
        lengths = [group.stop - group.first for group in self.groups]
        return np.repeat(np.arange(len(self.groups), dtype=np.int32), lengths)

    def errors_applied(self, group: Group) -> int:
        """Return the number of columns whose errors the base weights of a group carry."""
        require_rule("base", self.profile.base, BASE_RULES)  # [GPTQ-130]
        carried = self.profile.base is errors_of_earlier_blocks
        return group.first - group.first % self.block_size if carried else 0  # [GPTQ-030]

    def parameters(self, base: Array, group: Group) -> tuple[Array, Array]:
        """Return scale and zero-point, (n_out,) each, of a group's base weights (n_out, columns).

        The smallest and the largest base weight of each row are enough.
        """
        return group_parameters(
            base,
            bits=self.config.weight_bits,
            symmetric=self.config.symmetric,
            per_channel=self.config.per_channel,
            ragged=group.end - group.start < self.groups[0].end,
            profile=self.profile,
        )

    def group_index(self) -> Array:
        """Return g_idx in processing order, (n_in,)."""
        n_in, size = self.shape[1], self.config.group_size
        return self.profile.g_idx(self.column_group, n_in if size == -1 else size)

    def result(self, codes: Array, scales: list[Array], zero_points: list[Array]) -> GPTQResult:
        """Return the result with codes (n_out, n_in) in original order."""
        order = self.prepared.order
        place = self.prepared.place
        g_idx = self.group_index()[place]  # [GPTQ-090]
        scale, zero_point = np.stack(scales, axis=1), np.stack(zero_points, axis=1)
        settings = (self.config, self.profile, self.dtype.name)
        return GPTQResult(codes, scale, zero_point, g_idx, order, *settings)


@dataclass(frozen=True)
class Problem(Settings):
    """A checked problem with its matrices, columns in processing order."""

    weights: Array  # W, (n_out, n_in), in the working precision
    R: NDArray[np.float64]  # (n_in, n_in), upper triangular
    U: Array  # R⁻¹, (n_in, n_in), in the working precision; row j carries the error of column j


def prepare_problem(
    weights: ArrayLike,
    hessian: ArrayLike,
    config: GPTQConfig,
    *,
    profile: Profile = DEFAULT_PROFILE,
    dtype: DTypeLike = np.float64,
    block_size: int = BLOCK_SIZE,
) -> Problem:
    """Check all arguments of `gptq_quantize`, order the columns, factor the Hessian: PREPARE.

    W and H are the inputs before it, and the prepared ones after it.
    """
    # BAD INPUT
    working = require_settings(config, profile, dtype, block_size)
    w = require_weights(weights, "GPTQ-110")
    H = require_hessian(hessian, "GPTQ-110", w.shape[1])  # SYMMETRY [GPTQ-160]
    require_representable(w, working)

    # DEAD, ORDER, DAMPING
    groups = group_layout(w.shape[1], config.group_size, profile, block_size)
    prepared = prepared_of(H, config.hessian_damping, config.activation_order, profile)
    order, dead = prepared.order, prepared.dead
    W = profile.dead(w[:, order].astype(working), dead[order])  # [GPTQ-010] [GPTQ-020] [GPTQ-140]

    # PERMUTE, FACTOR
    R = reversed_cholesky(prepared.permuted(), damping=config.hessian_damping)  # [GPTQ-120]
    U = profile.rows(upper_inverse(R))  # [GPTQ-060]
    if profile.rows is not rows_of_cholesky:
        R = upper_inverse(U)  # so that E = (W − Ŵ) R undoes W − Ŵ = E U for these rows too
    shape = (w.shape[0], w.shape[1])
    settings = (shape, groups, prepared, config, profile, working, w.dtype, block_size)
    return Problem(*settings, W, R, U.astype(working))


def require_settings(config: Any, profile: Any, dtype: DTypeLike, block_size: Any) -> np.dtype:
    """Return the working precision, or raise unless every setting is of its kind."""
    require_instance(config, GPTQConfig, "config", "GPTQ-110")  # [GPTQ-110]
    require_instance(profile, Profile, "profile", "GPTQ-130")  # [GPTQ-130]
    require_count(block_size, "block_size", "GPTQ-130")
    return require_working_precision(dtype, "GPTQ-100")
