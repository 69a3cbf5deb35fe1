"""Cases of section LAY: packed kernels, layers that were saved, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantcheck.corpus.draw import refused, single
from quantcheck.corpus.lay.build import INT8, WEIGHT_ONLY, gptq_config, lay_gptq_case, lay_int8_case
from quantcheck.corpus.lay.draw import HEADS_FIRST, OUT, PER_TOKEN, QKV, drawn, int8, packed_kernel
from quantcheck.corpus.lay.options import Options
from quantcheck.corpus.lay.rows import lay_embedding_case, lay_reverse_case
from quantcheck.wire.cases import Case
from quantcheck.wire.policies import IN_BLOCK


def gptq_cases() -> Iterator[Case]:
    """Yield the cases of packed kernels."""
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
            "LAY-180" if bits == 4 else "LAY-190",
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
    yield lay_gptq_case(
        "dense-gptq-zero-above",
        "Dense, a zero-point above the largest code",
        single([[4, 1]]),
        np.array([[9, 6]], np.uint8),
        single([[0.5]]),
        np.array([[16]], np.uint8),
        np.zeros(2, np.int32),
        None,
        "LAY-090",
        kernel_shape=(2, 1),
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


def calibrated_cases() -> Iterator[Case]:
    """Yield the cases of packed layers in models that were calibrated."""
    arguments = {"weight_bits": 4, "group_size": 4, "num_samples": 4, "sequence_length": 64}
    config = {"class": "GPTQConfig", "arguments": arguments}
    for name, title, structure, called, reload in (
        ("dense-gptq-calibrated", "a block of a calibrated model", "given", {}, False),
        ("dense-gptq-mode-of-config", "calibrated with a config, without a mode", "left out",
         {"mode": "left out"}, False),
        ("reload-dense-gptq-in-block", "a calibrated model, saved and loaded", "given", {}, True),
    ):  # fmt: skip
        with_ = {"dataset": "list of arrays", "tokenizer": "object", "structure": structure}
        yield lay_gptq_case(
            name,
            f"Dense, {title}",
            drawn(690, 3, 10),
            *packed_kernel(691, 5, 10, bits=4, groups=3),
            np.arange(10, dtype=np.int32) // 4,
            None,
            *(("LAY-130", "LAY-140") if reload else ()),
            "LAY-090",
            kernel_shape=(10, 5),
            config=config,
            reload=reload,
            options=Options(place=IN_BLOCK, arguments=called, calibrated_with=with_),
        )


def reload_cases() -> Iterator[Case]:
    """Yield the cases of layers that are saved and loaded."""
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
    narrow = {"class": "AbsMaxQuantizer", "arguments": {"axis": 0, "value_range": [-63, 63]}}
    yield lay_int8_case(
        "reload-dense-int8-config",
        "Dense, a config of its own, saved and loaded",
        x,
        kernel,
        bias,
        *reversed(kept),
        config=int8(narrow, PER_TOKEN),
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


def refused_cases() -> Iterator[Case]:
    """Yield the cases of section LAY that must be refused."""
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
        ("shared-size", "a shared axis of sizes 1 and 2", "einsum_dense_int8", "ShapeError",
         {**einsum, "equation": "bax,bxy->bay", "output_shape": [3, 5]},
         {"x": drawn(676, 1, 3, 4), "kernel": drawn(677, 2, 4, 5)}),
        ("config-gptq", "a float kernel with the config of a packed one", "dense_int8",
         "ConfigError", {**plain, "config": gptq_config(4, -1)}, {"x": x, "kernel": kernel}),
        ("config-int8", "a packed kernel with the config of a float one", "dense_gptq",
         "ConfigError", {**gptq, "config": INT8}, mapped),
        ("packed-int8", "a packed kernel of signed bytes", "dense_gptq", "DTypeError", gptq,
         {**mapped, "packed": packed.astype(np.int8)}),
    ):  # fmt: skip
        yield refused(
            "lay", f"lay-refuse-{name}", title, operation, "LAY-150", error, parameters, inputs
        )
    yield refused(
        "lay", "lay-refuse-float16", "int8 in float16", "dense_int8", "LAY-230", "DTypeError",
        {**plain, "policy": "mixed_float16"}, {"x": drawn(679, 2, 4), "kernel": kernel},
    )  # fmt: skip
    stored = {"class": "AbsMaxQuantizer", "arguments": {"axis": 1}}
    yield refused(
        "lay",
        "lay-refuse-untied-axis",
        "an untied embedding, whose kernels have different axes, with a stored one",
        "reversible_embedding_int8",
        "LAY-170",
        "AxisError",
        {"config": int8(stored, PER_TOKEN), "reverse": True, "tie_weights": False, "reload": False},
        {"x": x, "embeddings": rows, "reverse_embeddings": drawn(678, 4, 5)},
    )
