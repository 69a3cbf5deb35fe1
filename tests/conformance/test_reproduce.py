"""The lines of a report run unchanged, and print the target's answer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantcheck.report import reproduction as reproduce
from quantcheck.report.reproduction.templates import TEMPLATES
from quantcheck.targets.reference.operations import answer
from quantcheck.wire.arrays import encode
from quantcheck.wire.cases import Case

W = np.array([[0.5, -1.0, 2.0, 0.25]], np.float32)
SCALE, ZERO, GROUPS = np.ones((1, 1), np.float32), np.full((1, 1), 3, np.uint8), np.zeros(4, "i4")
AFFINE = {"bits": 4, "symmetric": False, "per_channel": True, "group_size": 2}
ABS_MAX = {"axis": [-1], "value_range": [-127, 127], "epsilon": 1e-7, "output_dtype": "int8"}
MAPPED = {"scale": SCALE, "zero_point": ZERO, "g_idx": GROUPS}
CODES = np.arange(-2, 2, dtype=np.int8).reshape(4, 1)
NESTED = {"class": "AbsMaxQuantizer", "arguments": {"axis": 0}}

TOKENS, COUNTS = np.arange(4, dtype=np.int32), {"num_samples": 1, "sequence_length": 4}
ONE = np.eye(4, dtype=np.float32)
SMALL = {"embedding": ONE, "weights": [ONE, ONE], "biases": [ONE[0], ONE[0]]}
BLOCKS = [{"activations": ["relu"], "residual": False}]
QUESTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "round_half_even": ({"x": np.array([2.5, np.nan, -np.inf], np.float32)}, {}),
    "saturating_cast": ({"x": np.array([300.0], np.float32)}, {"dtype": "int8"}),
    "abs_max_quantize": ({"x": W}, ABS_MAX),
    "abs_max_quantizer": ({"x": W}, {"arguments": ABS_MAX, "call_axis": None}),
    "affine_parameters": ({"weights": W}, AFFINE),
    "affine_quantize": ({"weights": W, **MAPPED}, {"bits": 4}),
    "affine_dequantize": ({"codes": np.full((1, 4), 9, np.uint8), **MAPPED}, {}),
    "grouped_quantize": (
        {"weights": W.T},
        {"block_size": 2, "value_range": [-8, 7], "epsilon": 1e-7, "output_dtype": "int8"},
    ),
    "pack": ({"codes": CODES}, {"bits": 4, "axis": 0}),
    "unpack": ({"packed": CODES}, {"bits": 4, "axis": 0, "length": 7}),
    "hessian": ({"batches": [W, W]}, {}),
    "gptq_quantize": (
        {"weights": W, "hessian": np.eye(4, dtype=np.float32)},
        {**AFFINE, "activation_order": False, "damping": 0.01, "block_size": 128},
    ),
    "config_round_trip": (
        {},
        {"class": "Int8QuantizationConfig", "arguments": {"weight_quantizer": NESTED}},
    ),
    **{
        name: (
            {"dataset": [TOKENS]},
            {**COUNTS, "texts": None, "tokenizer": "object", "iterable": "list"},
        )
        for name in ("calibration_windows", "calibration_processes")
    },
    "quantize_model_int8": (SMALL, {"blocks": BLOCKS}),
    "quantize_model_gptq": (
        {**SMALL, "dataset": [TOKENS]},
        {**AFFINE, **COUNTS, "blocks": BLOCKS, "activation_order": False, "damping": 0.01},
    ),
}

X, KERNEL = np.array([[0.5, -1.0]], np.float32), np.array([[0.5], [2.0]], np.float32)
PLAIN = {"config": {"class": "Int8QuantizationConfig", "arguments": {}}, "reload": False}
NAMED = {"equation": "ab,bc->ac", "bias_axes": "c", "output_shape": [1]}
PACKED = {
    "x": X,
    "packed": np.array([[9, 6]], np.uint8),
    "scale": np.ones((1, 1), np.float32),
    "zero_point": np.full((1, 1), 8, np.uint8),
    "g_idx": np.zeros(2, np.int32),
}
GPTQ = {
    "config": {"class": "GPTQConfig", "arguments": {"group_size": -1}},
    "kernel_shape": [2, 1],
    "activation": "relu",
    "reload": False,
}
QUESTIONS |= {
    "dense_int8": ({"x": X, "kernel": KERNEL}, {**PLAIN, "reload": True, "activation": None}),
    "einsum_dense_int8": (
        {"x": X, "kernel": KERNEL, "bias": np.ones(1, np.float32)},
        {**PLAIN, **NAMED, "activation": "relu"},
    ),
    "dense_gptq": (PACKED, GPTQ),
    "einsum_dense_gptq": ({**PACKED, "bias": np.ones(1, np.float32)}, {**GPTQ, **NAMED}),
    "embedding_int8": ({"tokens": np.array([1], np.int32), "embeddings": KERNEL}, PLAIN),
    "reversible_embedding_int8": (
        {"x": X[:, :1], "embeddings": KERNEL, "reverse_embeddings": X},
        {**PLAIN, "reverse": True, "tie_weights": False},
    ),
}


QUESTIONS |= {
    f"config_round_trip by {route}": ({}, {**NESTED, "route": route})
    for route in ("object", "name", "serialized", "deserialized")
}


def question(template: str) -> dict[str, Any]:
    inputs, parameters = QUESTIONS[template]
    operation = template.partition(" by ")[0]
    given = {"id": "a", "operation": operation, "parameters": parameters, "inputs": encode(inputs)}
    again: dict[str, Any] = json.loads(json.dumps(given))
    return again


def test_every_template_is_tried() -> None:
    assert set(QUESTIONS) == set(TEMPLATES)


@pytest.mark.everything
@pytest.mark.skipif(not (find_spec("keras") and find_spec("jax")), reason="needs Keras on JAX")
def test_lines_run(tmp_path: Path) -> None:
    blocks = []
    for operation in QUESTIONS:
        lines = reproduce.keras_lines(
            question(operation), backend="jax", section="pack", message="expected 3\n4"
        )
        assert lines[-1] == "# expected 3 4"
        blocks.append("\n".join([f'print("== {operation}")', *lines]))
    path = tmp_path / "lines.py"
    path.write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, encoding="utf-8", check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    shown = dict(
        part.split("\n", 1) for part in done.stdout.split("== ")[1:] if part.split("\n", 1)[1]
    )
    assert set(shown) == set(QUESTIONS)
    assert "127" in shown["saturating_cast"]
    assert (
        "'axis': (0,)" in shown["config_round_trip"]
        or "weight_quantizer" in shown["config_round_trip"]
    )


CALIBRATED = {"dataset": "list of arrays", "tokenizer": "object"}
SETTINGS = {"group_size": -1, "num_samples": 2, "sequence_length": 8}
IN_MODELS = [
    ("dense_int8", {"place": "in a model", "use": "cloned"}),
    ("dense_int8", {"place": "called twice in a model", "use": "training"}),
    ("dense_int8", {"place": "in a block", "use": "serialized"}),
    ("dense_int8", {"place": "in a block of a layer", "use": "compiled"}),
    ("dense_gptq", {"place": "in a block", "use": "compiled training"}),
    ("dense_gptq", {"place": "called twice in a model", "use": "training"}),
    ("dense_gptq", {"place": "in a block of a layer", "use": "called"}),
]
"""Every place of both modes; what is made of copies of GPTQ layers fails in Keras 3.15."""


def in_model(operation: str, options: dict[str, Any], structure: str) -> dict[str, Any]:
    """Return a question on a layer of a model, not saved."""
    given = question(operation)
    made = {**given["parameters"], **options, "reload": False}
    if operation == "dense_gptq":
        made["config"] = {"class": "GPTQConfig", "arguments": SETTINGS}
        made["calibrated_with"] = {**CALIBRATED, "structure": structure}
    return {**given, "parameters": made}


@pytest.mark.everything
@pytest.mark.skipif(not (find_spec("keras") and find_spec("torch")), reason="needs Keras on torch")
def test_lines_of_layers_in_models_print_the_answer(tmp_path: Path) -> None:
    """The first numbers that the lines print are the outputs that the reference has."""
    asked, blocks = [], []
    for number, (operation, options) in enumerate(IN_MODELS):
        structure = ("given", "null", "left out")[number % 3]
        asked.append(in_model(operation, options, structure))
        lines = reproduce.keras_lines(asked[-1], backend="torch", section="lay")
        blocks.append("\n".join([f'print("== {number}")', *lines]))
    path = tmp_path / "lines.py"
    path.write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, encoding="utf-8", check=False, timeout=500
    )
    assert done.returncode == 0, done.stderr
    parts = done.stdout.split("== ")[1:]
    assert len(parts) == len(asked)
    for given, part in zip(asked, parts, strict=True):
        first = part[part.index("[[") : part.index("]]")]
        printed = [float(word) for word in re.findall(r"-?[0-9.]+(?:e-?[0-9]+)?", first)]
        uncompiled = {**given["parameters"], "use": "called"}  # the reference compiles nothing
        expected = answer({**given, "parameters": uncompiled})["outputs"]["values"]["data"]
        calls = len(printed) // len(expected)  # two of a calibrated layer that is called twice
        np.testing.assert_allclose(printed, calls * expected, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(not find_spec("ml_dtypes"), reason="needs ml_dtypes")
def test_lines_compile_for_every_published_question(cases: dict[str, Case], root: Path) -> None:
    for case in cases.values():
        lines = reproduce.keras_lines(case.question(), backend="jax", section=case.section)
        text = "\n".join(lines)
        compile(text, case.id, "exec")
        for part in text.split('open("')[1:]:
            assert (root / part.split('"')[0]).is_file()


def test_an_operation_that_keras_has_not() -> None:
    asked = {**question("pack"), "operation": "factor"}
    assert reproduce.keras_lines(asked, backend="jax", section="hes") == []
