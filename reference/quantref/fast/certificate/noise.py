"""Variances of the errors of weights and gradients: how far errors move them, and by what.

See `quantref.certificate.largest_moves` and `factor_noise` for the plain forms (SPEC.md, section
8). Here the columns are taken one after the other, and the matrices with n_in² variances in bands
that need not be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quantref.certificate import STOP
from quantref.fast.hessian import bands
from quantref.inputs import Array

MOVED = 2**15  # weights whose displacements and gradients are in the cache


class Moves:
    """What `quantref.certificate.largest_moves` returns, of rows with errors E, column by column.

    Parameters
    ----------
    E : (rows, n_in) float64 array
    R, U : (n_in, n_in) float64 arrays

    Examples
    --------
    >>> moves = Moves(np.array([[3.0, -1.0]]), np.eye(2), np.eye(2))
    >>> moves.up_to(1)[0].tolist(), moves.up_to(2)[0].tolist()
    ([[3.0, 0.0]], [[3.0, 1.0]])
    """

    def __init__(self, E: Array, R: Array, U: Array) -> None:
        self._E, self._R, self._U = E, R, U
        self._displacement, self._gradient, self._A, self._G = np.zeros((4, *E.shape))
        self._done = 0

    def up_to(self, horizon: int) -> tuple[Array, Array]:
        """Return A and G, (rows, n_in) each, after so many columns; more than the last time.

        The next call overwrites them. Some rows at a time stay in the cache, and only weights that
        an error reaches are moved.
        """
        count = max(MOVED // len(self._R), 1)
        for first in range(0, len(self._E), count):
            for start in range(self._done, horizon, STOP):
                done = slice(start, min(start + STOP, horizon))
                self._add(slice(first, first + count), done)
        self._done = horizon
        return self._A, self._G

    def _add(self, rows: slice, done: slice) -> None:
        """Add the displacements and gradients of some columns' errors."""
        errors, R, U = self._E[rows, done], self._R, self._U
        for moved, largest, matrix, reached in (
            (self._displacement, self._A, U[done, done.start :], slice(done.start, None)),
            (self._gradient, self._G, R[: done.stop, done].T, slice(done.stop)),
        ):  # U[j, k] = 0 for j > k, and R[k, j] = 0 for j < k
            part = moved[rows, reached]
            part += errors @ matrix
            np.maximum(largest[rows, reached], np.abs(part), out=largest[rows, reached])


@dataclass(frozen=True, eq=False)
class FactorNoise:
    """Products with Θ(H) of a symmetric matrix H with diagonal h, (n_in, n_in), in bands.

    The elements of Θ(H)_kl / (h_k h_l) are in 1 … n_in + 1.

    Attributes
    ----------
    diagonal : (n_in,) float64 array
        h.

    Examples
    --------
    >>> H = np.array([[2.0, 1.0], [1.0, 1.0]])
    >>> noise = FactorNoise(H.diagonal())
    >>> noise.spread(np.eye(2), lambda band: H[band.start :, band].copy()), noise.most(np.eye(2))
    (array([[12.,  4.],
           [ 4.,  3.]]), array([[12.,  6.],
           [ 6.,  3.]]))
    """

    diagonal: NDArray[np.float64]
    _kept: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def spread(
        self, squares: Array, below: Callable[[slice], Array], *, keep: bool = False
    ) -> NDArray[np.float64]:
        """Return squares · Θ(H), (rows, n_in); the squares are overwritten.

        `below`: returns the columns of a band of H from the diagonal on, in memory that may be
        overwritten. `keep`: keep the bands for another time, in single precision.
        """
        squares *= self.diagonal
        out = np.zeros_like(squares)
        for k, band in enumerate(bands(len(self.diagonal))):
            part = self._kept[k] if k in self._kept else self._part(band, below(band))
            out[:, band] += squares[:, band.start :] @ part
            out[:, band.stop :] += squares[:, band] @ part[band.stop - band.start :].T
            if keep and k not in self._kept:
                self._kept[k] = part.astype(np.float32)
            del part  # before the next one takes as much memory
        out *= self.diagonal
        return out

    def most(self, squares: Array) -> NDArray[np.float64]:
        """Return an upper bound of `spread`, which is found sooner; it overwrites nothing."""
        n_in = len(self.diagonal)
        return np.outer(squares @ self.diagonal * (n_in + 1), self.diagonal)

    def _part(self, band: slice, part: Array) -> Array:
        """Turn a band of columns of H, from the diagonal on, into Θ(H)_kl / (h_k h_l)."""
        inverse = 1 / np.sqrt(self.diagonal)
        part *= inverse[band.start :, None]
        part *= inverse[band]
        np.square(part, out=part)
        part *= len(inverse)
        part += 1
        return part
