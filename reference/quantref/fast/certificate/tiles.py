"""Tiles of the arrays of a certificate, of a size that stays in the cache."""

from __future__ import annotations

from collections.abc import Iterator

ELEMENTS, COLUMNS = 2**16, 128  # largest size of a tile
FEWEST_ROWS = 64  # of a tile


def column_tiles(n_out: int, n_in: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of tiles that stay in the cache.

    Examples
    --------
    >>> list(column_tiles(3, 5))
    [(slice(0, 3, None), slice(0, 5, None))]
    >>> [(rows.stop, columns.stop) for rows, columns in column_tiles(600, 130)]
    [(512, 128), (600, 128), (600, 130)]
    """
    for start in range(0, n_in, COLUMNS):
        columns = slice(start, min(start + COLUMNS, n_in))
        for rows in stretches(n_out, columns.stop - start):
            yield rows, columns


def stretches(n_out: int, columns: int) -> Iterator[slice]:
    """Yield stretches of rows: `columns` columns of a stretch stay in the cache.

    Examples
    --------
    >>> list(stretches(600, 128))
    [slice(0, 512, None), slice(512, 600, None)]
    """
    step = max(ELEMENTS // columns, FEWEST_ROWS)
    for start in range(0, n_out, step):
        yield slice(start, min(start + step, n_out))
