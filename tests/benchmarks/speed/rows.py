"""All rows, in the order of the table."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase

from tests.benchmarks.speed import rows_arrays, rows_gptq, rows_peers, rows_whole
from tests.benchmarks.speed.row import Row


class UnknownRowError(Exception):
    """A name, or a pattern, that no row has."""


def all_rows() -> list[Row]:
    """Return every row.

    Examples
    --------
    >>> names = [row.name for row in all_rows()]
    >>> names[0], len(names) == len(set(names))
    ('gptq-1024', True)
    """
    groups = (rows_gptq, rows_peers, rows_arrays, rows_whole)
    return [row for group in groups for row in group.rows()]


def chosen_rows(wanted: list[str]) -> list[Row]:
    """Return the rows with these names, or that match these patterns; without any, all.

    Examples
    --------
    >>> [row.name for row in chosen_rows(["import-*", "gptq-2048"])]
    ['gptq-2048', 'import-time', 'import-without-scipy']
    >>> chosen_rows(["gptq-2084"])
    Traceback (most recent call last):
    ...
    tests.benchmarks.speed.rows.UnknownRowError: no row 'gptq-2084'; near: gptq-2048, ...
    """
    every = all_rows()
    names = [row.name for row in every]
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = difflib.get_close_matches(pattern, names, n=4, cutoff=0.4)
            near = near or [name for name in names if pattern in name][:4]
            hint = f"; near: {', '.join(near)}" if near else "; see --list"
            raise UnknownRowError(f"no row {pattern!r}{hint}")
    chosen = [row for row in every if any(fnmatchcase(row.name, p) for p in wanted)]
    return chosen if wanted else every
