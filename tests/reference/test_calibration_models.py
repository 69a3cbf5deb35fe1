"""Small models: exact and float arithmetic agree, correct targets pass, and bounds hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantcheck.corpus.cal.models import random_model
from quantcheck.judge.forward_error import Bounded, hessian_bounded, run_block_bounded
from quantcheck.judge.judges import judge
from quantcheck.targets.reference.operations import answer
from quantcheck.wire.arrays import decode
from quantcheck.wire.cases import Case, load_all
from quantcheck.wire.configs import gptq_config
from quantref import GPTQConfig, GPTQResult, Profile, accumulate_hessian, certify, gptq_quantize
from quantref.calibration import ORDERS, Block, Model, model_of, quantize_model_gptq
from quantref.certificate import U32
from quantref.errors import ConfigError, QuantrefError, ShapeError, TokenRangeError
from quantref.inputs import Array
from quantref.rules import rows_of_inverse

from .problems import normal_problem

MODELS = {
    case.id: case
    for case in load_all()
    if case.operation == "quantize_model_gptq" and "outputs" in case.expected
}


def run_single(block: Block, weights: list[Array], x: Array) -> tuple[list[Array], Array]:
    """Run a block in single precision, as backends do."""
    inputs, y = [], x
    for w, bias, activation in zip(weights, block.biases, block.activations, strict=True):
        inputs.append(y)
        y = y @ w.astype(np.float32).T + bias
        y = np.maximum(y, np.float32(0)) if activation == "relu" else y
    assert y.dtype == np.float32
    return inputs, x + y if block.residual else y


def quantize_single(case: Case, profile: Profile, order: str = "block") -> dict[str, Any]:
    """Answer a question in single precision, the Hessian's sum included."""
    given, parameters = case.inputs, case.parameters
    arrays = {name: given[name] for name in ("embedding", "weights", "biases")}
    model = model_of(blocks=parameters["blocks"], **arrays)
    config, windows = gptq_config(parameters), case.expected["outputs"]["windows"]
    x, done = model.embedding[windows], []
    for block in model.blocks:
        results: list[GPTQResult] = []
        for k, w in enumerate(block.weights):
            before = [r.dequantized() for r in results] if order == "stages" else []
            inputs, _ = run_single(block, [*before, *block.weights[len(before) :]], x)
            tokens = inputs[k].reshape(-1, inputs[k].shape[-1])
            h = np.float32(2 / len(tokens)) * (tokens.T @ tokens)
            results.append(
                gptq_quantize(w, (h + h.T) / 2, config, profile=profile, dtype=np.float32)
            )
        _, x = run_single(block, [r.dequantized() for r in results], x)
        done += results
    parts = ("codes", "scale", "zero_point", "g_idx")
    lists = {part: [getattr(r, part) for r in done] for part in parts}
    return {"outputs": {"windows": windows, "head": model.head, **lists}}


def failed(case: Case, given: dict[str, Any]) -> set[str]:
    return {f.requirement for f in judge(case, given, unit_roundoff=U32) if not f.passed}


# Models with a block of several layers, in which the order makes a difference.
WITHIN = [
    identity
    for identity, case in MODELS.items()
    if any(len(block["activations"]) > 1 for block in case.parameters["blocks"])
]


@pytest.mark.parametrize("identity", sorted(MODELS))
def test_float_and_exact_arithmetic_give_the_same_codes(identity: str) -> None:
    case = MODELS[identity]
    outputs, expected = decode(answer(case.question()))["outputs"], case.expected["outputs"]
    for name in ("codes", "zero_point", "g_idx"):
        for got, wanted in zip(outputs[name], expected[name], strict=True):
            assert np.array_equal(got, wanted), name
    assert np.array_equal(outputs["head"], expected["head"])


@pytest.mark.requirement("CAL-170")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("identity", sorted(MODELS))
def test_single_precision_passes(identity: str, order: str) -> None:
    """CAL-170: errors of float32 in inputs and Hessians are within the bound."""
    case = MODELS[identity]
    findings = judge(case, quantize_single(case, Profile(), order), unit_roundoff=U32, order=order)
    assert all(f.passed for f in findings)
    assert not [f.message for f in findings if "undecided" in f.message]


@pytest.mark.parametrize("identity", sorted(MODELS))
def test_wrong_propagation_does_not_hide_calibration(identity: str) -> None:
    """CAL-110, CAL-120 and CAL-130 pass where CAL-140 alone is broken."""
    case = MODELS[identity]
    assert failed(case, quantize_single(case, Profile(rows=rows_of_inverse))) == {"CAL-140"}


@pytest.mark.parametrize("order", ORDERS)
def test_the_other_order_than_the_declared_one_fails(order: str) -> None:
    """CAL-130: a layer is calibrated with the inputs that the declared order gives it."""
    (other,) = set(ORDERS) - {order}
    missed = []
    for identity in WITHIN:
        case = MODELS[identity]
        given = quantize_single(case, Profile(), other)
        findings = judge(case, given, unit_roundoff=U32, order=order)
        if not {"CAL-130", "CAL-140"} & {f.requirement for f in findings if not f.passed}:
            missed.append(identity)
    assert WITHIN
    assert not missed


def test_an_order_that_there_is_not() -> None:
    one, zero = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    model = model_of(one, [one, one], [zero, zero], [{"activations": ["relu"], "residual": True}])
    config = GPTQConfig(None, None, weight_bits=2, group_size=-1)
    with pytest.raises(ConfigError, match=r"order in .*, got 'layers' .CAL-130."):
        quantize_model_gptq(model, np.array([[0, 1]]), config, order="layers")


def test_windows_of_another_dataset_are_no_answer() -> None:
    case = MODELS["cal-model-one-layer"]
    given = decode(answer(case.question()))
    given["outputs"]["windows"] = given["outputs"]["windows"][:, ::-1]
    with pytest.raises(QuantrefError, match="windows of the dataset"):
        judge(case, given, unit_roundoff=U32)


@pytest.mark.requirement("CAL-170")
@pytest.mark.parametrize("seed", range(6))
def test_the_bound_on_inputs_and_hessians_holds(seed: int) -> None:
    """CAL-170, observed: random models in single precision against double."""
    arrays = random_model(1000 + 10 * seed, [[12, 8], [16, 8]])
    blocks = [{"activations": ["relu", "linear"], "residual": True}] * 2
    model = model_of(blocks=blocks, **arrays)
    single = model.embedding / np.float32(3)
    known = Bounded(single.astype(np.float64), np.zeros(single.shape))
    for block in model.blocks:
        floats, single = run_single(block, list(block.weights), single)
        bounded, known = run_block_bounded(block, block.weights, known, u=U32)
        for x, entered in zip(floats, bounded, strict=True):
            assert (np.abs(x - entered.value) <= entered.error).all()
            H, error = hessian_bounded(entered, batches=1, damping=0.01, u=U32)
            theirs = accumulate_hessian([x])
            h = np.diagonal(H) + 0.01 * np.mean(np.diagonal(H))
            assert np.isfinite(error)
            assert (np.abs(theirs - H) <= error * np.sqrt(np.outer(h, h))).all()
    assert (np.abs(single - known.value) > 0).any()


@pytest.mark.requirement("CAL-170")
def test_a_column_that_may_be_dead_is_not_decided() -> None:
    """CAL-170"""
    value = np.array([[1.0, 0.0], [2.0, 0.0]])
    exact = Bounded(value, np.zeros_like(value))
    assert hessian_bounded(exact, batches=1, damping=0.0, u=0.0)[1] == 0.0
    unsure = Bounded(value, np.full_like(value, 1e-7))
    assert hessian_bounded(unsure, batches=1, damping=0.0, u=0.0)[1] == np.inf


@pytest.mark.requirement("CERT-070")
@pytest.mark.parametrize("seed", range(8))
def test_a_certificate_for_a_hessian_known_up_to_a_bound(seed: int) -> None:
    """CERT-070: answers for H + ΔH pass the certificate of H that allows for ΔH."""
    problem = normal_problem(seed, 24, 16)
    weights, hessian = problem.weights, problem.hessian
    config = GPTQConfig(None, None, weight_bits=4, group_size=-1, hessian_damping=0.05)
    rng = np.random.default_rng(seed)
    signs = np.triu(rng.choice([-1.0, 1.0], hessian.shape))
    signs = signs + np.triu(signs, 1).T
    diagonal = np.diagonal(hessian)
    eta = 1e-4
    moved = hessian + eta * signs * np.sqrt(np.outer(diagonal, diagonal))
    given = gptq_quantize(weights, moved, config)
    assert certify(weights, hessian, given, config, hessian_error=eta).passed
    honest = gptq_quantize(weights, hessian, config)
    told = certify(weights, hessian, honest, config, hessian_error=0.0)
    assert str(told) == str(certify(weights, hessian, honest, config))


@pytest.mark.requirement("CERT-070")
def test_a_larger_error_of_the_hessian_is_found() -> None:
    """CERT-070: a Hessian moved by more than was said fails."""
    problem = normal_problem(3, 64, 16)
    weights, hessian = problem.weights, problem.hessian
    config = GPTQConfig(None, None, weight_bits=4, group_size=-1, hessian_damping=0.05)
    moved = hessian + np.diag(np.diagonal(hessian)) * 0.5
    given = gptq_quantize(weights, moved, config)
    assert not certify(weights, hessian, given, config, hessian_error=1e-4).passed


@pytest.mark.requirement("CERT-070")
@pytest.mark.parametrize("error", [-1e-9, np.nan, np.inf, "1", 1e9])
def test_an_error_that_means_nothing_is_refused(error: Any) -> None:
    """CERT-070"""
    problem = normal_problem(3, 4, 6)
    weights, hessian = problem.weights, problem.hessian
    config = GPTQConfig(None, None, group_size=-1)
    given = gptq_quantize(weights, hessian, config)
    with pytest.raises(ConfigError, match="CERT-070"):
        certify(weights, hessian, given, config, hessian_error=error)


def test_models_that_do_not_fit_are_refused() -> None:
    """CAL-160"""
    arrays = random_model(1, [[4]])
    block = {"activations": ["relu"], "residual": False}
    for error, changes in (
        (ConfigError, {"blocks": []}),
        (ConfigError, {"blocks": [{"activations": [], "residual": False}]}),
        (ConfigError, {"blocks": [block, block]}),
        (ConfigError, {"blocks": [{"activations": ["tanh"], "residual": False}]}),
        (ConfigError, {"biases": arrays["biases"][:1]}),
        (ShapeError, {"blocks": [{"activations": ["relu"], "residual": True}]}),
        (ShapeError, {"embedding": arrays["embedding"][:, :7]}),
        (ShapeError, {"biases": arrays["biases"][::-1]}),
    ):
        with pytest.raises(error, match="CAL-160"):
            model_of(**{"blocks": [block], **arrays, **changes})
    model: Model = model_of(blocks=[block], **arrays)
    with pytest.raises(TokenRangeError, match="CAL-160"):
        quantize_model_gptq(model, np.array([[0, 32]]), GPTQConfig(None, None))
