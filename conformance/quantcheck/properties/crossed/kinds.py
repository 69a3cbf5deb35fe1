"""The kinds of layer that are crossed, each with one shape, so that backends compile little."""

from __future__ import annotations

from dataclasses import dataclass

from quantcheck.properties.kernels import KERNELS, SIZES
from quantref.equations import parse_equation

DENSE, EINSUM, EMBEDDING, REVERSIBLE = "dense", "einsum_dense", "embedding", "reversible_embedding"


@dataclass(frozen=True)
class LayerKind:
    """A kind of layer.

    Attributes
    ----------
    family : str
        The beginning of the names of its operations.
    kernel, inputs : tuple of int
        Shapes of the weights and of the inputs; tokens of an embedding have two axes.
    equation : str or None
        That of an EinsumDense.
    tied : bool
        Whether the reverse of a ReversibleEmbedding has no kernel of its own.
    """

    family: str
    kernel: tuple[int, ...]
    inputs: tuple[int, ...]
    equation: str | None = None
    tied: bool = True

    @property
    def untied(self) -> bool:
        """Whether the layer has two kernels, with different contracted axes."""
        return self.family == REVERSIBLE and not self.tied

    @property
    def looked_up(self) -> bool:
        """Whether the layer is an embedding."""
        return self.family in (EMBEDDING, REVERSIBLE)

    @property
    def contracted(self) -> tuple[int, ...]:
        """The contracted axes of the weights.

        Examples
        --------
        >>> LayerKind(DENSE, (6, 5), (3, 6)).contracted
        (0,)
        """
        if self.equation is not None:
            parsed = parse_equation(self.equation, len(self.inputs))
            return tuple(parsed.axes(parsed.kernel))
        return (1,) if self.looked_up else (0,)


def _einsum(equation: str, shape: tuple[int, ...], contracted: tuple[int, ...]) -> LayerKind:
    return LayerKind(EINSUM, shape, (2, *(shape[n] for n in contracted)), equation)


EINSUMS = tuple(_einsum(k.equation, SIZES[: k.rank], k.contracted) for k in KERNELS)
BATCHED = LayerKind(EINSUM, (2, 3, 4), (2, 2, 3), "abc,bcd->abd")
LOOKED_UP = (
    LayerKind(EMBEDDING, (7, 4), (2, 3)),
    LayerKind(REVERSIBLE, (7, 4), (2, 3)),
    LayerKind(REVERSIBLE, (7, 4), (2, 3), tied=False),
)
WITH_KERNEL = (LayerKind(DENSE, (6, 5), (3, 6)), *EINSUMS, BATCHED)
LAYER_KINDS = (*WITH_KERNEL, *LOOKED_UP)
