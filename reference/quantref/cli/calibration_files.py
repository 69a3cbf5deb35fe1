"""Reads the calibration data and the tokenizer that the command line names."""

from __future__ import annotations

import importlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.errors import CalibrationError, TokenRangeError

READ = "a .npy, .npz, .jsonl or UTF-8 text file"


class ByteTokenizer:
    """UTF-8 bytes as tokens.

    Examples
    --------
    >>> ByteTokenizer().tokenize("Aé")
    array([ 65, 195, 169], dtype=uint8)
    """

    def tokenize(self, text: str) -> NDArray[np.uint8]:
        """Return the tokens of a text."""
        return np.frombuffer(text.encode("utf-8"), np.uint8)


class CharacterTokenizer:
    """Characters as tokens: the index of each in a vocabulary.

    Parameters
    ----------
    characters : sequence of str
        Single characters without duplicates.

    Examples
    --------
    >>> CharacterTokenizer("abc").tokenize("cab")
    array([2, 0, 1], dtype=int32)
    """

    def __init__(self, characters: Any) -> None:
        self.tokens = {character: k for k, character in enumerate(characters)}
        fine = all(isinstance(c, str) and len(c) == 1 for c in characters)
        if not fine or len(self.tokens) != len(characters) or not characters:
            got = f"{characters!r:.60}"
            raise CalibrationError("a list of characters, each once", got, "CAL-060")

    def tokenize(self, text: str) -> NDArray[np.int32]:
        """Return the tokens of a text.

        Raises
        ------
        TokenRangeError
            A character is not in the vocabulary; the message says which one, and where.
        """
        try:
            return np.array([self.tokens[c] for c in text], np.int32)
        except KeyError as error:
            (missing,) = error.args
            got = f"{missing!r} at character {text.index(missing)}"
            raise TokenRangeError("characters of the vocabulary", got, "CAL-060") from None


def read_tokenizer(name: str | None) -> Any:
    """Return the tokenizer of "bytes", of a JSON file of characters, or "python:MODULE:OBJECT".

    Raises
    ------
    CalibrationError
        The name is none of these, or cannot be read.
    """
    if name is None or name == "bytes":
        return None if name is None else ByteTokenizer()
    if name.startswith("python:"):
        module, _, attribute = name.removeprefix("python:").partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise CalibrationError(f"a tokenizer {name}", f"{error}", "CAL-060") from None
    try:
        return CharacterTokenizer(json.loads(Path(name).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        if isinstance(error, CalibrationError):
            raise
        expected = "a tokenizer: bytes, a JSON file of characters, or python:MODULE:OBJECT"
        raise CalibrationError(expected, f"{name}: {error}", "CAL-060") from None


def read_calibration(path: Path) -> Any:
    """Return a dataset: an array, arrays by name, or texts.

    Parameters
    ----------
    path : Path
        .npy holds tokens or samples, .npz arrays by the names of the model's inputs. .jsonl holds
        a string, a list of tokens or {"text": string} per line. Any other file is one text.

    Raises
    ------
    CalibrationError
        The file does not exist, or its content does not fit its suffix. Nothing is unpickled.
    """
    try:
        if path.suffix in (".npy", ".npz"):
            with path.open("rb") as file:
                loaded = np.load(file, allow_pickle=False)
                if path.suffix == ".npy":
                    return [loaded]
                return {name: loaded[name] for name in loaded.files}
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            lines = [json.loads(line) for line in text.splitlines() if line.strip()]
            return [line["text"] if isinstance(line, dict) else line for line in lines]
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        got = f"{path}: {type(error).__name__}: {error}"
        raise CalibrationError(READ, got, "CAL-080") from None
    return [text]
