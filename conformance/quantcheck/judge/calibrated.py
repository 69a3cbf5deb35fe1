"""Judge of section 10 for one layer of any kind, whose codes calibration gave it.

The layer's inputs are rows of a table that the question says, so they have no error.
"""

from __future__ import annotations

from typing import Any

from quantcheck.judge.findings import Judging
from quantcheck.judge.models import PARTS, Layer, exactly, judge_layer, windows_of
from quantcheck.wire.calibrated import equation_of, matrix_of, table_of, vectors_of
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import build, settings_of
from quantref.inputs import Array


def layer_of(case: Case, windows: Array, answer: dict[str, Array]) -> Layer:
    """Return the layer of an answer, with what it got while the model saw the windows."""
    x, parameters = case.inputs["x"], case.parameters
    seen = vectors_of(x, windows_of(case, windows, len(table_of(x))), parameters)
    weights = matrix_of(case.inputs["kernel"], equation_of(parameters, x))
    return Layer(0, 0, weights, exactly(seen), answer)


def settings_of_case(case: Case) -> dict[str, Any]:
    """Return the settings of GPTQ of a question, under their names in other questions."""
    return settings_of(build(case.parameters["config"]))


def calibrated(collector: Judging) -> None:
    """Judge the codes of a layer by their certificate, and their dtypes."""
    case = collector.case
    answer = {name: collector.output(name) for name in PARTS}
    for name in ("codes", "scale", "zero_point"):
        collector.dtype(name, "CAL-090")
    layer = layer_of(case, collector.output("windows"), answer)
    judge_layer(collector, layer, settings_of_case(case))
