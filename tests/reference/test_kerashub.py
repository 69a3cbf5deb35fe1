"""Models of KerasHub at toy size, random weights in their real geometry: the whole command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from quantref.cli import main
from quantref.models import Report

from .keras_models import seeded, token_text

keras_hub = pytest.importorskip(
    "keras_hub", reason="keras-hub is not installed", exc_type=ImportError
)

pytestmark = pytest.mark.everything

VOCABULARY, WIDTH, LENGTH = 50, 32, 16


def gpt2() -> Any:
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=VOCABULARY, num_layers=2, num_heads=4, hidden_dim=WIDTH,
        intermediate_dim=64, max_sequence_length=LENGTH,
    )  # fmt: skip
    return keras_hub.models.GPT2CausalLM(backbone)


def llama() -> Any:
    backbone = keras_hub.models.LlamaBackbone(
        vocabulary_size=VOCABULARY, num_layers=1, num_query_heads=4, num_key_value_heads=2,
        hidden_dim=WIDTH, intermediate_dim=48,
    )  # fmt: skip
    return keras_hub.models.LlamaCausalLM(backbone)


def gemma() -> Any:
    backbone = keras_hub.models.GemmaBackbone(
        vocabulary_size=VOCABULARY, num_layers=1, num_query_heads=4, num_key_value_heads=1,
        hidden_dim=WIDTH, intermediate_dim=96, head_dim=8,
    )  # fmt: skip
    return keras_hub.models.GemmaCausalLM(backbone)


# Rows and columns of the matrices, by their real equations; GPT-2 has two blocks, the others one.
BLOCKS = {
    gpt2: {(32, 32): 8, (64, 32): 2, (32, 64): 2},
    llama: {(32, 32): 2, (16, 32): 2, (48, 32): 2, (32, 48): 1},
    gemma: {(32, 32): 2, (8, 32): 2, (48, 32): 2, (32, 48): 1},
}


@pytest.mark.parametrize("make", BLOCKS, ids=lambda make: make.__name__)
def test_by_the_whole_command(
    make: Callable[[], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = seeded(make())
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "tokens.npy", token_text().astype(np.int32))
    status = main(
        ["quantize", str(tmp_path / "model.keras"), "--calibration", str(tmp_path / "tokens.npy"),
         "--import", "keras_hub", "--out", str(tmp_path / "out"), "--bits", "3", "--group-size",
         "8", "--samples", "8", "--sequence-length", str(LENGTH), "--json",
         *(() if make is gpt2 else ("--no-verify",))]
    )  # fmt: skip
    captured = capsys.readouterr()
    assert status == 0, captured.err
    report = Report.from_json(json.loads(captured.out))
    assert report.settings["structure"] == "the model"
    shapes = [(layer.n_out, layer.n_in) for layer in report.layers]
    assert {shape: shapes.count(shape) for shape in shapes} == BLOCKS[make]
    assert report.total.loss < report.total.plain_loss
    again = keras.saving.load_model(tmp_path / "out" / "model.keras", compile=False)
    given = {
        "token_ids": np.arange(LENGTH)[None] % VOCABULARY,
        "padding_mask": np.ones((1, LENGTH), np.int32),
    }
    one, other = (keras.ops.convert_to_numpy(m(given)) for m in (model, again))
    assert one.shape == other.shape
    assert np.isfinite(other).all()
    assert (one != other).any()
