"""Every layer of a right model is certified, and none of a model with a planted deviation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantcheck.run.selftest.large.wrong import Deviation, deviations, wrong_answer
from quantref import GPTQConfig
from quantref.fast.problem import GPTQProblem
from quantref.hessian import reversed_cholesky, upper_inverse
from quantref.models import Report, task
from quantref.models.answer import Answer

keras = pytest.importorskip("keras", reason="keras is not installed")

EVERYWHERE = ("one scale off by 0.001", "one zero-point off by one", "damping off by 10.0%",
              "feedback in bfloat16")  # fmt: skip
PLANTED = {
    # All its matrices but two have one column block alone.
    "characters": (*EVERYWHERE, "one code moved by one"),
    "encoder": (*EVERYWHERE[:1], *EVERYWHERE[2:], "ranges of the original weights",
                "last column of a block not fed back"),
}  # fmt: skip


def characters(root: Path) -> tuple[Any, GPTQConfig]:
    from quantref.cli.calibration_files import read_calibration, read_tokenizer

    folder = root / "tests" / "data" / "characters"
    data = read_calibration(folder / "calibration.txt")
    tokenizer = read_tokenizer(str(folder / "vocabulary.json"))
    settings: dict[str, Any] = {"num_samples": 32, "sequence_length": 128, "group_size": 32}
    return keras.saving.load_model(folder / "model.keras"), GPTQConfig(data, tokenizer, **settings)


def encoder(_: Path) -> tuple[Any, GPTQConfig]:
    """Return a sentence encoder of 384 columns, 1536 in its feed-forward layers, and its data."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(500, 384, name="embedding")(inputs)
    for k in range(2):
        attention = layers.MultiHeadAttention(6, 64, name=f"attention_{k}")
        x = layers.LayerNormalization(name=f"norm_{k}")(x + attention(x, x))
        y = layers.Dense(1536, activation="gelu", name=f"up_{k}")(x)
        x = layers.LayerNormalization(name=f"last_{k}")(x + layers.Dense(384, name=f"down_{k}")(y))
    model = keras.Model(inputs, layers.GlobalAveragePooling1D(name="pooled")(x))
    tokens = np.random.default_rng(3).integers(0, 500, (48, 64))
    config = GPTQConfig(tokens, None, num_samples=48, sequence_length=64, group_size=128)
    return model, config


MODELS = {"characters": characters, "encoder": encoder}


def planted(one: Deviation) -> Any:
    """Return a function in place of `quantize_problem` that has a deviation, at random places."""
    generator = np.random.default_rng(11)

    def quantize(problem: GPTQProblem) -> Answer:
        H = problem.hessian
        if one.hessian is not None:
            H = H + 0.1 * problem.prepared.added * np.eye(len(H))
        U = upper_inverse(reversed_cholesky(H, damping=0.0))
        n_out, n_in = problem.shape
        row, column = int(generator.integers(n_out)), int(generator.integers(n_in))
        made = wrong_answer(problem, U, one, [(row, int(problem.column_group[column]))])
        if one.flipped:
            made["codes"][row, column] += 1 if made["codes"][row, column] < problem.maxq else -1
        zero_point = made["zero_point"].astype(np.uint8)
        codes = made["codes"].astype(np.uint8)
        return Answer(codes, made["scale"], zero_point, problem.column_group)

    return quantize


def quantized(name: str, root: Path) -> Report:
    from quantref.keras import quantize

    model, config = MODELS[name](root)
    return quantize(model, config).report


@pytest.mark.everything
@pytest.mark.slow
@pytest.mark.requirement("CERT-010", "CERT-030")
@pytest.mark.parametrize("name", MODELS)
def test_every_layer_of_a_right_model_is_certified_and_none_of_a_wrong_one(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for nothing in (None, planted(Deviation("nothing"))):
        if nothing is not None:
            monkeypatch.setattr(task, "quantize_problem", nothing)
        verdicts = {layer.name: layer.verdict for layer in quantized(name, root).layers}
        assert len(verdicts) >= 10
        assert set(verdicts.values()) == {"certified"}
    chosen = [one for one in deviations() if one.id in PLANTED[name]]
    assert len(chosen) == 5
    for one in chosen:
        monkeypatch.setattr(task, "quantize_problem", planted(one))
        passed = [layer.name for layer in quantized(name, root).layers
                  if layer.verdict in ("certified", "weak")]  # fmt: skip
        assert passed == [], one.id
