"""`python -m quantref.keras.reload FILE MODULES…`: load a model, print a hash of its weights."""

from __future__ import annotations

import importlib
import sys


def main(path: str, *modules: str) -> None:
    """Load and print; Keras's safe mode stays on."""
    import keras

    from quantref.keras.forms import digest_of

    for module in modules:
        importlib.import_module(module)
    model = keras.saving.load_model(path, compile=False)
    sys.stdout.write(f"{digest_of(model)}\n")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # noqa: BLE001 - the parent process reports any error
        text = " ".join(str(error).split())
        sys.exit(f"{type(error).__name__}: {text:.300}")
