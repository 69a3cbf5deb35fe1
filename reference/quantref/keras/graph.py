"""A model's graph as steps over an environment, so that it can be run part by part.

Keras runs a functional model from its inputs to its outputs. Here its operations are steps, in the
same order, that read and write values by the id of the symbolic tensor they stand for; a nested
functional model is steps as well. What is between two steps is the state of the model there.
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
    """One operation of a graph, or the way into a nested model or out of it.

    Attributes
    ----------
    reads : frozenset of int
        Ids of symbolic tensors.
    hidden : frozenset of int
        Of those that it writes, the ids of a float dtype: no tokens, no masks.
    layer : layer or operation, or None
        What computes; None where values only change their names.
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
    """Into a nested model: its inputs get the values of the call's arguments."""

    node: Any = None
    inner: Any = None

    def run(self, values: Environment) -> None:
        """Write into the environment."""
        (argument, *_), _ = self.node.arguments.fill_in(values)
        given = self.inner._standardize_inputs(argument)  # noqa: SLF001 - as Functional.call
        values.update(zip(map(id, self.inner.inputs), given, strict=True))


@dataclass(frozen=True, eq=False)
class Leave(Step):
    """Out of a nested model: the call's outputs get the values of its outputs."""

    node: Any = None
    inner: Any = None

    def run(self, values: Environment) -> None:
        """Write into the environment."""
        for outer, inner in zip(self.node.outputs, self.inner.outputs, strict=True):
            values[id(outer)] = values[id(inner)]


def functional_of(layer: Any) -> Any:
    """Return the functional model that a layer is, nothing added, or None."""
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
    """Return the environment in which a model's steps begin.

    Parameters
    ----------
    model : functional model
    arrays : array (windows, ...), or dict of them by the name of an input
        One array is that of the single input that no rule gives a value: masks of padding are all
        true, and ids of segments are 0.
    count : int
        Windows.

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
    """Return what all elements of an input are that carries nothing for whole windows."""
    if name.endswith(("padding_mask", "attention_mask")):
        return 1
    return 0 if name.endswith("segment_ids") else None


@dataclass(eq=False)
class Part:
    """Steps that are run together; of the environment, only what later steps read stays.

    Attributes
    ----------
    steps : sequence of Step
    later : frozenset of int
        What is read after them.
    """

    steps: Sequence[Step]
    later: frozenset[int]

    def run(self, values: Environment) -> Environment:
        """Return the environment after the steps."""
        now = dict(values)
        for step in self.steps:
            step.run(now)
        return {key: value for key, value in now.items() if key in self.later}
