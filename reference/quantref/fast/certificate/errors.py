"""The errors E = (W − Ŵ) R of an answer: in float64, and in float32 where that settles most codes.

In float32 the product is (W − Ŵ) M, the residuals, in half the time. How far they are off is
measured in signed sums of rows, and most are farther than that from half a step. What remains is
computed in float64, so verdicts and figures are those of float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantref.certificate import LIKELY
from quantref.checks import evenly_spaced
from quantref.fast.certificate.sums import SignedSums
from quantref.fast.hessian import bands
from quantref.inputs import Array

LEAST_DISPLACED = 2.0**-500  # of a sum of squares by which is divided
LAST = 16  # columns whose products are in float64


@dataclass(frozen=True, eq=False)
class RoughErrors:
    """Residuals w' − ŵ in float32, and how far they are: at most of_row_i · of_column_j.

    Attributes
    ----------
    residuals : (n_out, n_in) float32 array
    of_row : (n_out,) float64 array
        Largest |w − ŵ| of each row.
    of_column : (n_in,) float64 array
    length : (n_in,) float64 array
        ‖M_:j‖.
    displaced : float
        Σ (w − ŵ)² of all weights.
    signed : (sums, n_in) float64 array
        Sums f of rows of E.
    row_length : (n_out,) float64 array
        At least ‖E‖₂ of the rows from which undecided codes are counted; infinite for the others.
    """

    residuals: NDArray[np.float32]
    of_row: NDArray[np.float64]
    of_column: NDArray[np.float64]
    length: NDArray[np.float64]
    displaced: float
    signed: NDArray[np.float64]
    row_length: NDArray[np.float64]


def rough_errors(
    difference: NDArray[np.float32],
    R: Array,
    M: NDArray[np.float32],
    of_last: Array,
    largest: Array,
    displaced: float,
    sums: SignedSums,
) -> RoughErrors | None:
    """Return residuals in float32, in the memory of `difference`, or None if it cannot hold them.

    The deviation of a sum of rows with random signs has the sum of their squared deviations as its
    mean square. So have the means over the sums and columns of a band, within some per cent: the
    largest band counts, with twice its mean square. A deviation is taken to be proportional to the
    size of its terms, which is at most the largest |w − ŵ| of the row times ‖M_:j‖. The last
    columns, where large terms cancel, are products in float64.

    Parameters
    ----------
    difference : (n_out, n_in) float32 array in Fortran order
        W − Ŵ.
    R : (n_in, n_in) float64 array
    M : (n_in, n_in) float32 array
        R / diag(R).
    of_last : (n_out, LAST) float64 array
        Residuals of the last columns.
    largest : (n_out,) float64 array
        Largest |w − ŵ| of each row.
    displaced : float
        Σ (w − ŵ)² of all weights.
    sums : SignedSums
    """
    size = R.diagonal()
    length = np.sqrt(np.einsum("ij,ij->j", M, M)).astype(np.float64)
    if not (max(largest.max(), length.max(), size.max()) < 2.0**40 and size.min() > 2.0**-20):
        return None
    last = slice(len(R) - LAST, len(R))
    residuals = times_upper(difference, M)
    residuals[:, last] = of_last
    deviation = np.empty(sums.d.shape)
    for k, rows in enumerate(sums.rows):
        deviation[k] = sums.signs[rows].astype(np.float32) @ residuals[rows]
    signed = np.hstack([sums.d[:, : band.stop] @ R[: band.stop, band] for band in bands(len(R))])
    deviation -= signed / size
    deviation *= deviation
    deviation /= length**2
    deviation *= len(R) / max(displaced, LEAST_DISPLACED)
    parts = [deviation[:, band].mean(axis=1).sum() for band in bands(last.start)]
    mean = np.repeat([max(parts), deviation[:, last].mean(axis=1).sum()], [last.start, LAST])
    of_column = LIKELY * np.sqrt(2 * mean) * length
    of_row = np.where(largest > 0, np.maximum(largest, 2.0**-80), 0.0)  # nothing underflows unseen
    row_length = np.full(len(residuals), np.inf)
    few = evenly_spaced(len(residuals))
    errors = residuals.T.take(few, axis=1) * size[:, None]
    off = of_row[few] * np.linalg.norm(of_column * size)
    row_length[few] = np.linalg.norm(errors, axis=0) + off
    return RoughErrors(residuals, of_row, of_column, length, displaced, signed, row_length)


def times_upper(matrix: Array, upper: Array) -> Array:
    """Return matrix · upper in the memory of `matrix`, which is in Fortran order.

    Both are float64, or both float32.
    """
    from scipy.linalg.blas import dtrmm, strmm

    stored = (
        {"a": upper, "lower": 0, "trans_a": 0}
        if upper.flags.f_contiguous
        else {"a": np.ascontiguousarray(upper).T, "lower": 1, "trans_a": 1}
    )
    trmm = strmm if matrix.dtype == np.float32 else dtrmm
    return np.asarray(trmm(1.0, b=matrix, side=1, overwrite_b=1, **stored))
