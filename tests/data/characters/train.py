"""Train the character model of this folder: `python train.py`, a quarter of an hour on two cores.

Text: the sources of Python's standard library, as the running interpreter has them; modules of
`HELD_OUT` and `CALIBRATION` are not trained on. Writes model.keras, vocabulary.json,
calibration.txt and heldout.txt beside itself.
"""

from __future__ import annotations

import json
import os
import string
import sys
import sysconfig
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

HERE = Path(__file__).resolve().parent
LENGTH, WIDTH, HEADS, BLOCKS = 128, 96, 4, 4
STEPS, BATCH, RATE = 2000, 32, 2e-3
CHARACTERS = sorted({*string.printable} - {*"\r\x0b\x0c"})
CALIBRATION = ("textwrap.py", "shlex.py", "bisect.py", "queue.py", "heapq.py")
HELD_OUT = ("statistics.py", "fractions.py")
MOST = 48_000  # characters of calibration.txt and heldout.txt each


def sources() -> dict[str, str]:
    """Every module of the standard library's top folder, by its name, in the vocabulary alone."""
    folder = Path(sysconfig.get_path("stdlib"))
    known = {*CHARACTERS}
    found = {}
    for path in sorted(folder.glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="ignore").expandtabs()
        found[path.name] = "".join(c for c in text if c in known)
    return found


def block(name: str) -> Any:
    """Make a block of stock layers, a model of its own: attention and MLP, norms before them."""
    inputs = keras.Input((None, WIDTH))
    y = keras.layers.LayerNormalization(name="norm_attention")(inputs)
    y = keras.layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name="attention")(
        y, y, use_causal_mask=True
    )
    x = inputs + y
    y = keras.layers.LayerNormalization(name="norm_mlp")(x)
    y = keras.layers.Dense(4 * WIDTH, activation="gelu", name="up")(y)
    y = keras.layers.Dense(WIDTH, name="down")(y)
    return keras.Model(inputs, x + y, name=name)


def embeddings() -> Any:
    """Make what comes before the blocks: characters and learned positions."""
    tokens = keras.Input((None,), dtype="int32")
    positions = keras.ops.cumsum(keras.ops.ones_like(tokens), axis=1) - 1
    x = keras.layers.Embedding(len(CHARACTERS), WIDTH, name="characters")(tokens)
    y = keras.layers.Embedding(LENGTH, WIDTH, name="positions")(positions)
    return keras.Model(tokens, x + y, name="embeddings")


def build() -> Any:
    """Make the model: embeddings, blocks, a head."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = embeddings()(tokens)
    for b in range(BLOCKS):
        x = block(f"block_{b}")(x)
    x = keras.layers.LayerNormalization(name="norm")(x)
    return keras.Model(
        tokens, keras.layers.Dense(len(CHARACTERS), name="head")(x), name="characters"
    )


def windows(tokens: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """Draw a batch of windows, and what follows each of their characters."""
    starts = rng.integers(0, len(tokens) - LENGTH - 1, BATCH)
    cut = tokens[starts[:, None] + np.arange(LENGTH + 1)]
    return cut[:, :-1], cut[:, 1:]


def main() -> None:
    """Train and write."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    texts = sources()
    place = {c: k for k, c in enumerate(CHARACTERS)}
    kept_apart = {*CALIBRATION, *HELD_OUT}
    text = "".join(t for name, t in texts.items() if name not in kept_apart)
    tokens = np.array([place[c] for c in text], np.int32)
    model = build()
    model.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                0.0, STEPS - 200, warmup_target=RATE, warmup_steps=200
            ),
            weight_decay=0.01,
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    for step in range(STEPS):
        loss = model.train_on_batch(*windows(tokens, rng))
        if step % 100 == 0:
            sys.stdout.write(f"step {step}: {float(np.ravel(loss)[0]):.3f} nats a character\n")
            sys.stdout.flush()
            model.reset_metrics()
    trained = build()  # without the optimizer, which is no part of the model
    trained.set_weights(model.get_weights())
    trained.save(HERE / "model.keras")
    (HERE / "vocabulary.json").write_text(json.dumps(CHARACTERS) + "\n", encoding="utf-8")
    for name, modules in (("calibration.txt", CALIBRATION), ("heldout.txt", HELD_OUT)):
        kept = "".join(texts[module] for module in modules)[:MOST]
        (HERE / name).write_text(kept, encoding="utf-8")


if __name__ == "__main__":
    main()
