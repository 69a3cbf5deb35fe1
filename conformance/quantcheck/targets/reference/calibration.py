"""The reference's answers about calibration windows and models (SPEC.md, sections 10 and 12)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

import quantcheck
import quantref
from quantcheck.wire.calibrated import equation_of, matrix_of, table_of, tokens_of, vectors_of
from quantcheck.wire.configs import build, gptq_config
from quantref import accumulate_hessian, gptq_quantize
from quantref.calibration import (
    calibration_windows,
    model_of,
    quantize_model_gptq,
    quantize_model_int8,
)
from quantref.config import GPTQConfig
from quantref.inputs import Array, require_blocks, require_instance

Outputs = dict[str, Any]
FRESH = """
import json, sys
import numpy as np
from quantcheck.targets.reference import calibration
given = json.loads(sys.stdin.read())
given["dataset"] = [np.array(d, t).reshape(s) for d, t, s in given["dataset"]]
print(json.dumps(calibration.windows_of(**given).tolist()))
"""


class CodePoints:
    """A tokenizer whose tokens are the code points of a text's characters.

    Examples
    --------
    >>> CodePoints().tokenize("ab")
    array([97, 98], dtype=int32)
    """

    def tokenize(self, text: str) -> Array:
        """Return the code points of a text, int32."""
        return np.array([ord(character) for character in text], np.int32)


TOKENIZERS: dict[str | None, Any] = {
    "object": CodePoints(),
    "callable": lambda text: CodePoints().tokenize(text),
    None: None,
}


def windows_of(
    dataset: list[Array],
    texts: list[str] | str | None,
    tokenizer: str | None,
    iterable: str,
    **counts: int,
) -> Array:
    """Return the windows for a question; see SPEC.md, section 12.

    Examples
    --------
    >>> counts = {"num_samples": 2, "sequence_length": 2}
    >>> windows_of([], ["ab", "cd"], "object", "generator", **counts)
    array([[ 97,  98],
           [ 99, 100]], dtype=int32)
    """
    items: Iterable[Any] = dataset if texts is None else texts
    if iterable == "generator":
        items = (item for item in items)
    return calibration_windows(items, TOKENIZERS[tokenizer], **counts)


def windows_of_two_processes(dataset: list[Array], **parameters: Any) -> Outputs:
    """Return the windows that two new processes with different hash seeds draw.  [CAL-050]"""
    pieces = [[d.ravel().tolist(), d.dtype.name, list(d.shape)] for d in dataset]
    question = json.dumps({"dataset": pieces, **parameters})
    roots = [str(Path(package.__file__ or "").parents[1]) for package in (quantcheck, quantref)]
    paths = [*roots, os.environ.get("PYTHONPATH", "")]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FRESH],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            },
        )
        for seed in ("1", "2")
    ]
    texts = [process.communicate(question)[0] for process in processes]
    first, second = (np.array(json.loads(text), np.int32) for text in texts)
    return {"first": first, "second": second}


def _model_gptq(
    embedding: Array,
    weights: list[Array],
    biases: list[Array],
    dataset: list[Array],
    blocks: list[dict[str, Any]],
    **settings: Any,
) -> Outputs:
    config = gptq_config(settings)
    model = model_of(embedding, weights, biases, blocks)
    counts = {key: settings[key] for key in ("num_samples", "sequence_length")}
    windows = calibration_windows(dataset, **counts)
    results = quantize_model_gptq(model, windows, config)
    parts = ("codes", "scale", "zero_point", "g_idx")
    outputs = {part: [getattr(result, part) for result in results] for part in parts}
    return {"windows": windows, "head": model.head, **outputs}


def _model_int8(
    embedding: Array, weights: list[Array], biases: list[Array], blocks: list[dict[str, Any]]
) -> Outputs:
    pairs = quantize_model_int8(model_of(embedding, weights, biases, blocks))
    return {"codes": [codes for codes, _ in pairs], "scale": [scale for _, scale in pairs]}


def dataset_of(kind: str, tokens: Array) -> Any:
    """Return tokens in a form in which a dataset may come, or in one that has to be refused."""
    if kind == "one array":
        return tokens
    if kind == "no tokens":
        return list(tokens + 0.5)
    texts = ["".join(map(chr, row)) for row in tokens.tolist()]
    if kind == "one string":
        return "".join(texts)
    items = texts if kind.endswith("strings") else list(tokens)
    return iter(items) if kind.startswith("generator") else items


def _calibrated(x: Array, kernel: Array, **parameters: Any) -> Outputs:
    """Return the codes of a layer for what it gets while its model sees the windows.

    A layer is a matrix, wherever it stands, and computes in float32 what every policy represents.
    """
    given, config = parameters["calibrated_with"], build(parameters["config"])
    blocks = [] if given["structure"] == "no blocks" else [{"activations": ["linear"]}]
    require_blocks(blocks, 2, 2)
    require_instance(config, GPTQConfig, "config", "LAY-150")
    tokens = tokens_of(len(table_of(x)), config.num_samples, config.sequence_length)
    windows = calibration_windows(
        dataset_of(given["dataset"], tokens),
        TOKENIZERS[None if given["tokenizer"] == "none" else given["tokenizer"]],
        num_samples=config.num_samples,
        sequence_length=config.sequence_length,
    )
    hessian = accumulate_hessian([vectors_of(x, windows, parameters)])
    result = gptq_quantize(matrix_of(kernel, equation_of(parameters, x)), hessian, config)
    parts = ("codes", "scale", "zero_point", "g_idx")
    return {"windows": windows, **{part: getattr(result, part) for part in parts}}


CALIBRATION_OPERATIONS: dict[str, Callable[..., Outputs]] = {
    "calibration_windows": lambda **given: {"windows": windows_of(**given)},
    "calibration_processes": windows_of_two_processes,
    "quantize_model_int8": _model_int8,
    "quantize_model_gptq": _model_gptq,
    "dense_calibrated": _calibrated,
    "einsum_dense_calibrated": _calibrated,
}
