"""Ways to call Keras: with tensors, with arrays, in NumPy, or in a compiled function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from quantcheck.targets.keras.config import Unsupported


def tensor(array: NDArray[Any]) -> Any:
    """Turn the array into a tensor of the backend."""
    import keras

    return keras.ops.convert_to_tensor(array)


def called(call: Callable[..., Any], x: NDArray[Any], route: str) -> Any:
    """Return the results of a function by a route.  [FOUR-130]"""
    if route == "numpy":
        return call(tensor(x), to_numpy=True)
    if route == "compiled":
        return compiled(call)(tensor(x))
    return call(tensor(x), to_numpy=False) if route == "tensor" else call(x)


def compiled(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors as the backend compiles it.

    Raises
    ------
    Unsupported
        The backend compiles no functions, or needs a compiler of C++ for it, as PyTorch does.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.jit(call)  # type: ignore[no-any-return]
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(call)  # type: ignore[no-any-return]
    raise Unsupported(f"no functions are compiled on {backend}")


def of_release(name: str) -> Any:
    """Return a function of `keras.quantizers` that some releases lack."""
    import keras

    function = getattr(keras.quantizers, name, None)
    if function is None:
        raise Unsupported(f"Keras {keras.__version__} has no {name}")
    return function
