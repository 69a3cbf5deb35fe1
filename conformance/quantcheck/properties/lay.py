"""Section LAY: drawn layers, quantized kernels and rows, inputs of zeros and outliers."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from quantcheck.corpus.draw import refused
from quantcheck.corpus.lay.build import INT8, WEIGHT_ONLY, lay_gptq_case, lay_int8_case
from quantcheck.corpus.lay.rows import lay_embedding_case, lay_reverse_case
from quantcheck.properties import Sizes, single
from quantcheck.properties.crossed.drawn import PROPERTIES as CROSSED
from quantcheck.properties.kernels import KERNELS, int8_case, packed_case
from quantcheck.properties.sizes import swept
from quantcheck.properties.strategies import Draw, grids
from quantcheck.wire.cases import Case
from quantref.affine import group_index
from quantref.inputs import Array
from quantref.packing import pack_codes

# Equation, shapes of inputs and kernel, axes of the bias and its shape.
EQUATIONS = (
    ("abc,cd->abd", (2, 3, 6), (6, 5), "d", (5,)),
    ("abc,cde->abde", (2, 3, 6), (6, 2, 4), "de", (2, 4)),  # attention, projection in
    ("abcd,cde->abe", (2, 3, 2, 4), (2, 4, 6), "e", (6,)),  # attention, projection out
)
HEADS_FIRST = ("abc,dce->abde", (2, 3, 4), (2, 4, 3), None, None)
ELLIPSIS = ("...x,xy->...y", (2, 3, 6), (6, 5), "y", (5,))


@st.composite
def _array(draw: Draw, *shape: int, kinds: bool = False) -> Array:
    """Draw float32 numbers; with `kinds`, each row along the last axis is of one of them."""
    count = int(np.prod(shape))
    x = (draw(grids(count)) / 256.0).reshape(shape)
    if kinds:
        rows = x.reshape(-1, shape[-1])
        for row in rows:
            kind = draw(st.sampled_from(("plain", "plain", "zero", "outlier", "small")))
            if kind == "zero":
                row[:] = 0
            elif kind == "outlier":
                row[0] = draw(st.sampled_from((1e6, -1e6)))
            elif kind == "small":
                row *= 2.0**-16
    return x.astype(np.float32)


@st.composite
def _dense(draw: Draw, _: Sizes, *, bias: bool) -> Case:
    x, kernel = draw(_array(3, 8, kinds=True)), draw(_array(8, 5))
    given = draw(_array(5)) if bias else None
    activation = draw(st.sampled_from((None, "relu"))) if bias else None
    title = "a generated Dense, int8"
    return lay_int8_case("drawn", title, x, kernel, given, activation=activation)


@st.composite
def _einsum(
    draw: Draw, _: Sizes, *, config: dict[str, Any] = INT8, equations: Any = EQUATIONS
) -> Case:
    equation, inputs, kernel, axes, shape = draw(st.sampled_from(equations))
    biased = draw(st.booleans())
    return lay_int8_case(
        "drawn",
        f"a generated EinsumDense {equation}, int8",
        draw(_array(*inputs, kinds=config is INT8)),
        draw(_array(*kernel)),
        draw(_array(*shape)) if biased else None,
        equation=equation,
        bias_axes=axes if biased else None,
        config=config,
    )


@st.composite
def _settings(draw: Draw, axes: tuple[Any, ...]) -> dict[str, Any]:
    """Draw an AbsMaxQuantizer with one of these axes; all else may be left out."""
    choices = {
        "value_range": st.sampled_from(([-127, 127], [-128, 127], [-63, 63], [-100, 1])),
        "epsilon": st.sampled_from((1e-7, 3e-9, 0.25)),
        "output_dtype": st.just("int8"),
    }
    names = draw(st.sets(st.sampled_from(sorted(choices))))
    arguments = {"axis": draw(st.sampled_from(axes))}
    arguments |= {name: draw(choices[name]) for name in sorted(names)}
    return {"class": "AbsMaxQuantizer", "arguments": arguments}


@st.composite
def _quantizers(draw: Draw, _: Sizes) -> Case:
    """Draw a Dense whose quantizers store axes; those of activations have no effect."""
    weights = draw(st.one_of(st.none(), _settings((0, -2, [0], [-2]))))
    activations = draw(_settings((None, 0, -1, [1], [0, 1], [])))
    config = {
        "class": "Int8QuantizationConfig",
        "arguments": {"weight_quantizer": weights, "activation_quantizer": activations},
    }
    x, kernel = draw(_array(3, 8, kinds=True)), draw(_array(8, 5))
    title = "a generated Dense with quantizers of its own, int8"
    return lay_int8_case("drawn", title, x, kernel, None, config=config)


@st.composite
def _tokens(draw: Draw) -> Array:
    tokens = draw(st.lists(st.integers(0, 6), min_size=6, max_size=6))
    return np.array(tokens, np.int32).reshape(2, 3)


@st.composite
def _rows(draw: Draw) -> Array:
    """Draw an embedding whose rows are of different size."""
    sizes = 2.0 ** draw(grids(7, spread=8)).astype(np.float64)
    return (draw(_array(7, 4)) * sizes[:, None]).astype(np.float32)


@st.composite
def _looked_up(draw: Draw, _: Sizes) -> Case:
    title, reversible = "generated rows, looked up", draw(st.booleans())
    return lay_embedding_case("drawn", title, draw(_tokens()), draw(_rows()), reversible=reversible)


@st.composite
def _reversed(draw: Draw, _: Sizes, *, tied: bool) -> Case:
    title = f"a generated ReversibleEmbedding, {'tied' if tied else 'untied'}, backwards"
    back = None if tied else np.ascontiguousarray(draw(_rows()).T)
    return lay_reverse_case("drawn", title, draw(_array(3, 4)), draw(_rows()), back)


@st.composite
def _packed(
    draw: Draw, n_out: int, n_in: int, bits: int, groups: int
) -> tuple[Array, Array, Array]:
    """Draw packed codes, scales (n_out, groups) and zero-points."""
    codes = draw(grids(n_out * n_in, spread=1000)).reshape(n_out, n_in) % 2**bits
    scale = (np.abs(draw(grids(n_out * groups))) + 1).reshape(n_out, groups) / 4096.0
    zero = draw(grids(n_out * groups, spread=1000)).reshape(n_out, groups) % 2**bits
    packed = pack_codes(codes.astype(np.uint8), bits, 0)
    return packed, scale.astype(np.float32), zero.astype(np.uint8)


@st.composite
def _dense_packed(
    draw: Draw, _: Sizes, *, shuffled: bool = False, widths: tuple[int, ...] = (3, 4, 8)
) -> Case:
    bits = draw(st.sampled_from(widths))
    g_idx = group_index(10, 4)
    if shuffled:
        g_idx = g_idx[np.argsort(draw(grids(10)), kind="stable")]
    packed = draw(_packed(5, 10, bits, 3))
    x, bias = draw(_array(3, 10)), draw(st.one_of(st.none(), _array(5)))
    title = f"a generated Dense with a packed kernel, {bits} bits"
    return lay_gptq_case("drawn", title, x, *packed, g_idx, bias, kernel_shape=(10, 5),
                         bits=bits, group_size=4)  # fmt: skip


@st.composite
def _einsum_packed(draw: Draw, _: Sizes, *, equations: Any = EQUATIONS) -> Case:
    bits = draw(st.sampled_from((4, 8)))
    equation, inputs, kernel, axes, shape = draw(st.sampled_from(equations))
    n_in = {"abcd,cde->abe": 8, "abc,dce->abde": 4}.get(equation, 6)
    n_out = int(np.prod(kernel)) // n_in
    packed = draw(_packed(n_out, n_in, bits, 1))
    bias = draw(_array(*shape)) if shape is not None and draw(st.booleans()) else None
    title = f"a generated EinsumDense {equation} with a packed kernel, {bits} bits"
    return lay_gptq_case(
        "drawn", title, draw(_array(*inputs)), *packed, group_index(n_in, -1), bias,
        kernel_shape=kernel, bits=bits, equation=equation,
        bias_axes=axes if bias is not None else None,
    )  # fmt: skip


@st.composite
def _reloaded(draw: Draw, _: Sizes) -> Case:
    """Draw layers that are saved, and loaded in a fresh process."""
    x, kernel, bias = draw(_array(3, 8)), draw(_array(8, 5)), draw(_array(5))
    config = draw(st.sampled_from((INT8, WEIGHT_ONLY)))
    title = "a generated Dense, saved and loaded"
    return lay_int8_case("drawn", title, x, kernel, bias, config=config, reload=True)


@st.composite
def _refused(draw: Draw, _: Sizes) -> Case:
    x, kernel = draw(_array(2, 4)), draw(_array(4, 3))
    fault = draw(st.sampled_from(("value", "width")))
    error = "NonFiniteError"
    if fault == "value":
        x[draw(st.integers(0, 1)), draw(st.integers(0, 3))] = draw(
            st.sampled_from((np.nan, np.inf))
        )
    else:
        x, error = draw(_array(2, draw(st.sampled_from((3, 5))))), "ShapeError"
    given = {"config": INT8, "activation": None, "reload": False}
    title, inputs = f"generated inputs that must be refused: {fault}", {"x": x, "kernel": kernel}
    return refused("lay", "drawn", title, "dense_int8", "LAY-150", error, given, inputs)


@st.composite
def _refused_axes(draw: Draw, _: Sizes) -> Case:
    """Draw a weight quantizer with other axes than the contracted one."""
    quantizer = {"class": "AbsMaxQuantizer",
                 "arguments": {"axis": draw(st.sampled_from((1, -1, [0, 1], [])))}}  # fmt: skip
    arguments = {"weight_quantizer": quantizer}
    config = {"class": "Int8QuantizationConfig", "arguments": arguments}
    given = {"config": config, "activation": None, "reload": False}
    inputs = {"x": draw(_array(2, 4)), "kernel": draw(_array(4, 3))}
    title = "a generated weight quantizer of other axes"
    return refused("lay", "drawn", title, "dense_int8", "LAY-170", "AxisError", given, inputs)


# The requirements of a property: its topic first, then others that a wrong answer may fail.
INT8_DENSE = ("LAY-030", "LAY-010", "LAY-160")
EINSUM = ("LAY-160", "LAY-010", "LAY-030", "LAY-050")
EINSUM_PACKED = ("LAY-110", "LAY-090", "LAY-180", "LAY-050")
RELOADED = ("LAY-130", "LAY-140", "LAY-010", "LAY-160", "LAY-030", "LAY-040", "LAY-050")

# General properties come first, then one topic after another: the first failure names the cause.
PROPERTIES = (
    single("prop-lay-dense", "Dense, int8: codes, scales and outputs.",
           INT8_DENSE, lambda s: _dense(s, bias=False), 12),
    single("prop-lay-bias", "Bias after the scales, activation after the bias.",
           ("LAY-050", *INT8_DENSE), lambda s: _dense(s, bias=True), 10),
    single("prop-lay-einsum", "EinsumDense, int8, attention projections in and out.",
           EINSUM, _einsum, 12),
    single("prop-lay-ellipsis", "EinsumDense with any axes.",
           EINSUM, lambda s: _einsum(s, equations=(ELLIPSIS,)), 4),
    swept("prop-lay-kernels", "EinsumDense with kernels of rank 2 to 4, contracted along any axes.",
          ("LAY-160", "LAY-010", "LAY-030"), KERNELS, int8_case),
    single("prop-lay-quantizers", "Quantizers with axes, ranges and epsilons of their own.",
           ("LAY-010", "LAY-160", "LAY-030", "LAY-050"), _quantizers, 20),
    single("prop-lay-weight-only", "Without an activation quantizer activations stay floats.",
           ("LAY-040", "LAY-010", "LAY-160", "LAY-050"),
           lambda s: _einsum(s, config=WEIGHT_ONLY), 8),
    single("prop-lay-embedding", "Rows are looked up with a scale each.",
           ("LAY-060",), _looked_up, 8),
    single("prop-lay-tied", "A tied reverse uses the stored rows.",
           ("LAY-070", "LAY-060"), lambda s: _reversed(s, tied=True), 8),
    single("prop-lay-untied", "An untied reverse has codes of its own.",
           ("LAY-080", "LAY-060"), lambda s: _reversed(s, tied=False), 8),
    single("prop-lay-packed", "Dense with a packed kernel.",
           ("LAY-090", "LAY-180", "LAY-050"), _dense_packed, 12),
    single("prop-lay-packed-2bit", "Four codes a byte.",
           ("LAY-190", "LAY-090", "LAY-050"), lambda s: _dense_packed(s, widths=(2,)), 5),
    single("prop-lay-packed-einsum", "EinsumDense with a packed kernel.",
           EINSUM_PACKED, _einsum_packed, 10),
    single("prop-lay-packed-heads", "EinsumDense with a packed kernel, heads first.",
           EINSUM_PACKED, lambda s: _einsum_packed(s, equations=(HEADS_FIRST,)), 4),
    swept("prop-lay-packed-kernels", "Packed kernels of rank 2 to 4, contracted along any axes.",
          ("LAY-110", "LAY-090", "LAY-180"), KERNELS, packed_case),
    single("prop-lay-packed-groups", "Groups in any order.",
           ("LAY-120", "LAY-090", "LAY-180", "LAY-050"),
           lambda s: _dense_packed(s, shuffled=True), 8),
    single("prop-lay-reload", "Saved and loaded in a fresh process: the same outputs and config.",
           RELOADED, _reloaded, 2),
    *CROSSED,
    single("prop-lay-refused-axes", "Weights are quantized along the contracted axes alone.",
           ("LAY-170",), _refused_axes, 4),
    single("prop-lay-refused", "Bad inputs are refused.", ("LAY-150",), _refused, 6),
)  # fmt: skip
