"""Causes of section LAY: scales of EinsumDense from which axes of another place are squeezed.

Scales are transposed to the order of the outputs, with an axis of size 1 for each contracted axis.
Where the outputs have no place for such an axis, Keras squeezes it. It takes the number that the
axis had before the transposition, so that the axis with that number may be a kept one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantcheck.deviations.causes.cause import Asked, near
from quantcheck.deviations.causes.gptq import shapes_of_refusal
from quantcheck.wire.cases import Case
from quantref.equations import Equation, parse_equation

RELATIVE = 0.02  # of the largest output: a code of an activation near a tie may be the other one


@dataclass(frozen=True)
class Squeezed:
    """A scale before the squeeze.

    Attributes
    ----------
    shape : tuple of int
        Transposed, with the axes that the outputs have in addition.
    squeezed : tuple of int
        The axes that are squeezed.
    """

    shape: tuple[int, ...]
    squeezed: tuple[int, ...]

    @property
    def kept(self) -> bool:
        """Whether an axis of another size than 1 is squeezed."""
        return any(self.shape[axis] != 1 for axis in self.squeezed)

    def without(self, *, strict: bool) -> tuple[int, ...]:
        """Return the shape without the squeezed axes; unless `strict`, only those of size 1 go."""
        return tuple(
            size
            for axis, size in enumerate(self.shape)
            if axis not in self.squeezed or (size != 1 and not strict)
        )


def _scales(case: Case) -> tuple[Squeezed, Squeezed]:
    """Return the scales of inputs and kernel, as `_analyze_quantization_info` of Keras has them."""
    equation: Equation = parse_equation(case.parameters["equation"])
    place = equation.outputs.find(equation.kernel[-1])  # of the last axis that was inserted
    made = []
    for letters, array in ((equation.inputs, "x"), (equation.kernel, "kernel")):
        added = [n for n, letter in enumerate(equation.outputs) if letter not in letters]
        order = [letters.find(letter) for letter in equation.outputs if letter in letters]
        squeezed = []
        contracted = [n for n, letter in enumerate(letters) if letter not in equation.outputs]
        for axis in contracted:
            if added:
                place = added.pop(0)
            else:
                squeezed.append(axis)
            order.insert(place, axis)
        sizes = case.inputs[array].shape
        shape = [1 if axis in contracted else sizes[axis] for axis in order]
        for axis in added:
            shape.insert(axis, 1)
        made.append(Squeezed(tuple(shape), tuple(squeezed)))
    return made[0], made[1]


def squeezes_kept_axes(case: Case) -> bool:
    """Tell whether a kept axis is squeezed from the scales of the kernel or of the inputs."""
    if "..." in case.parameters["equation"] or "refused" in case.expected:
        return False
    inputs, kernel = _scales(case)
    arguments = case.parameters["config"]["arguments"]
    quantized = arguments.get("activation_quantizer", "default") is not None
    return kernel.kept or (quantized and inputs.kept)


def squeeze_refused(asked: Asked) -> bool:
    """Predict that the backend refuses to squeeze an axis of another size than 1."""
    return squeezes_kept_axes(asked.case) and asked.raised("ValueError", r"(?i)\bsqueeze\b")


def squeeze_ignored(asked: Asked) -> bool:
    """Predict what a backend returns that leaves axes of another size than 1 as they are.

    The scales of the kernel do not fit their variable, and are refused with both shapes. Those of
    the inputs give the right outputs an additional axis.
    """
    if not squeezes_kept_axes(asked.case):
        return False
    inputs, kernel = _scales(asked.case)
    if kernel.kept:
        shapes = kernel.without(strict=True), kernel.without(strict=False)
        return shapes_of_refusal(asked) == shapes
    expected = asked.case.expected["outputs"]["values"]
    shape = np.broadcast_shapes(expected.shape, inputs.without(strict=False))
    bound = RELATIVE * np.abs(expected).max(initial=0.0)
    return near(asked.array("values", shape), np.broadcast_to(expected, shape), bound)
