"""A problem of GPTQ, fast: each of its matrices is computed when it is first used, and kept.

`quantref.gptq.prepare_problem` is the plain form.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from quantref.affine import group_layout
from quantref.config import GPTQConfig
from quantref.errors import ShapeError
from quantref.fast.factor import factor_hessian, inverse_factor, unit_factor, unit_upper
from quantref.fast.hessian import permuted, require_hessian
from quantref.fast.memory import spaced, transpose
from quantref.gptq import BLOCK_SIZE, Settings, require_settings
from quantref.hessian import prepared_of, upper_inverse
from quantref.inputs import Array, require_representable, require_weights
from quantref.rules import DEFAULT_PROFILE, Profile, rows_of_cholesky

OF_HESSIAN = ("R", "U", "M")  # matrices that do not depend on the weights


@dataclass(frozen=True)
class GPTQProblem(Settings):
    """A checked problem, columns in processing order; its matrices are computed when used."""

    given: Array  # the weights as they were given, (n_out, n_in), in the original order
    workers: int = 1  # threads that compute `M`

    def with_weights(self, weights: ArrayLike) -> GPTQProblem:
        """Return the problem of other weights (n_out, n_in) with this Hessian and its factors."""
        w = require_weights(weights, "GPTQ-110")
        if w.shape[1] != self.shape[1]:
            raise ShapeError(f"weights of {self.shape[1]} columns", f"{w.shape}", "GPTQ-110")
        require_representable(w, self.dtype)
        shape = (w.shape[0], w.shape[1])
        other = replace(self, given=w, shape=shape, storage=w.dtype)
        made = {name: self.__dict__[name] for name in OF_HESSIAN if name in self.__dict__}
        other.__dict__.update(made)
        return other

    @cached_property
    def weights(self) -> Array:
        """W in the working precision, (n_out, n_in); columns are contiguous."""
        return self.columns(0, self.shape[1]).T

    def columns(self, first: int, stop: int, rows: slice | Array = slice(None)) -> Array:
        """Return columns first … stop − 1 of W for some rows, transposed: (columns, rows)."""
        given, order = self.given[rows], self.prepared.order[first:stop]
        columns = spaced((stop - first, len(given)), self.dtype)
        plain = not self.config.activation_order
        transpose(given, columns, slice(first, stop) if plain else order)  # [GPTQ-020]
        dead = self.prepared.dead[order]
        if dead.any():
            columns[dead] = self.profile.dead(columns[dead], dead[dead, None])  # [GPTQ-010]
        return columns

    @cached_property
    def R(self) -> NDArray[np.float64]:
        """U⁻¹ in float64, upper triangular."""
        if self.profile.rows is rows_of_cholesky:
            return factor_hessian(self.prepared, self.config.hessian_damping)
        return upper_inverse(self._other_rows())

    @cached_property
    def U(self) -> Array:
        """U in the working precision: row j carries the error of column j."""
        if self.profile.rows is rows_of_cholesky:
            return inverse_factor(self.prepared, self.config.hessian_damping, self.dtype)
        return self._other_rows().astype(self.dtype)

    @cached_property
    def M(self) -> Array:
        """R / diag(R) in the working precision: row j carries w − ŵ of column j."""
        if self.profile.rows is rows_of_cholesky and "R" not in vars(self):
            damping = self.config.hessian_damping
            return unit_factor(self.prepared, damping, self.dtype, self.workers)  # [GPTQ-060]
        return unit_upper(self.R, self.dtype, self.workers)

    def _other_rows(self) -> NDArray[np.float64]:
        """Return the rows that a profile uses instead of those of U."""
        return np.asarray(self.profile.rows(self.cholesky_rows))

    @cached_property
    def cholesky_rows(self) -> NDArray[np.float64]:
        """The rows of the inverse's Cholesky factor in float64, which other rows are made of."""
        U = inverse_factor(self.prepared, self.config.hessian_damping, np.float64)
        return np.asarray(U)

    @property
    def hessian(self) -> NDArray[np.float64]:
        """The damped Hessian in processing order."""
        return permuted(self.prepared)


def prepare_problem(
    weights: ArrayLike,
    hessian: ArrayLike,
    config: GPTQConfig,
    *,
    profile: Profile = DEFAULT_PROFILE,
    dtype: DTypeLike = np.float64,
    block_size: int = BLOCK_SIZE,
    workers: int = 1,
) -> GPTQProblem:
    """Check all arguments; see `quantref.gptq.prepare_problem`.

    A Hessian without a factor is refused when `R`, `U` or `M` is first used.
    """
    working = require_settings(config, profile, dtype, block_size)
    w = require_weights(weights, "GPTQ-110")
    H = require_hessian(hessian, "GPTQ-110", w.shape[1], workers=workers)
    groups = group_layout(w.shape[1], config.group_size, profile, block_size)
    prepared = prepared_of(H, config.hessian_damping, config.activation_order, profile)
    require_representable(w, working)
    shape = (w.shape[0], w.shape[1])
    settings = (shape, groups, prepared, config, profile, working, w.dtype, block_size)
    return GPTQProblem(*settings, w, workers)
