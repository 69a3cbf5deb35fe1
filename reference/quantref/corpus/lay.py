"""Cases of section LAY: what quantized layers return, before and after they are saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from quantref.arrays import Array
from quantref.corpus.draw import dyadic, integers, refused, single
from quantref.corpus.lay_build import (
    INT8,
    WEIGHT_ONLY,
    gptq_config,
    lay_embedding_case,
    lay_gptq_case,
    lay_int8_case,
    lay_reverse_case,
)
from quantref.packing import pack_codes
from quantref.vectors import Case

QKV, OUT, HEADS_FIRST = "abc,cde->abde", "abcd,cde->abe", "abc,dce->abde"
PER_TOKEN = {"class": "AbsMaxQuantizer", "arguments": {"axis": -1}}


def drawn(seed: int, *shape: int) -> Array:
    """Return float32 numbers of four decimal places or so, short and exact in binary."""
    return dyadic(seed, shape, 4000, 10).astype(np.float32)


def int8(weight: dict[str, Any] | None, activation: dict[str, Any] | None) -> dict[str, Any]:
    """Return the description of a config with these quantizers' arguments."""
    arguments = {"weight_quantizer": weight, "activation_quantizer": activation}
    return {"class": "Int8QuantizationConfig", "arguments": arguments}


def lay_cases() -> Iterator[Case]:
    """Yield the cases of section LAY."""
    yield from _dense_cases()
    yield from _einsum_cases()
    yield from _embedding_cases()
    yield from _gptq_cases()
    yield from _reload_cases()
    yield from _refused_cases()


def _dense_cases() -> Iterator[Case]:
    x, kernel, bias = drawn(600, 3, 8), drawn(601, 8, 5), drawn(602, 5)
    both = ("LAY-010", "LAY-030")
    yield lay_int8_case("dense-int8", "Dense with a bias", x, kernel, bias, *both, "LAY-050")
    yield lay_int8_case("dense-int8-no-bias", "Dense without a bias", x, kernel, None, *both)
    yield lay_int8_case(
        "dense-int8-relu",
        "a bias that decides which outputs the activation cuts",
        x,
        kernel,
        single([20, -20, 6, -6, 0]),
        "LAY-050",
        "LAY-030",
        activation="relu",
    )
    uneven = kernel * single([2.0**-12, 1, 2.0**10, 2.0**-6, 2.0**4])
    yield lay_int8_case(
        "dense-int8-outputs", "outputs of very different size", x, uneven, None, "LAY-020", *both
    )
    tokens = drawn(603, 2, 3, 8) * single([[1, 2.0**-9, 2.0**12], [2.0**5, 1, 2.0**-3]])[..., None]
    yield lay_int8_case(
        "dense-int8-tokens",
        "tokens of very different size, rank 3",
        tokens,
        kernel,
        bias,
        "LAY-020",
        *both,
    )
    zeros = x.copy()
    zeros[1] = 0
    dead = kernel.copy()
    dead[:, 2] = 0
    yield lay_int8_case(
        "dense-int8-zeros", "a token and a column of zeros", zeros, dead, bias, *both
    )
    yield lay_int8_case(
        "dense-int8-one", "one input, one output", single([[3.0]]), single([[-0.25]]), None, *both
    )
    wide = np.ones((1, 2241), np.float32)
    long = np.repeat(single([[1.0], [-1.0], [2.0**-7]]), [1120, 1120, 1], axis=0)
    yield lay_int8_case(
        "dense-int8-long", "a sum that passes 2^24 and comes back", wide, long, None, "LAY-030"
    )
    narrow = {"class": "AbsMaxQuantizer", "arguments": {"axis": 0, "value_range": [-63, 63]}}
    yield lay_int8_case(
        "dense-int8-weight-range",
        "a weight quantizer of another range",
        x,
        kernel,
        bias,
        *both,
        config=int8(narrow, PER_TOKEN),
    )
    yield lay_int8_case(
        "dense-int8-weight-axis",
        "a weight quantizer without an axis of its own",
        x,
        kernel,
        bias,
        "LAY-020",
        *both,
        config=int8({"class": "AbsMaxQuantizer", "arguments": {}}, PER_TOKEN),
    )
    yield lay_int8_case(
        "dense-int8-weight-only",
        "activations stay floats",
        x,
        uneven,
        bias,
        "LAY-040",
        "LAY-010",
        config=WEIGHT_ONLY,
    )


def _einsum_cases() -> Iterator[Case]:
    x, heads = drawn(610, 2, 3, 6), drawn(611, 2, 3, 2, 4)
    for name, title, equation, inputs, kernel, bias, axes in (
        ("2d", "a kernel of rank 2", "abc,cd->abd", x, drawn(612, 6, 5), drawn(613, 5), "d"),
        ("dots", "an ellipsis", "...x,xy->...y", x, drawn(614, 6, 5), drawn(615, 5), "y"),
        ("in", "attention, projection in", QKV, x, drawn(616, 6, 2, 4), drawn(617, 2, 4), "de"),
        ("out", "attention, projection out", OUT, heads, drawn(618, 2, 4, 6), drawn(619, 6), "e"),
        ("heads-first", "heads first", HEADS_FIRST, x, drawn(620, 2, 6, 4), None, None),
        ("bias-heads", "a bias per head", QKV, x, drawn(621, 6, 2, 4), drawn(622, 2, 1), "d"),
        ("turned", "outputs in another order", "abc,cde->abed", x, drawn(623, 6, 2, 4), None, None),
        ("shared", "a kernel per position", "abc,bcd->abd", x, drawn(624, 3, 6, 2), None, None),
        ("flat", "all axes but one summed", "abc,bcd->ad", x, drawn(625, 3, 6, 2), None, None),
    ):  # fmt: skip
        yield lay_int8_case(
            f"einsum-int8-{name}",
            f"{equation}: {title}",
            inputs,
            kernel,
            bias,
            "LAY-020",
            "LAY-010",
            "LAY-030",
            *(["LAY-050"] if bias is not None else []),
            equation=equation,
            bias_axes=axes,
        )
    for name, equation, inputs, kernel in (
        ("in", QKV, x, drawn(626, 6, 2, 4)),
        ("out", OUT, heads, drawn(627, 2, 4, 6)),
    ):
        yield lay_int8_case(
            f"einsum-int8-weight-only-{name}",
            f"{equation}: activations stay floats",
            inputs,
            kernel,
            None,
            "LAY-040",
            "LAY-020",
            "LAY-010",
            equation=equation,
            config=WEIGHT_ONLY,
        )


def _embedding_cases() -> Iterator[Case]:
    rows = drawn(630, 7, 4) * single([1, 2.0**-8, 2.0**9, 1, 2.0**3, 2.0**-2, 0])[:, None]
    back = drawn(631, 4, 7) * single([1, 2.0**6, 2.0**-9, 1, 2.0**-3, 2.0**2, 4])
    tokens = np.array([[0, 2, 6], [5, 1, 2]], np.int32)
    x = drawn(632, 3, 4)
    yield lay_embedding_case("embedding-int8", "rows of different size", tokens, rows, "LAY-060")
    yield lay_embedding_case(
        "embedding-int8-vector", "tokens of rank 1", np.array([3, 3, 4], np.int32), rows, "LAY-060"
    )
    yield lay_embedding_case(
        "reversible-int8", "tied, forwards", tokens, rows, "LAY-060", reversible=True
    )
    yield lay_embedding_case(
        "reversible-int8-untied",
        "untied, forwards",
        tokens,
        rows,
        "LAY-060",
        "LAY-080",
        reversible=True,
        reverse_embeddings=back,
    )
    yield lay_reverse_case(
        "reversible-int8-tied-back", "tied, backwards", x, rows, None, "LAY-070", "LAY-060"
    )
    square = drawn(633, 5, 5)
    yield lay_reverse_case(
        "reversible-int8-square-back",
        "tied, backwards, as many tokens as features",
        drawn(634, 2, 3, 5),
        square,
        None,
        "LAY-070",
        "LAY-060",
    )
    yield lay_reverse_case(
        "reversible-int8-untied-back", "untied, backwards", x, rows, back, "LAY-080", "LAY-060"
    )
    yield lay_reverse_case(
        "reversible-int8-weight-only-back",
        "tied, backwards, activations stay floats",
        x,
        rows,
        None,
        "LAY-070",
        "LAY-040",
        "LAY-060",
        config=WEIGHT_ONLY,
    )


def packed_kernel(
    seed: int, n_out: int, n_in: int, *, bits: int, groups: int
) -> tuple[Array, Array, Array]:
    """Return packed codes, scales and zero-points of a kernel."""
    top = 2**bits - 1
    codes = np.array(integers(seed, n_out * n_in, 0, top), np.uint8).reshape(n_out, n_in)
    zero = np.array(integers(seed + 1, n_out * groups, 0, top), np.uint8).reshape(n_out, groups)
    scale = np.array(integers(seed + 2, n_out * groups, 1, 4000), np.float32) / 2**14
    return pack_codes(codes, bits, axis=0), scale.reshape(n_out, groups).astype(np.float32), zero


def _gptq_cases() -> Iterator[Case]:
    x, bias = drawn(640, 3, 10), drawn(641, 5)
    ragged = np.arange(10, dtype=np.int32) // 4
    for bits in (2, 3, 4, 8):
        yield lay_gptq_case(
            f"dense-gptq-{bits}bit",
            f"Dense, {bits} bits, five outputs, a short last group",
            x,
            *packed_kernel(642 + 10 * bits, 5, 10, bits=bits, groups=3),
            ragged,
            bias,
            "LAY-100",
            "LAY-090",
            "LAY-050",
            kernel_shape=(10, 5),
            bits=bits,
            group_size=4,
        )
    yield lay_gptq_case(
        "dense-gptq-order",
        "Dense, groups in activation order",
        x,
        *packed_kernel(700, 5, 10, bits=4, groups=3),
        ragged[[7, 2, 9, 0, 4, 1, 8, 3, 6, 5]],
        None,
        "LAY-120",
        "LAY-090",
        kernel_shape=(10, 5),
        group_size=4,
    )
    yield lay_gptq_case(
        "dense-gptq-relu",
        "Dense, one group, activation after the bias",
        x,
        *packed_kernel(703, 4, 10, bits=4, groups=1),
        np.zeros(10, np.int32),
        single([4, -4, 1, -1]),
        "LAY-050",
        "LAY-090",
        kernel_shape=(10, 4),
        activation="relu",
    )
    inputs, heads = drawn(710, 2, 3, 6), drawn(711, 2, 3, 2, 3)
    small = drawn(712, 2, 3, 4)
    for name, title, equation, given, shape, axes in (
        ("2d", "a kernel of rank 2", "abc,cd->abd", inputs, (6, 5), "d"),
        ("in", "attention, projection in", QKV, inputs, (6, 2, 3), "de"),
        ("out", "attention, projection out", OUT, heads, (2, 3, 6), "e"),
        ("in-wide", "projection in, heads wider than the inputs", QKV, small, (4, 2, 6), None),
        ("out-narrow", "projection out, fewer outputs than heads", OUT, heads, (2, 3, 2), None),
        ("heads-first", "heads first", HEADS_FIRST, small, (2, 4, 3), None),
    ):
        n_in = 4 if given is small else 6
        sizes = {"d": (5,), "de": (2, 3), "e": (6,), None: None}[axes]
        n_out = int(np.prod(shape)) // n_in
        yield lay_gptq_case(
            f"einsum-gptq-{name}",
            f"{equation}: {title}",
            given,
            *packed_kernel(720 + len(name), n_out, n_in, bits=4, groups=-(-n_in // 4)),
            np.arange(n_in, dtype=np.int32) // 4,
            None if sizes is None else drawn(713, *sizes),
            "LAY-110",
            "LAY-090",
            kernel_shape=shape,
            group_size=4,
            equation=equation,
            bias_axes=axes,
        )


def _reload_cases() -> Iterator[Case]:
    kept = ("LAY-130", "LAY-140")
    x, kernel, bias = drawn(650, 3, 8), drawn(651, 8, 5), drawn(652, 5)
    yield lay_int8_case(
        "reload-dense-int8",
        "Dense, saved and loaded",
        x,
        kernel,
        bias,
        *kept,
        "LAY-030",
        config=int8(None, PER_TOKEN),
        reload=True,
    )
    yield lay_int8_case(
        "reload-einsum-int8-weight-only",
        "EinsumDense without activation quantizer, saved and loaded",
        drawn(653, 2, 3, 6),
        drawn(654, 6, 2, 4),
        drawn(655, 2, 4),
        *kept,
        "LAY-040",
        equation=QKV,
        bias_axes="de",
        activation="relu",
        config=WEIGHT_ONLY,
        reload=True,
    )
    rows, back = drawn(656, 7, 4), drawn(657, 4, 7)
    yield lay_embedding_case(
        "reload-embedding-int8",
        "Embedding, saved and loaded",
        np.array([[0, 6, 3]], np.int32),
        rows,
        *kept,
        "LAY-060",
        config=int8(None, PER_TOKEN),
        reload=True,
    )
    yield lay_reverse_case(
        "reload-reversible-int8-untied",
        "ReversibleEmbedding, untied, saved and loaded",
        drawn(658, 2, 4),
        rows,
        back,
        *kept,
        "LAY-080",
        config=int8(None, PER_TOKEN),
        reload=True,
    )
    yield lay_gptq_case(
        "reload-dense-gptq",
        "Dense, packed, groups in activation order, saved and loaded",
        drawn(659, 3, 10),
        *packed_kernel(660, 5, 10, bits=4, groups=3),
        (np.arange(10, dtype=np.int32) // 4)[::-1].copy(),
        drawn(663, 5),
        *kept,
        "LAY-090",
        kernel_shape=(10, 5),
        group_size=4,
        reload=True,
    )
    yield lay_gptq_case(
        "reload-einsum-gptq",
        "EinsumDense, projection out, packed, saved and loaded",
        drawn(664, 2, 3, 2, 3),
        *packed_kernel(665, 6, 6, bits=4, groups=1),
        np.zeros(6, np.int32),
        None,
        *kept,
        "LAY-090",
        kernel_shape=(2, 3, 6),
        equation=OUT,
        reload=True,
    )


def _refused_cases() -> Iterator[Case]:
    plain = {"config": INT8, "activation": None, "reload": False}
    x, kernel, rows = drawn(670, 2, 4), drawn(671, 4, 3), drawn(672, 5, 4)
    packed, scale, zero = packed_kernel(673, 3, 4, bits=4, groups=1)
    two_groups = {"scale": np.repeat(scale, 2, 1), "zero_point": np.repeat(zero, 2, 1)}
    g_idx = np.zeros(4, np.int32)
    mapped = {"x": x, "packed": packed, "scale": scale, "zero_point": zero, "g_idx": g_idx}
    gptq = {**plain, "config": gptq_config(4, -1), "kernel_shape": [4, 3]}
    bad = x.copy()
    bad[1, 2] = np.nan
    einsum = {**plain, "bias_axes": None, "output_shape": [3]}
    for name, title, operation, error, parameters, inputs in (
        ("nan", "NaN in the inputs", "dense_int8", "NonFiniteError", plain,
         {"x": bad, "kernel": kernel}),
        ("kernel-infinity", "infinity in the kernel", "dense_int8", "NonFiniteError", plain,
         {"x": x, "kernel": np.where(kernel == kernel[0, 0], np.inf, kernel).astype(np.float32)}),
        ("width", "inputs of another width", "dense_int8", "ShapeError", plain,
         {"x": drawn(674, 2, 5), "kernel": kernel}),
        ("bias", "a bias of another length", "dense_int8", "ShapeError", plain,
         {"x": x, "kernel": kernel, "bias": drawn(675, 2)}),
        ("equation", "an equation without a sum", "einsum_dense_int8", "EquationError",
         {**einsum, "equation": "ab,bc->abc", "output_shape": [4, 3]}, {"x": x, "kernel": kernel}),
        ("equation-form", "an equation of another form", "einsum_dense_int8", "EquationError",
         {**einsum, "equation": "ab,bc"}, {"x": x, "kernel": kernel}),
        ("tokens", "a token beyond the last row", "embedding_int8", "CodeRangeError",
         {"config": INT8, "reload": False},
         {"tokens": np.array([5], np.int32), "embeddings": rows}),
        ("tokens-negative", "a negative token", "embedding_int8", "CodeRangeError",
         {"config": INT8, "reload": False},
         {"tokens": np.array([-1], np.int32), "embeddings": rows}),
        ("packed", "a packed kernel of another height", "dense_gptq", "ShapeError",
         gptq, {**mapped, "packed": packed[:1]}),
        ("groups", "scales of too many groups", "dense_gptq", "ShapeError", gptq,
         {**mapped, **two_groups}),
        ("g-idx", "a group that does not exist", "dense_gptq", "CodeRangeError", gptq,
         {**mapped, "g_idx": np.array([0, 0, 1, 0], np.int32)}),
        ("gptq-nan", "NaN in the inputs", "dense_gptq", "NonFiniteError", gptq,
         {**mapped, "x": bad}),
    ):  # fmt: skip
        yield refused(
            "lay", f"lay-refuse-{name}", title, operation, "LAY-150", error, parameters, inputs
        )
