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
from quantref.errors import ConfigError
from quantref.hessian import PreparedHessian, prepared_of, reversed_cholesky, upper_inverse
from quantref.inputs import (
    Array,
    require_count,
    require_hessian,
    require_instance,
    require_representable,
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
        Finite; float16, bfloat16, float32 or float64.
    hessian : (n_in, n_in) float array
        Symmetric, positive semidefinite; see `quantref.accumulate_hessian`.
    config : GPTQConfig
        Its weight_bits, group_size, per_channel, symmetric, activation_order and
        hessian_damping act here.
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
    ShapeError, EmptyArrayError, DTypeError, NonFiniteError, ConfigError
        Before any work.
    NotSymmetricError, NotPositiveDefiniteError
        The latter names damping and pivot.
    OverflowRangeError
        A scale does not fit float32.

    Examples
    --------
    >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1, hessian_damping=0.0)
    >>> gptq_quantize(np.float32([[0.0, 1.4, 3.0]]), np.eye(3), config).codes
    array([[0, 1, 3]], dtype=uint8)
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
        e = (w - s * (q - z)) / U[j, j]  # [GPTQ-060]

        # FEEDBACK
        later = compensated[:, j + 1 :] - np.outer(e, U[j, j + 1 :])  # [GPTQ-060]
        compensated[:, j + 1 :] = profile.carry(later, problem.storage)  # [GPTQ-100]

    # RESULT
    place = np.argsort(problem.prepared.order)
    return problem.result(codes[:, place], scales, zero_points)  # [GPTQ-080]


@dataclass(frozen=True)
class GPTQResult:
    """The answer of GPTQ for one weight matrix, columns in their original order.

    Attributes
    ----------
    codes : (n_out, n_in) uint8 array in 0 … 2^bits − 1
    scale : (n_out, n_groups) float32 array
    zero_point : (n_out, n_groups) uint8 array
    g_idx : (n_in,) int32 array
        Group of each column: scale and zero-point of column j are those at [:, g_idx[j]].
    order : (n_in,) int32 array
        Original index of the column that was quantized k-th.
    config : GPTQConfig
    profile : Profile
    dtype : str
        Working precision, "float64" or "float32".
    """

    codes: NDArray[np.uint8]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.uint8]
    g_idx: NDArray[np.int32]
    order: NDArray[np.int32]
    config: GPTQConfig
    profile: Profile = DEFAULT_PROFILE
    dtype: str = "float64"

    def dequantized(self) -> NDArray[np.float64]:
        """Return Ŵ = s · (q − z), (n_out, n_in) float64.

        Examples
        --------
        >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1)
        >>> gptq_quantize(np.float32([[0.0, 3.0]]), np.eye(2), config).dequantized()
        array([[0., 3.]])
        """
        groups = self.g_idx.astype(np.intp)
        scale = self.scale.astype(np.float64)[:, groups]  # (n_out, n_in)
        return scale * (self.codes.astype(np.float64) - self.zero_point[:, groups])


@dataclass(frozen=True)
class Settings:
    """A checked problem without its matrices.

    Attributes
    ----------
    shape : (n_out, n_in)
    dtype : float32 or float64
        Working precision.
    storage : dtype
        The dtype of the weights as they were given.
    """

    shape: tuple[int, int]
    groups: list[Group]
    prepared: PreparedHessian
    config: GPTQConfig
    profile: Profile
    dtype: np.dtype
    storage: np.dtype
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
        """Return how many columns' errors the base weights of a group carry."""
        if self.profile.base is original_weights:
            return 0
        require_known_base(self.profile)
        return group.first - group.first % self.block_size  # [GPTQ-030]

    def parameters(self, base: Array, group: Group) -> tuple[Array, Array]:
        """Return scale (n_out,) float32 and zero-point (n_out,) uint8 of a group.

        `base`: base weights (n_out, columns) of the group, or the smallest and the largest alone.
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
        place = np.argsort(order)
        g_idx = self.group_index()[place]  # [GPTQ-090]
        scale, zero_point = np.stack(scales, axis=1), np.stack(zero_points, axis=1)
        settings = (self.config, self.profile, self.dtype.name)
        return GPTQResult(codes, scale, zero_point, g_idx, order, *settings)


@dataclass(frozen=True)
class Problem(Settings):
    """A checked problem with its matrices, columns in processing order.

    Attributes
    ----------
    weights : (n_out, n_in) array in the working precision
        W after PREPARE.
    R : (n_in, n_in) float64 array, upper triangular, U⁻¹
    U : (n_in, n_in) array in the working precision, upper triangular
        Row j carries the error of column j.
    """

    weights: Array
    R: NDArray[np.float64]
    U: Array


def prepare_problem(
    weights: ArrayLike,
    hessian: ArrayLike,
    config: GPTQConfig,
    *,
    profile: Profile = DEFAULT_PROFILE,
    dtype: DTypeLike = np.float64,
    block_size: int = BLOCK_SIZE,
) -> Problem:
    """Check everything, order the columns, and factor the Hessian: PREPARE.

    Arguments and errors are those of `gptq_quantize`.

    Examples
    --------
    >>> config = GPTQConfig(None, None, hessian_damping=0.0)
    >>> prepare_problem(np.ones((1, 2)), np.array([[5.0, 2.0], [2.0, 4.0]]), config).R
    array([[2., 1.],
           [0., 2.]])
    """
    # BAD INPUT
    working = require_settings(config, profile, dtype, block_size)
    w = require_weights(weights, "GPTQ-110")
    H = require_hessian(hessian, "GPTQ-110", w.shape[1])  # SYMMETRY
    require_representable(w, working)

    # DEAD, ORDER, DAMPING
    groups = group_layout(w.shape[1], config.group_size, profile, block_size)
    prepared = prepared_of(H, config.hessian_damping, config.activation_order, profile)
    order, dead = prepared.order, prepared.dead
    W = profile.dead(w[:, order].astype(working), dead[order])  # [GPTQ-010] [GPTQ-020]

    # PERMUTE, FACTOR
    R = reversed_cholesky(prepared.permuted(), damping=config.hessian_damping)  # [GPTQ-120]
    U = profile.rows(upper_inverse(R))  # [GPTQ-060]
    if profile.rows is not rows_of_cholesky:
        R = upper_inverse(U)
    shape = (w.shape[0], w.shape[1])
    settings = (shape, groups, prepared, config, profile, working, w.dtype, block_size)
    return Problem(*settings, W, R, U.astype(working))


def require_settings(config: Any, profile: Any, dtype: DTypeLike, block_size: Any) -> np.dtype:
    """Return the working precision, or raise unless every setting is of its kind."""
    require_instance(config, GPTQConfig, "config", "GPTQ-110")  # [GPTQ-110]
    require_instance(profile, Profile, "profile", "GPTQ-130")  # [GPTQ-130]
    require_count(block_size, "block_size", "GPTQ-130")
    return require_working_precision(dtype, "GPTQ-100")


def require_known_base(profile: Profile) -> None:
    """Raise unless the rule `base` is one of the two of `quantref.rules`."""
    if profile.base not in (errors_of_earlier_blocks, original_weights):
        expected = "rule base to be errors_of_earlier_blocks or original_weights"
        raise ConfigError(expected, f"{profile.base!r}", "GPTQ-130")  # [GPTQ-130]
