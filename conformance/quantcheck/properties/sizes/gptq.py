"""Sizes of section GPTQ: rows and columns around powers of two, many blocks, every storage dtype.

The certificate judges the answers, since rational arithmetic would take too long. A backend that
compiles does so for each width of what is left of a block. So blocks are those of the vectors, or
have few columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantcheck.corpus.draw import refused
from quantcheck.corpus.gptq.build import CORE, FULL, topics
from quantcheck.properties.sizes import SIZES, integers, places, spread_over, swept, upto
from quantcheck.properties.sizes.hes import far_apart, hessian, indefinite, uneven
from quantcheck.wire.arrays import dtype_of
from quantcheck.wire.cases import Case
from quantref.inputs import Array

JUDGED = tuple(name for name in CORE if name != "GPTQ-070")
ROWS = 8  # of many columns: the rows of the vectors, whose code a backend has compiled
BITS = (4, 3, 8, 2)
SMALL = {**FULL, "block_size": 8}


@dataclass(frozen=True)
class Problem:
    """A size of GPTQ and the settings that go with it."""

    rows: int
    columns: int
    dtype: str = "float32"
    dead: bool = False
    ties: bool = False
    uneven: bool = False
    changes: dict[str, Any] = field(default_factory=dict)


def _weights(rows: int, columns: int, seed: int) -> Array:
    """Return weights of both signs in each group, with a large one in each row."""
    w = np.abs(integers(seed, 0, (rows, columns), 255)) + 1
    w[np.arange(rows), places(rows, columns)] += 400
    signs = np.where((np.arange(rows)[:, None] + np.arange(columns)) % 2, -1, 1)
    return spread_over(w * signs / 64, rows)


def _case(problem: Problem, seed: int) -> Case:
    rows, columns = problem.rows, problem.columns
    parameters = {**FULL, **problem.changes}
    if problem.uneven:  # badly conditioned, so that the triangles give other codes
        H = uneven(hessian(columns, seed, large=300 if columns < 65 else 100), seed)
    else:
        H = hessian(columns, seed, dead=problem.dead, ties=problem.ties)
    w = _weights(rows, columns, seed)
    if not parameters["per_channel"]:
        w[-1] *= 64  # the last row alone decides the range
    weights = w.astype(dtype_of(problem.dtype))
    size = parameters["group_size"]
    groups = 1 if size == -1 else -(-columns // size)
    forms = {
        "codes": ("uint8", [rows, columns]),
        "scale": ("float32", [rows, groups]),
        "zero_point": ("uint8", [rows, groups]),
        "g_idx": ("int32", [columns]),
    }
    block = parameters["block_size"]
    title = f"generated {rows} × {columns} {problem.dtype}, group {size}, block {block}"
    return Case(
        "drawn", "gptq", title, "gptq_quantize",
        tuple(dict.fromkeys((*JUDGED, *topics(parameters, columns)))),
        parameters,
        {"weights": weights, "hessian": H},
        {"forms": {name: {"dtype": d, "shape": s} for name, (d, s) in forms.items()}},
    )  # fmt: skip


def _rows() -> list[Problem]:
    """Return every number of rows, with four columns in two blocks."""
    return [
        Problem(n, 4, changes={"bits": BITS[k % 4], "block_size": 2}) for k, n in enumerate(SIZES)
    ]


def _columns() -> list[Problem]:
    """Return numbers of columns, with groups that start where blocks start.

    Other topics have the other numbers up to 257, and the vectors have 512 columns.
    """
    counts = [n for n in upto(257) if n not in (65, 129, 255, 257)]
    short = [
        Problem(ROWS, n, changes={"bits": BITS[k % 4], "group_size": 64, "block_size": 64})
        for k, n in enumerate(counts)
    ]
    return [*short, Problem(ROWS, 513, changes={"group_size": 128})]


HALVES = [
    Problem(ROWS, n, dtype, changes={"group_size": 32, "block_size": 32, "bits": 8})
    for n, dtype in ((65, "float16"), (65, "bfloat16"), (65, "float64"), (129, "float16"))
]
ORDERED = [
    Problem(ROWS, n, ties=True,
            changes={"activation_order": True, "group_size": 64, "block_size": 64})
    for n in (65, 129, 257)
]  # fmt: skip
RAGGED = [
    Problem(ROWS, n, changes={"group_size": g, "block_size": b, "symmetric": n % 2 == 0})
    for n, g, b in ((127, 48, 64), (128, 48, 64), (129, 64, 127))
]
WHOLE = [
    Problem(ROWS, n, changes={"group_size": -1, "block_size": b, "bits": 3})
    for n, b in ((65, 16), (129, 32), (255, 127))
]
SHORT = [
    Problem(n, m, changes={"group_size": g, "block_size": b, "per_channel": n != 65})
    for n, m, g, b in (
        (8, 65, 8, 16),
        (65, 65, 8, 16),
        (8, 128, 16, 24),
        (8, 255, 32, 127),
        (8, 257, 2, 64),
    )
]
UNEVEN = [
    Problem(65, n, uneven=True, changes={"damping": 0.0, "group_size": 16, "block_size": 16})
    for n in (9, 33, 65)
]
DEAD = [Problem(ROWS, n, dead=True, changes={"group_size": 64}) for n in (129, 257)]


SETTINGS: tuple[dict[str, Any], ...] = (
    {"bits": 2}, {"bits": 3}, {"damping": 0.0}, {"damping": 1.0}, {"per_channel": False},
    {"symmetric": True},
)  # fmt: skip
OF_HALVES = [
    Problem(ROWS, 8, dtype, changes={"group_size": 4, **changes})
    for dtype in ("bfloat16", "float16")
    for changes in SETTINGS
]
FAULTS = [
    (dtype, name, value)
    for dtype in ("bfloat16", "float16")
    for name, value in (("bits", 5), ("damping", 1.5), ("group_size", 0))
]


def _bad_settings(fault: tuple[str, str, Any], seed: int) -> Case:
    """Return a case of half-precision weights, and a setting outside its domain."""
    dtype, name, value = fault
    inputs = {"weights": _weights(2, 9, seed).astype(dtype_of(dtype)), "hessian": hessian(9, seed)}
    title = f"generated {dtype} weights, {name} outside its domain"
    return refused("gptq", "drawn", title, "gptq_quantize", "GPTQ-110", "ConfigError",
                   {**SMALL, name: value}, inputs)  # fmt: skip


def _refused(size: tuple[int, int], seed: int) -> Case:
    """Return a case whose last weight is not a number."""
    weights = _weights(*size, seed).astype(np.float32)
    weights[-1, -1] = np.nan
    title = f"generated {size[0]} × {size[1]} weights, the last one not a number"
    inputs = {"weights": weights, "hessian": hessian(size[1], seed)}
    return refused("gptq", "drawn", title, "gptq_quantize", "GPTQ-110", "NonFiniteError", FULL,
                   inputs)  # fmt: skip


def _far_apart(columns: int, seed: int) -> Case:
    inputs = {
        "weights": _weights(2, columns, seed).astype(np.float32),
        "hessian": far_apart(hessian(columns, seed)),
    }
    title = f"a generated Hessian of {columns} columns, asymmetric in the first and the last one"
    return refused("gptq", "drawn", title, "gptq_quantize", "GPTQ-110", "NotSymmetricError", SMALL,
                   inputs)  # fmt: skip


def _indefinite(columns: int, seed: int) -> Case:
    inputs = {
        "weights": _weights(2, columns, seed).astype(np.float32),
        "hessian": indefinite(hessian(columns, seed)),
    }
    title = f"a generated indefinite Hessian of {columns} columns"
    return refused("gptq", "drawn", title, "gptq_quantize", "GPTQ-120", "NotPositiveDefiniteError",
                   {**SMALL, "damping": 0.0}, inputs)  # fmt: skip


PROPERTIES = (
    swept("prop-gptq-sizes-rows", "Numbers of rows around powers of two.",
          ("GPTQ-030", *JUDGED), _rows(), _case),
    swept("prop-gptq-sizes", "Numbers of columns around powers of two.",
          ("GPTQ-030", "GPTQ-050", *JUDGED), _columns(), _case),
    swept("prop-gptq-sizes-groups", "Many groups inside blocks; blocks of 127.",
          ("GPTQ-030", *JUDGED), SHORT, _case),
    swept("prop-gptq-sizes-whole", "One group over many blocks.",
          ("GPTQ-040", *JUDGED), WHOLE, _case),
    swept("prop-gptq-sizes-ragged", "Last groups that are shorter, and not where a block starts.",
          ("GPTQ-050", *JUDGED), RAGGED, _case),
    swept("prop-gptq-sizes-dead", "Dead columns among many, the last one too.",
          ("GPTQ-010", *JUDGED), DEAD, _case),
    swept("prop-gptq-sizes-order", "Activation order of many columns, with ties.",
          ("GPTQ-020", *JUDGED), ORDERED, _case),
    swept("prop-gptq-sizes-half", "Weights of every dtype over several blocks.",
          ("GPTQ-100", *JUDGED), HALVES, _case),
    swept("prop-gptq-sizes-half-settings", "Weights of half precision, with every setting.",
          ("GPTQ-100", *JUDGED), OF_HALVES, _case),
    swept("prop-gptq-sizes-refused-settings", "Settings are refused, whatever the weights' dtype.",
          ("GPTQ-110",), FAULTS, _bad_settings),
    swept("prop-gptq-sizes-asymmetric", "Both triangles of the Hessian count.",
          ("GPTQ-060", *JUDGED), UNEVEN, _case),
    swept("prop-gptq-sizes-refused", "The last of many weights that is not finite is refused.",
          ("GPTQ-110",), ((8, 9), (65, 8), (257, 4)), _refused),
    swept("prop-gptq-sizes-refused-hessian", "Asymmetry between columns far apart is refused.",
          ("GPTQ-110",), (9, 65, 129), _far_apart),
    swept("prop-gptq-sizes-indefinite", "Indefinite Hessians of many columns are refused.",
          ("GPTQ-120",), (9, 65, 129), _indefinite),
)  # fmt: skip
