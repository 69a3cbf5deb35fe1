"""Models of one layer that Keras calibrates; the question's codes may then replace its own.

The model looks tokens up in a table whose first rows are the inputs of the layer. So the model of
these tokens returns what the layer returns for its inputs. A unit row for each column of the table
follows, so that the Hessian is regular.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.targets.keras import releases
from quantcheck.targets.keras.config import Inputs, Parameters, Unsupported, keyword_arguments
from quantcheck.targets.keras.models import TOKENIZERS, recorder
from quantcheck.targets.keras.places import holder_class, shaped_class
from quantcheck.targets.keras.uses import quantization
from quantcheck.wire.configs import build
from quantcheck.wire.policies import CALLED_TWICE, IN_LAYER, place_of


class CalibratedModel:
    """A model of a layer in its place, quantized by GPTQ.

    Parameters
    ----------
    layer : keras.Layer
        Built, with float weights.
    inputs : mapping
        Those of the question: x among them.
    parameters : mapping

    Attributes
    ----------
    model : keras.Model
        Of tokens.
    tokens : (1, rows) int32 array
        Those of the rows of x.
    quantization : callable
        Returns the call that quantizes the model, with a dataset of its own each time.
    windows : list of arrays
        What the model was calibrated with, if the question has a float kernel.
    """

    def __init__(self, layer: Any, inputs: Inputs, parameters: Parameters) -> None:
        import keras

        self.twice = place_of(parameters) == CALLED_TWICE
        x, policy = inputs["x"], layer.dtype_policy
        table = x.reshape(len(x), -1)
        self.tokens = np.arange(len(x), dtype=np.int32)[None]
        table = np.concatenate([table, np.eye(table.shape[1], dtype=table.dtype)])
        embedding = keras.layers.Embedding(*table.shape, dtype=policy)
        shaped = shaped_class()(x.shape[1:], dtype=policy)
        start = keras.Input((None,), dtype="int32")
        hidden = embedding(start)
        embedding.set_weights([table])
        inner = keras.Input((None, table.shape[1]))
        end = layer(shaped(inner))
        if self.twice:
            end = keras.layers.Concatenate(0, dtype=policy)([end, layer(shaped(inner))])
        block = keras.Model(inner, end)
        if place_of(parameters) == IN_LAYER:
            block = holder_class()(block)
        self.model = keras.Model(start, block(hidden))
        record = recorder()
        before = [record, embedding] if "kernel" in inputs else [embedding]
        self.quantization = partial(
            self._quantization, layer, before, block, len(table), parameters
        )
        self.quantization()()
        self.windows = list(record.seen)

    def _quantization(
        self, layer: Any, before: list[Any], block: Any, rows: int, parameters: Parameters
    ) -> Callable[[], None]:
        if parameters["config"]["class"] != "GPTQConfig":
            return quantization(self.model, "gptq", parameters, name=layer.name)
        given = parameters["calibrated_with"]
        arguments = keyword_arguments(parameters["config"]["arguments"])
        fields = {
            **arguments,
            "dataset": _dataset(given["dataset"], rows, build(parameters["config"])),
            "tokenizer": TOKENIZERS.get(given["tokenizer"]),
        }
        line = releases.current()
        if given["structure"] in ("given", "no blocks"):
            blocks = [block] if given["structure"] == "given" else []
            config = line.structured(self.model, fields, before, blocks)
        else:
            config = _hooked(self.model, fields, before, block, given["structure"])
        return quantization(self.model, "gptq", parameters, config=config, name=layer.name)

    def first(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the outputs of the first call of the layer."""
        return values[: len(values) // 2] if self.twice else values

    def second(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return those of the second call of a layer that is called twice."""
        return values[len(values) // 2 :]


def _hooked(model: Any, fields: dict[str, Any], before: list[Any], block: Any, kind: str) -> Any:
    """Return a config without structure; the model says its structure when it is asked."""
    import keras

    if not hasattr(model, "get_quantization_layer_structure"):
        raise Unsupported(f"Keras {keras.__version__} asks no model for its structure")
    structure = {"pre_block_layers": before, "sequential_blocks": [block]}
    model.get_quantization_layer_structure = lambda _: structure
    none = {"quantization_layer_structure": None} if kind == "null" else {}
    return keras.quantizers.GPTQConfig(**fields, **none)


def _dataset(kind: str, rows: int, config: Any) -> Any:
    """Return as many tokens as the config asks for, of every row in turn."""
    shape = (config.num_samples, config.sequence_length)
    tokens = (np.arange(shape[0] * shape[1], dtype=np.int32) % rows).reshape(shape)
    if kind == "one array":
        return tokens
    if kind == "no tokens":
        return list(tokens + 0.5)
    if kind == "one string":
        return "".join(map(chr, tokens.ravel()))
    items = ["".join(map(chr, row)) for row in tokens] if "strings" in kind else list(tokens)
    return iter(items) if kind.startswith("generator") else items
