"""Time and memory of `quantref quantize` on a model of GPT-2 small's geometry, random weights.

`python tests/benchmarks/whole_model.py [--blocks 12] [--width 768] …` builds and saves the model,
runs the command on it in a process of its own, and prints what that took: seconds of forward
passes, Hessians, GPTQ and certificates, their shares, and the peak of resident memory beside that
of a process that loads the model and runs one batch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

# Runs a program and prints the peak of its resident memory in bytes after what it prints.
PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE)
sys.stdout.buffer.write(done.stdout)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f"\\npeak {peak * 1024}")
sys.exit(done.returncode)
"""
LOAD = """
import sys
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1], compile=False)
tokens = np.load(sys.argv[2])[: int(sys.argv[3]) * int(sys.argv[4])]
model(keras.ops.convert_to_tensor(tokens.reshape(int(sys.argv[3]), int(sys.argv[4]))))
"""


def build(blocks: int, width: int, vocabulary: int, length: int) -> Any:
    """Make a decoder of stock layers with random weights; the head is as wide as the vocabulary."""
    import keras

    keras.utils.set_random_seed(0)
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    positions = keras.ops.cumsum(keras.ops.ones_like(tokens), axis=1) - 1
    x = keras.layers.Embedding(vocabulary, width, name="embedding")(tokens)
    x = x + keras.layers.Embedding(length, width, name="positions")(positions)
    for b in range(blocks):
        inputs = keras.Input((None, width))
        y = keras.layers.LayerNormalization()(inputs)
        y = keras.layers.MultiHeadAttention(width // 64, 64, name="attention")(
            y, y, use_causal_mask=True
        )
        middle = inputs + y
        y = keras.layers.LayerNormalization()(middle)
        y = keras.layers.Dense(4 * width, activation="gelu", name="up")(y)
        y = keras.layers.Dense(width, name="down")(y)
        x = keras.Model(inputs, middle + y, name=f"block_{b}")(x)
    x = keras.layers.LayerNormalization(name="norm")(x)
    head = keras.layers.Dense(vocabulary, use_bias=False, name="head")
    return keras.Model(tokens, head(x), name="decoder")


def run(*command: str) -> tuple[str, float]:
    """Return what a program prints, and its peak of memory in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, sys.executable, *command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    text, _, peak = done.stdout.rpartition("\npeak ")
    return text, int(peak) / 2**20


def main() -> None:
    """Build, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (
        ("blocks", 12), ("width", 768), ("vocabulary", 50257), ("samples", 64), ("length", 256),
        ("batch", 8), ("workers", 1),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--executor", default="threads")
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = options.backend
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = build(options.blocks, options.width, options.vocabulary, options.length)
        model.save(folder / "model.keras")
        weights = sum(int(np.prod(w.shape)) for w in model.weights)
        del model
        rng = np.random.default_rng(0)
        count = options.samples * options.length
        np.save(folder / "tokens.npy", rng.integers(0, options.vocabulary, count).astype(np.int32))
        files = [str(folder / "model.keras"), str(folder / "tokens.npy")]
        _, alone = run("-c", LOAD, *files, str(options.batch), str(options.length))
        printed, peak = run(
            "-P", "-m", "quantref.cli", "quantize", files[0], "--calibration", files[1],
            "--out", str(folder / "out"), "--backend", options.backend, "--layers", "^block_",
            "--samples", str(options.samples), "--sequence-length", str(options.length),
            "--batch", str(options.batch), "--workers", str(options.workers),
            "--executor", options.executor, "--json",
        )  # fmt: skip
    report = json.loads(printed)
    seconds = report["seconds"]
    shares = {k: round(v / seconds["total"], 3) for k, v in seconds.items() if k != "total"}
    made = {
        "weights": weights,
        "passed": report["passed"],
        "layers": len(report["layers"]),
        "seconds": {k: round(v, 1) for k, v in seconds.items()},
        "shares": shares,
        "peak MiB": round(peak),
        "peak MiB of loading and one batch": round(alone),
        "settings": vars(options),
    }
    sys.stdout.write(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
