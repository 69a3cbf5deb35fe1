"""Cases of section PACK: layers in the packed arrays of other libraries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.corpus.draw import integers, refused
from quantcheck.oracle import exact
from quantcheck.wire.cases import Case
from quantref.inputs import Array

WORDS = ("gptq_v1", "gptq_v2", "compressed_tensors", "compressed_tensors_whole")
FORMATS = (*WORDS, "matmulnbits")
FIRST = {
    "gptq_v1": ("PACK-110", "PACK-100", "PACK-090"),
    "gptq_v2": ("PACK-100", "PACK-090"),
    "compressed_tensors": ("PACK-120", "PACK-090"),
    "compressed_tensors_whole": ("PACK-130",),
    "matmulnbits": ("PACK-140",),
}


def _int32(lines: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """Return words of 32 bits as signed numbers of two's complement."""
    return np.array(lines, np.int64).astype(np.uint32).view(np.int32)


def arrays_of(
    codes: Array, zero_point: Array, made: str, bits: int, group_size: int
) -> dict[str, Array]:
    """Return the arrays of a format, by exact arithmetic.

    Examples
    --------
    >>> codes, zero = np.full((1, 2), 3, np.uint8), np.ones((1, 1), np.uint8)
    >>> arrays_of(codes, zero, "compressed_tensors", 4, -1)["packed"]
    array([[51]], dtype=int32)
    """
    lines, zeros = codes.tolist(), zero_point.tolist()
    if made == "matmulnbits":
        size, count = group_size, len(zeros[0])
        padded = [line + [0] * (size * count - len(line)) for line in lines]
        blocks = [
            [exact.words(line[at : at + size], bits, 8) for at in range(0, len(line), size)]
            for line in padded
        ]
        return {
            "packed": np.array(blocks, np.uint8),
            "packed_zero_point": np.array([exact.words(z, bits, 8) for z in zeros], np.uint8),
        }
    whole, gptq = made == "compressed_tensors_whole", made.startswith("gptq")
    if made == "gptq_v1":
        zeros = [[z - 1 for z in line] for line in zeros]
    of_groups = [list(column) for column in zip(*zeros, strict=True)]
    packed = _int32([exact.words(line, bits, 32, whole) for line in lines])
    of_zeros = _int32([exact.words(line, bits, 32, whole) for line in of_groups])
    made_arrays = (packed.T, of_zeros) if gptq else (packed, of_zeros.T)
    names = ("packed", "packed_zero_point")
    return {n: np.ascontiguousarray(a) for n, a in zip(names, made_arrays, strict=True)}


def packed_pair(
    identity: str, codes: Array, zero_point: Array, made: str, bits: int, group_size: int
) -> tuple[Case, Case]:
    """Return the questions that pack and unpack a layer."""
    n_out, n_in = codes.shape
    title = f"{made}, {bits} bits, {n_out} × {n_in} in groups of {group_size}"
    settings: dict[str, Any] = {"format": made, "bits": bits, "group_size": group_size}
    given = {"codes": codes, "zero_point": zero_point}
    packed = arrays_of(codes, zero_point, made, bits, group_size)
    first = ("PACK-090",) if bits == 3 and "PACK-090" in FIRST[made] else ()
    pack = Case(
        identity, "pack", title, "pack_layer", tuple(dict.fromkeys((*first, *FIRST[made]))),
        settings, given, {"outputs": packed},
    )  # fmt: skip
    shape = {"n_out": n_out, "n_in": n_in}
    unpack = Case(
        f"{identity}-back", "pack", f"{title}, unpacked", "unpack_layer", ("PACK-150",),
        {**settings, **shape}, packed, {"outputs": given},
    )  # fmt: skip
    return pack, unpack


def layer_of(
    seed: int, shape: tuple[int, int], groups: int, bits: int, made: str
) -> tuple[Array, Array]:
    """Return codes and zero-points; those of `gptq_v1` are not 0."""
    n_out, n_in = shape
    codes = integers(seed, n_out * n_in, 0, 2**bits - 1)
    zeros = integers(seed + 1, n_out * groups, int(made == "gptq_v1"), 2**bits - 1)
    return (
        np.array(codes, np.uint8).reshape(shape),
        np.array(zeros, np.uint8).reshape(n_out, groups),
    )


def packed_layer_cases() -> Iterator[Case]:
    """Yield the cases of layers in the formats of other libraries."""
    for k, made in enumerate(FORMATS):
        for bits in (2, 3, 4, 8):
            if made == "matmulnbits" and bits == 3:
                continue
            ragged = not made.startswith("gptq")
            shape = (5, 36) if ragged else (32, 64)
            for size in (16, -1) if made != "matmulnbits" else (16, 32):
                groups = 1 if size == -1 else -(-shape[1] // size)
                layer = layer_of(2300 + 10 * k + bits, shape, groups, bits, made)
                of_size = "all" if size == -1 else size
                name = f"pack-layer-{made.replace('_', '-')}-{bits}bit-{of_size}"
                yield from packed_pair(name, *layer, made, bits, size)
    yield from _filled()
    yield from _refused_layers()


def _filled() -> Iterator[Case]:
    """Yield packed layers in which bits behind the last code are not 0."""
    for made in ("compressed_tensors", "compressed_tensors_whole"):
        layer = layer_of(2390, (2, 9), 1, 3, made)
        _, case = packed_pair(f"pack-layer-{made.replace('_', '-')}-fill", *layer, made, 3, -1)
        packed = case.inputs["packed"] | np.int32(-(2**31))  # 27 bits are used
        title = f"{case.title}, other bits set"
        yield replace(case, title=title, inputs={**case.inputs, "packed": packed})


def _refused_layers() -> Iterator[Case]:
    settings: dict[str, Any] = {"format": "gptq_v2", "bits": 4, "group_size": 16}
    codes, zero = layer_of(2395, (8, 32), 2, 4, "gptq_v1")
    good: Mapping[str, Array] = {"codes": codes, "zero_point": zero}
    none, wide = zero.copy(), codes.copy()
    none[3, 1], wide[2, 5] = 0, 16
    for name, title, error, changes, inputs in (
        ("format", "a format that is none", "ConfigError", {"format": "gptq_v3"}, good),
        ("bits", "5 bits", "BitsError", {"bits": 5}, good),
        ("bits-block", "MatMulNBits, 3 bits", "BitsError", {"format": "matmulnbits", "bits": 3},
         good),
        ("range", "a code of 5 bits", "CodeRangeError", {}, {**good, "codes": wide}),
        ("zero", "gptq_v1, a zero-point of 0", "CodeRangeError", {"format": "gptq_v1"},
         {**good, "zero_point": none}),
        ("groups", "zero-points of two groups for one", "ShapeError", {"group_size": -1}, good),
        ("words", "7 rows do not fill words", "ShapeError", {},
         {"codes": codes[:7], "zero_point": zero[:7]}),
        ("block", "blocks of 8 columns", "ConfigError", {"format": "matmulnbits", "group_size": 8},
         {"codes": codes, "zero_point": np.repeat(zero, 2, axis=1)}),
        ("dtype", "int8 codes", "DTypeError", {}, {**good, "codes": codes.astype(np.int8)}),
    ):  # fmt: skip
        yield refused("pack", f"pack-layer-refuse-{name}", title, "pack_layer", "PACK-160", error,
                      {**settings, **changes}, dict(inputs))  # fmt: skip
    _, back = packed_pair("-", codes, zero, "gptq_v1", 4, 16)
    full = back.inputs["packed_zero_point"].copy()
    full[0, 0] |= 15
    for name, title, error, changes, inputs in (
        ("ambiguous", "gptq_v1, 15 stored for a zero-point", "CodeRangeError", {},
         {**back.inputs, "packed_zero_point": full}),
        ("shape", "words of 32 columns for 64", "ShapeError", {"n_in": 64}, back.inputs),
        ("unsigned", "words of uint8", "DTypeError", {},
         {**back.inputs, "packed": back.inputs["packed"].astype(np.uint8)}),
    ):  # fmt: skip
        identity = f"pack-layer-refuse-back-{name}"
        yield refused("pack", identity, title, "unpack_layer", "PACK-160", error,
                      {**back.parameters, **changes}, dict(inputs))  # fmt: skip
