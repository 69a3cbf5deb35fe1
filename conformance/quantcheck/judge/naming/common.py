"""What functions that explain answers share."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantref.inputs import Array

Outputs = dict[str, Any]
Explanation = list[str]


def only(wrong: Array, where: Array) -> bool:
    """Tell whether an element is wrong, and every wrong element is in `where`."""
    return bool(wrong.any() and not (wrong & ~where).any())


def off(got: Array, expected: Array, tolerance: float) -> Array:
    """Return where `got` differs from `expected` beyond a relative tolerance, or is NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray(~(np.abs(got - expected) <= tolerance * np.abs(expected)))
