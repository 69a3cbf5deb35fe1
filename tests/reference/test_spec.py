"""SPEC.md's examples run, and the numbers that its text works out are those of the code."""

from __future__ import annotations

import doctest
import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from quantcheck.oracle import exact
from quantcheck.oracle.bounds import growth
from quantcheck.spec.places import spec_path
from quantref import (
    GPTQConfig,
    abs_max_quantize,
    accumulate_hessian,
    affine_parameters,
    certify,
    gptq_quantize,
    pack_codes,
    prepare_hessian,
    round_half_even,
)
from quantref.affine import SMALLEST_SCALE
from quantref.gptq import BLOCK_SIZE
from quantref.hessian import reversed_cholesky
from quantref.inputs import ASYMMETRY

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
SECTIONS = ("0 Conventions", "1 Configs", "2 Rounding", "3 Affine", "4 AbsMax", "5 Packing",
            "6 Hessian", "7 GPTQ", "8 Certificate", "9 Layers", "10 Calibration", "11 Vectors",
            "12 Conformance", "13 Four bits")  # fmt: skip
SKELETON = ["Purpose", "Inputs and outputs", "Semantics", "Requirements", "Rationale",
            "Worked example"]  # fmt: skip


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "SPEC.md").read_text("utf-8")


def section_lines(text: str, title: str) -> str:
    """Return a section's text."""
    (found,) = re.findall(rf"^## {title}.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def section(text: str, title: str) -> str:
    """Return a section's text with line breaks and repeated spaces made one space."""
    return " ".join(section_lines(text, title).split())


def test_the_package_carries_this_text(text: str) -> None:
    assert spec_path().read_text("utf-8") == text


def test_examples(root: Path) -> None:
    path = str(root / "SPEC.md")
    done = doctest.testfile(path, module_relative=False, optionflags=FLAGS, encoding="utf-8")
    assert done.attempted >= 20
    assert done.failed == 0


def test_sections(text: str) -> None:
    for title in SECTIONS:
        assert section(text, title)
    for title in SECTIONS[1:]:
        assert ">>>" in section(text, title), f"section {title} has no example that runs"


@pytest.mark.parametrize("title", SECTIONS[1:])
def test_every_section_has_the_same_skeleton(text: str, title: str) -> None:
    found = section_lines(text, title)
    assert re.findall(r"^### (.+)$", found, re.MULTILINE) == SKELETON
    asked = found.partition("### Requirements\n")[2].partition("### Rationale\n")[0]
    assert found.count("\n**[") == asked.count("\n**[") > 0


def test_a_symbol_has_one_row(text: str) -> None:
    table = text.partition("### Symbols")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE)
    symbols = [name for row in rows for name in row.split(", ") if name.strip()]
    assert len(symbols) == len(set(symbols)) > 30
    assert {"U", "M", "R", "E", "W", "D"} <= set(symbols)


def test_fields_of_configs(root: Path, text: str) -> None:
    """The fields of every class are those of the vectors.  [CFG-090]"""
    row = re.compile(r"^\| `(\w+)` \| (`[^|=]+`) \|$", re.MULTILINE)
    rows = row.findall(section_lines(text, "1 Configs"))
    named = {name: re.findall(r"`(\w+)`", cell) for name, cell in rows}
    seen = set()
    for path in sorted((root / "vectors" / "cfg").glob("*.json")):
        case = json.loads(path.read_text("utf-8"))
        if "outputs" in case["expected"]:
            kind = case["parameters"]["class"]
            assert list(case["expected"]["outputs"]["fields"]) == named[kind], path.name
            seen.add(kind)
    assert {"AbsMaxQuantizer", "Int8QuantizationConfig", "GPTQConfig"} <= seen <= set(named)


def test_rounding(text: str) -> None:
    assert "rint(−2.5) = −2, rint(0.5) = 0, rint(1.5) = 2" in section(text, "2 Rounding")
    assert round_half_even([-2.5, 0.5, 1.5]).tolist() == [-2, 0, 2]


def test_affine(text: str) -> None:
    words = section(text, "3 Affine")
    assert "lo = −1, hi = 2, s = 1, z = rint(1) = 1" in words
    assert "max(f32((hi − lo) / maxq), 2⁻¹²⁶)" in words
    assert SMALLEST_SCALE == 2.0**-126
    scale, zero = affine_parameters(np.array([[-1, 0.5, 2]]), bits=2)
    assert (scale.item(), zero.item()) == (1, 1)


def test_abs_max(text: str) -> None:
    words = section(text, "4 AbsMax")
    assert "127 / 2.0000001 = 63.4999968…, rounded to binary32 63.499996185302734" in words
    assert pytest.approx(63.4999968, abs=5e-8) == 127 / 2.0000001
    codes, scale = abs_max_quantize(np.array([0.5, -2.0, 1.0], np.float32), -1)
    assert float(scale[0]) == 63.499996185302734
    assert "products 31.75, −127, 63.4999962: codes 32, −127, 63" in words
    products = float(scale[0]) * np.array([0.5, -2.0, 1.0])
    assert products == pytest.approx([31.75, -127, 63.4999962], abs=1e-5)
    assert codes.tolist() == [32, -127, 63]
    # In float16, 10⁻⁷ is nearly 0 and 127 / max|x| overflows below 0.002.
    assert 0 < np.float16(1e-7) < 2e-7
    assert 127 / 0.00193 > float(np.finfo(np.float16).max) > 127 / 0.002


def test_packing(text: str) -> None:
    words = section(text, "5 Packing")
    assert "−2 mod 16 = 14; bytes 1 + 14·16 = 225, as int8 −31, and 3" in words
    assert pack_codes(np.array([1, -2, 3], np.int8), 4).tolist() == [-31, 3]
    assert (-2 % 16, 1 + 14 * 16, 225 - 256) == (14, 225, -31)


def test_hessian(text: str) -> None:
    words = section(text, "6 Hessian")
    assert "H = 2/2 · ((2, 2), (2, 4)) = ((2, 2), (2, 4))" in words
    assert "With λ = 1/2 the mean 3 adds 1.5: ((3.5, 2), (2, 5.5))" in words
    assert "R_11 = √5.5, R_01 = 2/√5.5, R_00 = √(3.5 − 4/5.5)" in words
    H = accumulate_hessian([np.array([[1.0, 0.0], [1.0, 2.0]])])
    assert H.tolist() == [[2, 2], [2, 4]]
    prepared = prepare_hessian(H, damping=0.5)
    assert prepared.added == 1.5
    assert prepared.damped.tolist() == [[3.5, 2], [2, 5.5]]
    R = reversed_cholesky(prepared.damped)
    root = np.sqrt(5.5)
    np.testing.assert_allclose(R, [[np.sqrt(3.5 - 4 / 5.5), 2 / root], [0, root]], rtol=1e-15)
    assert "> 2⁻¹⁶ √(H_ii H_jj)" in words
    assert ASYMMETRY == 2.0**-16


W, H = np.array([[1.0, 0.6]], np.float32), np.array([[5.0, 2.0], [2.0, 4.0]])
CONFIG = GPTQConfig(None, None, weight_bits=2, group_size=-1, hessian_damping=0.0)


def test_gptq(text: str) -> None:
    words = section(text, "7 GPTQ")
    assert "W = (1, 0.6), H = ((5, 2), (2, 4)), λ = 0, b = 2, one group" in words
    assert "M_01 = 2/4" in words
    assert exact.ldl(exact.fractions_of(H.tolist())).unit(0, 1) == Fraction(2, 4)
    result = gptq_quantize(W, H, CONFIG)
    s = float(result.scale[0, 0])
    assert s == float(np.float32(1 / 3))
    assert "1/s = 2.9999999…, code 3, ŵ_0 = 3·s = 1.00000003" in words
    assert str(1 / s).startswith("2.9999999")
    assert f"{3 * s:.8f}" == "1.00000003"
    assert "w′_1 = 0.6 + (1 − ŵ_0)/2, 1.8 steps: code 2" in words
    assert (0.6 + (1 - 3 * s) / 2) / s == pytest.approx(1.8, abs=1e-6)
    assert result.codes.tolist() == [[3, 2]]
    assert "`block_size` | an integer from 1 on, 128 by default" in words
    assert BLOCK_SIZE == 128


def test_certificate(text: str) -> None:
    words = section(text, "8 Certificate")
    assert "R_11 = 2, R_01 = 1, R_00 = 2" in words
    assert reversed_cholesky(H).tolist() == [[2, 1], [0, 2]]
    result = gptq_quantize(W, H, CONFIG)
    values = result.dequantized()[0]
    assert "Ŵ = (3s, 2s) = (1.00000003, 0.66666669)" in words
    assert [f"{v:.8f}" for v in values] == ["1.00000003", "0.66666669"]
    difference = W[0].astype(np.float64) - values
    assert "W − Ŵ = (−0.00000003, −0.06666666)" in words
    assert difference == pytest.approx([-0.00000003, -0.06666666], abs=1e-8)
    e = difference[0] * 1 + difference[1] * 2
    assert "−0.00000003·1 − 0.06666666·2 = −0.13333335" in words
    assert e == pytest.approx(-0.13333335, abs=1e-8)
    assert "r_1 = e_1 / 2 = −0.06666668 = −0.2 s" in words
    assert e / 2 == pytest.approx(-0.06666668, abs=1e-8)
    steps = certify(W, H, result, CONFIG).residual_steps[0, 1]
    assert steps == pytest.approx(e / 2 / float(result.scale[0, 0]))
    assert steps == pytest.approx(-0.2, abs=1e-6)
    assert "2·exp(−32) ≈ 2.5·10⁻¹⁴" in words
    assert 2 * np.exp(-32) == pytest.approx(2.5e-14, rel=0.02)


def test_growth_of_rounding(text: str) -> None:
    assert "γ(k, u) = k·u / (1 − k·u)" in section(text, "0 Conventions")
    assert growth(10, 2.0**-10) == 10 / 1024 / (1 - 10 / 1024)
    assert growth(2.0**53, 2.0**-53) == np.inf
