"""Blocks of Dense layers in NumPy for `quantref.models`, which knows blocks by their protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantref.calibration import Model, model_of, run_layer
from quantref.inputs import Array
from quantref.models import Batch

Watch = Callable[[str, Array], None]


@dataclass
class PlainLayer:
    name: str
    values: Array
    assigned: int = 0

    def weights(self) -> Array:
        return self.values

    def assign(self, values: Array) -> None:
        self.values = values
        self.assigned += 1


@dataclass
class PlainBlock:
    """Three projections of one input, their product, and a residual, as attention has them."""

    name: str
    layers: list[PlainLayer]
    runs: int = 0

    def run(self, state: Array, watch: Watch | None) -> Array:
        self.runs += 1
        q, k, v = (self.call(j, state, watch) for j in range(3))
        mixed = np.tanh(q * k) + v
        return np.asarray(state + self.call(3, mixed, watch))

    def call(self, j: int, x: Array, watch: Watch | None) -> Array:
        layer = self.layers[j]
        if watch is not None:
            watch(layer.name, x)
        return np.asarray(x @ layer.values.T.astype(np.float64))


def attention(blocks: int = 2, width: int = 16, seed: int = 0) -> list[PlainBlock]:
    """Blocks with random weights."""
    rng = np.random.default_rng(seed)
    return [
        PlainBlock(
            f"block_{b}",
            [
                PlainLayer(
                    f"block_{b}/{name}",
                    rng.normal(size=(width, width), scale=width**-0.5).astype(np.float32),
                )
                for name in ("query", "key", "value", "out")
            ],
        )
        for b in range(blocks)
    ]


def batches(count: int = 4, windows: int = 3, width: int = 16, seed: int = 1) -> list[Batch]:
    """Windows of 10 tokens, correlated."""
    rng = np.random.default_rng(seed)
    mix = np.eye(width) + 0.4 * rng.normal(size=(width, width))
    return [
        Batch(k * windows, windows, rng.normal(size=(windows, 10, width)) @ mix)
        for k in range(count)
    ]


@dataclass
class ModelBlock:
    """A block of `quantref.calibration`."""

    model: Model
    index: int
    layers: list[PlainLayer] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"block_{self.index}"

    def run(self, state: Array, watch: Watch | None) -> Array:
        block, x = self.model.blocks[self.index], state
        for layer, bias, activation in zip(
            self.layers, block.biases, block.activations, strict=True
        ):
            if watch is not None:
                watch(layer.name, x)
            x = run_layer(x, layer.values, bias, activation)
        return x + state if block.residual else x


def dense_model(width: int = 12) -> tuple[Model, list[ModelBlock]]:
    """Two blocks of two Dense layers, one of them residual, with an embedding of 20 tokens."""
    rng = np.random.default_rng(5)

    def normal(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    weights: Sequence[Array] = [normal(width, width) for _ in range(5)]
    biases = [normal(width) for _ in range(5)]
    blocks = [
        {"activations": ["relu", "linear"], "residual": True},
        {"activations": ["relu", "relu"], "residual": False},
    ]
    model = model_of(normal(20, width), weights, biases, blocks)
    made = []
    for b, block in enumerate(model.blocks):
        layers = [PlainLayer(f"block_{b}/dense_{k}", w) for k, w in enumerate(block.weights)]
        made.append(ModelBlock(model, b, layers))
    return model, made
