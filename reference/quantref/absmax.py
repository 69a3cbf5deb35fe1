"""AbsMax quantization: one multiplier per slice, codes half to even (SPEC.md, section 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantref.config import EPSILON, Quantizer
from quantref.inputs import (
    Axis,
    normalize_axis_argument,
    require_absmax,
    require_absmax_codes,
    require_epsilon,
    require_float,
    require_normal_scale,
    require_value_range,
)

CodesAndScale = tuple[NDArray[np.integer], NDArray[np.floating]]


def abs_max_quantize(
    inputs: ArrayLike,
    axis: Axis,
    value_range: tuple[int, int] = (-127, 127),
    dtype: str = "int8",
    epsilon: float = EPSILON,
) -> CodesAndScale:
    """Quantize with scale = hi / (max|x| + epsilon), a multiplier (SPEC.md, section 4).

    Parameters
    ----------
    inputs : (...) float array, finite, not empty
    axis : int, tuple of int, or None
        Axes over which the maximum is taken; None: all of them.
    value_range : (lo, hi), the smallest and the largest code, lo <= 0 < hi
    dtype : str
        Integer dtype of the codes.
    epsilon : float > 0
        Keeps the scale of an all-zero slice finite.

    Returns
    -------
    codes : (...) array of `dtype`
    scale : float32 array, float64 for float64 inputs; reduced axes are kept with length 1

    Raises
    ------
    DTypeError, NonFiniteError, EmptyArrayError, AxisError, ValueRangeError, ConfigError,
    OverflowRangeError

    Examples
    --------
    >>> abs_max_quantize(np.float32([[0.5, -2.0, 1.0]]), axis=-1)
    (array([[  32, -127,   63]], dtype=int8), array([[63.499996]], dtype=float32))
    """
    # BAD INPUT  [ABS-100]
    x, axes, (lo, hi), dtype, epsilon = require_absmax(inputs, axis, value_range, dtype, epsilon)
    x = require_float(x, "inputs", "ABS-100")

    # SCALE
    wide = np.float64 if x.dtype == np.float64 else np.float32  # [ABS-130]
    x = x.astype(np.float64)  # [ABS-060]
    largest = np.abs(x).max(axis=axes, keepdims=True)  # [ABS-050] [ABS-120]
    with np.errstate(under="ignore"):  # a scale or a product near 0
        scale: NDArray[np.floating] = np.asarray(hi / (largest + epsilon), dtype=wide)  # [ABS-010]
        require_normal_scale(scale, largest.max(), hi)

        # CODE
        rounded = np.rint(x * scale)  # [ABS-030]: products of 32-bit factors are exact
    codes = np.asarray(np.clip(rounded, lo, hi), dtype=dtype)  # [ABS-040] [ABS-070]
    return codes, scale


def abs_max_dequantize(codes: ArrayLike, scale: ArrayLike) -> NDArray[np.floating]:
    """Return codes / scale in the dtype of the scale.  [ABS-080]

    Parameters
    ----------
    codes : (...) integer array
    scale : array that broadcasts to the shape of the codes; float32 or float64, positive

    Returns
    -------
    values : (...) array of the dtype of `scale`

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError

    Examples
    --------
    >>> abs_max_dequantize(np.int8([-127, 64]), np.float32([63.5]))
    array([-2.      ,  1.007874], dtype=float32)
    """
    # BAD INPUT  [ABS-110]
    q, s = require_absmax_codes(codes, scale)

    # BACK
    return np.asarray(q.astype(np.float64) / s.astype(np.float64), dtype=s.dtype)  # [ABS-080]


class AbsMaxQuantizer(Quantizer):
    """Callable form of `abs_max_quantize`, with the documented arguments.

    Parameters
    ----------
    axis : int, tuple of int, or None
        Stored as a tuple; used where a call names no axis.
    value_range, epsilon, output_dtype
        As `value_range`, `epsilon` and `dtype` of `abs_max_quantize`.

    Examples
    --------
    >>> quantizer = AbsMaxQuantizer(axis=0)
    >>> codes, scale = quantizer(np.float32([[1.0, 8.0], [-2.0, 4.0]]))
    >>> codes
    array([[  63,  127],
           [-127,   64]], dtype=int8)
    """

    quantize: ClassVar[Callable[..., CodesAndScale]] = staticmethod(abs_max_quantize)

    def __init__(
        self,
        axis: Axis = None,
        value_range: tuple[int, int] = (-127, 127),
        epsilon: float = EPSILON,
        output_dtype: str = "int8",
    ) -> None:
        super().__init__(output_dtype)  # values are stored as given: [CFG-100] [CFG-120]
        self.axis = normalize_axis_argument(axis, "CFG-150")  # [CFG-140]
        self.value_range = require_value_range(value_range, self.output_dtype, "CFG-110")
        self.epsilon = require_epsilon(epsilon, self.value_range[1], "CFG-130")

    def __call__(self, x: ArrayLike, axis: Axis = None) -> CodesAndScale:
        """Return codes and scale along the axis of the call, the stored axis, or axis −1."""
        if axis is None:
            axis = -1 if self.axis is None else self.axis  # [CFG-150]
        return self.quantize(x, axis, self.value_range, self.output_dtype, self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {
            "axis": None if self.axis is None else list(self.axis),
            "value_range": list(self.value_range),
            "epsilon": self.epsilon,
            "output_dtype": self.output_dtype,
        }
