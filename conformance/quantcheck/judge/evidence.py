"""Evidence of a failure, from which a page draws pictures: residuals, margins, losses, differences.

Evidence is small: a few hundred numbers around the worst element, with five digits each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from quantcheck.wire.cases import Case

MAX_POINTS = 240
MAX_ROWS = 64
MAX_DIFFERENCES = 24
Floats = NDArray[np.float64]


def evidence(case: Case, answer: Mapping[str, Any], unit_roundoff: float) -> dict[str, Any]:
    """Return numbers that show how an answer deviates.

    Parameters
    ----------
    case : Case
        A vector, or a generated case.
    answer : mapping
        {"outputs": {name: array or JSON}}, arrays decoded; refusals have no evidence.
    unit_roundoff : float
        Unit roundoff of the target.

    Returns
    -------
    dict
        `evidence` of report.schema.json; parts that cannot be computed are left out.

    Examples
    --------
    >>> from quantcheck.wire.cases import load_all
    >>> case = next(c for c in load_all() if c.operation == "round_half_even")
    >>> evidence(case, case.expected, 2.0**-24)
    {}
    """
    outputs = answer.get("outputs")
    expected = {} if "forms" in case.expected else case.expected.get("outputs")
    if not isinstance(outputs, Mapping) or not isinstance(expected, Mapping):
        return {}
    made: dict[str, Any] = {}
    parts: list[Callable[[], dict[str, Any]]] = [
        partial(_DRAWERS.get(case.operation, _nothing), case, outputs, unit_roundoff),
        partial(_margins, case, outputs, expected),
        partial(_differences, outputs, expected),
    ]
    for part in parts:
        try:
            with np.errstate(all="ignore"):
                made |= part()
        except Exception:  # noqa: BLE001, S112
            # A failing answer may have any shape. A picture that cannot be drawn must not end the
            # run.
            continue
    return made


def _nothing(_: Case, __: Mapping[str, Any], ___: float) -> dict[str, Any]:
    return {}


# Residuals against the half-step box


def _abs_max(case: Case, outputs: Mapping[str, Any], u: float) -> dict[str, Any]:
    """Residuals x·scale − code, in codes.  [ABS-030] [ABS-090]"""
    t = case.inputs["x"].astype(np.float64) * outputs["scale"].astype(np.float64)
    codes = outputs["codes"].astype(np.float64)
    from quantcheck.wire.configs import absmax_arguments

    lo, hi = absmax_arguments(case.parameters)["value_range"]
    last = codes.shape[-1] if codes.ndim else 1
    rows = (t.reshape(-1, last) - codes.reshape(-1, last), 3 * u * np.abs(t.reshape(-1, last)))
    return {"codes": _codes(codes.reshape(-1, last), *rows, (lo, hi), shape=codes.shape)}


def _affine(case: Case, outputs: Mapping[str, Any], u: float) -> dict[str, Any]:
    """Residuals w/s + z − code, in steps.  [AFF-070] [AFF-120]"""
    inputs, g_idx = case.inputs, case.inputs["g_idx"]
    t = inputs["weights"].astype(np.float64) / inputs["scale"].astype(np.float64)[:, g_idx]
    z = inputs["zero_point"].astype(np.float64)[:, g_idx]
    codes = outputs["codes"].astype(np.float64)
    maxq = 2 ** case.parameters["bits"] - 1
    return {"codes": _codes(codes, t + z - codes, u * (3 * np.abs(t) + z), (0, maxq))}


def _gptq(case: Case, outputs: Mapping[str, Any], u: float) -> dict[str, Any]:
    """Residuals of the compensated weights, and losses.  [CERT-010] [CERT-020] [CERT-050]"""
    from quantcheck.wire.configs import gptq_config
    from quantref.fast.certificate.bounds import Roundoffs
    from quantref.fast.certificate.checks import judge_evidence, loss_terms
    from quantref.fast.certificate.gathering import gather
    from quantref.fast.problem import prepare_problem

    problem = prepare_problem(
        case.inputs["weights"],
        case.inputs["hessian"],
        gptq_config(case.parameters),
        block_size=case.parameters["block_size"],
    )
    answer = SimpleNamespace(**{name: np.asarray(value) for name, value in outputs.items()})
    v = gather(problem, answer, Roundoffs.declared(u))
    loss, bound = (v.E**2).sum(axis=1), loss_terms(v).sum(axis=1)
    rows = np.sort(np.argsort(-_share(loss, bound), kind="stable")[:MAX_ROWS])
    shares, wanted = zip(*judge_evidence(v), strict=True)
    got = (v.scale, v.zero_point)
    return {
        "parameters": [
            _parameters(name, *each)
            for name, *each in zip(("scale", "zero_point"), got, wanted, shares, strict=True)
        ],
        "codes": _codes(
            v.codes.astype(np.float64),
            v.residuals / v.column_scale,
            v.beta / v.column_scale,
            (0, problem.maxq),
            order=problem.prepared.order,
        ),
        "loss": {
            "total": len(loss),
            "row": rows.tolist(),
            "loss": _numbers(loss[rows]),
            "bound": _numbers(bound[rows]),
        },
    }


def _affine_parameters(case: Case, outputs: Mapping[str, Any], u: float) -> dict[str, Any]:  # noqa: ARG001
    """Scales and zero-points against the expected ones.  [AFF-060] [AFF-150]"""
    expected, bounds = case.expected["outputs"], {"scale": 2.0**-22, "zero_point": 0.5}
    made = []
    for name, bound in bounds.items():
        got, wanted = (a[name].astype(np.float64) for a in (outputs, expected))
        unit = np.abs(wanted) if name == "scale" else np.ones_like(wanted)
        made.append(_parameters(name, got, wanted, np.abs(got - wanted) / (bound * unit)))
    return {"parameters": made}


def _parameters(name: str, got: Floats, expected: Floats, share: Floats) -> dict[str, Any]:
    """Choose parameters around the worst one; `share`: distance from the expected one ÷ bound."""
    i, k = _choose(np.nan_to_num(share, nan=1e300))
    signs = np.where(got[i, k] < expected[i, k], -1.0, 1.0)
    return {
        "output": name,
        "total": int(got.size),
        "index": np.stack([i, k], axis=1).tolist(),
        "expected": _numbers(expected[i, k]),
        "got": _numbers(got[i, k]),
        "share": _numbers(signs * share[i, k]),
        "wrong": (~(share[i, k] <= 1)).tolist(),
    }


def _share(loss: Floats, bound: Floats) -> Floats:
    return np.asarray(np.nan_to_num(loss / np.where(bound > 0, bound, np.nan)))


def _codes(
    codes: Floats,
    residual: Floats,
    allowed: Floats,
    ends: tuple[int, int],
    *,
    order: NDArray[np.integer[Any]] | None = None,
    shape: tuple[int, ...] | None = None,
) -> dict[str, Any]:
    """Choose codes around the worst one.

    Parameters
    ----------
    codes, residual, allowed : (rows, columns) arrays
        Columns in the order in which they are shown.
    ends : (int, int)
        Lowest and highest code. A clipped code may have any residual that points outwards.
    order : (columns,) array, optional
        The original index of each column.
    shape : tuple of int, optional
        Shape of the answer's codes if it has other than two axes.
    """
    clipped = np.where(codes <= ends[0], -1, np.where(codes >= ends[1], 1, 0))
    over = np.where(clipped == 1, -np.inf, residual)
    under = np.where(clipped == -1, -np.inf, -residual)
    excess = np.maximum(over, under) - 0.5 - allowed
    outside = ~(excess <= 0) | (codes < ends[0]) | (codes > ends[1])
    i, k = _choose(np.where(outside, np.nan_to_num(excess, nan=1e300) + 1, excess))
    columns = k if order is None else order[k]
    if shape is None:
        index = np.stack([i, columns], axis=1)
    else:
        index = np.stack(np.unravel_index(i * codes.shape[1] + k, shape or (1,)), axis=1)
    return {
        "order": "index" if order is None else "processing",
        "total": int(codes.size),
        "index": index.tolist(),
        "position": k.tolist(),
        "code": codes[i, k].astype(np.int64).tolist(),
        "residual": _numbers(residual[i, k]),
        "allowed": _numbers(allowed[i, k]),
        "clipped": clipped[i, k].tolist(),
        "outside": outside[i, k].tolist(),
    }


def _choose(score: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Choose the rows with the largest scores, or a part of one long row, in reading order."""
    columns = score.shape[1]
    ranked = np.argsort(-score.max(axis=1), kind="stable")
    if columns > MAX_POINTS:
        i = int(ranked[0])
        first = int(np.argmax(score[i])) - MAX_POINTS // 2
        first = min(max(first, 0), columns - MAX_POINTS)
        k = np.arange(first, first + MAX_POINTS)
        return np.full(MAX_POINTS, i), k
    chosen = np.sort(ranked[: max(MAX_POINTS // max(columns, 1), 1)])
    return np.repeat(chosen, columns), np.tile(np.arange(columns), len(chosen))


# Margins and differences


def _margins(case: Case, outputs: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    margins = case.judging.get("margins")
    if not isinstance(margins, np.ndarray) or "codes" not in outputs:
        return {}
    wrong = outputs["codes"].astype(np.float64) != expected["codes"].astype(np.float64)
    if not wrong.any() or wrong.shape != margins.shape:
        return {}
    last = margins.shape[-1] if margins.ndim else 1
    flat, bad = margins.reshape(-1, last).astype(np.float64), wrong.reshape(-1, last)
    i, k = _choose(np.where(bad, 1.0 + flat, -flat))
    index = np.stack(np.unravel_index(i * last + k, margins.shape or (1,)), axis=1)
    return {
        "margins": {
            "total": int(margins.size),
            "index": index.tolist(),
            "margin": _numbers(flat[i, k]),
            "wrong": bad[i, k].tolist(),
        }
    }


def _differences(outputs: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """List elements that differ from the expected ones, the largest difference first."""
    made = []
    for name, wanted in expected.items():
        got = outputs.get(name)
        if not isinstance(wanted, np.ndarray) or not isinstance(got, np.ndarray):
            continue
        if got.shape != wanted.shape:
            continue
        a, b = got.astype(np.float64), wanted.astype(np.float64)
        places = np.argwhere((a != b) & ~(np.isnan(a) & np.isnan(b)))
        distance = np.nan_to_num(np.abs(a - b), nan=np.inf)[tuple(places.T)]
        chosen = places[np.argsort(-distance, kind="stable")[:MAX_DIFFERENCES]]
        if len(places):
            made.append(
                {
                    "output": name,
                    "count": len(places),
                    "total": int(wanted.size),
                    "index": chosen.tolist(),
                    "expected": [str(wanted[tuple(p)]) for p in chosen],
                    "got": [str(got[tuple(p)]) for p in chosen],
                }
            )
    return {"differences": made} if made else {}


def _numbers(values: Iterable[float]) -> list[float | None]:
    """Round each value to five digits; values that are not finite become None."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]


_DRAWERS: dict[str, Callable[[Any, Mapping[str, Any], float], dict[str, Any]]] = {
    "abs_max_quantize": _abs_max,
    "abs_max_quantizer": _abs_max,
    "affine_quantize": _affine,
    "affine_parameters": _affine_parameters,
    "gptq_quantize": _gptq,
}
