"""Keras 3.16: kernels are stored (n_in, n_out), packed along the outputs, the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np

from quantcheck.targets.keras.config import Outputs
from quantcheck.targets.keras.releases.line import Array, Line
from quantcheck.targets.keras.tensors import to_numpy


class Keras316(Line):
    """`GPTQCalibrator` observes and quantizes, `calibration_run.gptq_quantize` calibrates."""

    calibration_order = "stages"

    def hessian(self, layer: Any, batches: Sequence[Any]) -> Any:
        """`GPTQCalibrator(layer, config).observe(batch)`, batch by batch."""
        import keras
        from keras.src.quantizers.gptq import GPTQCalibrator

        calibrator = GPTQCalibrator(layer, keras.quantizers.GPTQConfig(None, None))
        for batch in batches:
            calibrator.observe(batch)
        return calibrator.hessian

    def solve(self, layer: Any, config: Any, hessian: Any, block_size: int) -> None:
        """`GPTQCalibrator.quantize`, its solver called with `blocksize`."""
        import keras
        from keras.src.quantizers import gptq

        calibrator = gptq.GPTQCalibrator(layer, config)
        calibrator.hessian = keras.ops.cast(hessian, calibrator.hessian.dtype)
        # Nothing hands the argument through: the calibrator takes blocks of 128 columns.
        solver = partial(gptq.gptq_quantize_matrix, blocksize=block_size)
        with patch.object(gptq, "gptq_quantize_matrix", solver):
            calibrator.quantize()

    def stored(self, layer: Any, bits: int) -> Outputs:
        """Read the variables, and turn them; Keras unpacks 2 and 4 bits."""
        from keras.src.quantizers.modes.calibration import GPTQStrategy

        columns = layer.kernel_scale.shape[1]
        layout = GPTQStrategy._get_pack_layout(bits, columns)  # noqa: SLF001 - no public name
        codes = to_numpy(layout.unpack(layer.quantized_kernel))
        return {
            "codes": np.ascontiguousarray(codes.T),
            "scale": to_numpy(layer.kernel_scale).T.copy(),
            "zero_point": to_numpy(layer.kernel_zero).T.copy(),
            "g_idx": _as_read(to_numpy(layer.g_idx)),
        }

    def calibrated(self, layer: Any) -> bool:
        """`calibration_pending` is the opposite."""
        return not layer.calibration_pending

    def store(self, layer: Any, given: dict[str, Array]) -> None:
        """Assign as `CalibrationStrategy.write_back` does."""
        if hasattr(layer, "_kernel"):
            del layer._kernel  # noqa: SLF001 - as Keras does
        layer.quantized_kernel.assign(given["packed"].T)  # packed along n_out, both
        layer.kernel_scale.assign(given["scale"].T)
        layer.kernel_zero.assign(given["zero_point"].T)
        layer.g_idx.assign(given["g_idx"].astype("float32"))
        layer.calibration_pending = False

    def calibrate(self, config: Any, before: list[Any], blocks: list[Any]) -> None:
        """`calibration_run.gptq_quantize`."""
        from keras.src.quantizers.calibration_run import gptq_quantize

        gptq_quantize(config, {"pre_block_layers": before, "sequential_blocks": blocks})


def _as_read(g_idx: Array) -> Array:
    """Return the group index as what reads it casts it, int32; unchanged if that loses fractions.

    The variable is float32 because TensorFlow keeps no int32 variable on a GPU.
    """
    whole = g_idx.astype(np.int32)
    return whole if (whole == g_idx).all() else g_idx
