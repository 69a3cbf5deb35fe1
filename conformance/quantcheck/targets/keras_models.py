"""Calibration as Keras does it: the documented calls on models, nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.targets.keras_config import Inputs, Outputs, Parameters

FRESH = """
import json, sys
import numpy as np
from quantcheck.targets.keras_models import windows_seen
given = json.loads(sys.stdin.read())
dataset = [np.array(d, t).reshape(s) for d, t, s in given["dataset"]]
print("windows", json.dumps(windows_seen(dataset, given["parameters"]).tolist()))
"""


class Tokenizer:
    """Code points of a text's characters, as a tokenizer of Keras gives tokens."""

    def tokenize(self, text: str) -> NDArray[np.int32]:
        """Return the tokens of a text."""
        return np.array([ord(character) for character in text], np.int32)


TOKENIZERS: Mapping[str | None, Any] = {
    "object": Tokenizer(),
    "callable": lambda text: Tokenizer().tokenize(text),
    None: None,
}


def recorder() -> Any:
    """Make a layer that keeps what passes through it, in a list `seen`."""
    import keras

    class Recorder(keras.layers.Layer):  # type: ignore[misc]
        """Keeps what passes."""

        def __init__(self) -> None:
            super().__init__()
            self.seen: list[NDArray[Any]] = []

        def call(self, batch: Any) -> Any:
            """Keep a copy of the batch and return it."""
            self.seen.append(np.array(keras.ops.convert_to_numpy(batch)))
            return batch

    return Recorder()


def windows_seen(dataset: list[NDArray[Any]], parameters: Parameters) -> NDArray[Any]:
    """Return what the first pre-block layer sees when `gptq_quantize` calibrates a model."""
    import keras
    from keras.src.quantizers.gptq_core import gptq_quantize

    texts = parameters["texts"]
    items: Any = dataset if texts is None else texts
    if parameters["iterable"] == "generator":
        items = (item for item in items)
    config = keras.quantizers.GPTQConfig(
        dataset=items,
        tokenizer=TOKENIZERS[parameters["tokenizer"]],
        num_samples=parameters["num_samples"],
        sequence_length=parameters["sequence_length"],
    )
    record = recorder()
    structure = {"pre_block_layers": [record], "sequential_blocks": [keras.layers.Identity()]}
    gptq_quantize(config, structure)
    return np.concatenate(record.seen)


def calibration_windows(inputs: Inputs, parameters: Parameters) -> Outputs:
    """`gptq_quantize(GPTQConfig(…), …)` with a layer before the blocks that keeps its inputs."""
    return {"windows": windows_seen(inputs["dataset"], parameters)}


def calibration_processes(inputs: Inputs, parameters: Parameters) -> Outputs:
    """Draw the same windows in two new interpreters, whose hash seeds differ as they usually do."""
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


OPERATIONS: dict[str, Callable[[Inputs, Parameters], Outputs]] = {
    "calibration_windows": calibration_windows,
    "calibration_processes": calibration_processes,
}
