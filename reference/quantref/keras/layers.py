"""One layer of Keras: its kernel as a matrix, and its inputs as tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.errors import EquationError, ModelError
from quantref.geometry import Geometry
from quantref.inputs import Array
from quantref.layers import DENSE
from quantref.models.protocols import Watch


def to_numpy(tensor: Any) -> Array:
    """Return a tensor or a variable of any backend as an array."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor))


def is_linear(layer: Any) -> bool:
    """Tell whether a layer is Dense or EinsumDense, which GPTQ can quantize."""
    import keras

    return isinstance(layer, (keras.layers.Dense, keras.layers.EinsumDense))


def is_embedding(layer: Any) -> bool:
    """Tell whether a layer is Embedding or ReversibleEmbedding."""
    import keras

    return isinstance(layer, keras.layers.Embedding)


def leaves(layer: Any) -> list[Any]:
    """Return the layers inside a layer that contain no other layers; it may be one itself."""
    found, seen = [], set()
    for inner in layer._flatten_layers():  # noqa: SLF001 - Keras's own quantize walks so
        if len(list(inner._flatten_layers())) == 1 and id(inner) not in seen:  # noqa: SLF001
            seen.add(id(inner))
            found.append(inner)
    return found


def names_of(model: Any) -> dict[int, str]:
    """Return a name for each layer by its id: its path in the model.

    Keras's own `path` leaves out nested models, and begins with the name of the outermost model,
    to which Keras appends a counter. Paths that are not unique are numbered.
    """
    names: dict[int, str] = {}
    taken: set[str] = set()
    for layer, parts in _paths(model, ()):
        if id(layer) in names:
            continue  # a layer used in two places has the name of the first place
        path, k = "/".join(parts), 1
        name = path
        while name in taken:
            k += 1
            name = f"{path}#{k}"
        taken.add(name)
        names[id(layer)] = name
    for layer in leaves(model):
        names.setdefault(id(layer), f"{layer.name}#{len(names)}")
    return names


def _paths(layer: Any, above: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Yield every leaf of a layer with its path."""
    import keras

    if isinstance(layer, keras.Model):
        for child in layer.layers:
            yield from _paths(child, (*above, child.name))
        return
    inside = leaves(layer)
    if inside == [layer]:
        yield layer, above
        return
    for leaf in sorted(inside, key=lambda x: (getattr(x, "path", None) or "", x.name)):
        parts = (getattr(leaf, "path", None) or leaf.name).split("/")
        below = parts[parts.index(layer.name) + 1 :] if layer.name in parts else parts
        yield leaf, (*above, *below)


def able_layers(model: Any) -> dict[str, Any]:
    """Return the layers that can be quantized, which are linear layers and embeddings, by name."""
    names = names_of(model)
    return {
        names[id(layer)]: layer
        for layer in leaves(model)
        if is_linear(layer) or is_embedding(layer)
    }


def require_plain(layer: Any, name: str) -> None:
    """Raise unless a layer is built and has float weights without LoRA."""
    if not layer.built:
        raise ModelError(f"layer {name} to be built", "no weights yet: call the model once", "")
    if getattr(layer, "quantization_mode", None) is not None:
        raise ModelError(f"layer {name} with float weights", layer.quantization_mode, "")
    if getattr(layer, "lora_enabled", False):
        raise ModelError(f"layer {name} without LoRA", "lora_enabled=True: merge it first", "")


class KernelLayer:
    """A Dense or EinsumDense layer with the interface of `quantref.models.protocols.Layer`.

    Parameters
    ----------
    layer : keras.layers.Dense or keras.layers.EinsumDense
    name : str

    Raises
    ------
    ModelError
        The layer is not built, is quantized, has LoRA, or its equation gives no weight matrix.
    """

    def __init__(self, layer: Any, name: str) -> None:
        require_plain(layer, name)
        self.layer, self.name = layer, name
        equation = getattr(layer, "equation", DENSE)
        try:
            self.geometry = Geometry(equation, tuple(layer.kernel.shape))
        except EquationError as error:
            raise ModelError(f"{error.expected} in layer {name}", error.got, "LAY-110") from None

    def weights(self) -> Array:
        """Return the kernel as (n_out, n_in)."""
        return np.ascontiguousarray(self.geometry.matrix(to_numpy(self.layer.kernel)))

    def assign(self, values: NDArray[np.float32]) -> None:
        """Assign a matrix (n_out, n_in) to the kernel."""
        self.layer.kernel.assign(np.ascontiguousarray(self.geometry.kernel(values)))

    def tokens(self, inputs: Any) -> Array:
        """Return inputs of the layer as (windows, ..., n_in)."""
        return self.geometry.tokens(to_numpy(inputs))


@contextmanager
def watched(layers: Iterable[KernelLayer], watch: Watch | None) -> Iterator[None]:
    """Call `watch` before every call of the layers."""
    patched = []
    try:
        for layer in layers if watch is not None else ():
            patched.append(layer)
            layer.layer.__dict__["call"] = _telling(layer, layer.layer.call, watch)
        yield
    finally:
        for layer in patched:
            layer.layer.__dict__.pop("call", None)


def _telling(layer: KernelLayer, call: Callable[..., Any], watch: Any) -> Callable[..., Any]:
    def watched_call(*arguments: Any, **named: Any) -> Any:
        inputs = arguments[0] if arguments else named["inputs"]
        watch(layer.name, layer.tokens(inputs))
        return call(*arguments, **named)

    return watched_call


@contextmanager
def inference() -> Iterator[None]:
    """Switch off PyTorch's recording for gradients."""
    import keras

    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.no_grad():
        yield
