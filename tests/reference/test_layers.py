"""Layers agree with loops in rational arithmetic; bounds hold, and wrong outputs exceed them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantcheck.corpus.draw import single, small
from quantcheck.corpus.lay.build import WEIGHT_ONLY, lay_gptq_case, lay_int8_case
from quantcheck.corpus.lay.rows import lay_embedding_case, lay_reverse_case
from quantcheck.judge.judges import judge
from quantcheck.targets.reference.layers.files import Layer, from_text, load, save, to_text
from quantcheck.targets.reference.operations import answer
from quantcheck.wire.arrays import decode
from quantcheck.wire.cases import Case
from quantref.config import GPTQConfig, Int8QuantizationConfig, Quantizer
from quantref.equations import parse_equation
from quantref.errors import (
    AxisError,
    CodeRangeError,
    ConfigError,
    DamagedVectorError,
    DTypeError,
    EquationError,
    NonFiniteError,
    ShapeError,
)
from quantref.layers import DENSE, GPTQDense, Int8Dense, Int8Embedding
from quantref.packing import pack_codes

U = 2.0**-24
EQUATIONS = {
    DENSE: ((2, 3, 4), (4, 5)),
    "abc,cde->abde": ((2, 2, 4), (4, 2, 3)),
    "abcd,cde->abe": ((2, 2, 2, 3), (2, 3, 4)),
    "abc,dce->abde": ((2, 2, 4), (2, 4, 3)),
    "abc,cde->abed": ((2, 2, 4), (4, 2, 3)),
    "abc,bcd->abd": ((2, 3, 4), (3, 4, 2)),
    "ab...,bc->ac...": ((2, 4, 3), (4, 5)),
}


def drawn(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def by_loops(equation: str, x: Any, kernel: Any) -> Any:
    """Sum products index by index, in fractions."""
    parsed = parse_equation(equation, x.ndim)
    sizes = dict(zip(parsed.inputs, x.shape, strict=True))
    sizes |= dict(zip(parsed.kernel, kernel.shape, strict=True))
    letters = "".join(sizes)
    out = np.zeros([sizes[c] for c in parsed.outputs], dtype=object)
    for place in itertools.product(*(range(sizes[c]) for c in letters)):
        at = dict(zip(letters, place, strict=True))
        product = Fraction(float(x[tuple(at[c] for c in parsed.inputs)])) * Fraction(
            float(kernel[tuple(at[c] for c in parsed.kernel)])
        )
        out[tuple(at[c] for c in parsed.outputs)] += product
    return out.astype(np.float64)


@pytest.mark.parametrize("equation", EQUATIONS)
def test_int8_is_near_the_float_layer(equation: str) -> None:
    """[LAY-160] [LAY-030]: off by no more than half a step of each factor."""
    shapes = EQUATIONS[equation]
    x, kernel = drawn(1, *shapes[0]), drawn(2, *shapes[1])
    layer = Int8Dense.quantize(kernel, equation=equation)
    exact = by_loops(equation, x, kernel)
    parsed = parse_equation(equation, x.ndim)
    inner, outer = parsed.axes(parsed.inputs), parsed.axes(parsed.kernel)
    step_x = np.broadcast_to(np.abs(x).max(axis=inner, keepdims=True) / 253, x.shape)
    step_k = np.broadcast_to(np.abs(kernel).max(axis=outer, keepdims=True) / 253, kernel.shape)
    allowed = (
        by_loops(equation, np.abs(x), step_k)
        + by_loops(equation, step_x, np.abs(kernel))
        + by_loops(equation, step_x, step_k)
    )
    assert layer(x).shape == exact.shape
    assert (np.abs(layer(x) - exact) <= allowed).all()


@pytest.mark.parametrize("equation", EQUATIONS)
def test_weight_only_is_the_stored_kernel(equation: str) -> None:
    """[LAY-040]: activations stay floats."""
    shapes = EQUATIONS[equation]
    x, kernel = drawn(3, *shapes[0]), drawn(4, *shapes[1])
    config = Int8QuantizationConfig(activation_quantizer=None)
    layer = Int8Dense.quantize(kernel, equation=equation, config=config)
    parsed = parse_equation(equation, x.ndim)
    scale = layer.kernel_scale.astype(np.float64)
    for axis in parsed.axes(parsed.kernel):
        scale = np.expand_dims(scale, axis)
    exact = by_loops(equation, x, layer.kernel / scale)
    assert np.allclose(layer(x), exact, rtol=0, atol=4 * U * by_loops(
        equation, np.abs(x), np.abs(layer.kernel / scale)).max())  # fmt: skip


def packed_layer(
    bits: int, equation: str, shape: tuple[int, ...], group_size: int
) -> tuple[GPTQDense, Any]:
    """Return a packed layer and its float kernel, made index by index."""
    parsed = parse_equation(equation)
    inner = parsed.axes(parsed.kernel)
    outer = [k for k in range(len(shape)) if k not in inner]
    n_in = int(np.prod([shape[k] for k in inner]))
    n_out = int(np.prod(shape)) // n_in
    groups = -(-n_in // group_size)
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 2**bits, (n_out, n_in)).astype(np.uint8)
    zero = rng.integers(0, 2**bits, (n_out, groups)).astype(np.uint8)
    scale = rng.uniform(0.1, 1, (n_out, groups)).astype(np.float32)
    g_idx = rng.permutation(np.arange(n_in) // group_size).astype(np.int32)
    kernel = np.zeros(shape)
    for index in np.ndindex(*shape):
        column = int(np.ravel_multi_index([index[k] for k in inner], [shape[k] for k in inner]))
        row = int(np.ravel_multi_index([index[k] for k in outer], [shape[k] for k in outer]))
        group = g_idx[column]
        kernel[index] = float(scale[row, group]) * (int(codes[row, column]) - int(zero[row, group]))
    config = GPTQConfig(None, None, weight_bits=bits, group_size=group_size)
    packed = pack_codes(codes, bits, axis=0).astype(np.uint8)
    return GPTQDense(equation, shape, packed, scale, zero, g_idx, config), kernel


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("equation", EQUATIONS)
def test_gptq_is_the_dequantized_kernel(bits: int, equation: str) -> None:
    """[LAY-090] [LAY-180] [LAY-110] [LAY-120]"""
    shapes = EQUATIONS[equation]
    x = drawn(6, *shapes[0])
    layer, kernel = packed_layer(bits, equation, shapes[1], 3)
    exact = by_loops(equation, x, kernel)
    allowed = 4 * U * by_loops(equation, np.abs(x), np.abs(kernel))
    assert (np.abs(layer(x) - exact) <= allowed).all()


def test_bias_and_activation() -> None:
    """[LAY-050]"""
    x, kernel = drawn(7, 3, 4), drawn(8, 4, 5)
    bias = single([5, -5, 0.5, -0.5, 0])
    plain = Int8Dense.quantize(kernel)(x).astype(np.float64)
    both = Int8Dense.quantize(kernel, bias, activation="relu")(x)
    assert np.allclose(both, np.maximum(plain + bias, 0), rtol=0, atol=1e-6)
    assert (both[:, 1] == 0).all()


def test_embeddings() -> None:
    """[LAY-060] [LAY-070] [LAY-080]"""
    rows, back, x = drawn(9, 6, 4), drawn(10, 4, 6), drawn(11, 3, 4)
    tied, untied = Int8Embedding.quantize(rows), Int8Embedding.quantize(rows, back)
    tokens = np.array([[5, 0], [1, 1]])
    assert (
        np.abs(tied(tokens) - rows[tokens]) <= np.abs(rows).max(axis=1)[tokens, None] / 253
    ).all()
    assert np.array_equal(tied(tokens), untied(tokens))
    assert np.array_equal(tied.reverse(x), Int8Dense.quantize(rows.T)(x))
    assert np.array_equal(untied.reverse(x), Int8Dense.quantize(back)(x))


def cases() -> list[Case]:
    """Return cases of every operation from drawn inputs, as the property suite makes them."""
    x, kernel, rows = drawn(12, 3, 8), drawn(13, 8, 5), drawn(14, 6, 8)
    layer, _ = packed_layer(4, DENSE, (8, 5), 3)
    heads = "abc,cde->abde"
    packed, _ = packed_layer(4, heads, (8, 2, 3), 8)
    return [
        lay_int8_case("a", "t", x, kernel, drawn(15, 5), "LAY-030"),
        lay_int8_case("b", "t", x, kernel, None, "LAY-040", config=WEIGHT_ONLY),
        lay_int8_case("c", "t", x[None], drawn(16, 8, 2, 3), None, "LAY-030", equation=heads),
        lay_embedding_case("d", "t", np.array([1, 5]), rows, "LAY-060"),
        lay_reverse_case("e", "t", x, rows, None, "LAY-070"),
        lay_reverse_case("f", "t", x, rows, drawn(17, 8, 6), "LAY-080"),
        lay_gptq_case(
            "g", "t", x, layer.packed, layer.scale, layer.zero_point, layer.g_idx, drawn(18, 5),
            "LAY-090", kernel_shape=(8, 5), group_size=3,
        ),
        lay_gptq_case(
            "h", "t", x[None], packed.packed, packed.scale, packed.zero_point, packed.g_idx, None,
            "LAY-090", kernel_shape=(8, 2, 3), group_size=8, equation=heads,
        ),
    ]  # fmt: skip


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
@pytest.mark.parametrize("u", [2.0**-24, 2.0**-53])
def test_bounds_hold_and_bite(case: Case, u: float) -> None:
    given = decode(answer(case.question()))
    assert all(f.passed for f in judge(case, given, unit_roundoff=u))
    values = given["outputs"]["values"]
    bound = case.judging["bound"]
    assert (np.abs(values - case.expected["outputs"]["values"]) <= bound).all()
    index = np.unravel_index(int(np.argmax(np.abs(values))), values.shape)
    wrong = values.copy()
    wrong[index] += np.float32(4 * bound[index])
    findings = judge(case, {"outputs": {**given["outputs"], "values": wrong}}, unit_roundoff=u)
    assert [f.index for f in findings if not f.passed] == [tuple(map(int, index))]


def test_a_flipped_code_is_found_and_judged_once() -> None:
    """[LAY-010]: a stored code off by one fails; outputs are judged by the stored codes."""
    case = cases()[0]
    layer = Int8Dense.quantize(case.inputs["kernel"], case.inputs["bias"])
    codes = layer.kernel.copy()
    index = tuple(int(i) for i in np.argwhere(np.abs(codes) < 100)[0])
    codes[index] += 1
    forged = replace(layer, kernel=codes)
    outputs = {
        "values": forged(case.inputs["x"]),
        "kernel": codes,
        "kernel_scale": layer.kernel_scale,
    }
    failed = [f for f in judge(case, {"outputs": outputs}, unit_roundoff=U) if not f.passed]
    assert failed
    assert {f.index for f in failed} == {index}
    assert all(f.message.startswith("kernel") for f in failed)


def test_a_near_tie_of_an_activation_allows_both_codes() -> None:
    """[LAY-030]: 0.5 at scale 1 is a tie; outputs of codes 0 and 1 pass, that of 2 fails."""
    x = single([[127.0, 0.5]])
    kernel = single([[0.25], [1.0]])
    case = lay_int8_case("tie", "t", x, kernel, None, "LAY-030")
    given = answer(case.question())["outputs"]
    stored = decode({"outputs": given})["outputs"]
    codes, scale = stored["kernel"].astype(np.int64), float(stored["kernel_scale"][0])
    for code, passes in ((0, True), (1, True), (2, False), (-1, False)):
        values = single([[(127 * codes[0, 0] + code * codes[1, 0]) / scale]])
        findings = judge(case, {"outputs": {**stored, "values": values}}, unit_roundoff=U)
        assert all(f.passed for f in findings) == passes, code


# Files


LAYERS: dict[str, Callable[[], Layer]] = {
    "int8": lambda: Int8Dense.quantize(drawn(20, 4, 3), drawn(21, 3), activation="relu"),
    "weight-only": lambda: Int8Dense.quantize(
        drawn(22, 4, 3), config=Int8QuantizationConfig(activation_quantizer=None)
    ),
    "gptq": lambda: packed_layer(4, DENSE, (4, 3), 2)[0],
    "tied": lambda: Int8Embedding.quantize(drawn(23, 5, 4)),
    "untied": lambda: Int8Embedding.quantize(drawn(24, 5, 4), drawn(25, 4, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_file_gives_the_same_layer(name: str, tmp_path: Path) -> None:
    """[LAY-130] [LAY-140]"""
    layer: Any = LAYERS[name]()
    save(layer, tmp_path / "layer.json")
    again: Any = load(tmp_path / "layer.json")
    assert again.config == layer.config
    x = drawn(26, 2, 4)
    call = type(layer).reverse if isinstance(layer, Int8Embedding) else type(layer).__call__
    assert np.array_equal(call(again, x), call(layer, x))
    assert to_text(again) == to_text(layer)


@pytest.mark.parametrize(
    "change",
    [
        {"layer": "Dense"},
        {"more": 1},
        {"kernel": None, "config": 3},
        {"config": {"weight_bits": 9}},
    ],
)
def test_damaged_files(change: dict[str, Any]) -> None:
    data = json.loads(to_text(LAYERS["gptq"]()))
    with pytest.raises(DamagedVectorError, match="JSON of a layer"):
        from_text(json.dumps({**data, **change}))
    with pytest.raises(DamagedVectorError, match="JSON of a layer"):
        from_text("[]")


@pytest.mark.parametrize("name", ["lay-reload-dense-int8", "lay-reload-dense-gptq"])
def test_a_fresh_process_gives_the_same_bits(name: str, root: Path) -> None:
    """[LAY-130]"""
    question = json.loads((root / "vectors" / "lay" / f"{name}.json").read_text("utf-8"))
    outputs = answer(question)["outputs"]
    assert outputs["reloaded"] == outputs["values"]
    assert outputs["fields"] == question["expected"]["outputs"]["fields"]


# Bad input  [LAY-150]


@pytest.mark.parametrize(
    ("text", "ndim"),
    [
        ("ab,bc", 2), ("ab->b", 2), ("...ab,bc->ac", 3), ("...a...,ab->...b...", 3),
        ("aab,bc->ac", 3),
        ("ab,bc->abc", 2), ("ab,bc->ad", 2), ("abd,bc->ac", 3), ("ab,cd->ac", 2), (3, 2),
    ],
)  # fmt: skip
def test_bad_equations(text: Any, ndim: int) -> None:
    with pytest.raises(EquationError, match="LAY-150"):
        parse_equation(text, ndim)


def test_equations_of_another_rank() -> None:
    for text, ndim in (("ab,bc->ac", 3), ("abc,cd->abd", 2), ("...ab,bc->...ac", 1)):
        with pytest.raises(ShapeError, match="LAY-150"):
            parse_equation(text, ndim)


def test_bad_dense_input() -> None:
    kernel = drawn(30, 4, 3)
    layer = Int8Dense.quantize(kernel, drawn(31, 2))
    with pytest.raises(ShapeError, match="a bias that broadcasts"):
        layer(drawn(32, 2, 4))
    with pytest.raises(ShapeError, match="one size of axis"):
        layer(drawn(32, 2, 5))
    with pytest.raises(NonFiniteError):
        layer(single([[1, 2, np.inf, 4]]))
    with pytest.raises(DTypeError):
        layer(np.ones((2, 4), np.int32))
    with pytest.raises(ShapeError, match="kernel of rank 2"):
        Int8Dense.quantize(kernel[0])
    with pytest.raises(ConfigError, match="activation in"):
        Int8Dense.quantize(kernel, activation="gelu")
    with pytest.raises(ConfigError, match="AbsMaxQuantizer"):
        Int8Dense.quantize(kernel, config=Int8QuantizationConfig(weight_quantizer=Quantizer()))
    with pytest.raises(NonFiniteError):
        Int8Dense.quantize(kernel * np.float32(np.nan))


def test_a_weight_quantizer_of_another_axis() -> None:
    """[LAY-160]"""
    from quantref import AbsMaxQuantizer

    config = Int8QuantizationConfig(weight_quantizer=AbsMaxQuantizer(axis=-1))
    with pytest.raises(AxisError, match="LAY-150"):
        Int8Dense.quantize(drawn(33, 4, 3), config=config)
    assert Int8Embedding.quantize(drawn(34, 4, 3), config=config).embeddings.shape == (4, 3)


def test_bad_embedding_input() -> None:
    layer = Int8Embedding.quantize(drawn(35, 4, 3))
    for tokens in ([4], [-1]):
        with pytest.raises(CodeRangeError, match=r"tokens in \[0, 4\)"):
            layer(np.array(tokens))
    with pytest.raises(DTypeError, match="integer tokens"):
        layer(single([1]))
    with pytest.raises(ShapeError):
        Int8Embedding.quantize(drawn(36, 4))
    with pytest.raises(ShapeError, match="reverse embeddings"):
        Int8Embedding.quantize(drawn(37, 4, 3), drawn(38, 4, 3))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"kernel_shape": (4, 3, 1)}, ShapeError),
        ({"kernel_shape": (5, 3)}, ShapeError),
        ({"packed": np.zeros((3, 4), np.uint8)}, ShapeError),
        ({"packed": np.zeros((2, 5), np.uint8)}, ShapeError),
        ({"scale": np.ones((3, 1), np.float32)}, ShapeError),
        ({"zero_point": np.zeros((3, 1), np.uint8)}, ShapeError),
        ({"g_idx": np.array([0, 0, 1, 2])}, CodeRangeError),
        ({"activation": "tanh"}, ConfigError),
        ({"bias": single([1, 2])}, ShapeError),
    ],
)
def test_bad_packed_layers(change: dict[str, Any], error: type[Exception]) -> None:
    layer = replace(packed_layer(4, DENSE, (4, 3), 2)[0], **change)
    with pytest.raises(error):
        layer(drawn(39, 2, 4))


def test_configs_of_the_other_class_are_refused() -> None:
    int8, gptq = Int8QuantizationConfig(), GPTQConfig(None, None, group_size=-1)
    with pytest.raises(ConfigError, match="config to be an Int8QuantizationConfig"):
        Int8Dense.quantize(single([[1.0]]), config=gptq)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="config to be an Int8QuantizationConfig"):
        Int8Embedding.quantize(single([[1.0]]), config=gptq)  # type: ignore[arg-type]
    packed = small([[9, 6]]), single([[0.5]]), small([[8]]), np.zeros(2, np.int32)
    with pytest.raises(ConfigError, match="config to be a GPTQConfig"):
        GPTQDense(DENSE, (2, 1), *packed, int8)(single([[4, 1]]))  # type: ignore[arg-type]
    signed = GPTQDense(DENSE, (2, 1), packed[0].astype(np.int8), *packed[1:], gptq)
    with pytest.raises(DTypeError, match="a packed kernel of dtype uint8, got int8"):
        signed(single([[4, 1]]))
