"""Finds the layers of a model to quantize, and the blocks in which the model is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantref.errors import ModelError
from quantref.inputs import Array
from quantref.keras.filters import Filters, require_filters, selected
from quantref.keras.graph import Environment, Part, Step, functional_of, inputs_of, steps_of
from quantref.keras.layers import (
    KernelLayer,
    inference,
    is_linear,
    leaves,
    names_of,
    watched,
)
from quantref.models.protocols import Watch


@dataclass(eq=False)
class KerasBlock:
    """A part of a model with the interface of `quantref.models.protocols.Block`.

    Attributes
    ----------
    name : str
    layers : list of KernelLayer
        The layers to quantize.
    step : callable
        Computes the next state from a state.
    """

    name: str
    layers: list[KernelLayer]
    step: Callable[[Any], Any]

    def run(self, state: Any, watch: Watch | None) -> Any:
        """Return the next state; `watch` is called before each call of `layers`."""
        with inference(), watched(self.layers, watch):
            return self.step(state)


@dataclass(eq=False)
class Structure:
    """The blocks of a model, and how the model is run up to the first one.

    Attributes
    ----------
    prepare : callable
        Computes the first block's state from calibration arrays (windows, ...) and their number.
    blocks : list of KerasBlock
    found : str
        The source of the structure: configuration, model or graph.
    skipped : list of (str, str)
        Linear layers that stay unchanged, with the reason.
    """

    prepare: Callable[[Any, int], Any]
    blocks: list[KerasBlock]
    found: str
    skipped: list[tuple[str, str]] = field(default_factory=list)


def linear_layers(model: Any, filters: Filters) -> tuple[dict[int, KernelLayer], list[Any]]:
    """Return the layers to quantize by their ids, and (name, reason) of the linear layers left out.

    Raises
    ------
    ModelError
        There is none, one of them is quantized or not built, or a filter matches none.
    """
    names = names_of(model)
    all_linear = [layer for layer in leaves(model) if is_linear(layer)]
    require_filters(filters, (names[id(layer)] for layer in all_linear), all_linear)
    found: dict[int, KernelLayer] = {}
    skipped = []
    for layer in all_linear:
        name = names[id(layer)]
        if selected(filters, layer, name):
            found[id(layer)] = KernelLayer(layer, name)
        else:
            skipped.append((name, "not selected"))
    if not found:
        got = "none" if not all_linear else "none that the filters select"
        raise ModelError("a model with Dense or EinsumDense layers", got, "")
    return found, skipped


def structure_of(model: Any, given: dict[str, Any] | None, filters: Filters = None) -> Structure:
    """Return the blocks of a model.

    Parameters
    ----------
    model : keras.Model
    given : dict or None
        "pre_block_layers" and "sequential_blocks", as in the documentation of Keras. If it is None,
        the model's `get_quantization_layer_structure("gptq")` is used, and without that the model's
        graph.
    filters : str, sequence of str, callable or None
        See `quantref.keras.filters.selected`.

    Raises
    ------
    ModelError
        The model is not built, has no layer to quantize, or has no structure.
    """
    if not getattr(model, "built", False):
        raise ModelError("a model that is built", "no weights yet: call it once", "")
    layers, skipped = linear_layers(model, filters)
    source = "the configuration"
    if given is None:
        ask = getattr(model, "get_quantization_layer_structure", None)
        given, source = (ask("gptq") if ask is not None else None), "the model"
    if given is not None:
        structure = _documented(given, layers, source)
    else:
        graph = functional_of(model)
        if graph is None:
            expected = (
                "a structure: quantization_layer_structure in the configuration, or "
                'get_quantization_layer_structure("gptq") of the model'
            )
            got = f"{type(model).__name__}, which is neither Sequential nor Functional"
            raise ModelError(expected, got, "")
        structure = _from_graph(graph, layers)
    placed = {layer.name for block in structure.blocks for layer in block.layers}
    left = [layer.name for layer in layers.values() if layer.name not in placed]
    structure.skipped = [*skipped, *((name, "in no block") for name in left)]
    return structure


def _documented(given: dict[str, Any], layers: dict[int, KernelLayer], source: str) -> Structure:
    """Return the structure of "pre_block_layers" and "sequential_blocks"."""
    blocks = list(given.get("sequential_blocks") or ())
    if not blocks:
        raise ModelError("sequential_blocks with layers", f"{given.get('sequential_blocks')}", "")
    before = list(given.get("pre_block_layers") or ())
    for layer in [*before, *blocks]:
        if not callable(layer):
            expected = "layers in pre_block_layers and sequential_blocks"
            raise ModelError(expected, f"{type(layer).__name__}", "")

    def prepare(arrays: Any, _count: int) -> Any:
        import keras

        x = keras.ops.convert_to_tensor(arrays)
        with inference():
            for layer in before:
                x = _first(layer(x))
        return x

    made = []
    for block in blocks:
        inside = [layers[id(leaf)] for leaf in leaves(block) if id(leaf) in layers]
        made.append(KerasBlock(block.name, inside, _calling(block)))
    return Structure(prepare, made, source)


def _calling(block: Any) -> Callable[[Any], Any]:
    return lambda state: _first(block(state))


def _first(outputs: Any) -> Any:
    """Return the hidden states if a layer returns further outputs."""
    return outputs[0] if isinstance(outputs, (tuple, list)) else outputs


def _from_graph(model: Any, layers: dict[int, KernelLayer]) -> Structure:
    """Return the structure that the graph of a functional model shows.

    A block ends where all later steps read a single tensor, apart from the model's inputs. If the
    model has several composite layers of one class, with no Dense or EinsumDense between them, each
    of them is a block. Layers before and after these stay unchanged, as in documented structures.
    """
    steps = steps_of(model)
    inside = [_inside(step, layers) for step in steps]
    kinds = Counter(
        type(step.layer)
        for step, found in zip(steps, inside, strict=True)
        if _composite(step, found)
    )
    repeated = {kind for kind, count in kinds.items() if count > 1}
    places = [k for k, step in enumerate(steps) if type(step.layer) in repeated and inside[k]]
    if places and any(is_linear(step.layer) for step in steps[places[0] : places[-1]]):
        repeated = set()  # parts of blocks, such as attention layers
    if repeated:
        inside = [found if k in places else [] for k, found in enumerate(inside)]
    after = _read_after(steps, model)
    ends, hidden = [], frozenset[int]()
    for k, step in enumerate(steps):
        hidden = (hidden | step.hidden) & after[k]
        next_to_composite = any(j in places for j in (k, k + 1)) and bool(repeated)
        ends.append(len(hidden) <= 1 or next_to_composite)
    for layer in {id(x): x for found in inside for x in found}.values():
        uses = [k for k, found in enumerate(inside) if layer in found]
        ends[uses[0] : uses[-1]] = [False] * (uses[-1] - uses[0])

    # Steps without a layer to quantize belong to the block before them, or to the preparation.
    parts: list[tuple[list[Step], list[KernelLayer]]] = [([], [])]
    start = 0
    for k, end in enumerate(ends):
        if not end and k < len(steps) - 1:
            continue
        found = list({id(x): x for layers_ in inside[start : k + 1] for x in layers_}.values())
        if found:
            parts.append(([], found))
        parts[-1][0].extend(steps[start : k + 1])
        start = k + 1

    def part(index: int) -> Part:
        done = sum(len(some) for some, _ in parts[: index + 1])
        return Part(parts[index][0], after[done - 1] if done else _all_reads(steps, model))

    first = part(0)

    def prepare(arrays: Array | dict[str, Array], count: int) -> Environment:
        with inference():
            return first.run(inputs_of(model, arrays, count))

    blocks = [
        KerasBlock(_name(some, found), found, part(k).run)
        for k, (some, found) in enumerate(parts)
        if k > 0
    ]
    return Structure(prepare, blocks, "the graph")


def _inside(step: Step, layers: dict[int, KernelLayer]) -> list[KernelLayer]:
    """Return the layers to quantize that a step calls."""
    if not hasattr(step.layer, "_flatten_layers"):
        return []
    return [layers[id(leaf)] for leaf in leaves(step.layer) if id(leaf) in layers]


def _composite(step: Step, found: list[KernelLayer]) -> bool:
    return bool(found) and not is_linear(step.layer)


def _all_reads(steps: Sequence[Step], model: Any) -> frozenset[int]:
    return frozenset(map(id, model.outputs)).union(*(step.reads for step in steps))


def _read_after(steps: Sequence[Step], model: Any) -> list[frozenset[int]]:
    """Return for each step the ids that later steps read."""
    reads: list[frozenset[int]] = [frozenset(map(id, model.outputs))]
    for step in reversed(steps[1:]):
        reads.append(reads[-1] | step.reads)
    return reads[::-1]


def _name(steps: Sequence[Step], found: list[KernelLayer]) -> str:
    """Return the name of a block for reports: that of its first layer to quantize."""
    for step in steps:
        if hasattr(step.layer, "_flatten_layers") and {id(x) for x in leaves(step.layer)} & {
            id(layer.layer) for layer in found
        }:
            return str(step.layer.name)
    return found[0].name
