"""Cases of section GPTQ: exact codes with margins, and which of them are required."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref import exact
from quantref.arrays import Array
from quantref.bounds import Bounds, for_exact
from quantref.corpus.draw import (
    ULP32,
    dyadic,
    exact_list,
    floats,
    shortened,
)
from quantref.corpus.hessian import exact_hessian, tokens
from quantref.vectors import Case

FULL: dict[str, Any] = {
    "bits": 4,
    "symmetric": False,
    "per_channel": True,
    "group_size": -1,
    "activation_order": False,
    "damping": 0.015625,
    "block_size": 128,
}
CORE = ("GPTQ-060", "GPTQ-070", "GPTQ-080", "GPTQ-090", "GPTQ-030")


def problem(seed: int, n_out: int, n_in: int, count: int = 64) -> tuple[Array, Array]:
    """Return weights (n_out, n_in) float32 and the Hessian (n_in, n_in) of correlated tokens."""
    weights = dyadic(seed, (n_out, n_in), 2000, 10).astype(np.float32)
    hessian = floats(exact_hessian(tokens(seed + 1, count, n_in)), "float64")
    return weights, hessian


def gptq_case(
    identity: str, title: str, weights: Array, hessian: Array, *requirements: str, **changes: Any
) -> Case:
    """Return the case of a whole problem; expected values are exact."""
    parameters = {**FULL, **changes}
    settings = {k: v for k, v in parameters.items() if k != "damping"}
    answer = exact.gptq(
        exact.fractions_of(exact_list(weights)),
        exact.fractions_of(exact_list(hessian)),
        damping=Fraction(parameters["damping"]),
        **settings,
    )
    place = np.argsort(answer.order)
    bounds = for_exact(answer)
    single = _required(answer, weights, bounds, 2.0**-24, parameters)
    double = _required(answer, weights, bounds, 2.0**-53, parameters)
    outputs = {
        "codes": np.array(answer.codes, np.uint8)[:, place],
        "scale": floats(answer.scale, "float32"),
        "zero_point": np.array(answer.zero_point, np.uint8),
        "g_idx": np.array(answer.group, np.int32)[place],
    }
    judging = {
        "margins": shortened(answer.margins)[:, place],
        "zero_margins": shortened(answer.zero_margin),
        "required_float32": single[0][:, place],
        "required_float64": double[0][:, place],
        "scale_bound": single[1],
        "order": np.array(answer.order, np.int32),
        "loss": _rounded_up(
            math.fsum(
                float(r) ** 2 * float(p)
                for row in answer.residuals
                for r, p in zip(row, answer.factor.pivots, strict=True)
            )
        ),
    }
    return Case(
        f"gptq-{identity}",
        "gptq",
        title,
        "gptq_quantize",
        requirements,
        parameters,
        {"weights": weights, "hessian": hessian},
        {"outputs": outputs},
        judging,
    )


def _rounded_up(value: float) -> float:
    """Return a bound with three significant digits, not smaller."""
    if value == 0:
        return 0.0
    short = float(f"{value:.2e}")
    if short >= value:
        return short
    digit = 10.0 ** int(f"{value:.2e}".partition("e")[2]) / 100
    return float(f"{short + digit:.2e}")


def _required(
    answer: exact.ExactGPTQ, weights: Array, bounds: Bounds, u: float, parameters: dict[str, Any]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return which codes arithmetic of unit roundoff u must reproduce, and bounds on scales.

    A code is required while every decision before it in its row is: its margin exceeds the bound on
    its own target, the effect of admissible scales included, and so did those of all earlier codes
    and zero-points. Exact ties count as decided where no rounding occurs at all.
    """
    n_out, n_in = len(answer.codes), len(answer.order)
    maxq = 2 ** parameters["bits"] - 1
    target = bounds.target(u)
    required = np.zeros((n_out, n_in), np.uint8)
    scale_bound = np.zeros((n_out, len(answer.scale[0])))
    unit = [
        [abs(float(answer.factor.unit(k, j))) if k < j else 0.0 for j in range(n_in)]
        for k in range(n_in)
    ]
    errors = _base_errors(answer, bounds, target, parameters)
    for i in range(n_out):
        sure, drift = True, [0.0] * n_in
        for j in range(n_in):
            k = answer.group[j]
            s, z = float(answer.scale[i][k]), answer.zero_point[i][k]
            if j == 0 or answer.group[j - 1] != k:
                error = errors[i][k]
                sigma = 2 * error / maxq + 2 * float(ULP32) * s
                scale_bound[i, k] = _rounded_up(sigma)
                position = abs(float(answer.low[i][k])) / s if not parameters["symmetric"] else 0.0
                allowed = error / s + position * (sigma / s + 3 * u)
                zero_tie = answer.zero_margin[i][k] == 0 and error == 0 and _is_power_of_two(s)
                sure = sure and (float(answer.zero_margin[i][k]) > allowed or zero_tie)
            t = abs(float(answer.targets[i][j])) / s
            allowed = (target[i, j] + drift[j]) / s + t * (sigma / s + 3 * u)
            margin = answer.margins[i][j]
            untouched = answer.targets[i][j] == Fraction(float(weights[i, answer.order[j]]))
            exact_tie = margin == 0 and untouched and _is_power_of_two(s)
            sure = sure and (float(margin) > allowed or exact_tie)
            required[i, j] = sure
            move = sigma * abs(answer.codes[i][j] - z)
            drift = [d + move * unit[j][c] if c > j else d for c, d in enumerate(drift)]
    return required, scale_bound


def _is_power_of_two(scale: float) -> bool:
    """Tell whether division by the scale is exact in every binary arithmetic."""
    return math.frexp(scale)[0] == 0.5


def _base_errors(
    answer: exact.ExactGPTQ, bounds: Bounds, target: Array, parameters: dict[str, Any]
) -> list[list[float]]:
    """Return the bound on the ends of each group's range (0 in the first block)."""
    n_in, block = len(answer.order), parameters["block_size"]
    size = n_in if parameters["group_size"] == -1 else parameters["group_size"]
    inverse = bounds.inverse.tolist()
    errors: list[list[float]] = []
    for row in target.tolist():
        found = []
        for start in range(0, n_in, size):
            worst = 0.0
            if start >= block:
                worst = max(
                    math.fsum(row[k] * inverse[k][a] for k in range(a + 1))
                    for a in range(start, min(start + size, n_in))
                )
            found.append(worst)
        errors.append(found)
    if not parameters["per_channel"]:
        errors = [[max(column) for column in zip(*errors, strict=True)]] * len(errors)
    return errors
