"""Libraries as targets: causes predict every failure, and what is planted here is true of each."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from quantcheck import deviations

from .libraries import NAMES, python_of, version_of

pytestmark = [pytest.mark.slow, pytest.mark.apart, pytest.mark.everything]

# Verdicts that reading the library's source says beforehand.
FACTS = {
    "onnxruntime": {
        "GPTQ-060": "known deviation",  # the factor is read where it is zero
        "GPTQ-120": "pass",  # numpy.linalg.cholesky refuses
        "AFF-010": "pass",
        "AFF-020": "difference",  # a block of zeros has scale 1
        "AFF-070": "pass",  # ONNX: saturate(round(x / scale) + zero point)
        "AFF-150": "difference",  # a range is subtracted in float32, as in the original code
        "PACK-010": "pass",
        "HES-110": "difference",  # sequences are counted
    },
    "ai-edge-quantizer": {
        "GPTQ-060": "known deviation",  # rows of the inverse, not of its factor
        "GPTQ-010": "known deviation",  # dead columns keep their weights
        "AFF-010": "pass",
        "AFF-070": "difference",  # the zero-point is added before rounding
        "PACK-010": "pass",
    },
    "llmcompressor": {
        "GPTQ-060": "pass",
        "GPTQ-080": "pass",
        "GPTQ-120": "known deviation",  # the identity takes the place of a factor
        "AFF-010": "pass",
        "AFF-130": "pass",
        "HES-010": "pass",
        "PACK-010": "pass",
    },
    "neural-compressor": {
        "GPTQ-060": "pass",
        "GPTQ-120": "pass",
        "GPTQ-140": "difference",  # the range of a whole row is taken with dead columns
        "AFF-130": "pass",
        "AFF-160": "known deviation",  # steps are cast to int8
        "PACK-010": "pass",
    },
    "nncf": {
        "GPTQ-060": "pass",
        "GPTQ-090": "pass",
        "GPTQ-120": "pass",
        "AFF-010": "pass",
        "AFF-070": "difference",  # the zero-point is added before rounding
        "AFF-160": "pass",
    },
    "torchao": {
        "GPTQ-060": "unsupported",  # it needs CUDA
        "AFF-010": "known deviation",  # blocks of one element fail
        "AFF-050": "pass",  # the smallest scale is the smallest normal float32
        "AFF-070": "pass",
        "AFF-160": "pass",
        "HES-010": "pass",
        "PACK-010": "pass",
    },
    "gptqmodel": {
        "GPTQ-060": "pass",
        "GPTQ-090": "pass",
        "GPTQ-120": "known deviation",  # the damping is raised until there is a factor
        "GPTQ-140": "difference",  # the range of a whole row is taken with dead columns
        "AFF-010": "pass",
        "AFF-070": "pass",  # rounded, then shifted
        "AFF-140": "difference",  # a range is mirrored where it has a negative weight
        "AFF-160": "pass",
        "HES-110": "pass",  # tokens are counted
        "PACK-090": "pass",
        "PACK-110": "pass",
        "PACK-150": "pass",
    },
}


def quantcheck(root: Path, folder: Path, name: str, *options: str) -> tuple[int, dict[str, Any]]:
    """Run quantcheck on a library: exit code and report."""
    command = [python_of(root, name), "-m", "quantcheck", name, "--json", "report.json", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)
    path = folder / "report.json"
    assert path.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    (made,) = json.loads(path.read_text(encoding="utf-8"))["reports"]
    return done.returncode, made


def verdicts(made: dict[str, Any]) -> dict[str, str]:
    return {row["requirement"]["id"]: row["verdict"] for row in made["requirements"]}


@pytest.mark.parametrize("name", NAMES)
def test_every_failure_is_known_and_what_is_planted_holds(
    name: str, root: Path, tmp_path: Path
) -> None:
    options = ("--only", "vectors", "--write-deviations", "deviations.json")
    status, made = quantcheck(root, tmp_path, name, *options)
    assert made["target"]["version"] == version_of(name)
    assert status == 0, {k: v for k, v in verdicts(made).items() if v in ("fail", "error")}
    assert made["complete"]
    after = json.loads((tmp_path / "deviations.json").read_text(encoding="utf-8"))
    file = deviations.DIRECTORY / made["deviations"]["name"]
    assert after == json.loads(file.read_text(encoding="utf-8"))
    found = verdicts(made)
    assert {k: found[k] for k in FACTS[name]} == FACTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_without_its_file_the_library_fails(name: str, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    path.write_text(json.dumps({"target": name, "version": version_of(name), "deviations": []}))
    known = [key for key, verdict in FACTS[name].items() if verdict == "known deviation"]
    section = known[0].partition("-")[0].lower() if known else "gptq"
    options = ("--only", "vectors", "--section", section, "--deviations", str(path))
    status, made = quantcheck(root, tmp_path, name, *options)
    found = {verdicts(made)[key] for key in known if key.lower().startswith(section)}
    assert found <= {"fail", "error"}
    assert status == (0 if not known else 3 if "error" in found else 1)
