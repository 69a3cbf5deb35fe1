"""Keras 3.12: no configs of int8, and blocks are found in the model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from quantcheck.targets.keras.config import Unsupported
from quantcheck.targets.keras.releases.v3_13 import Keras313


class Keras312(Keras313):
    """Like 3.13, but a model is taken apart as those of KerasHub are: by its `backbone`."""

    def calibrate(self, config: Any, before: list[Any], blocks: list[Any]) -> None:
        """`gptq_core.gptq_quantize` of something with a backbone."""
        from keras.src.quantizers.gptq_core import gptq_quantize

        gptq_quantize(SimpleNamespace(backbone=_backbone(before, blocks)), config)

    def structured(
        self, model: Any, fields: dict[str, Any], before: list[Any], blocks: list[Any]
    ) -> Any:
        """Give the model a backbone; the config knows no blocks."""
        import keras

        model.backbone = _backbone(before, blocks)
        return keras.quantizers.GPTQConfig(**fields)

    def require_quantizer(self, arguments: dict[str, Any], call_axis: Any) -> None:
        """Raise Unsupported: an AbsMaxQuantizer has axes of its own, and its call has none."""
        if arguments.get("axis") is None or call_axis is not None:
            raise Unsupported("AbsMaxQuantizer of Keras 3.12 has axes of its own, and no others")

    def require_arguments(self, keywords: dict[str, Any]) -> None:
        """Raise Unsupported: the mode has to be given, also where a config has it."""
        if "mode" not in keywords:
            raise Unsupported("Keras 3.12 takes the mode from the call, not from a config")

    def require_saved_config(self, config: Any) -> None:
        """Raise Unsupported: a GPTQConfig has no `get_config`, and layers keep no config."""
        if not hasattr(config, "get_config"):
            raise Unsupported("Keras 3.12 saves no config of a quantization")

    def config_of(self, description: Any) -> Any:
        """Return None for the default of int8; there are no others."""
        if description == {"class": "Int8QuantizationConfig", "arguments": {}}:
            return None
        return super().config_of(description)


def _backbone(before: list[Any], blocks: list[Any]) -> SimpleNamespace:
    def embedded(tokens: Any) -> Any:
        for layer in before:
            tokens = layer(tokens)
        return tokens

    return SimpleNamespace(token_embedding=embedded, transformer_layers=blocks)
