"""Interfaces of the blocks, layers, listeners and mappers that `quantref.models` works with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quantref.inputs import Array
from quantref.models.answer import Answer
from quantref.models.record import LayerRecord
from quantref.models.task import Task, run_task

Watch = Callable[[str, Array], None]


class Layer(Protocol):
    """A linear layer that can be quantized."""

    @property
    def name(self) -> str:
        """Unique in the model."""
        ...

    def weights(self) -> Array:
        """Return the weights (n_out, n_in)."""
        ...

    def assign(self, values: NDArray[np.float32]) -> None:
        """Replace the weights by these, (n_out, n_in)."""
        ...


class Block(Protocol):
    """A part of a model that computes the next state from a state."""

    @property
    def name(self) -> str:
        """The name shown in reports."""
        ...

    @property
    def layers(self) -> Sequence[Layer]:
        """The layers to quantize; the others stay unchanged."""
        ...

    def run(self, state: Any, watch: Watch | None) -> Any:
        """Return the next state.

        `watch(name, inputs)` is called with the inputs (windows, ..., n_in) of each layer of
        `layers`, before the layer computes. Exceptions that `watch` raises must not be caught.
        """
        ...


class Listener:
    """Receives the progress of the work; this base class ignores it."""

    def block(self, name: str, index: int, count: int) -> None:
        """Block `index` of `count` begins."""

    def windows(self, what: str, done: int, total: int) -> None:
        """`done` of `total` windows have passed the block; `what` says for which purpose."""

    def layer(self, record: LayerRecord) -> None:
        """Receive the record of a finished layer."""


class Mapper(Protocol):
    """Runs tasks."""

    @property
    def workers(self) -> int:
        """Number of tasks that can run at the same time."""
        ...

    def map(self, tasks: Sequence[Task]) -> Iterator[list[Answer]]:
        """Yield the answers of all tasks, in their order."""
        ...


class SerialMapper:
    """Runs tasks in this thread, one after the other."""

    workers = 1

    def map(self, tasks: Sequence[Task]) -> Iterator[list[Answer]]:
        """Yield the answers of all tasks, in their order."""
        return map(run_task, tasks)


@dataclass
class Batch:
    """A few windows on their way through the blocks.

    Attributes
    ----------
    first, count : int
        Index of the first window, and how many there are.
    state : Any
        Input of the next block.
    """

    first: int
    count: int
    state: Any
