"""Known deviations of libraries, and findings, are shown by lines with the library alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantcheck import deviations
from quantref import GPTQConfig, gptq_quantize
from quantref.formats.packed import pack_layer, unpack_layer
from quantref.inputs import Array

from .libraries import NAMES, python_of, version_of

pytestmark = [
    pytest.mark.requirement("VER-120"),
    pytest.mark.slow,
    pytest.mark.everything,
]


def printed(python: str, lines: list[str], root: Path) -> str:
    """Run lines in the checkout: the last line that they print, or the error that they end with."""
    done = subprocess.run(
        [python, "-c", "\n".join(lines)],
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    shown = done.stdout if done.returncode == 0 else done.stderr
    return shown.strip().splitlines()[-1]


@pytest.mark.parametrize("name", NAMES)
def test_the_lines_of_each_entry_print_what_they_say(name: str, root: Path) -> None:
    python = python_of(root, name)
    file = deviations.DIRECTORY / f"{name}-{version_of(name)}.json"
    for entry in json.loads(file.read_text(encoding="utf-8"))["deviations"]:
        *lines, comment = entry["reproduction"]
        expected = re.fullmatch(r"# expected .*, got (.*)", comment)
        assert expected, entry["id"]
        assert printed(python, lines, root) == expected[1], entry["id"]


@pytest.mark.parametrize("name", NAMES)
def test_the_findings_print_what_they_say(name: str, root: Path) -> None:
    text = (root / "conformance" / "FINDINGS.md").read_text(encoding="utf-8")
    block = rf"<!-- {name} -->\n```python\n(.*?)```\n\n```text\n(.*?)```"
    blocks = re.findall(block, text, re.DOTALL)
    for code, said in blocks:
        python = sys.executable if name == "keras" else python_of(root, name)
        assert printed(python, code.splitlines(), root) == said.strip()


def test_the_findings_on_keras_print_what_they_say(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = pytest.importorskip("keras", reason="the finding is one of Keras 3.15.1")
    if keras.__version__ != "3.15.1":
        pytest.skip("the finding is one of Keras 3.15.1")
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    test_the_findings_print_what_they_say("keras", root)


@pytest.mark.parametrize(
    ("bits", "group_size", "said"),
    [(8, -1, "0.056"), (4, -1, "0.058"), (3, -1, "0.059"), (2, -1, "0.074"), (4, 32, "0.075")],
)
def test_the_losses_that_findings_are_compared_with(
    bits: int, group_size: int, said: str, root: Path
) -> None:
    data = np.load(root / "tests" / "data" / "digits" / "digits.npz")
    x = np.maximum(data["pixels"] / 16 @ data["kernel_0"] + data["bias_0"], 0)
    weights, hessian = data["kernel_1"].T.copy(), 2 / len(x) * x.T @ x
    config = GPTQConfig(None, None, weight_bits=bits, group_size=group_size)

    def loss(measured: Array) -> float:
        off = weights - gptq_quantize(weights, measured, config).dequantized()
        return float(np.trace(off @ hessian @ off.T))

    assert f"{loss(hessian) / loss(np.eye(len(hessian))):.3f}" == said
    text = (root / "conformance" / "FINDINGS.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith(f"| {bits} |")]
    assert any(row.endswith(f"| {said} |") for row in rows)


def test_the_cost_of_words_that_are_read_in_another_format(root: Path) -> None:
    """3-bit codes of GPTQ with whole codes in a word, read as a run of bits."""
    data = np.load(root / "tests" / "data" / "digits" / "digits.npz")
    x = np.maximum(data["pixels"] / 16 @ data["kernel_0"] + data["bias_0"], 0)
    weights, hessian = data["kernel_1"].T.copy(), 2 / len(x) * x.T @ x
    config = GPTQConfig(None, None, weight_bits=3, group_size=-1)
    made = gptq_quantize(weights, hessian, config)

    def loss(values: Array) -> float:
        return float(np.trace((weights - values) @ hessian @ (weights - values).T))

    settings: dict[str, Any] = {"bits": 3, "group_size": -1}
    whole = pack_layer(made.codes, made.zero_point, format="compressed_tensors_whole", **settings)
    run = pack_layer(made.codes, made.zero_point, format="compressed_tensors", **settings)
    words = np.ascontiguousarray(whole.weights[:, : run.weights.shape[1]])
    given = {**settings, "format": "compressed_tensors", "shape": made.codes.shape}
    read, _ = unpack_layer(words, run.zero_point, **given)
    rounded = loss(gptq_quantize(weights, np.eye(len(hessian)), config).dequantized())
    values = made.scale * (read.astype(np.float64) - made.zero_point)
    losses = [f"{loss(v) / rounded:.0f}" for v in (values, 0 * values)]
    assert (f"{(read == made.codes).mean():.0%}", *losses) == ("26%", "124", "86")


def test_the_cost_of_zero_points_that_borrow_from_the_next_field(root: Path) -> None:
    """2-bit zero-points: 1 is subtracted from their words at once, and added to each field."""
    data = np.load(root / "tests" / "data" / "digits" / "digits.npz")
    x, weights = data["pixels"] / 16, data["kernel_0"].T.copy()
    hessian, settings = 2 / len(x) * x.T @ x, {"bits": 2, "group_size": 16}
    config = GPTQConfig(None, None, weight_bits=2, group_size=16)
    made = gptq_quantize(weights, hessian, config)

    def loss(values: Array) -> float:
        return float(np.trace((weights - values) @ hessian @ (weights - values).T))

    packed = pack_layer(made.codes, made.zero_point, format="gptq_v2", **settings)
    v1 = packed.zero_point.view(np.uint32) - np.uint32(0x55555555)
    fields = v1[..., None] >> np.arange(0, 32, 2, dtype=np.uint32)
    read = ((fields + 1) % 4).reshape(len(v1), -1).T.astype(np.float64)
    steps = made.codes - read[:, made.g_idx]
    right, wrong = loss(made.dequantized()), loss(made.scale[:, made.g_idx] * steps)
    rounded = loss(gptq_quantize(weights, np.eye(len(hessian)), config).dequantized())
    assert (int((read != made.zero_point).sum()), read.size) == (9, 256)
    assert (f"{wrong / right:.1f}", f"{wrong / rounded:.1f}") == ("13.6", "2.3")
