"""An MLP that scikit-learn trained on its handwritten digits, quantized by the whole command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from quantref.cli import main
from quantref.models import Report

DIGITS = Path(__file__).parents[1] / "data" / "digits" / "digits.npz"


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any, Any]:
    """The model in Keras, pixels and labels; the last third was not trained on."""
    with np.load(DIGITS) as data:
        x, y = (data["pixels"] / 16).astype(np.float32), data["labels"]
        trained = [(data[f"kernel_{k}"], data[f"bias_{k}"]) for k in range(3)]
    layers = [keras.Input((64,), name="pixels")]
    for k, (kernel, _) in enumerate(trained):
        activation = "relu" if k < 2 else None
        layers.append(keras.layers.Dense(kernel.shape[1], activation, name=f"dense_{k}"))
    model = keras.Sequential(layers, name="digits")
    for layer, values in zip(model.layers, trained, strict=True):
        layer.set_weights(values)
    return model, x, y


def right(model: Any, x: Any, y: Any) -> float:
    logits = keras.ops.convert_to_numpy(model(x[1200:]))
    return float((logits.argmax(axis=1) == y[1200:]).mean())


@pytest.mark.parametrize(
    ("arguments", "drop"),
    [
        pytest.param(["--method", "int8", "--form", "keras"], 0.005, marks=pytest.mark.everything),
        pytest.param(["--method", "int8"], 0.005, marks=pytest.mark.everything),
        (["--bits", "4", "--group-size", "-1"], 0.02),
        pytest.param(
            ["--bits", "3", "--group-size", "16", "--activation-order"],
            0.03,
            marks=pytest.mark.everything,
        ),
    ],
)
def test_digits_are_read_as_before(
    digits: tuple[Any, Any, Any],
    arguments: list[str],
    drop: float,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, x, y = digits
    model.save(tmp_path / "digits.keras")
    np.save(tmp_path / "pixels.npy", x[:1200])
    given = ["quantize", str(tmp_path / "digits.keras"), "--out", str(tmp_path / "out"), "--json"]
    if "int8" not in arguments:
        given += ["--calibration", str(tmp_path / "pixels.npy"), "--samples", "600", "--no-verify"]
    assert main([*given, *arguments]) == 0
    report = Report.from_json(json.loads(capsys.readouterr().out))
    assert [layer.name for layer in report.layers] == ["dense_0", "dense_1", "dense_2"]
    before = right(model, x, y)
    assert before > 0.9
    after = right(keras.saving.load_model(tmp_path / "out" / "model.keras"), x, y)
    assert after > before - drop
    if report.settings["mode"] == "gptq":
        assert report.layers[0].hessian is not None
        assert report.layers[0].hessian.dead > 0  # corners that are white in every image
