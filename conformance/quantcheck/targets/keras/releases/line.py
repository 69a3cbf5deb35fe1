"""What the target needs of a line of releases, and what all lines have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from quantcheck.targets.keras.config import Outputs, Parameters, build

Array = NDArray[Any]


class Line(ABC):
    """One line of releases.

    Arrays that a line takes and gives have the shapes of SPEC.md: codes and packed kernels have
    rows of outputs, scales and zero-points shape (n_out, n_groups). How a layer stores them is the
    line's own affair.
    """

    calibration_order = "block"

    def affine_parameters(self, weights: Any, parameters: Parameters) -> tuple[Any, Any]:
        """Return scales and zero-points, as GPTQ asks for them, of a tensor (n_out, n_in)."""
        from keras.src.quantizers.quantizers import compute_quantization_parameters

        scale, zero, _ = compute_quantization_parameters(
            weights, **{name: parameters[name] for name in AFFINE}
        )
        return scale, zero

    @abstractmethod
    def hessian(self, layer: Any, batches: Sequence[Any]) -> Any:
        """Return the Hessian of a layer after some batches of inputs."""

    @abstractmethod
    def solve(self, layer: Any, config: Any, hessian: Any, block_size: int) -> None:
        """Quantize a layer that is in GPTQ mode, with this Hessian."""

    @abstractmethod
    def stored(self, layer: Any, bits: int) -> Outputs:
        """Return codes, scale, zero_point and g_idx of a calibrated layer."""

    def calibrated(self, layer: Any) -> bool:
        """Tell whether a layer in GPTQ mode has codes of its own."""
        return bool(layer.is_gptq_calibrated)

    @abstractmethod
    def store(self, layer: Any, given: dict[str, Array]) -> None:
        """Assign packed, scale, zero_point and g_idx to a layer in GPTQ mode."""

    @abstractmethod
    def calibrate(self, config: Any, before: list[Any], blocks: list[Any]) -> None:
        """Calibrate blocks with what the layers before them make of the windows."""

    def structured(
        self, model: Any, fields: dict[str, Any], before: list[Any], blocks: list[Any]
    ) -> Any:
        """Return the config that makes `model.quantize` calibrate these blocks."""
        import keras

        structure = {"pre_block_layers": before, "sequential_blocks": blocks}
        return keras.quantizers.GPTQConfig(**fields, quantization_layer_structure=structure)

    def require_quantizer(  # noqa: B027 - most lines have them all
        self, arguments: dict[str, Any], call_axis: Any
    ) -> None:
        """Raise Unsupported where AbsMaxQuantizer lacks these arguments, or those of its call."""

    def require_arguments(self, keywords: dict[str, Any]) -> None:  # noqa: B027 - as above
        """Raise Unsupported where `layer.quantize` cannot be called with these arguments."""

    def require_saved_config(self, config: Any) -> None:  # noqa: B027 - as above
        """Raise Unsupported where a config cannot be serialized, or a layer keeps none."""

    def config_of(self, description: Any) -> Any:
        """Make a config from its description."""
        return build(description)


AFFINE = ("bits", "symmetric", "per_channel", "group_size")
