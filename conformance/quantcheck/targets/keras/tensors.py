"""Tensors of any backend as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_numpy(tensor: Any) -> NDArray[Any]:
    """Turn a tensor or variable of any backend into an array of the same dtype, a copy."""
    import keras

    return np.array(keras.ops.convert_to_numpy(tensor))
