"""Judges of section 10: whole models, with teacher forcing block by block.

The judge computes the inputs of every layer with the answer's own dequantized weights in earlier
blocks. Then it certifies the layer's codes for the Hessian of these inputs. The error of this
Hessian in the target's arithmetic is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from quantcheck.judge.findings import Judging
from quantcheck.judge.forward_error import Bounded, hessian_bounded, run_block_bounded
from quantcheck.wire.arrays import decode
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import gptq_config
from quantref.affine import group_parameters
from quantref.calibration import model_of
from quantref.certificate import U64
from quantref.checks import Check
from quantref.errors import AnswerError, ConfigError
from quantref.fast.certificate.bounds import Roundoffs
from quantref.fast.certificate.checks import check_parameters, check_residuals
from quantref.fast.certificate.gathering import gather
from quantref.fast.problem import prepare_problem
from quantref.inputs import Array

ULP32 = 2.0**-23
PARTS = ("codes", "scale", "zero_point", "g_idx")


def _lists(collector: Judging, *names: str) -> dict[str, list[Array]]:
    """Return outputs that are lists of arrays, of the expected shapes, or raise."""
    found: dict[str, list[Array]] = {}
    for name in names:
        got, expected = collector.outputs.get(name), collector.expected[name]
        shapes = [e.shape for e in expected]
        arrays = decode(got) if isinstance(got, list) else []
        if [np.shape(a) for a in arrays] != shapes:
            raise AnswerError(f"{name}, arrays of {shapes}", f"{got!r:.60}", collector.case.id)
        found[name] = [np.asarray(a) for a in arrays]
    return found


def model_int8(collector: Judging) -> None:
    """Judge codes and scales of every kernel as those of section 4.  [CAL-150]"""
    given = _lists(collector, "codes", "scale")
    inputs, expected = collector.case.inputs, collector.expected
    required = collector.case.judging["required_codes"]
    for k, w in enumerate([inputs["embedding"], *inputs["weights"]]):
        codes, scale = given["codes"][k], given["scale"][k].astype(np.float64)
        wanted = expected["scale"][k].astype(np.float64)
        far = float((np.abs(scale - wanted) / (2 * ULP32 * wanted)).max())
        t = w.astype(np.float64) * scale[:, None]
        excess = np.abs(codes - np.clip(t, -127, 127)) - 0.5 - 3 * collector.u * np.abs(t)
        same = (given["scale"][k] == expected["scale"][k])[:, None]
        wrong = (excess > 0) | (same & (required[k] == 1) & (codes != expected["codes"][k]))
        right = codes.dtype == np.int8 and far <= 1 and not wrong.any()
        message = (
            f"array {k}: {int(wrong.sum())} of {codes.size} codes off ({codes.dtype.name}), "
            f"scales off by {far:.3g} of the bound"
        )
        collector.add("CAL-150", right, message)


def model_gptq(collector: Judging) -> None:
    """Judge each layer by the certificate of its codes for its actual inputs."""
    case, parameters = collector.case, collector.case.parameters
    given = _lists(collector, *PARTS)
    arrays = {name: case.inputs[name] for name in ("embedding", "weights", "biases")}
    model = model_of(blocks=parameters["blocks"], **arrays)
    unchanged = np.array_equal(collector.output("head"), model.head)
    message = "head: equal" if unchanged else "head: changed, though it is in no block"
    collector.add("CAL-090", unchanged, message)
    for name, dtype in (("codes", np.uint8), ("scale", np.float32), ("zero_point", np.uint8)):
        dtypes = sorted({a.dtype.name for a in given[name]})
        right = dtypes == [np.dtype(dtype).name]
        collector.add("CAL-090", right, f"{name}: dtype {', '.join(dtypes)}")

    for layer in layers_of(case, given, collector.output("windows"), collector.order, collector.u):
        judge_layer(collector, layer, parameters)


@dataclass(frozen=True)
class Layer:
    """A layer of a model, with its inputs as the answer's earlier layers make them.

    Attributes
    ----------
    number, place : int
        The layer's block, and its place in it.
    weights : (n_out, n_in) array
    x : Bounded
        Its inputs in the target's arithmetic.
    answer : dict of arrays
        Its codes, scale, zero_point and g_idx.
    """

    number: int
    place: int
    weights: Array
    x: Bounded
    answer: dict[str, Array]

    @property
    def requirement(self) -> str:
        """The requirement that gives the layer its inputs."""
        return "CAL-130" if self.place else "CAL-120" if self.number else "CAL-110"


def layers_of(
    case: Case, given: Mapping[str, list[Array]], windows: Array, order: str, u: float
) -> Iterator[Layer]:
    """Yield the layers of an answer: teacher forcing.  [CAL-170]

    Parameters
    ----------
    case : Case
    given : mapping
        A list of arrays for each of `PARTS`.
    windows : (num_samples, sequence_length) array
        Those of the answer.
    order : {"block", "stages"}
    u : float
        Unit roundoff of the target.
    """
    arrays = {name: case.inputs[name] for name in ("embedding", "weights", "biases")}
    model = model_of(blocks=case.parameters["blocks"], **arrays)
    u = u + U64  # of the answer, and of the float model
    value = model.embedding.astype(np.float64)[windows_of(case, windows, len(model.embedding))]
    x, done = exactly(value), 0
    for number, block in enumerate(model.blocks):
        inputs, _ = run_block_bounded(block, block.weights, x, u=u)
        values: list[Array] = []
        for k, w in enumerate(block.weights):
            if order == "stages" and k:  # [CAL-130]
                rest = block.weights[k:]
                inputs, _ = run_block_bounded(block, [*values, *rest], x, u=u, dequantized=k)
            answer = {part: given[part][done] for part in PARTS}
            yield Layer(number, k, w, inputs[k], answer)
            values.append(_dequantized(case, answer))
            done += 1
        _, x = run_block_bounded(block, values, x, u=u, dequantized=len(values))


def exactly(value: Array) -> Bounded:
    """Return inputs without an error."""
    return Bounded(value, np.zeros_like(value))


def windows_of(case: Case, windows: Array, count: int) -> Array:
    """Return the windows of an answer, which must be consecutive tokens of the dataset."""
    tokens = case.judging["dataset_tokens"]
    if windows.dtype.kind not in "iu":
        raise AnswerError("windows of integers", windows.dtype.name, "CAL-010")
    runs = np.lib.stride_tricks.sliding_window_view(tokens, windows.shape[1])
    for window in windows:
        if not (runs == window).all(axis=1).any() or not 0 <= window.min() <= window.max() < count:
            raise AnswerError("windows of the dataset", f"{window.tolist()!r:.60}", case.id)
    return windows


def _dequantized(case: Case, answer: dict[str, Array]) -> Array:
    """Return s · (q − z) with the answer's own groups."""
    groups = np.floor(answer["g_idx"]).astype(np.int64)  # the dtype does not matter here
    if not 0 <= groups.min() <= groups.max() < answer["scale"].shape[1]:
        raise AnswerError("g_idx that names groups", f"{groups.tolist()}", case.id)
    scale, zero = (answer[name].astype(np.float64)[:, groups] for name in ("scale", "zero_point"))
    return np.asarray(scale * (answer["codes"].astype(np.float64) - zero))


def hessian_of(layer: Layer, parameters: Mapping[str, Any], u: float) -> tuple[Array, float]:
    """Return the Hessian of a layer's inputs and η for a target of unit roundoff u.  [CAL-170]"""
    batches, damping = parameters["num_samples"], parameters["damping"]
    return hessian_bounded(layer.x, batches=batches, damping=damping, u=u + U64)


def judge_layer(collector: Judging, layer: Layer, settings: Mapping[str, Any]) -> None:
    """Judge one layer: parameters, the first two columns, all columns, and the use of H.

    `settings` are those of GPTQ, under their names in questions.
    """
    config = gptq_config(settings)
    where, place = f"block {layer.number}, layer {layer.place}", layer.requirement
    weights, answer = layer.weights, layer.answer
    hessian, error = hessian_of(layer, settings, collector.u)
    problem = prepare_problem(weights, hessian, config)
    diagonal = np.diagonal(problem.hessian)
    close = np.abs(np.diff(diagonal)) <= error * (diagonal[1:] + diagonal[:-1])
    if not np.isfinite(error) or (config.activation_order and close.any()):
        collector.add(
            "CAL-140", True, f"{where}: undecided, its order or a dead column is a near-tie"
        )
        return
    try:
        roundoffs = Roundoffs.declared(collector.u, collector.u_f, error)
        evidence = gather(problem, SimpleNamespace(**answer), roundoffs)
    except ConfigError as undecided:
        collector.add("CAL-140", True, f"{where}: undecided, {undecided}")
        return
    covered = place if place in collector.case.requirements else "CAL-140"
    other = _of_other_inputs(settings, weights, answer)
    wrong_codes = any(not check.passed for check in check_residuals(evidence))
    for check in check_parameters(evidence):  # [CAL-100]
        taken_over = not check.passed and wrong_codes and other
        _add(collector, covered if taken_over else "CAL-100", where, check)
    # The second column depends on H and the first column alone. So it shows whether H was computed
    # from the right inputs, even if errors are propagated wrongly to later columns.
    for check in check_residuals(evidence, columns=2):
        if place in collector.case.requirements:
            _add(collector, place, where, check)
    plain = evidence.is_plain_rounding
    note = " (plain rounding: no error was fed back)" if plain else ""
    for check in check_residuals(evidence):
        _add(collector, "CAL-140", where + note, check)


def _of_other_inputs(
    parameters: Mapping[str, Any], weights: Array, answer: dict[str, Array]
) -> bool:
    """Tell whether parameters are right for the order and the dead columns that the answer shows.

    If they are, the Hessian was computed from wrong inputs. Dead columns are those whose
    dequantized weights are zero; the answer's groups show the order. Ranges that contain errors of
    earlier blocks are not explained.
    """
    groups = np.floor(answer["g_idx"]).astype(np.int64)
    if sorted(set(groups.tolist())) != list(range(answer["scale"].shape[1])):
        return False
    live = (answer["codes"] != answer["zero_point"][:, groups]).any(axis=0)
    settings = {name: parameters[name] for name in ("bits", "symmetric", "per_channel")}
    for k in range(answer["scale"].shape[1]):
        scale, zero = group_parameters(np.where(live, weights, 0.0)[:, groups == k], **settings)
        off = np.abs(answer["scale"][:, k].astype(np.float64) - scale)
        if (off > 4 * ULP32 * scale).any() or (answer["zero_point"][:, k] != zero).any():
            return False
    return True


def _add(collector: Judging, requirement: str, where: str, check: Check) -> None:
    """Record a check of the certificate of one layer."""
    details: dict[str, Any] = {"index": check.worst, "observed": check.observed, "bound": 1.0}
    collector.add(requirement, check.passed, f"{where}: {check.name}: {check.message}", **details)
