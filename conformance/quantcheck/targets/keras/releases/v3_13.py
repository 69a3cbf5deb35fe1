"""Keras 3.13 to 3.15: kernels are stored (n_out, n_in), 4-bit codes packed along the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantcheck.targets.keras.config import Outputs, Parameters
from quantcheck.targets.keras.releases.line import AFFINE, Array, Line
from quantcheck.targets.keras.tensors import to_numpy


class Keras313(Line):
    """`gptq.GPTQ` solves, `gptq_core.gptq_quantize` calibrates, and kernels are transposed."""

    def affine_parameters(self, weights: Any, parameters: Parameters) -> tuple[Any, Any]:
        """Up to 3.13, the function needs `weight=True`, and gives a column for all groups."""
        import keras
        from keras.src.quantizers import quantizers

        compute = quantizers.compute_quantization_parameters
        if "weight" not in compute.__kwdefaults__:
            return super().affine_parameters(weights, parameters)
        scale, zero, _ = compute(
            weights, **{name: parameters[name] for name in AFFINE}, weight=True
        )
        if not parameters["per_channel"]:
            return scale, zero
        rows = weights.shape[0]  # groups of a row are neighbours in the column
        return keras.ops.reshape(scale, (rows, -1)), keras.ops.reshape(zero, (rows, -1))

    def hessian(self, layer: Any, batches: Sequence[Any]) -> Any:
        """`GPTQ(layer).update_hessian_with_batch(batch)`, batch by batch."""
        from keras.src.quantizers.gptq import GPTQ

        gptq = GPTQ(layer)
        for batch in batches:
            gptq.update_hessian_with_batch(batch)
        return gptq.hessian

    def solve(self, layer: Any, config: Any, hessian: Any, block_size: int) -> None:
        """`GPTQ.quantize_and_correct_layer`."""
        import keras
        from keras.src.quantizers.gptq import GPTQ

        gptq = GPTQ(layer, config)
        gptq.hessian = keras.ops.cast(hessian, gptq.hessian.dtype)
        gptq.quantize_and_correct_layer(blocksize=block_size)

    def stored(self, layer: Any, bits: int) -> Outputs:
        """Read the variables; only 4-bit codes are packed, two rows in one."""
        codes = to_numpy(layer.quantized_kernel)  # (n_out, n_in), or (ceil(n_out / 2), n_in)
        if bits == 4:
            pairs = np.stack([codes & 0x0F, codes >> 4], axis=1)  # (ceil(n_out / 2), 2, n_in)
            codes = pairs.reshape(-1, codes.shape[1])[: layer.kernel_scale.shape[0]]
        return {
            "codes": codes,
            "scale": to_numpy(layer.kernel_scale),
            "zero_point": to_numpy(layer.kernel_zero),
            "g_idx": to_numpy(layer.g_idx),
        }

    def store(self, layer: Any, given: dict[str, Array]) -> None:
        """Assign as `quantize_and_correct_layer` does."""
        if hasattr(layer, "_kernel"):
            del layer._kernel  # noqa: SLF001 - as Keras does
        layer.quantized_kernel.assign(given["packed"])
        layer.kernel_scale.assign(given["scale"])
        layer.kernel_zero.assign(given["zero_point"])
        layer.g_idx.assign(given["g_idx"].astype("float32"))
        layer.is_gptq_calibrated = True

    def calibrate(self, config: Any, before: list[Any], blocks: list[Any]) -> None:
        """`gptq_core.gptq_quantize`."""
        from keras.src.quantizers.gptq_core import gptq_quantize

        gptq_quantize(config, {"pre_block_layers": before, "sequential_blocks": blocks})
