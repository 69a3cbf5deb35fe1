"""Signed sums of rows, by which a certificate checks its own arithmetic (SPEC.md, CERT-110)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quantref.fast.hessian import bands
from quantref.fast.problem import GPTQProblem
from quantref.inputs import Array


@dataclass(frozen=True, eq=False)
class SignedSums:
    """Signed sums of rows of W − Ŵ, for CERT-110.

    Attributes
    ----------
    rows : tuple of slice
        The rows of each sum.
    signs : (n_out,) array of −1 and 1
    d : (sums, n_in) float64 array
    loss : (sums,) float64 array
        d H dᵀ of each sum d.
    """

    rows: tuple[slice, ...]
    signs: Array
    d: Array
    loss: Array


def rows_of_sums(sums: SignedSums, rows: slice) -> Iterator[tuple[int, int, int]]:
    """Yield the sums that rows are in: number of the sum, first and last row + 1 in `rows`."""
    for k, of_sum in enumerate(sums.rows):
        first, stop = max(of_sum.start, rows.start), min(of_sum.stop, rows.stop)
        if first < stop:
            yield k, first, stop


def add_signed_rows(out: Array, tile: Array, rows: slice, sums: SignedSums) -> None:
    """Add the rows of a tile (columns, rows) to the sums (columns, sums) that they are in."""
    for k, first, stop in rows_of_sums(sums, rows):
        signs = sums.signs[first:stop].astype(tile.dtype)
        out[:, k] += tile[:, first - rows.start : stop - rows.start] @ signs


def quadratic(problem: GPTQProblem, d: Array) -> Array:
    """Return d H dᵀ of every row d; H is the damped Hessian, and half of it is read."""
    prepared, original = problem.prepared, _in_original_order(problem, d)
    added = prepared.diagonal - np.diagonal(prepared.hessian)
    found = (original**2) @ added
    for band in bands(len(added)):
        own, after = original[:, band], original[:, band.stop :]
        part = own @ prepared.hessian[band, band]
        part += 2 * (after @ prepared.hessian[band, band.stop :].T)
        found += (part * own).sum(axis=1)
    return np.asarray(found)


def quadratic_variance(problem: GPTQProblem, d: Array) -> Array:
    """Return the variance of d H dᵀ by the rounding of H's factor, in units of u² / 3.  [CERT-110]

    See `quantref.certificate.check_loss_identity`.
    """
    original, product = _product(problem, d)
    prepared, squares = problem.prepared, original**2
    h, own = prepared.diagonal, np.diagonal(prepared.hessian)
    spread = product**2 + squares * (h**2 - own**2)
    for band in bands(len(h)):
        spread[:, band] += squares @ prepared.hessian[:, band] ** 2
    return np.asarray(len(h) * (spread * squares).sum(axis=1) + (squares @ h) ** 2)


def _product(problem: GPTQProblem, d: Array) -> tuple[Array, Array]:
    """Return d and d H with columns in the original order."""
    prepared, original = problem.prepared, _in_original_order(problem, d)
    added = prepared.diagonal - np.diagonal(prepared.hessian)
    return original, original @ prepared.hessian + original * added


def _in_original_order(problem: GPTQProblem, d: Array) -> Array:
    original = np.empty_like(d)
    original[:, problem.prepared.order] = d
    return original
