"""Wrong outputs of layers count for the requirement whose violation explains them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.reference.problems import cases

from quantcheck import mutants
from quantcheck.judge.judges import judge
from quantcheck.judge.layers import dequantized, packed_layer, packed_products
from quantcheck.judge.precision import Precision
from quantcheck.targets.reference.operations import answer
from quantcheck.wire.arrays import decode
from quantcheck.wire.cases import Case

pytestmark = pytest.mark.requirement("VER-090")

U = 2.0**-24


def case(identity: str) -> Case:
    (found,) = [c for c in cases("lay") if c.id == identity]
    return found


def blamed(asked: Case, **changes: Any) -> set[str]:
    """Return the requirements that fail if some outputs of the right answer are replaced."""
    given = decode(answer(asked.question()))
    given["outputs"].update(changes)
    findings = judge(asked, given, unit_roundoff=U)
    return {finding.requirement for finding in findings if not finding.passed}


def values(asked: Case) -> Any:
    return asked.expected["outputs"]["values"]


def test_a_bias_that_is_left_out() -> None:
    asked = case("lay-dense-int8")
    assert blamed(asked, values=values(asked) - asked.inputs["bias"]) == {"LAY-050"}


def test_outputs_that_nothing_explains() -> None:
    for identity, requirement in (
        ("lay-dense-int8", "LAY-030"),
        ("lay-einsum-int8-out", "LAY-030"),
        ("lay-einsum-int8-weight-only-in", "LAY-040"),
        ("lay-dense-gptq-4bit", "LAY-090"),
        ("lay-einsum-gptq-in", "LAY-090"),
    ):
        asked = case(identity)
        assert blamed(asked, values=values(asked) * np.float32(1.25)) == {requirement}


def test_codes_that_nothing_explains() -> None:
    asked = case("lay-einsum-int8-in")
    kernel = asked.expected["outputs"]["kernel"].copy()
    kernel[0, 0, 0] ^= 1
    assert "LAY-010" in blamed(asked, kernel=kernel)


def test_scales_of_the_largest_weight_instead_of_the_largest_size() -> None:
    asked = case("lay-dense-int8-no-bias")
    w = asked.inputs["kernel"].astype(np.float64)
    scale = (127 / (w.max(axis=0) + 1e-7)).astype(np.float32)
    kernel = np.clip(np.rint(w * scale), -127, 127).astype(np.int8)
    assert "LAY-010" in blamed(asked, kernel=kernel, kernel_scale=scale)


def test_scales_of_rows_that_are_tiled() -> None:
    asked = case("lay-dense-int8-no-bias")
    w = asked.inputs["kernel"].astype(np.float64)
    scale = (127 / (np.abs(w).max(axis=1) + 1e-7)).astype(np.float32)
    kernel = np.rint(w * scale[:, None]).astype(np.int8)
    assert blamed(asked, kernel=kernel, kernel_scale=scale[: w.shape[1]]) == {"LAY-160"}


@pytest.mark.parametrize(
    ("identity", "requirement"),
    [("lay-dense-gptq-4bit", "LAY-180"), ("lay-dense-gptq-2bit", "LAY-190")],
)
def test_codes_that_are_taken_to_be_signed(identity: str, requirement: str) -> None:
    asked = case(identity)
    layer, bits = packed_layer(asked), asked.parameters["config"]["arguments"]["weight_bits"]
    codes = layer.codes().astype(np.int64)
    signed = np.where(codes >= 2 ** (bits - 1), codes - 2**bits, codes)
    kernel = layer.arranged(dequantized(asked, signed, asked.inputs["g_idx"]))
    made = packed_products(asked, kernel, Precision(U))[0] + asked.inputs["bias"]
    assert blamed(asked, values=made.astype(np.float32)) == {requirement}


def test_rows_and_columns_that_are_not_turned() -> None:
    asked = case("lay-einsum-gptq-heads-first")
    layer = packed_layer(asked)
    weights = dequantized(asked, layer.codes(), asked.inputs["g_idx"])
    made, _ = packed_products(asked, weights.reshape(layer.kernel_shape), Precision(U))
    assert blamed(asked, values=made.astype(np.float32)) == {"LAY-110"}


def test_another_dtype_is_not_explained_away() -> None:
    asked = case("lay-einsum-gptq-in")
    assert blamed(asked, values=values(asked).astype(np.float64)) == {"LAY-090"}


def test_a_loaded_layer_that_does_as_its_config_says() -> None:
    asked = case("lay-reload-einsum-int8-weight-only")
    ignored = mutants.load("lay-weight-only-ignored").answer(asked.question())
    quantized = decode(ignored)["outputs"]["values"]
    fields = {**asked.expected["outputs"]["fields"]}
    fields["activation_quantizer"] = {
        "class": "AbsMaxQuantizer",
        "fields": {"axis": -1, "value_range": [-127, 127], "epsilon": 1e-7, "output_dtype": "int8"},
    }
    assert blamed(asked, reloaded=quantized, fields=fields) == {"LAY-140"}
    assert blamed(asked, reloaded=quantized) == {"LAY-130"}
    assert blamed(asked, reloaded=quantized * 2, fields=fields) == {"LAY-130", "LAY-140"}
    assert blamed(asked, reloaded=quantized, fields={}) == {"LAY-130", "LAY-140"}
