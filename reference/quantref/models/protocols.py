"""What `quantref.models` asks of blocks, layers, listeners and mappers."""

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
        """Compute with these weights (n_out, n_in) from now on."""
        ...


class Block(Protocol):
    """A part of a model that takes one state and gives the next one."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def layers(self) -> Sequence[Layer]:
        """The layers to quantize; others run as they are."""
        ...

    def run(self, state: Any, watch: Watch | None) -> Any:
        """Return the next state.

        `watch(name, inputs)` is called with the inputs (windows, ..., n_in) of each layer of
        `layers`, before it computes; what it raises has to pass through.
        """
        ...


class Listener:
    """Is told how far the work is; this one does nothing with it."""

    def block(self, name: str, index: int, count: int) -> None:
        """Block `index` of `count` begins."""

    def windows(self, what: str, done: int, total: int) -> None:
        """So many windows went through the block, for the sake of `what`."""

    def layer(self, record: LayerRecord) -> None:
        """Layer of this record: it is done."""


class Mapper(Protocol):
    """Runs tasks, wherever that is."""

    @property
    def workers(self) -> int:
        """Tasks that can run at a time."""
        ...

    def map(self, tasks: Sequence[Task]) -> Iterator[list[Answer]]:
        """Yield the answers of all tasks, in their order."""
        ...


class Here:
    """Runs tasks in this thread."""

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
        What the next block takes.
    """

    first: int
    count: int
    state: Any
