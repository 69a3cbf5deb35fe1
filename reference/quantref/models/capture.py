"""Sums the Hessians of layers while a block runs; the inputs themselves are not kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from copy import deepcopy

import numpy as np
from numpy.typing import NDArray

from quantref.errors import CalibrationError, NonFiniteError
from quantref.fast.hessian import HessianAccumulator
from quantref.inputs import Array


class AllLayersSeen(BaseException):
    """Raised by a watcher when it has seen all its layers; it ends the run of the block.

    It does not derive from `Exception`, since frameworks catch exceptions to extend their messages.
    """


class Watcher:
    """Records the inputs of layers during one run of a block.

    Parameters
    ----------
    calls : dict of str to int
        How often the block calls each layer to watch. Other layers are ignored. After the last of
        these calls the run is ended.
    """

    def __init__(self, calls: dict[str, int]) -> None:
        self.inputs: dict[str, list[Array]] = {name: [] for name in calls}
        self._left = dict(calls)

    def __call__(self, name: str, inputs: Array) -> None:
        """Record the inputs (..., n_in) of one call of a layer."""
        if name not in self._left:
            return
        self.inputs[name].append(inputs)
        self._left[name] -= 1
        if all(left <= 0 for left in self._left.values()):
            raise AllLayersSeen


class Scout:
    """Records which layers a block calls, in which order, and which of them get the same inputs."""

    def __init__(self) -> None:
        self._seen: dict[str, list[bytes]] = {}

    def __call__(self, name: str, inputs: Array) -> None:
        """Record one call of a layer."""
        self._seen.setdefault(name, []).append(digest(inputs))

    @property
    def calls(self) -> dict[str, int]:
        """How often each layer was called, in the order of the first calls."""
        return {name: len(digests) for name, digests in self._seen.items()}

    @property
    def stages(self) -> list[list[str]]:
        """Groups of layers with the same inputs, in the order of the first calls.

        No layer of a group gets the output of another one, so that they may be quantized together.

        Examples
        --------
        >>> scout, x = Scout(), np.eye(2)
        >>> for name, inputs in (("query", x), ("key", x), ("out", x + 1)):
        ...     scout(name, inputs)
        >>> scout.stages
        [['query', 'key'], ['out']]
        """
        found: dict[tuple[bytes, ...], list[str]] = {}
        for name, digests in self._seen.items():
            found.setdefault(tuple(digests), []).append(name)
        return list(found.values())


def digest(array: Array) -> bytes:
    """Return a hash of the shape and the bytes of an array.

    Examples
    --------
    >>> digest(np.eye(2)) == digest(np.eye(2).T), digest(np.eye(2)) == digest(np.eye(2)[:1])
    (True, False)
    """
    contiguous = np.ascontiguousarray(array)
    found = hashlib.blake2b(repr((array.shape, array.dtype.name)).encode(), digest_size=16)
    found.update(contiguous.view(np.uint8).reshape(-1).data)
    return found.digest()


class Hessians:
    """One Hessian for all layers whose inputs have been the same so far.

    Parameters
    ----------
    names : iterable of str
        Layers.

    Notes
    -----
    Memory: for each different input two n_in² matrices, one of float64 and one of float32, and the
    inputs of one run.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._groups: list[tuple[list[str], HessianAccumulator | None]] = [(list(names), None)]

    def add(self, inputs: dict[str, list[Array]], first_window: int) -> None:
        """Add the inputs of one run; layers with different inputs get separate Hessians.

        Parameters
        ----------
        inputs : dict
            Of each layer, the inputs (windows, ..., n_in) of its calls.
        first_window : int
            Index of the first window, for messages.

        Raises
        ------
        CalibrationError
            A layer was not called, or got NaN or infinity.
        """
        groups: list[tuple[list[str], HessianAccumulator | None]] = []
        for names, total in self._groups:
            alike: dict[tuple[bytes, ...], list[str]] = {}
            for name in names:
                if not inputs[name]:
                    got = f"no call for window {first_window}"
                    raise CalibrationError(f"layer {name} to be called", got, "")
                # A single layer needs no comparison.
                seen = tuple(digest(x) for x in inputs[name]) if len(names) > 1 else ()
                alike.setdefault(seen, []).append(name)
            sums = [total, *(deepcopy(total) for _ in range(len(alike) - 1))]
            for members, held in zip(alike.values(), sums, strict=True):
                calls = inputs[members[0]]
                added = held or HessianAccumulator(calls[0].shape[-1], dtype=np.float32)
                for x in calls:
                    _update(added, x, members, first_window)
                groups.append((members, added))
        self._groups = groups

    def finish(self) -> list[tuple[list[str], NDArray[np.float64], int]]:
        """Return for each sum: its layers, its Hessian, and its number of tokens."""
        found = []
        for names, total in self._groups:
            if total is None:
                raise CalibrationError("at least one window", "none", "")
            tokens = total.tokens
            found.append((names, total.finish(), tokens))
        self._groups = []
        return found


def _update(total: HessianAccumulator, x: Array, names: list[str], first_window: int) -> None:
    try:
        total.update(x)
    except NonFiniteError:
        wrong = ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
        window = first_window + int(np.argmax(wrong))
        expected = f"finite inputs of layer {' and '.join(names)}"
        raise CalibrationError(expected, f"NaN or infinity in window {window}", "") from None
