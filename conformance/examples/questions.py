"""What the example quantizers share: questions read and checked, answers written.

Sections 4 and 7 of SPEC.md say what has to be refused before any work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from quantcheck.wire.arrays import decode, encode

FLOATS = ("float16", "bfloat16", "float32", "float64")
Operation = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]


class RefusedError(Exception):
    """The input is refused in a controlled way."""


class UnsupportedError(Exception):
    """The example does not have this."""


class Example:
    """A quantizer as `python:MODULE:OBJECT` wants it: called with a question, it answers.

    Parameters
    ----------
    name : str
    operations : dict
        What it has: from decoded inputs and parameters to outputs.
    """

    version = "1"
    precision = "float32"
    choices = ("all",)  # written from SPEC.md, so it follows what SPEC.md chose too

    def __init__(self, name: str, operations: dict[str, Operation]) -> None:
        self.name, self.operations = name, operations

    def __call__(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a question of the wire format."""
        operation = self.operations.get(question["operation"])
        if operation is None:
            return {"unsupported": f"no operation {question['operation']}"}
        try:
            outputs = operation(decode(question["inputs"]), question["parameters"])
        except RefusedError as error:
            return {"refused": str(error)}
        except UnsupportedError as error:
            return {"unsupported": str(error)}
        return {"outputs": encode(outputs)}


def _require(*, holds: bool, wanted: str) -> None:
    if not holds:
        raise RefusedError(f"expected {wanted}")


def _finite(x: Any, name: str) -> None:
    _require(holds=x.dtype.name in FLOATS, wanted=f"{name} of a float dtype, got {x.dtype.name}")
    _require(holds=x.size > 0, wanted=f"{name} with elements, got shape {x.shape}")
    finite = bool(np.isfinite(x.astype(np.float64)).all())
    _require(holds=finite, wanted=f"finite {name}")


def check_gptq(inputs: dict[str, Any], parameters: dict[str, Any]) -> None:
    """Refuse what section 7 refuses."""
    weights, hessian = inputs["weights"], inputs["hessian"]
    _finite(weights, "weights")
    _finite(hessian, "hessian")
    _require(holds=weights.ndim == 2, wanted="weights (n_out, n_in)")
    n_in, block_size = weights.shape[1], parameters["block_size"]
    _require(holds=block_size >= 1, wanted=f"block_size of at least 1, got {block_size}")
    _require(holds=hessian.shape == (n_in, n_in), wanted=f"hessian ({n_in}, {n_in})")
    h = hessian.astype(np.float64)
    diagonal = np.diagonal(h)
    _require(holds=bool((diagonal >= 0).all()), wanted="a diagonal >= 0")
    sizes = np.sqrt(np.outer(diagonal, diagonal))
    symmetric = bool((np.abs(h - h.T) <= 2.0**-16 * sizes).all())
    _require(holds=symmetric, wanted="a symmetric hessian, zeros beside zeros of the diagonal")
    _require(holds=not h[diagonal == 0].any(), wanted="zeros beside a zero of the diagonal")
    _require(holds=parameters["bits"] in (2, 3, 4, 8), wanted="bits in 2, 3, 4, 8")
    size = parameters["group_size"]
    _require(holds=size == -1 or size >= 1, wanted="group_size >= 1, or -1")
    _require(holds=0 <= parameters["damping"] <= 1, wanted="damping in [0, 1]")


def check_factor(diagonal: Any, pivots: Any) -> None:
    """Refuse a hessian whose factor has a pivot lost in rounding, NaN included.  (HES-080)"""
    smallest = (len(diagonal) + 4) * 2.0**-24 * diagonal
    _require(holds=bool((pivots > smallest).all()), wanted="a hessian with a factor: more damping")


def check_abs_max(inputs: dict[str, Any], parameters: dict[str, Any]) -> tuple[int, ...]:
    """Refuse what section 4 refuses; return the axes, counted from 0."""
    x, axis = inputs["x"], parameters["axis"]
    _finite(x, "x")
    given = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    axes = tuple(a + x.ndim if a < 0 else a for a in given)
    inside = all(0 <= a < x.ndim for a in axes) and len(set(axes)) == len(axes)
    _require(holds=inside, wanted=f"distinct axes of rank {x.ndim}")
    lo, hi = parameters["value_range"]
    bounds = np.iinfo(parameters["output_dtype"])
    _require(holds=bounds.min <= lo <= 0 < hi <= bounds.max, wanted="lo <= 0 < hi")
    epsilon = parameters["epsilon"]
    usable = math.isfinite(epsilon) and epsilon > hi / float(np.finfo(np.float32).max)
    _require(holds=usable, wanted="a positive epsilon")
    return axes


def group_of_position(n_in: int, group_size: int) -> Any:
    """Return the group of each position in the order, int32."""
    size = n_in if group_size == -1 else min(group_size, n_in)
    return (np.arange(n_in) // size).astype(np.int32)
