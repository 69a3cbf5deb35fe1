"""Where a layer of a question stands: alone, in a model, in a block, in a block of a layer."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from quantcheck.targets.keras.config import Parameters
from quantcheck.targets.keras.tensors import to_numpy
from quantcheck.wire.policies import ALONE, CALLED_TWICE, IN_BLOCK, IN_LAYER, place_of

PACKAGE = "quantcheck"


def holder_class() -> Any:
    """Return the class of layers that hold a block, registered so that a file can name it."""
    import keras

    found = keras.saving.get_registered_object(f"{PACKAGE}>Holder")
    if found is not None:
        return found

    class Holder(keras.layers.Layer):  # type: ignore[misc]
        """A layer whose call is that of a block."""

        def __init__(self, block: Any, **keywords: Any) -> None:
            super().__init__(**keywords)
            self.block = block

        def call(self, inputs: Any) -> Any:
            """Call the block."""
            return self.block(inputs)

        def get_config(self) -> dict[str, Any]:
            """Return the config, with the block serialized."""
            block = keras.saving.serialize_keras_object(self.block)
            return {**super().get_config(), "block": block}

        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            """Make the layer from its config."""
            block = keras.saving.deserialize_keras_object(config.pop("block"))
            return cls(block, **config)

    return keras.saving.register_keras_serializable(PACKAGE)(Holder)


def shaped_class() -> Any:
    """Return the class of layers that give each token's row the axes of a layer's inputs."""
    import keras

    found = keras.saving.get_registered_object(f"{PACKAGE}>Shaped")
    if found is not None:
        return found

    class Shaped(keras.layers.Layer):  # type: ignore[misc]
        """Turns (batch, tokens, n) into (batch · tokens, *shape)."""

        def __init__(self, shape: Any, **keywords: Any) -> None:
            super().__init__(**keywords)
            self.shape = tuple(shape)

        def call(self, inputs: Any) -> Any:
            """Reshape."""
            return keras.ops.reshape(inputs, (-1, *self.shape))

        def get_config(self) -> dict[str, Any]:
            """Return the config, with the shape."""
            return {**super().get_config(), "shape": list(self.shape)}

    return keras.saving.register_keras_serializable(PACKAGE)(Shaped)


def model_of(layer: Any, inputs: NDArray[Any], keywords: Any, place: str = ALONE) -> Any:
    """Return a model of a layer in its place; alone, it is the model's only layer.

    The model of a layer that is called twice has both results.
    """
    import keras

    shape = {"batch_shape": inputs.shape, "dtype": str(inputs.dtype)}
    start = keras.Input(**shape)
    if place in (IN_BLOCK, IN_LAYER):
        inner = keras.Input(**shape)
        block = keras.Model(inner, layer(inner, **keywords))
        held = block if place == IN_BLOCK else holder_class()(block)
        return keras.Model(start, held(start))
    end = layer(start, **keywords)
    return keras.Model(start, [end, layer(start, **keywords)] if place == CALLED_TWICE else end)


def placed(layer: Any, inputs: NDArray[Any], parameters: Parameters, keywords: Any) -> Any:
    """Return the model that a question puts a layer in; None if the layer is alone."""
    place = place_of(parameters)
    return None if place == ALONE else model_of(layer, inputs, keywords, place)


def layer_of(model: Any) -> Any:
    """Return the quantized layer of a model of one layer, or of a copy of it."""
    layers = [each for each in model._flatten_layers() if not hasattr(each, "layers")]  # noqa: SLF001 - no public name
    return next(each for each in layers if getattr(each, "quantization_mode", None) is not None)


def results_of(answer: Any) -> list[Any]:
    """Return the results of a model as a list, also where it is one."""
    return list(answer) if isinstance(answer, (list, tuple)) else [answer]


def shown(answer: Any) -> NDArray[Any]:
    """Return the first result as an array."""
    return to_numpy(results_of(answer)[0])
