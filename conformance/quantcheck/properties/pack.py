"""Section PACK: drawn codes of every width, axis, rank and odd length, there and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from quantcheck.properties import Answers, Sizes, law, single
from quantcheck.properties.relations import equal
from quantcheck.strategies import Draw
from quantref import exact
from quantref.arrays import Array
from quantref.compare import Finding
from quantref.corpus.draw import refused
from quantref.packing import code_bounds
from quantref.vectors import Case

SHAPES = ((4, 3), (5, 3), (3, 5), (7,), (2, 3, 5))
FREE = (*SHAPES, (1,), (1, 1), (8,), (9, 2), (3, 1, 4), (2, 2, 2, 3))


@st.composite
def _codes(
    draw: Draw,
    sizes: Sizes,
    bits: int,
    *,
    shapes: tuple[tuple[int, ...], ...] = (),
    signed: bool = False,
    axes: bool = False,
) -> tuple[Array, int]:
    """Draw codes of a width, and the axis to pack them along: 0, or any."""
    shape = draw(st.sampled_from(shapes or (FREE if sizes.free else SHAPES)))
    lo, hi = code_bounds(bits, signed)
    count = int(np.prod(shape))
    data = draw(st.binary(min_size=count, max_size=count))
    values = np.frombuffer(data, np.uint8).astype(np.int64) % (hi - lo + 1) + lo
    axis = draw(st.integers(-len(shape), len(shape) - 1)) if axes else 0
    return values.astype(np.int8 if signed else np.uint8).reshape(shape), axis


def _packed(codes: Array, bits: int, axis: int) -> Array:
    front = np.moveaxis(codes, axis, -1)
    lines = [exact.pack(line, bits) for line in front.reshape(-1, front.shape[-1]).tolist()]
    wrapped = np.array(lines, np.int64).astype(np.uint8).view(codes.dtype)
    return np.ascontiguousarray(np.moveaxis(wrapped.reshape(*front.shape[:-1], -1), -1, axis))


def _pack(codes: Array, bits: int, axis: int) -> Case:
    outputs = {"packed": _packed(codes, bits, axis)}
    title = f"generated {bits}-bit codes, shape {codes.shape}, axis {axis}"
    given: dict[str, Any] = {"bits": bits, "axis": axis}
    return Case("drawn", "pack", title, "pack", (), given, {"codes": codes}, {"outputs": outputs})


def _unpack(codes: Array, bits: int, axis: int) -> Case:
    given = {"bits": bits, "axis": axis, "length": codes.shape[axis]}
    title = f"generated {bits}-bit codes, shape {codes.shape}, axis {axis}, unpacked"
    inputs = {"packed": _packed(codes, bits, axis)}
    return Case("drawn", "pack", title, "unpack", (), given, inputs, {"outputs": {"codes": codes}})


@st.composite
def _soiled(draw: Draw, sizes: Sizes) -> Case:
    """Draw packed bytes whose padding bits hold something."""
    bits = draw(st.sampled_from((2, 4, 4)))
    codes, axis = draw(_codes(sizes, bits))
    case = _unpack(codes, bits, axis)
    packed = case.inputs["packed"].copy()
    used = (codes.shape[axis] * bits) % 8
    if used:
        packed[-1] |= np.uint8((draw(st.integers(0, 255)) << used) & 0xFF)
    case.inputs["packed"] = packed
    return case


@st.composite
def _refused(draw: Draw, _: Sizes) -> Case:
    bits = draw(st.sampled_from((2, 3, 4)))
    lo, hi = code_bounds(bits, True)
    codes = np.full((3, 2), draw(st.integers(lo, hi)), np.int8)
    given: dict[str, Any] = {"bits": bits, "axis": 0}
    fault = draw(st.sampled_from(("high", "low", "axis", "bits", "dtype")))
    error = "CodeRangeError"
    if fault in ("high", "low"):
        place = (draw(st.integers(0, 2)), draw(st.integers(0, 1)))
        codes[place] = hi + draw(st.integers(1, 9)) if fault == "high" else lo - 1
    elif fault == "axis":
        given["axis"], error = draw(st.sampled_from((2, 3, -3))), "AxisError"
    elif fault == "bits":
        given["bits"], error = draw(st.sampled_from((0, 1, 5, 6, 7, 9, 16))), "BitsError"
    else:
        codes, error = codes.astype(draw(st.sampled_from(("int16", "int32")))), "DTypeError"
    title = f"generated codes that must be refused: {fault}"
    return refused("pack", "drawn", title, "pack", "PACK-080", error, given, {"codes": codes})


WHOLE = ((4, 3), (8,), (8, 2), (4, 1, 2))
ODD = ((5, 3), (7,), (3, 2), (1, 4))


@st.composite
def _either(draw: Draw, /, sizes: Sizes, *widths: int, **options: Any) -> Case:
    """Draw codes that are packed, or packed ones that are unpacked."""
    bits = draw(st.sampled_from(widths))
    codes, axis = draw(_codes(sizes, bits, **options))
    return draw(st.sampled_from((_pack, _unpack)))(codes, bits, axis)


def _packs(*widths: int, **options: Any) -> Any:
    return lambda sizes: st.sampled_from(widths).flatmap(
        lambda bits: _codes(sizes, bits, **options).map(
            lambda drawn: _pack(drawn[0], bits, drawn[1])
        )
    )


@st.composite
def _both(draw: Draw, sizes: Sizes) -> tuple[Case, Case]:
    bits, signed = draw(st.sampled_from((2, 4, 4))), draw(st.booleans())
    codes, axis = draw(_codes(sizes, bits, signed=signed, axes=True))
    return _pack(codes, bits, axis), _unpack(codes, bits, axis)


def _inverse(cases: tuple[Case, ...], answers: Answers, _: float) -> list[Finding]:
    packed, codes = answers[0]["packed"], answers[1]["codes"]
    return [
        equal(cases[0], "PACK-010", "packed codes", packed, cases[1].inputs["packed"]),
        equal(cases[1], "PACK-040", "unpacked codes", codes, cases[0].inputs["codes"]),
    ]


# Plain cases first, then one topic after the other: the first failure names the cause.
PROPERTIES = (
    single("prop-pack-4bit", "Generated 4-bit codes, whole bytes.",
           ("PACK-010",), _packs(4, shapes=WHOLE), 15),
    single("prop-pack-padding", "Odd numbers of codes: zeros behind them.",
           ("PACK-020",), _packs(4, 4, 2, shapes=ODD), 15),
    single("prop-pack-signed", "Signed codes, there and back.",
           ("PACK-030",), lambda s: _either(s, 4, 4, 2, shapes=WHOLE, signed=True), 20),
    single("prop-pack-unpack", "Generated bytes are unpacked, whatever the padding bits hold.",
           ("PACK-040",), _soiled, 20),
    single("prop-pack-2bit", "Generated 2-bit codes, whole bytes.",
           ("PACK-050",), _packs(2, shapes=WHOLE), 12),
    single("prop-pack-bytes", "Generated 3- and 8-bit codes stay one a byte, there and back.",
           ("PACK-060",), lambda s: _either(s, 3, 8), 12),
    single("prop-pack-axes", "Any axis and rank, there and back.",
           ("PACK-070",), lambda s: _either(s, 4, 4, 2, axes=True), 20),
    single("prop-pack-refused", "Codes, axes, widths and dtypes outside their domain are refused.",
           ("PACK-080",), _refused, 20),
    law("prop-pack-inverse", "Unpacking undoes packing.",
        ("PACK-010", "PACK-040"), _both, _inverse, 15),
)  # fmt: skip
