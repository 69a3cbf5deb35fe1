"""Objects with settings: arguments that their class has, and a config of the right class."""

from __future__ import annotations

import inspect
from typing import Any

from quantref.errors import ConfigError


def require_arguments(kind: type, arguments: Any) -> dict[str, Any]:
    """Return arguments by name if a class has all of these names, or raise.  [CFG-090]

    Examples
    --------
    >>> from quantref import Quantizer
    >>> require_arguments(Quantizer, {"bits": 4})
    Traceback (most recent call last):
    quantref.errors.ConfigError: expected arguments of Quantizer: output_dtype, got bits [CFG-090]
    """
    known = list(inspect.signature(kind).parameters)
    expected = f"arguments of {kind.__name__}: {', '.join(known)}"
    if not isinstance(arguments, dict):
        raise ConfigError(expected, f"{arguments!r}", "CFG-090")
    unknown = [str(name) for name in arguments if name not in known]
    if unknown:
        raise ConfigError(expected, ", ".join(unknown), "CFG-090")
    return arguments


def require_config(config: Any, kind: type) -> None:
    """Raise unless a layer's config is of its class.  [LAY-150]"""
    if not isinstance(config, kind):
        raise ConfigError(f"a layer's config to be of {kind.__name__}", f"{config!r}", "LAY-150")
