"""What a GPTQ layer of Keras stores, by line of releases.

Up to Keras 3.15 a kernel is stored (n_out, n_in), and only 4-bit codes are packed. From 3.16 on it
is stored (n_in, n_out), and codes of 2 and 4 bits are packed. Both pack along the outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quantref.errors import ModelError
from quantref.fast.packing import pack_codes, unpack_codes
from quantref.geometry import Geometry
from quantref.inputs import Array
from quantref.keras.layers import to_numpy
from quantref.models.answer import Answer


def is_calibrated(layer: Any) -> bool:
    """Tell whether a layer in GPTQ mode has codes; until then it computes with its float kernel.

    Keras says so by `is_gptq_calibrated` up to 3.15, and by the opposite, `calibration_pending`,
    from 3.16 on.
    """
    pending = getattr(layer, "calibration_pending", None)
    return bool(getattr(layer, "is_gptq_calibrated", False)) if pending is None else not pending


def mark_calibrated(layer: Any) -> None:
    """Tell a layer that its codes are there."""
    if _turned(layer):
        layer.calibration_pending = False
    else:
        layer.is_gptq_calibrated = True


def answer_of(layer: Any, name: str, geometry: Geometry, bits: int) -> Answer:
    """Return what a GPTQ layer stores, with rows of outputs.

    Raises
    ------
    ModelError
        The codes have other rows and columns than the equation says.
    """
    kernel, scale, zero = (
        to_numpy(getattr(layer, n)) for n in ("quantized_kernel", "kernel_scale", "kernel_zero")
    )
    if _turned(layer):
        kernel, scale, zero = kernel.T, scale.T, zero.T
    packed = kernel.shape[0] != geometry.n_out or bits in _packed_bits(layer)
    codes = unpack_codes(kernel, bits, geometry.n_out, axis=0) if packed else kernel
    if codes.shape != (geometry.n_out, geometry.n_in):
        expected = f"codes {(geometry.n_out, geometry.n_in)} in layer {name}, by its equation"
        raise ModelError(expected, f"{codes.shape}", "LAY-110")
    return Answer(
        np.ascontiguousarray(codes.astype(np.uint8)),
        np.ascontiguousarray(scale.astype(np.float32)),
        np.ascontiguousarray(zero.astype(np.uint8)),
        to_numpy(layer.g_idx).astype(np.int32),  # Keras truncates fractions when it reads g_idx
    )


def store(layer: Any, name: str, answer: Any, bits: int) -> None:
    """Put codes into a layer in GPTQ mode, as Keras's own calibration does.

    Raises
    ------
    ModelError
        Keras has other rows and columns for the kernel than the equation says.
    """
    kernel = answer.codes
    if bits in _packed_bits(layer):
        kernel = pack_codes(kernel, bits, axis=0)
    arrays: dict[str, Array] = {
        "quantized_kernel": kernel,
        "kernel_scale": answer.scale,
        "kernel_zero": answer.zero_point,
    }
    if _turned(layer):
        arrays = {key: array.T for key, array in arrays.items()}
    arrays["g_idx"] = answer.g_idx.astype(np.float32)
    for key, array in arrays.items():
        room = tuple(getattr(layer, key).shape)
        if room != array.shape:
            expected = f"room for {key} {array.shape} in layer {name}"
            raise ModelError(expected, f"{room}, by Keras", "LAY-110")
    del layer._kernel  # noqa: SLF001 - as Keras does
    for key, array in arrays.items():
        getattr(layer, key).assign(array)
    mark_calibrated(layer)


def _turned(layer: Any) -> bool:
    """Tell whether kernels are stored (n_in, n_out)."""
    return hasattr(layer, "calibration_pending")


def _packed_bits(layer: Any) -> tuple[int, ...]:
    return (2, 4) if _turned(layer) else (4,)
