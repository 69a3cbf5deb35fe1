"""Calibration of Keras, by the documented calls on models only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.targets.keras import releases
from quantcheck.targets.keras.config import Inputs, Outputs, Parameters
from quantcheck.targets.keras.tensors import to_numpy
from quantcheck.wire.configs import gptq_fields

GPTQ_ARRAYS = ("codes", "scale", "zero_point", "g_idx")
FRESH = """
import json, sys
import numpy as np
from quantcheck.targets.keras.models import windows_seen
given = json.loads(sys.stdin.read())
dataset = [np.array(d, t).reshape(s) for d, t, s in given["dataset"]]
print("windows", json.dumps(windows_seen(dataset, given["parameters"]).tolist()))
"""


class Tokenizer:
    """A tokenizer whose tokens are the code points of a text's characters."""

    def tokenize(self, text: str) -> NDArray[np.int32]:
        """Return the tokens of a text."""
        return np.array([ord(character) for character in text], np.int32)


TOKENIZERS: Mapping[str | None, Any] = {
    "object": Tokenizer(),
    "callable": lambda text: Tokenizer().tokenize(text),
    None: None,
}


def recorder() -> Any:
    """Make a layer that stores its inputs in a list `seen`."""
    import keras

    class Recorder(keras.layers.Layer):  # type: ignore[misc]
        """Stores its inputs."""

        def __init__(self) -> None:
            super().__init__()
            self.seen: list[NDArray[Any]] = []

        def call(self, batch: Any) -> Any:
            """Store a copy of the batch, and return the batch."""
            self.seen.append(to_numpy(batch))
            return batch

    return Recorder()


def windows_seen(dataset: list[NDArray[Any]], parameters: Parameters) -> NDArray[Any]:
    """Return the inputs of the first pre-block layer while `gptq_quantize` calibrates a model."""
    import keras

    texts = parameters["texts"]
    items: Any = dataset if texts is None else texts
    if parameters["iterable"] == "generator":
        items = (item for item in items)
    config = keras.quantizers.GPTQConfig(
        dataset=items,
        tokenizer=TOKENIZERS[parameters["tokenizer"]],
        **gptq_fields(parameters),
    )
    record = recorder()
    releases.current().calibrate(config, [record], [keras.layers.Identity()])
    return np.concatenate(record.seen)


def calibration_windows(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`gptq_quantize(GPTQConfig(…), …)` with a pre-block layer that stores its inputs."""
    return {"windows": windows_seen(inputs["dataset"], parameters)}


def calibration_processes(inputs: Inputs, parameters: Parameters) -> Outputs:
    """Draw the windows of one dataset in two new interpreters with different hash seeds."""
    dataset = [[d.ravel().tolist(), d.dtype.name, list(d.shape)] for d in inputs["dataset"]]
    question = json.dumps({"dataset": dataset, "parameters": dict(parameters)})
    paths = os.pathsep.join(path for path in sys.path if path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FRESH],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    answers = [process.communicate(question)[0].splitlines() for process in processes]
    first, second = (
        np.array(json.loads(line.removeprefix("windows ")), np.int32)
        for lines in answers
        for line in lines
        if line.startswith("windows ")
    )
    return {"first": first, "second": second}


class SmallModel:
    """A functional model of the question's arrays: embedding, blocks as models, dense head.

    Parameters
    ----------
    inputs : mapping
        embedding, weights (n_out, n_in) and biases, the head's last.
    blocks : list of {"activations": […], "residual": …}
    """

    def __init__(self, inputs: Inputs, blocks: list[dict[str, Any]]) -> None:
        import keras

        table = inputs["embedding"]
        self.embedding = keras.layers.Embedding(*table.shape)
        arrays = iter(zip(inputs["weights"], inputs["biases"], strict=True))
        entry = keras.Input((None,), dtype="int32")
        x = self.embedding(entry)
        self.embedding.set_weights([table])
        self.layers: list[Any] = []
        self.blocks: list[Any] = []
        for block in blocks:
            start = keras.Input((None, x.shape[-1]))
            y = start
            for activation in block["activations"]:
                y = self._dense(y, activation, *next(arrays))
            end = keras.layers.add([start, y]) if block["residual"] else y
            self.blocks.append(keras.Model(start, end))
            x = self.blocks[-1](x)
        x = self._dense(x, "linear", *next(arrays))
        self.model = keras.Model(entry, x)

    def _dense(self, x: Any, activation: str, weights: NDArray[Any], bias: NDArray[Any]) -> Any:
        import keras

        layer = keras.layers.Dense(weights.shape[0], activation=activation)
        y = layer(x)
        layer.set_weights([weights.T, bias])
        self.layers.append(layer)
        return y


def quantize_model_int8(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`model.quantize("int8")`, kernels read back as (n_out, n_in)."""
    small = SmallModel(inputs, parameters["blocks"])
    small.model.quantize("int8")
    codes = [to_numpy(small.embedding.embeddings)]
    scale = [to_numpy(small.embedding.embeddings_scale)]
    for layer in small.layers:
        codes.append(to_numpy(layer.kernel).T.copy())
        scale.append(to_numpy(layer.kernel_scale))
    return {"codes": codes, "scale": scale}


def quantize_model_gptq(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`model.quantize("gptq", config=GPTQConfig(…))`, layers read back as stored."""
    small = SmallModel(inputs, parameters["blocks"])
    record, line = recorder(), releases.current()
    fields = {"dataset": inputs["dataset"], "tokenizer": Tokenizer(), **gptq_fields(parameters)}
    config = line.structured(small.model, fields, [record, small.embedding], small.blocks)
    small.model.quantize("gptq", config=config)
    *quantized, head = small.layers
    stored = [line.stored(layer, parameters["bits"]) for layer in quantized]
    return {
        "windows": np.concatenate(record.seen).astype(np.int32),
        "head": to_numpy(head.kernel).T.copy(),
        **{name: [each[name] for each in stored] for name in GPTQ_ARRAYS},
    }


OPERATIONS: dict[str, Callable[[Inputs, Parameters], Outputs]] = {
    "calibration_windows": calibration_windows,
    "calibration_processes": calibration_processes,
    "quantize_model_int8": quantize_model_int8,
    "quantize_model_gptq": quantize_model_gptq,
}
