"""Loads a layer from its file and calls it, in a fresh process (SPEC.md, section 9)."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from quantcheck.targets.reference.layers.files import load
from quantcheck.wire.arrays import decode_array, encode_array
from quantcheck.wire.configs import describe
from quantref.errors import AnswerError
from quantref.layers import Int8Embedding

CHILD = (
    "import sys; from quantcheck.targets.reference.layers import process; "
    "process.main(sys.argv[1:])"
)


@lru_cache(maxsize=64)
def in_fresh_process(text: str, inputs: str, method: str) -> str:
    """Write a layer's text to a file, read and call it in a new process.  [LAY-130] [LAY-140]

    Parameters
    ----------
    text : str
        From `files.to_text`.
    inputs : str
        An encoded array, as JSON.
    method : {"call", "reverse"}

    Returns
    -------
    answer : str
        JSON of {"values": encoded array, "fields": of the config}.

    Raises
    ------
    AnswerError
        The process failed.
    """
    with tempfile.TemporaryDirectory(prefix="quantref-") as folder:
        file = Path(folder, "layer.json")
        file.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(file), method],
            input=inputs,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
    if done.returncode:
        raise AnswerError("a fresh process that answers", done.stderr[-400:], "LAY-130")
    return done.stdout


def main(arguments: list[str]) -> None:
    """Load the file, call the layer with the array on stdin, and print outputs and fields."""
    path, method = arguments
    layer: Any = load(path)
    inputs = decode_array(json.loads(sys.stdin.read()))
    is_reverse = isinstance(layer, Int8Embedding) and method == "reverse"
    values = layer.reverse(inputs) if is_reverse else layer(inputs)
    fields = describe(layer.config)["fields"]
    sys.stdout.write(json.dumps({"values": encode_array(values), "fields": fields}))
