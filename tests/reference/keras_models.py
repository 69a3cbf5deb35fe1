"""Models of Keras for the tests of `quantref.keras`, with random weights and real geometry."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantref.keras.layers import to_numpy

VOCABULARY = 50


def seeded(model: Any, seed: int = 0) -> Any:
    """Fill all weights: kernels are normal, scaled by fan-in; vectors change little."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape = tuple(variable.shape)
        if not shape or "seed" in variable.path:
            continue
        value = to_numpy(variable)
        if len(shape) == 1:
            value = value + 0.1 * rng.normal(size=shape)
        else:
            value = rng.normal(size=shape) / np.sqrt(shape[0])
        variable.assign(value.astype(np.float32))
    return model


def mlp() -> Any:
    import keras

    return seeded(
        keras.Sequential(
            [
                keras.Input((16,)),
                keras.layers.Dense(32, activation="relu", name="first"),
                keras.layers.Dense(32, activation="relu", name="second"),
                keras.layers.Dense(10, name="head"),
            ],
            name="mlp",
        )
    )


def cnn() -> Any:
    import keras

    return seeded(
        keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(4, 3, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dense(24, activation="relu", name="hidden"),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(10, name="head"),
            ],
            name="cnn",
        )
    )


def transformer(blocks: int = 2, width: int = 16, heads: int = 2, length: int = 12) -> Any:
    """A decoder of stock layers: attention and MLP with residuals, embeddings, a head."""
    import keras

    tokens = keras.Input((length,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(VOCABULARY, width, name="embedding")(tokens)
    for b in range(blocks):
        y = keras.layers.LayerNormalization(name=f"norm_{b}_attention")(x)
        y = keras.layers.MultiHeadAttention(heads, width // heads, name=f"attention_{b}")(
            y, y, use_causal_mask=True
        )
        x = keras.layers.Add(name=f"add_{b}_attention")([x, y])
        y = keras.layers.LayerNormalization(name=f"norm_{b}_mlp")(x)
        y = keras.layers.Dense(4 * width, activation="gelu", name=f"up_{b}")(y)
        y = keras.layers.Dense(width, name=f"down_{b}")(y)
        x = keras.layers.Add(name=f"add_{b}_mlp")([x, y])
    x = keras.layers.LayerNormalization(name="norm")(x)
    return seeded(keras.Model(tokens, keras.layers.Dense(VOCABULARY, name="head")(x), name="small"))


def token_text(count: int = 2000, seed: int = 3) -> Any:
    """Tokens with a structure: a random walk over the vocabulary."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.integers(-3, 4, count)) % VOCABULARY


def samples(shape: tuple[int, ...], count: int = 200, seed: int = 4) -> Any:
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(shape[-1], shape[-1])) + np.eye(shape[-1])
    return (rng.normal(size=(count, *shape)) @ mix).astype(np.float32)
