"""Cases of section GPTQ: exact codes with margins, and which of them are required."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantcheck.corpus.draw import ULP32, dyadic, exact_list, floats, is_power_of_two, shortened
from quantcheck.corpus.hessian import exact_hessian, tokens
from quantcheck.oracle import exact
from quantcheck.oracle.bounds import Bounds, for_exact
from quantcheck.wire.cases import Case
from quantref.inputs import Array

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
    single = _required(answer, bounds, 2.0**-24, parameters)
    double = _required(answer, bounds, 2.0**-53, parameters)
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
        tuple(dict.fromkeys((*requirements, *CORE, *topics(parameters, weights.shape[1])))),
        parameters,
        {"weights": weights, "hessian": hessian},
        {"outputs": outputs},
        judging,
    )


def topics(parameters: dict[str, Any], n_in: int) -> Iterator[str]:
    """Yield the requirements that the settings of a case concern."""
    size = parameters["group_size"]
    size = n_in if size == -1 else min(size, n_in)
    if parameters["activation_order"]:
        yield "GPTQ-020"
    if size > parameters["block_size"]:
        yield "GPTQ-040"
    if n_in % size:
        yield "GPTQ-050"


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
    answer: exact.ExactGPTQ, bounds: Bounds, u: float, parameters: dict[str, Any]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return which codes arithmetic of unit roundoff u must reproduce, and bounds on scales.

    A code is required if its margin exceeds the bound on its compensated weight, with the effect of
    admissible scales included, and all earlier codes and zero-points of its row are decided in the
    same way. If rows share ranges, a group that starts after the first block needs the decisions of
    all rows in earlier blocks. An exact tie is decided if no arithmetic rounds there.
    """
    n_out, n_in = len(answer.codes), len(answer.order)
    target = bounds.target(u)
    required = np.zeros((n_out, n_in), np.uint8)
    scale_bound = np.zeros((n_out, len(answer.scale[0])))
    unit = np.abs(np.triu(answer.factor.floats, 1))
    errors = _base_errors(answer, bounds, u, parameters)
    sure, drift, tau = [True] * n_out, np.zeros((n_out, n_in)), [0.0] * n_out
    earlier = list(sure)  # before the current block
    for j in range(n_in):
        if j % parameters["block_size"] == 0:
            earlier = list(sure)
        k = answer.group[j]
        starts = j == 0 or answer.group[j - 1] != k
        shared = not parameters["per_channel"] and j >= parameters["block_size"]
        if starts and shared and not all(earlier):
            sure = [False] * n_out
        for i in range(n_out):
            s = float(answer.scale[i][k])
            if starts:
                most = 2 * errors[i][k] / (2 ** parameters["bits"] - 1) + 2 * float(ULP32) * s
                scale_bound[i, k] = tau[i] = _rounded_up(most)  # the one that judges use
                symmetric = parameters["symmetric"]
                sure[i] &= symmetric or _zero_point_is_sure(answer, i, k, errors[i][k], tau[i], u)
            weight = abs(float(answer.targets[i][j]))
            allowed = (1 + 3 * u) * _moved(weight, target[i, j] + drift[i, j], s, tau[i])
            exact_tie = answer.margins[i][j] == 0 and is_power_of_two(s) and not _fed(answer, i, j)
            sure[i] &= float(answer.margins[i][j]) > allowed or exact_tie
            required[i, j] = sure[i]
            drift[i] += tau[i] * abs(answer.codes[i][j] - answer.zero_point[i][k]) * unit[j]
    return required, scale_bound


def _moved(weight: float, error: float, s: float, tau: float) -> float:
    """Return the largest change of |weight| / s if both change by at most these amounts."""
    return (error + weight * tau / s) / (s - tau) if tau < s else math.inf


def _zero_point_is_sure(
    answer: exact.ExactGPTQ, i: int, k: int, error: float, tau: float, u: float
) -> bool:
    """Tell whether arithmetic of unit roundoff u must give the zero-point of a row and group."""
    s, margin = float(answer.scale[i][k]), answer.zero_margin[i][k]
    empty = answer.low[i][k] == answer.high[i][k] == 0
    position = (1.0 if empty else max(-float(answer.low[i][k]), 0.0)) / s
    if margin == 0 and error == 0 and is_power_of_two(s):
        return True
    return float(margin) > error / s + position * (tau / s + 3 * u)


def _fed(answer: exact.ExactGPTQ, i: int, j: int) -> bool:
    """Tell whether an earlier column of the row fed an error back to later ones."""
    n = len(answer.order)
    return any(
        answer.residuals[i][k] != 0 and any(answer.factor.numerators[k][k + 1 : n])
        for k in range(j)
    )


def _base_errors(
    answer: exact.ExactGPTQ, bounds: Bounds, u: float, parameters: dict[str, Any]
) -> list[list[float]]:
    """Return the bound on the ends of each group's range (0 in the first block)."""
    n_in, block = len(answer.order), parameters["block_size"]
    size = n_in if parameters["group_size"] == -1 else parameters["group_size"]
    errors = np.zeros((len(answer.codes), -(-n_in // size)))
    for k, start in enumerate(range(0, n_in, size)):
        c = start - start % block
        if c:
            columns = range(start, min(start + size, n_in))
            errors[:, k] = bounds.base(u, columns, c).max(axis=1)
    if not parameters["per_channel"]:
        errors[:] = errors.max(axis=0)
    return errors.tolist()
