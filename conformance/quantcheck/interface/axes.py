"""The axes of the table: operations, dtype policies, kinds of layer, and uses of a result."""

from __future__ import annotations

from itertools import combinations

from quantcheck.wire.policies import DTYPE_POLICIES

OPERATIONS = {
    "described": "made, described by its fields, and made again from JSON",
    "array": "called on an array",
    "windows": "calibration windows drawn",
    "algorithm": "weights quantized by GPTQ with a Hessian",
    "layer": "a layer quantized",
    "weights": "a layer quantized, as its weight quantizer",
    "activations": "a layer quantized, as its activation quantizer",
    "model": "a model quantized",
}
"""What an argument reaches."""
OF_ONE_LAYER = ("layer", "weights", "activations")
WITH_LAYERS = (*OF_ONE_LAYER, "model")

POLICIES = tuple(DTYPE_POLICIES)
"""Dtype policies; for an array alone, its dtype."""

NO_LAYER = "no layer"
DENSE, EMBEDDING = "Dense", "Embedding"
TIED, UNTIED = "ReversibleEmbedding, tied", "ReversibleEmbedding, untied"
BATCHED = "EinsumDense, axis shared with inputs"
SHARED = "Dense, called twice in a model"
IN_BLOCK = "Dense in a block of a model"
IN_LAYER = "Dense in a block inside a layer"
OF_MODELS = (SHARED, IN_BLOCK, IN_LAYER)
LOOKED_UP = (EMBEDDING, TIED, UNTIED)
RANKS = (2, 3, 4)


def einsum(rank: int, contracted: tuple[int, ...]) -> str:
    """Return the name of an EinsumDense by its kernel's rank and contracted axes.

    Examples
    --------
    >>> einsum(3, (0, 1))
    'EinsumDense, kernel of rank 3, contracted axes 0, 1'
    """
    word = "axes" if len(contracted) > 1 else "axis"
    listed = ", ".join(map(str, contracted))
    return f"EinsumDense, kernel of rank {rank}, contracted {word} {listed}"


def einsum_of(equation: str) -> str:
    """Return the name of the EinsumDense of an equation.

    Examples
    --------
    >>> einsum_of("abcd,cde->abe")
    'EinsumDense, kernel of rank 3, contracted axes 0, 1'
    >>> einsum_of("abc,bcd->abd")
    'EinsumDense, axis shared with inputs'
    """
    operands, _, outputs = equation.partition("->")
    inputs, _, kernel = operands.partition(",")
    if any(letter in inputs and letter in outputs for letter in kernel):
        return BATCHED
    return einsum(len(kernel), tuple(n for n, letter in enumerate(kernel) if letter in inputs))


EINSUMS = tuple(
    einsum(rank, axes)
    for rank in RANKS
    for count in range(1, rank + 1)
    for axes in combinations(range(rank), count)
)
LAYERS = (NO_LAYER, DENSE, *EINSUMS, BATCHED, EMBEDDING, TIED, UNTIED, SHARED, IN_BLOCK, IN_LAYER)


def family(layer: str) -> str:
    """Return the name of a kind of layer without its contracted axes.

    Examples
    --------
    >>> family(einsum(3, (0, 1)))
    'EinsumDense, kernel of rank 3'
    """
    return layer.partition(", contracted")[0]


MADE, CALLED, TRAINED = "made", "called", "called in training"
COMPILED, COMPILED_TRAINED = "called compiled", "called compiled in training"
CODES, SAVED, CLONED = "against its codes", "saved and loaded", "cloned"
SERIALIZED, TWICE = "serialized", "quantized twice"
USES = {
    MADE: "made, and its fields, codes and scales read",
    CALLED: "called eagerly, for inference",
    TRAINED: "called eagerly, in training",
    COMPILED: "called in a compiled function, for inference",
    COMPILED_TRAINED: "called in a compiled function, in training",
    CODES: "called, against what its own stored codes mean",
    SAVED: "saved, loaded in a fresh process, and called again",
    CLONED: "cloned",
    SERIALIZED: "serialized and deserialized by the public functions",
    TWICE: "quantized twice",
}
"""What is done with the result."""
