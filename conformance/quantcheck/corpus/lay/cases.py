"""Cases of section LAY: what quantized layers return, before and after they are saved."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantcheck.corpus.draw import dyadic, single
from quantcheck.corpus.lay.build import WEIGHT_ONLY, lay_int8_case
from quantcheck.corpus.lay.draw import HEADS_FIRST, OUT, PER_TOKEN, QKV, drawn, int8
from quantcheck.corpus.lay.options import Options
from quantcheck.corpus.lay.packed import calibrated_cases, gptq_cases, refused_cases, reload_cases
from quantcheck.corpus.lay.rows import lay_embedding_case, lay_reverse_case
from quantcheck.wire.cases import Case
from quantcheck.wire.policies import CALLED_TWICE, CLONED, IN_BLOCK, IN_LAYER, TRAINING, TWICE


def lay_cases() -> Iterator[Case]:
    """Yield the cases of section LAY."""
    yield from _dense_cases()
    yield from _einsum_cases()
    yield from _embedding_cases()
    yield from gptq_cases()
    yield from calibrated_cases()
    yield from reload_cases()
    yield from _used_cases()
    yield from refused_cases()


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
        "dense-int8-outputs", "outputs of very different size", x, uneven, None, "LAY-160", *both
    )
    tokens = drawn(603, 2, 3, 8) * single([[1, 2.0**-9, 2.0**12], [2.0**5, 1, 2.0**-3]])[..., None]
    yield lay_int8_case(
        "dense-int8-tokens",
        "tokens of very different size, rank 3",
        tokens,
        kernel,
        bias,
        "LAY-160",
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
        "LAY-170",
        *both,
        config=int8({"class": "AbsMaxQuantizer", "arguments": {}}, PER_TOKEN),
    )
    yield lay_int8_case(
        "dense-int8-activation-axis",
        "an activation quantizer whose own axis has no effect",
        single([[0.5, 1], [8, -2]]),
        single([[1, -4], [-2, 1]]),
        None,
        "LAY-170",
        *both,
        config=int8(None, {"class": "AbsMaxQuantizer", "arguments": {"axis": 0}}),
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


def _used_cases() -> Iterator[Case]:
    """Yield the cases of dtype policies, and of what is done with a quantized layer."""
    x, kernel = (
        dyadic(seed, shape, 255, 6).astype(np.float32)  # exact in bfloat16
        for seed, shape in ((680, (3, 8)), (681, (8, 5)))
    )
    for name, title, topic, options in (
        ("mixed-bfloat16", "bfloat16 sums of codes", "LAY-220", Options("mixed_bfloat16")),
        ("training", "a call in training", "LAY-210", Options(use=TRAINING)),
        ("cloned", "a clone with the weights of the layer", "LAY-200", Options(use=CLONED)),
        ("twice", "a second quantization", "LAY-240", Options(use=TWICE)),
        ("shared", "a layer that its model calls twice", "LAY-250", Options(place=CALLED_TWICE)),
        ("in-block", "a layer in a block of a model", "LAY-250", Options(place=IN_BLOCK)),
        ("in-layer", "a layer in a block of another layer", "LAY-250", Options(place=IN_LAYER)),
    ):
        yield lay_int8_case(f"dense-int8-{name}", title, x, kernel, None, topic, options=options)
    yield lay_reverse_case(
        "reversible-int8-bfloat16",
        "ReversibleEmbedding, tied, backwards in bfloat16",
        x,
        np.ascontiguousarray(kernel.T),
        None,
        "LAY-220",
        "LAY-070",
        options=Options("bfloat16"),
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
            "LAY-160",
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
            "LAY-160",
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
