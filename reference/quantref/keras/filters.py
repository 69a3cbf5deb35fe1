"""Selects layers of a model by name, by path, or by a function."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from quantref.errors import ModelError

Filters = str | Sequence[str] | Callable[[Any], bool] | None


def selected(filters: Filters, layer: Any, name: str) -> bool:
    """Tell whether a layer is to be quantized: as in Keras, but by its path as well.

    Parameters
    ----------
    filters : str, sequence of str, callable or None
        Regular expressions, searched for in name and path; or a function of the layer.
    layer : layer
    name : str
        Path of the layer.
    """
    if filters is None:
        return True
    if callable(filters):
        return bool(filters(layer))
    patterns = [filters] if isinstance(filters, str) else filters
    return any(re.search(p, name) or re.search(p, layer.name) for p in patterns)


def require_filters(filters: Filters, names: Iterable[str], layers: Iterable[Any]) -> None:
    """Raise unless each filter is a valid regular expression and matches a layer."""
    if filters is None or callable(filters):
        return
    known = [*zip(names, layers, strict=True)]
    for pattern in [filters] if isinstance(filters, str) else list(filters):
        try:
            found = any(selected(pattern, layer, name) for name, layer in known)
        except (re.error, TypeError) as error:
            got = f"{pattern!r}: {error}"
            raise ModelError("filters of regular expressions", got, "") from None
        if not found:
            names_there = ", ".join(name for name, _ in known)
            raise ModelError(f"a layer that {pattern!r} finds among {names_there}", "none", "")
