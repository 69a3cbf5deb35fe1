"""Dtype policies of layers: in which dtype a layer computes, and in which it stores (section 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantcheck.wire.arrays import dtype_of

UNITS = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
SMALLEST = {"float32": 2.0**-149, "bfloat16": 2.0**-133, "float16": 2.0**-24}


@dataclass(frozen=True)
class DtypePolicy:
    """A policy of layers.

    Attributes
    ----------
    name : str
    compute, variable : str
        Dtype of inputs and outputs, and dtype of scales and float variables.
    """

    name: str
    compute: str
    variable: str

    @property
    def compute_dtype(self) -> np.dtype[Any]:
        """Dtype of the outputs."""
        return dtype_of(self.compute)

    @property
    def variable_dtype(self) -> np.dtype[Any]:
        """Dtype of stored scales."""
        return dtype_of(self.variable)

    @property
    def half(self) -> bool:
        """Whether the layer computes in half precision."""
        return self.compute != "float32"


DTYPE_POLICIES = {
    "float32": DtypePolicy("float32", "float32", "float32"),
    "mixed_bfloat16": DtypePolicy("mixed_bfloat16", "bfloat16", "float32"),
    "mixed_float16": DtypePolicy("mixed_float16", "float16", "float32"),
    "bfloat16": DtypePolicy("bfloat16", "bfloat16", "bfloat16"),
    "float16": DtypePolicy("float16", "float16", "float16"),
}

CALLED, TRAINING, COMPILED = "called", "training", "compiled"
COMPILED_TRAINING = "compiled training"
CLONED, SERIALIZED, TWICE = "cloned", "serialized", "quantized twice"
LAYER_USES = (CALLED, TRAINING, COMPILED, COMPILED_TRAINING, CLONED, SERIALIZED, TWICE)
COPIED = (CLONED, SERIALIZED)
CALLS = (TRAINING, COMPILED, COMPILED_TRAINING)

ALONE, IN_MODEL, CALLED_TWICE = "alone", "in a model", "called twice in a model"
IN_BLOCK, IN_LAYER = "in a block", "in a block of a layer"
LAYER_PLACES = (ALONE, IN_MODEL, CALLED_TWICE, IN_BLOCK, IN_LAYER)


def policy_of(parameters: Mapping[str, Any]) -> DtypePolicy:
    """Return the policy of a question on a layer, float32 if it names none.

    Examples
    --------
    >>> policy_of({}).compute, policy_of({"policy": "mixed_bfloat16"}).variable
    ('float32', 'float32')
    """
    return DTYPE_POLICIES[parameters.get("policy", "float32")]


def use_of(parameters: Mapping[str, Any]) -> str:
    """Return what is done with the layer of a question, beside saving it: one of `LAYER_USES`.

    Examples
    --------
    >>> use_of({}), use_of({"use": "cloned"})
    ('called', 'cloned')
    """
    return str(parameters.get("use", CALLED))


CALIBRATED_WITH: dict[str, tuple[str, ...]] = {
    "dataset": (
        "list of arrays", "generator of arrays", "one array", "list of strings",
        "generator of strings",
    ),
    "tokenizer": ("object", "callable"),
    "structure": ("given", "null", "left out"),
}  # fmt: skip
"""With what a model of a packed layer is calibrated: the forms of each."""
CALIBRATED_BADLY: dict[str, tuple[str, ...]] = {
    "dataset": ("one string", "no tokens"),
    "tokenizer": ("none",),
    "structure": ("no blocks",),
}
"""Further forms, which have to be refused."""


def place_of(parameters: Mapping[str, Any]) -> str:
    """Return where the layer of a question stands: one of `LAYER_PLACES`.

    Examples
    --------
    >>> place_of({}), place_of({"place": "in a block"})
    ('alone', 'in a block')
    """
    return str(parameters.get("place", ALONE))
