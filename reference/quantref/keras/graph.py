"""A model's graph as a sequence of steps, so that the model can be run part by part.

Keras runs a functional model from its inputs to its outputs. Here its operations are steps in the
same order. A step reads and writes values in an environment, by the id of their symbolic tensor. A
nested functional model is divided into steps too. The environment between two steps is the state of
the model at that point.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantref.errors import ModelError

Environment = dict[int, Any]


@dataclass(frozen=True, eq=False)
class Step(ABC):
    """One operation of a graph, or the entry into a nested model, or the exit from it.

    Attributes
    ----------
    reads : frozenset of int
        Ids of the symbolic tensors that it reads.
    hidden : frozenset of int
        Ids of the tensors of a float dtype that it writes: neither tokens nor masks.
    layer : layer or operation, or None
        The layer that computes; None if values only get other ids.
    """

    reads: frozenset[int]
    hidden: frozenset[int]
    layer: Any = field(default=None)

    @abstractmethod
    def run(self, values: Environment) -> None:
        """Compute and write into the environment."""


@dataclass(frozen=True, eq=False)
class Call(Step):
    """An operation."""

    node: Any = None

    def run(self, values: Environment) -> None:
        """Compute and write into the environment."""
        import keras

        arguments, named = self.node.arguments.fill_in(values)
        results = keras.tree.flatten(self.layer(*arguments, **named))
        values.update(zip(map(id, self.node.outputs), results, strict=True))


@dataclass(frozen=True, eq=False)
class Enter(Step):
    """Entry into a nested model: its inputs get the values of the call's arguments."""

    node: Any = None
    inner: Any = None

    def run(self, values: Environment) -> None:
        """Write into the environment."""
        (argument, *_), _ = self.node.arguments.fill_in(values)
        given = self.inner._standardize_inputs(argument)  # noqa: SLF001 - as Functional.call
        values.update(zip(map(id, self.inner.inputs), given, strict=True))


@dataclass(frozen=True, eq=False)
class Leave(Step):
    """Exit from a nested model: the call's outputs get the values of its outputs."""

    node: Any = None
    inner: Any = None

    def run(self, values: Environment) -> None:
        """Write into the environment."""
        for outer, inner in zip(self.node.outputs, self.inner.outputs, strict=True):
            values[id(outer)] = values[id(inner)]


def functional_of(layer: Any) -> Any:
    """Return the layer if it is a plain functional model, else None."""
    import keras
    from keras.src.models.functional import Functional

    if isinstance(layer, keras.Sequential) and type(layer).call is keras.Sequential.call:
        layer = getattr(layer, "_functional", None)
    plain = isinstance(layer, Functional) and type(layer).call is Functional.call
    return layer if plain else None


def steps_of(model: Any) -> list[Step]:
    """Return the steps of a functional model in the order in which Keras runs them."""
    return list(_steps(model, set()))


def _steps(model: Any, entered: set[int]) -> Iterator[Step]:
    by_depth = model._nodes_by_depth  # noqa: SLF001 - the graph that Functional runs
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    for node in nodes:
        if not node.operation or node.is_input:
            continue
        reads = _ids(node.input_tensors)
        inner = functional_of(node.operation)
        named = [value for value in node.arguments.kwargs.values() if value is not None]
        positional = len(node.arguments.args) == 1 and not named
        if inner is None or not positional or id(inner) in entered:
            yield Call(reads, _floats(node.outputs), node.operation, node)
            continue
        entered.add(id(inner))
        yield Enter(reads, _floats(inner.inputs), None, node, inner)
        yield from _steps(inner, entered)
        yield Leave(_ids(inner.outputs), _floats(node.outputs), None, node, inner)


def _ids(tensors: Iterable[Any]) -> frozenset[int]:
    return frozenset(map(id, tensors))


def _floats(tensors: Iterable[Any]) -> frozenset[int]:
    return _ids(x for x in tensors if "float" in x.dtype)


def inputs_of(model: Any, arrays: Any, count: int) -> Environment:
    """Return the environment before a model's first step.

    Parameters
    ----------
    model : functional model
    arrays : array (windows, ...), or dict of them by the name of an input
        A single array belongs to the one input without a default value. Masks of padding are by
        default all true, ids of segments 0.
    count : int
        Number of windows.

    Raises
    ------
    ModelError
        An input has no array.
    """
    import keras

    given = arrays if isinstance(arrays, dict) else {}
    missing = [x for x in model.inputs if x.name not in given and _by_rule(x.name) is None]
    if not isinstance(arrays, dict):
        if len(missing) != 1:
            names = ", ".join(x.name for x in missing)
            expected = f"an array for each of the inputs {names} (a .npz file of arrays by name)"
            raise ModelError(expected, "one array", "")
        given = {missing[0].name: arrays}
    elif missing:
        names = ", ".join(x.name for x in missing)
        raise ModelError(f"an array for the inputs {names}", f"{', '.join(given)}", "")
    shape = next(iter(given.values())).shape
    values: Environment = {}
    for x in model.inputs:
        if x.name in given:
            values[id(x)] = keras.ops.convert_to_tensor(given[x.name], dtype=x.dtype)
        else:
            values[id(x)] = keras.ops.full((count, *shape[1:2]), _by_rule(x.name), dtype=x.dtype)
    return values


def _by_rule(name: str) -> int | None:
    """Return the default value of an input's elements, None if it has none."""
    if name.endswith(("padding_mask", "attention_mask")):
        return 1
    return 0 if name.endswith("segment_ids") else None


@dataclass(eq=False)
class Part:
    """Steps that run together; afterwards the environment keeps only values that later steps read.

    Attributes
    ----------
    steps : sequence of Step
    later : frozenset of int
        Ids that later steps read.
    """

    steps: Sequence[Step]
    later: frozenset[int]

    def run(self, values: Environment) -> Environment:
        """Return the environment after the steps."""
        now = dict(values)
        for step in self.steps:
            step.run(now)
        return {key: value for key, value in now.items() if key in self.later}
