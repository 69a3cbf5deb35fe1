"""Selects Keras's backend, and loads a model from a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from quantref.errors import ConfigError, ModelError


def use_backend(name: str | None) -> None:
    """Select the backend before Keras is imported; None: the one of Keras's settings.

    Raises
    ------
    ConfigError
        Keras is already imported with another backend.
    """
    if name is not None:
        if "keras" in sys.modules:
            import keras

            if keras.backend.backend() != name:
                got = f"{keras.backend.backend()}, which is in use"
                raise ConfigError(f"Keras on {name}", got, "")
        os.environ["KERAS_BACKEND"] = name
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def load_model(path: Path, modules: list[str]) -> Any:
    """Load a model from a file. Keras's safe mode stays on, and nothing is unpickled.

    Raises
    ------
    ModelError
        The file does not exist, is no model, or has classes that are not registered.
    """
    import keras

    if path.suffix != ".keras":
        raise ModelError("a .keras file", f"{path}", "")
    if not path.is_file():
        raise ModelError(f"a file {path}", "none", "")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # noqa: BLE001 - Keras raises many kinds
        hint = "" if modules else "; --import MODULE imports what registers its classes"
        got = f"{type(error).__name__}: {error!s:.300}{hint}"
        raise ModelError(f"a model of Keras in {path}", got, "") from None
