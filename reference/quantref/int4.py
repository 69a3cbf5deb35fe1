"""The four-bit mode of Keras: kernels in groups with zero-points (SPEC.md, section 13).

A kernel is (n_in, n_out), as Keras stores it, and groups go down its rows. Per channel, the mode is
`abs_max_quantize` with the value range (−8, 7).
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.config import EPSILON, QuantizationConfig, Quantizer, deserialize_quantizer
from quantref.inputs import (
    require_arguments,
    require_block_size,
    require_count,
    require_default,
    require_finite_float32,
    require_float32_scale,
    require_four_bits,
    require_grouped_codes,
    require_kernel,
    require_levels,
    require_no_quantizers,
    require_range_epsilon,
)


class Int4QuantizationConfig(QuantizationConfig):
    """Weights as int4, in groups or per channel.

    Parameters
    ----------
    weight_quantizer : Quantizer of value range (−8, 7) and output dtype int8, or None
    activation_quantizer : Quantizer, None or "default"
        "default" and None leave activations in floating point.
    block_size : int >= 1, −1 or None
        Rows of a group; a config of groups has no quantizers. −1 and None: per channel.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> config = Int4QuantizationConfig()
    >>> config.mode, config.activation_quantizer, config.block_size
    ('int4', None, 128)
    """

    def __init__(
        self,
        weight_quantizer: Quantizer | None = None,
        activation_quantizer: Quantizer | str | None = "default",
        block_size: int | None = 128,
    ) -> None:
        if isinstance(activation_quantizer, str):
            require_default(activation_quantizer, "activation_quantizer", "CFG-050")
            activation_quantizer = None  # [FOUR-180]
        super().__init__(weight_quantizer, activation_quantizer)
        self.block_size = require_block_size(block_size)  # [FOUR-140] [FOUR-150]
        if self.block_size not in (None, -1):
            require_no_quantizers(self.block_size, **super().get_config())  # [FOUR-160]
        if weight_quantizer is not None:
            require_four_bits(weight_quantizer, "weight_quantizer")  # [FOUR-170]

    @property
    def mode(self) -> str:
        """The string "int4"."""
        return "int4"

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {**super().get_config(), "block_size": self.block_size}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the object that `get_config` described; without a block size it is per channel."""
        require_arguments(cls, config)
        return cls(
            deserialize_quantizer(config.get("weight_quantizer")),
            deserialize_quantizer(config.get("activation_quantizer")),
            config.get("block_size"),
        )


class GroupedCodes(NamedTuple):
    """Codes of a kernel in groups.

    Attributes
    ----------
    codes : (n_in, n_out) integer array
    scale : (n_groups, n_out) float32 array
    zero_point : (n_groups, n_out) int8 array
    """

    codes: NDArray[np.integer]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int8]


def grouped_quantize(
    weights: ArrayLike,
    block_size: int,
    value_range: tuple[int, int] = (-8, 7),
    dtype: str = "int8",
    epsilon: float = EPSILON,
) -> GroupedCodes:
    """Quantize a kernel in groups of rows, each with a scale and a zero-point for each column.

    Parameters
    ----------
    weights : (n_in, n_out) float array, finite, not empty
    block_size : int >= 1
        Rows of a group; the last group may have fewer.
    value_range : (lo, hi), the smallest and the largest code, −128 <= lo < hi <= 127
    dtype : str
        Integer dtype of the codes.
    epsilon : float > 0
        Added to the length of every range.

    Returns
    -------
    codes, scale, zero_point : GroupedCodes

    Raises
    ------
    DTypeError, NonFiniteError, EmptyArrayError, ShapeError, ValueRangeError, ConfigError,
    OverflowRangeError

    Examples
    --------
    >>> made = grouped_quantize(np.float32([[-1.0], [0.5], [2.0]]), block_size=3)
    >>> made.codes.T, made.scale, made.zero_point
    (array([[-8, -1,  7]], dtype=int8), array([[0.2]], dtype=float32), array([[-3]], dtype=int8))
    """
    # BAD INPUT  [FOUR-120]
    w = require_kernel(weights).astype(np.float64)
    size = require_count(block_size, "block_size", "FOUR-120")
    lo, hi, dtype = require_levels(value_range, dtype)
    epsilon = require_range_epsilon(epsilon, hi - lo)

    # RANGE
    starts = np.arange(0, len(w), size)  # [FOUR-010]
    least = np.minimum(np.minimum.reduceat(w, starts), 0)  # [FOUR-020]
    most = np.maximum(np.maximum.reduceat(w, starts), 0)  # [FOUR-020]

    # SCALE
    with np.errstate(over="ignore"):
        scale = ((most - least + epsilon) / (hi - lo)).astype(np.float32)  # [FOUR-030] [FOUR-070]
    require_float32_scale(scale, most - least, hi - lo)
    s = scale.astype(np.float64)

    # ZERO-POINT
    zero_point = np.clip(np.rint(-least / s) + lo, lo, hi)  # [FOUR-040] [FOUR-060]

    # CODE
    group = np.arange(len(w)) // size  # (n_in,)
    codes = np.clip(np.rint(w / s[group]) + zero_point[group], lo, hi)  # [FOUR-050] [FOUR-060]
    return GroupedCodes(codes.astype(dtype), scale, zero_point.astype(np.int8))


def grouped_dequantize(
    codes: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, g_idx: ArrayLike
) -> NDArray[np.float32]:
    """Return scale · (codes − zero_point) of the group of each row, in float32.  [FOUR-080]

    Parameters
    ----------
    codes : (n_in, n_out) integer array
    scale : (n_groups, n_out) float array, positive
    zero_point : (n_groups, n_out) integer array
    g_idx : (n_in,) integer array, the group of each row

    Returns
    -------
    weights : (n_in, n_out) float32 array

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError, CodeRangeError, OverflowRangeError

    Examples
    --------
    >>> scale, zero_point = np.float32([[0.2]]), np.int8([[-3]])
    >>> grouped_dequantize(np.int8([[-8], [7]]), scale, zero_point, np.int32([0, 0]))
    array([[-1.],
           [ 2.]], dtype=float32)
    """
    # BAD INPUT  [FOUR-120]
    q, s, z, g = require_grouped_codes(codes, scale, zero_point, g_idx)

    # BACK
    wide = np.int64 if max(q.itemsize, z.itemsize) < 8 else object  # q − z is exact
    steps = (q.astype(wide) - z.astype(wide)[g]).astype(np.float64)  # [FOUR-090]
    return require_finite_float32(s.astype(np.float64)[g] * steps)  # [FOUR-080] [FOUR-100]
