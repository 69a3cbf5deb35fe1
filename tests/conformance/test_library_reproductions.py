"""Known deviations of libraries, and findings, are shown by lines with the library alone."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from quantcheck import deviations
from quantref import GPTQConfig, gptq_quantize
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
        assert printed(python_of(root, name), code.splitlines(), root) == said.strip()


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
