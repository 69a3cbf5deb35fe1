"""Questions on arrays of AbsMax, crossed: both functions, dtypes, routes, ranks, and arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from quantcheck.corpus.absmax import FULL, absmax_case
from quantcheck.corpus.draw import refused
from quantcheck.properties import Property, Sample, named
from quantcheck.properties.crossed.domain import (
    ALL_CODES,
    EPSILONS,
    OMIT,
    WIDE_RANGES,
    Fields,
    fitting_codes,
)
from quantcheck.properties.sizes import SEEDS, integers
from quantcheck.wire.arrays import dtype_of
from quantcheck.wire.cases import Case
from quantref.inputs import Array

MOST = 255  # eight binary digits: exact in bfloat16, and in float16
DTYPES = ("float32", "bfloat16", "float16")
QUANTIZER = "abs_max_quantizer"
OPERATIONS = ("abs_max_quantize", QUANTIZER)
ROUTES = (OMIT, "tensor", "numpy", "compiled")
SHAPES: dict[int, tuple[int, ...]] = {2: (4, 8), 0: (), 1: (6,), 3: (2, 3, 4)}
AXES: dict[int, tuple[Any, ...]] = {
    2: (-1, None, 0, [0, 1], [-1], []),
    0: (None, []),
    1: (-1, None, 0, [0], []),
    3: (-1, None, 1, [0, 2], [-1], []),
}
"""Axes that an array of a rank has, and none; the first ones are those of every other field."""
ARGUMENTS = ("value_range", "epsilon", "output_dtype")
FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "value": ("NonFiniteError", {}),
    "empty": ("EmptyArrayError", {}),
    "axis": ("AxisError", {"axis": 2}),
    "axis twice": ("AxisError", {"axis": [1, 1]}),
    "range": ("ValueRangeError", {"value_range": [127, -127]}),
    "wide range": ("ValueRangeError", {"value_range": [-200, 300]}),
    "epsilon": ("ConfigError", {"epsilon": 0.0}),
    "dtype": ("DTypeError", {"output_dtype": "float32"}),
}
"""By fault: the reference's type of error, and the arguments that are wrong."""
GOOD: dict[str, tuple[Any, ...]] = {
    "value_range": WIDE_RANGES,
    "epsilon": EPSILONS,
    "output_dtype": ALL_CODES,
    "call": (OMIT, "given", "none"),
    "stored": (OMIT, "given"),
}


@dataclass(frozen=True)
class Point:
    """One point of the cross.

    Attributes
    ----------
    operation, dtype, route : str
    rank : int
    axis : int, list of int or None
    fields : dict
        Values of `GOOD`, or a "fault".
    """

    operation: str
    dtype: str
    route: str
    rank: int
    axis: Any
    fields: Fields

    @property
    def title(self) -> str:
        """The title of the case."""
        fault = self.fields.get("fault")
        faulty = f", a fault of {fault}" if fault else f", rank {self.rank}, by {self.route}"
        return f"generated {self.dtype} for {self.operation}{faulty}"

    def given(self) -> dict[str, Any]:
        """Return the arguments that are given, apart from the axis."""
        values = {name: self.fields.get(name, OMIT) for name in ARGUMENTS}
        return fitting_codes({name: v for name, v in values.items() if v != OMIT})

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the question."""
        given = self.given()
        made: dict[str, Any] = {}
        if self.operation == QUANTIZER:
            call = self.fields.get("call", OMIT)
            stored = self.axis if call == OMIT and self.fields.get("stored") != OMIT else OMIT
            arguments = {} if stored == OMIT else {"axis": stored}
            made = {"arguments": arguments | given}
            made["call_axis"] = self.axis if call == "given" else None
            if call == OMIT:
                made["left_out"] = ["call_axis"]
        else:
            made = {**FULL, "axis": self.axis, **given}
            left_out = [name for name in ARGUMENTS if name not in given]
            made |= {"left_out": left_out} if left_out else {}
        return made if self.route == OMIT else made | {"route": self.route}

    def case(self, seed: int) -> Case:
        """Return the case, with exact answers."""
        x = _array(seed, SHAPES[self.rank], self.dtype)
        parameters, quantizer = self.parameters(), self.operation == QUANTIZER
        axis = parameters["call_axis"] if quantizer else self.axis
        if quantizer and axis is None:
            axis = parameters["arguments"].get("axis")
            axis = -1 if axis is None else axis
        made = absmax_case("drawn", self.title, x, axis=axis, **self.given())
        return replace(made, operation=self.operation, parameters=parameters)

    def skeleton(self) -> Case:
        """Return the question without answers, for `quantcheck interface`."""
        x = np.ones(SHAPES[self.rank], dtype_of(self.dtype))
        expected: dict[str, Any] = {"outputs": {}}
        parameters = self.parameters()
        return Case("drawn", "abs", self.title, self.operation, (), parameters, {"x": x}, expected)

    def faulty(self, seed: int) -> Case:
        """Return the case of a fault of a matrix."""
        fault = self.fields["fault"]
        error, wrong = FAULTS[fault]
        x = _array(seed, (4, 8), self.dtype)
        if fault == "value":
            x[seed % 4, seed % 8] = np.nan
        elif fault == "empty":
            x = x[:0]
        parameters: dict[str, Any] = {**FULL, **wrong}
        if self.operation == QUANTIZER:
            called = "axis" in wrong and seed % 2 == 0
            arguments = {**parameters, "axis": -1} if called else parameters
            parameters = {"arguments": arguments, "call_axis": wrong["axis"] if called else None}
        return refused(
            "abs", "drawn", self.title, self.operation, "ABS-100", error, parameters, {"x": x}
        )


def _array(seed: int, shape: tuple[int, ...], dtype: str) -> Array:
    count = max(1, int(np.prod(shape)))
    numbers = integers(seed, 0, (count,), MOST).reshape(shape) / 64
    return np.asarray(numbers).astype(dtype_of(dtype))


@dataclass(frozen=True)
class ArrayDomain:
    """All that a property of arrays draws.

    Attributes
    ----------
    identity : str
    faulty : bool
        Whether every question has to be refused.
    """

    identity: str
    faulty: bool = False

    def skeletons(self) -> Iterator[Case]:
        """Yield questions in which every value occurs with every dtype and route."""
        for operation in OPERATIONS:
            for dtype in DTYPES:
                if self.faulty:
                    for fault in FAULTS:
                        point = Point(operation, dtype, OMIT, 2, -1, {"fault": fault})
                        yield from (point.faulty(seed) for seed in (0, 1))
                    continue
                for route in ROUTES:
                    for rank, axis, fields in _fields():
                        yield Point(operation, dtype, route, rank, axis, fields).skeleton()


def _fields() -> Iterator[tuple[int, Any, Fields]]:
    """Yield rank, axis and fields, in which every value of each occurs."""
    first: Fields = {name: values[0] for name, values in GOOD.items()}
    for rank, axes in AXES.items():
        for axis in axes:
            for call in GOOD["call"]:
                yield rank, axis, {**first, "stored": "given", "call": call}
    for name, values in GOOD.items():
        for value in values:
            yield 2, -1, {**first, name: value}


@st.composite
def _points(draw: Any, *, faulty: bool) -> Point:
    operation, dtype = draw(st.sampled_from(OPERATIONS)), draw(st.sampled_from(DTYPES))
    if faulty:
        fields = {"fault": draw(st.sampled_from(tuple(FAULTS)))}
        return Point(operation, dtype, OMIT, 2, -1, fields)
    rank = draw(st.sampled_from(tuple(SHAPES)))
    fields = {name: draw(st.sampled_from(values)) for name, values in GOOD.items()}
    if rank == 0:
        fields |= {"stored": "given", "call": draw(st.sampled_from((OMIT, "given")))}
    axis, route = draw(st.sampled_from(AXES[rank])), draw(st.sampled_from(ROUTES))
    if rank == 0 and operation == QUANTIZER:
        axis = []  # with None it takes the axis -1, which a scalar lacks
    return Point(operation, dtype, route, rank, axis, fields)


CROSSED, REFUSED = ArrayDomain("prop-abs-crossed"), ArrayDomain("prop-abs-crossed-refused", True)
DOMAINS = (CROSSED, REFUSED)
CORE = ("ABS-010", "ABS-030", "ABS-050", "ABS-090", "ABS-120", "ABS-130")


def _samples(domain: ArrayDomain) -> st.SearchStrategy[Sample]:
    def sample(point: Point, seed: int) -> Sample:
        case = point.faulty(seed) if domain.faulty else point.case(seed)
        if not domain.faulty:
            half = () if point.dtype == "float32" else ("ABS-060",)
            routed = () if point.route == OMIT else ("ABS-150",)
            case = replace(case, requirements=(*routed, *half, *CORE))
        return Sample((named(case, domain.identity),))

    return st.builds(sample, _points(faulty=domain.faulty), st.integers(0, SEEDS - 1))


PROPERTIES = (
    Property(
        CROSSED.identity, "Arrays of every rank and dtype, by every route, with every argument.",
        ("ABS-150", "ABS-060", *CORE), lambda _: _samples(CROSSED), 16,
    ),
    Property(
        REFUSED.identity, "Faults of arrays of every dtype are refused.",
        ("ABS-100",), lambda _: _samples(REFUSED), 8,
    ),
)  # fmt: skip
