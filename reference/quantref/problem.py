"""What both forms of GPTQ start from and return: a checked, ordered problem, and the result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from quantref.affine import Group, group_layout, group_parameters
from quantref.config import GPTQConfig
from quantref.errors import ConfigError, DTypeError, OverflowRangeError, ShapeError
from quantref.factor import (
    factor_hessian,
    inverse_factor,
    unit_factor,
    unit_upper,
    upper_inverse,
)
from quantref.fast.memory import spaced, tiles, transpose
from quantref.fast.packing import pack_codes, pack_int32_words
from quantref.hessian import PreparedHessian, prepared_hessian, require_hessian
from quantref.inputs import Array, require_weights
from quantref.profile import (
    DEFAULT_PROFILE,
    DeadColumns,
    FeedbackDtype,
    GroupIndexDtype,
    NotPositiveDefinite,
    PackingRule,
    Profile,
    Propagation,
)

OF_HESSIAN = ("rows", "unit", "factor")  # of a problem, whatever its weights are


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
        """Return scale · (codes − zero_point), (n_out, n_in) float64.

        Examples
        --------
        >>> from quantref import GPTQConfig, gptq_quantize
        >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1)
        >>> gptq_quantize(np.float32([[0.0, 3.0]]), np.eye(2), config).dequantized()
        array([[0., 3.]])
        """
        groups = self.g_idx.astype(np.intp)
        scale = self.scale.astype(np.float64)[:, groups]  # (n_out, n_in)
        return scale * (self.codes.astype(np.float64) - self.zero_point[:, groups])

    def packed(self) -> tuple[Array, Array]:
        """Return codes and zero-points as the profile stores them.

        Returns
        -------
        codes : bytes along axis 0, uint8; or int32 words along n_in
        zero_point : (n_out, n_groups) uint8 array; or int32, z - 1

        Raises
        ------
        BitsError
            3 bits in int32 words.

        Examples
        --------
        >>> from quantref import GPTQConfig, gptq_quantize
        >>> config = GPTQConfig(None, None, weight_bits=4, group_size=-1)
        >>> result = gptq_quantize(np.float32([[0.0, 3.0], [1.5, 0.0]]), np.eye(2), config)
        >>> result.packed()[0]
        array([[240,  15]], dtype=uint8)
        """
        bits = self.config.weight_bits
        if self.profile.packing is PackingRule.INT32_WORDS:
            return pack_int32_words(self.codes, bits), self.zero_point.astype(np.int32) - 1
        return pack_codes(self.codes, bits, axis=0), self.zero_point


@dataclass(frozen=True)
class GPTQProblem:
    """A checked problem, columns in processing order.

    Attributes
    ----------
    given : (n_out, n_in) float array
        The weights as they came.
    groups : list of Group
    prepared : PreparedHessian
    config : GPTQConfig
    profile : Profile
    dtype : float32 or float64
        Working precision.
    workers : int
        Threads that make `unit`.
    """

    given: Array
    groups: list[Group]
    prepared: PreparedHessian
    config: GPTQConfig
    profile: Profile
    dtype: np.dtype
    workers: int = 1

    def of(self, weights: ArrayLike) -> GPTQProblem:
        """Return the problem of other weights (n_out, n_in) with this Hessian, checked.

        What was made of the Hessian alone, its factors, is not made again.
        """
        w = require_weights(weights, "GPTQ-110")
        if w.shape[1] != self.shape[1]:
            raise ShapeError(f"weights of {self.shape[1]} columns", f"{w.shape}", "GPTQ-110")
        _require_representable(w, self.dtype)
        other = replace(self, given=w)
        made = {name: self.__dict__[name] for name in OF_HESSIAN if name in self.__dict__}
        other.__dict__.update(made)
        return other

    @property
    def shape(self) -> tuple[int, int]:
        """n_out and n_in."""
        return self.given.shape[0], self.given.shape[1]

    @property
    def storage(self) -> np.dtype:
        """The dtype in which the weights came."""
        return self.given.dtype

    @cached_property
    def weights(self) -> Array:
        """All weights in the working precision, (n_out, n_in); columns are contiguous."""
        return self.columns(0, self.shape[1]).T

    def columns(self, first: int, stop: int, rows: slice = slice(None)) -> Array:
        """Return some columns of some rows, (stop − first, rows), as rows; dead ones are 0."""
        given, order = self.given[rows], self.prepared.order[first:stop]
        columns = spaced((stop - first, len(given)), self.dtype)
        plain = not self.config.activation_order
        transpose(given, columns, slice(first, stop) if plain else order)  # [GPTQ-020]
        if self.profile.dead_columns is DeadColumns.ZEROED:
            columns[self.prepared.dead[order]] = 0.0  # [GPTQ-010]
        return columns

    @cached_property
    def rows(self) -> Array:
        """The factor U in the working precision: row j carries the error of column j."""
        if self.profile.propagation is Propagation.INVERSE_ROWS:
            return self._inverse_rows().astype(self.dtype)
        return self._inverse_factor(self.dtype)  # [GPTQ-060]

    @cached_property
    def unit(self) -> Array:
        """M = R / diag(R) in the working precision: row j carries w − ŵ of column j."""
        if self.profile.propagation is Propagation.INVERSE_ROWS:
            return unit_upper(self.factor, self.dtype)
        return unit_factor(  # [GPTQ-060]
            self.prepared,
            fraction=self.config.hessian_damping,
            profile=self.profile,
            dtype=self.dtype,
            workers=self.workers,
        )

    @cached_property
    def factor(self) -> NDArray[np.float64]:
        """Upper triangular inverse of the rows in float64: R."""
        if self.profile.propagation is Propagation.INVERSE_ROWS:
            return upper_inverse(self._inverse_rows())
        return factor_hessian(
            self.prepared, fraction=self.config.hessian_damping, profile=self.profile
        )

    def _inverse_factor(self, dtype: DTypeLike) -> Array:
        return inverse_factor(
            self.prepared,
            fraction=self.config.hessian_damping,
            profile=self.profile,
            dtype=dtype,
        )

    def _inverse_rows(self) -> NDArray[np.float64]:
        inverse = self._inverse_factor(np.float64)
        return np.triu(inverse.T @ inverse)

    @property
    def maxq(self) -> int:
        """Largest code, 2^bits − 1."""
        return int(2**self.config.weight_bits - 1)

    @property
    def hessian(self) -> NDArray[np.float64]:
        """The damped Hessian in processing order; where the profile mended it, as mended."""
        if self.profile.not_positive_definite is NotPositiveDefinite.ERROR:
            return self.prepared.permuted()
        return np.asarray(self.factor @ self.factor.T)

    def carry(self, compensated: Array) -> Array:
        """Return weights in the precision in which they carry their compensation.  [GPTQ-100]"""
        if self.profile.feedback_dtype is FeedbackDtype.STORAGE:
            return compensated.astype(self.storage).astype(compensated.dtype)
        return compensated  # [GPTQ-100]

    def parameters(self, base: Array, group: Group) -> tuple[Array, Array]:
        """Return scale (n_out,) float32 and zero-point (n_out,) uint8 of a group.  [GPTQ-030]

        `base`: base weights (n_out, columns) of the group, or the smallest and the largest alone.
        """
        return group_parameters(
            base,
            bits=self.config.weight_bits,
            symmetric=self.config.symmetric,
            per_channel=self.config.per_channel,
            padded=group.end - group.start < self.groups[0].end,
            profile=self.profile,
        )

    @property
    def column_group(self) -> NDArray[np.int32]:
        """Group of every column in processing order, (n_in,)."""
        lengths = [g.stop - g.first for g in self.groups]
        return np.repeat(np.arange(len(self.groups), dtype=np.int32), lengths)

    def group_index(self) -> Array:
        """Return the group index of every column in processing order, (n_in,).  [GPTQ-090]"""
        n_in, size = self.shape[1], self.config.group_size
        if self.profile.g_idx_dtype is GroupIndexDtype.FRACTIONAL:
            return (np.arange(n_in) / (n_in if size == -1 else size)).astype(np.float32)
        return self.column_group

    def result(self, codes: Array, scales: list[Array], zeros: list[Array]) -> GPTQResult:
        """Return the result with codes (n_out, n_in) and parameters; codes in original order."""
        order = self.prepared.order
        place = np.argsort(order)  # [GPTQ-080]: undo the permutation
        g_idx = self.group_index()  # [GPTQ-090]
        return GPTQResult(
            codes=codes,
            scale=np.stack(scales, axis=1),
            zero_point=np.stack(zeros, axis=1),
            g_idx=g_idx[place],
            order=order,
            config=self.config,
            profile=self.profile,
            dtype=self.dtype.name,
        )


def prepare_problem(
    weights: ArrayLike,
    hessian: ArrayLike,
    config: GPTQConfig,
    *,
    profile: Profile = DEFAULT_PROFILE,
    dtype: DTypeLike = np.float64,
    workers: int = 1,
) -> GPTQProblem:
    """Check everything, then mend and order.  [GPTQ-110]

    Arguments and errors are those of `quantref.gptq_quantize`; a Hessian without a factor is
    found when `rows`, `unit` or `factor` is first asked for.
    """
    if not isinstance(config, GPTQConfig):
        raise ConfigError("config to be a GPTQConfig", f"{config!r}", "GPTQ-110")
    if not isinstance(profile, Profile):
        raise ConfigError("profile to be a Profile", f"{profile!r}", "GPTQ-130")
    try:
        working = np.dtype(dtype)
    except TypeError:
        raise DTypeError("dtype float32 or float64", f"{dtype!r}", "GPTQ-100") from None
    if working not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise DTypeError("dtype float32 or float64", working.name, "GPTQ-100")
    w = require_weights(weights, "GPTQ-110")
    h = require_hessian(hessian, "GPTQ-110", w.shape[1], copy=False, workers=workers)
    groups = group_layout(w.shape[1], config.group_size, profile)
    prepared = prepared_hessian(
        h,
        damping=config.hessian_damping,
        activation_order=config.activation_order,
        profile=profile,
    )
    _require_representable(w, working)
    return GPTQProblem(w, groups, prepared, config, profile, working, workers)


def _require_representable(w: Array, working: np.dtype) -> None:
    """Refuse weights beyond the range of the working precision.  [GPTQ-110]"""
    if w.dtype.itemsize <= working.itemsize:
        return
    largest = max(float(np.abs(w[tile]).max()) for tile in tiles(w.shape))
    if largest > float(np.finfo(working).max):
        expected = f"weights <= {float(np.finfo(working).max):.6g} ({working.name})"
        raise OverflowRangeError(expected, f"{largest:.6g}", "GPTQ-110")


def restrict_rows(result: GPTQResult, rows: slice) -> GPTQResult:
    """Return the result for some rows; rows are independent given the Hessian.

    Examples
    --------
    >>> from quantref import GPTQConfig, gptq_quantize
    >>> config = GPTQConfig(None, None, group_size=-1)
    >>> result = gptq_quantize(np.eye(4, dtype=np.float32), np.eye(4), config)
    >>> restrict_rows(result, slice(0, 2)).codes.shape
    (2, 4)
    """
    return replace(
        result,
        codes=result.codes[rows],
        scale=result.scale[rows],
        zero_point=result.zero_point[rows],
    )
