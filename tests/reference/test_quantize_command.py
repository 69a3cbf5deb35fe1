"""`quantref quantize` and `quantref certify` as a person runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from quantref.cli import certify, main
from quantref.cli.calibration_files import (
    ByteTokenizer,
    CharacterTokenizer,
    read_calibration,
    read_tokenizer,
)
from quantref.cli.page import page
from quantref.errors import CalibrationError, TokenRangeError
from quantref.formats.codes import read_codes
from quantref.models import Report

from .keras_models import VOCABULARY, mlp, samples, token_text, transformer

Output = pytest.CaptureFixture[str]
SIZES = ("--bits", "3", "--group-size", "8", "--samples", "16", "--sequence-length", "12")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model and its calibration data."""
    transformer().save(tmp_path / "small.keras")
    np.save(tmp_path / "tokens.npy", token_text().astype(np.int32))
    return tmp_path


def call(folder: Path, *arguments: str, out: str = "out") -> int:
    return main(
        ["quantize", str(folder / "small.keras"), "--calibration", str(folder / "tokens.npy"),
         "--out", str(folder / out), *SIZES, "--no-verify", *arguments]
    )  # fmt: skip


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_with_model_page_and_report(folder: Path, capsys: Output) -> None:
    assert call(folder) == 0
    printed = capsys.readouterr().out
    assert "13 of 13 layers certified" in printed
    assert "attention_0/query" in printed
    assert names(folder) == {"small.keras", "tokens.npy", "out"}
    assert names(folder / "out") == {"model.keras", "report.json", "report.html"}
    report = Report.from_json(json.loads((folder / "out" / "report.json").read_text("utf-8")))
    assert report.passed
    assert report.settings["weight_bits"] == 3
    assert report.about["keras"] == keras.__version__
    text = (folder / "out" / "report.html").read_text("utf-8")
    assert "attention_0/query" in text
    assert text.count("<svg") == 14
    assert not re.search(r"<script|<link|@import|(src|href)=.https?:", text)
    model = keras.saving.load_model(folder / "out" / "model.keras")
    kernel = np.asarray(keras.ops.convert_to_numpy(model.get_layer("up_0").kernel))
    assert all(len(np.unique(kernel[g : g + 8, j])) <= 8 for g in (0, 8) for j in range(64))


def test_json_for_programs(folder: Path, capsys: Output) -> None:
    assert call(folder, "--json", "--layers", "up_", "--form", "codes") == 0
    captured = capsys.readouterr()
    report = Report.from_json(json.loads(captured.out))
    assert [layer.name for layer in report.layers] == ["up_0", "up_1"]
    assert "written: " in captured.err
    _, answers = read_codes(folder / "out" / "model.safetensors")
    assert set(answers) == {"up_0", "up_1"}


@pytest.mark.everything
@pytest.mark.parametrize("backend", ["numpy", "openvino"])
def test_other_backends_give_the_same_codes(backend: str, folder: Path) -> None:
    """Chosen by name; but for near-ties, since inputs differ in their last digits."""
    needed = "jax" if backend == "numpy" else backend  # Keras's NumPy backend calls JAX
    pytest.importorskip(needed, reason=f"{needed} is not installed")
    assert call(folder) == 0
    done = start(folder, "other", "--backend", backend, "--json")
    printed, complaint = done.communicate()
    assert done.returncode == 0, complaint
    assert json.loads(printed)["about"]["backend"] == backend
    one, other = (
        [keras.ops.convert_to_numpy(w) for w in keras.saving.load_model(path).weights]
        for path in (folder / "out" / "model.keras", folder / "other" / "model.keras")
    )
    differing = sum(int((a != b).sum()) for a, b in zip(one, other, strict=True))
    assert differing <= 0.01 * sum(a.size for a in one)


@pytest.mark.parametrize(
    ("half", "arguments", "status"),
    [("embedding", (), 0), ("embedding", ("--method", "int8"), 1), ("dense", (), 1)],
)
def test_half_precision_is_refused_where_it_would_round(
    half: str, arguments: tuple[str, ...], status: int, folder: Path, capsys: Output
) -> None:
    """Half precision is refused before any work; a layer that stays unchanged may have it."""
    inputs = keras.Input((12,), dtype="int32")
    dtypes = {name: "bfloat16" if name == half else "float32" for name in ("embedding", "dense")}
    x = keras.layers.Embedding(VOCABULARY, 16, dtype=dtypes["embedding"], name="embedding")(inputs)
    x = keras.layers.Dense(8, dtype=dtypes["dense"], name="dense")(x)
    keras.Model(inputs, x).save(folder / "small.keras")
    assert call(folder, *arguments) == status
    complaint = capsys.readouterr().err
    refused = f"weights of float32 in layer {half} for form dequantized, got bfloat16"
    assert (refused in complaint) == (status == 1)
    assert names(folder) == {"small.keras", "tokens.npy", *(["out"] if status == 0 else [])}


@pytest.mark.everything
def test_int8_needs_no_calibration(folder: Path, capsys: Output) -> None:
    mlp().save(folder / "mlp.keras")
    arguments = ["quantize", str(folder / "mlp.keras"), "--method", "int8"]
    out = folder / "eight"
    assert main([*arguments, "--form", "keras", "--out", str(out)]) == 0
    assert "3 of 3 layers certified" in capsys.readouterr().out
    model = keras.saving.load_model(out / "model.keras")
    assert model.get_layer("first").quantization_mode == "int8"


@pytest.mark.everything
def test_attention_of_keras_is_refused_as_int8_layers(folder: Path, capsys: Output) -> None:
    """Keras 3.15.0 and 3.15.1 save nothing of an int8 layer inside MultiHeadAttention."""
    arguments = ["quantize", str(folder / "small.keras"), "--method", "int8"]
    assert main([*arguments, "--form", "keras", "--out", str(folder / "no")]) == 1
    captured = capsys.readouterr()
    assert "a file that a new process loads" in captured.err
    assert "EinsumDense" in captured.err
    assert names(folder) == {"small.keras", "tokens.npy"}
    assert main([*arguments, "--out", str(folder / "eight")]) == 0
    assert "14 of 14 layers certified" in capsys.readouterr().out


@pytest.mark.everything
def test_other_peoples_models_are_judged(folder: Path, capsys: Output) -> None:
    assert call(folder) == 0
    assert call(folder, "--form", "codes", out="codes") == 0
    data = ["--calibration", str(folder / "tokens.npy")]
    original = str(folder / "small.keras")
    for quantized in ("out/model.keras", "codes/model.safetensors"):
        capsys.readouterr()
        given = ["certify", original, str(folder / quantized), *data, *SIZES]
        assert main([*given, "--report", str(folder / "page.html")]) == 0
        assert "13 of 13 layers certified" in capsys.readouterr().out
        assert "<svg" in (folder / "page.html").read_text("utf-8")
    # The same weights, said to be of other settings, are on no grid of theirs.
    assert main(["certify", original, str(folder / "out/model.keras"), *data, *SIZES[:2],
                 "--group-size", "16", *SIZES[4:]]) == 1  # fmt: skip
    assert "of 13 layers certified" in capsys.readouterr().out


def test_plain_rounding_is_called_by_its_name(folder: Path, capsys: Output) -> None:
    from quantref import affine_parameters, affine_quantize, group_index
    from quantref.affine import affine_dequantize

    model = transformer()
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            w = np.asarray(keras.ops.convert_to_numpy(layer.kernel)).T
            scale, zero = affine_parameters(w, bits=3, group_size=-1)
            g_idx = group_index(w.shape[1], -1)
            codes = affine_quantize(w, scale, zero, g_idx, bits=3)
            layer.kernel.assign(affine_dequantize(codes, scale, zero, g_idx).T)
    model.save(folder / "rounded.keras")
    status = main(
        ["certify", str(folder / "small.keras"), str(folder / "rounded.keras"), "--calibration",
         str(folder / "tokens.npy"), "--bits", "3", "--group-size", "-1", *SIZES[4:], "--json"]
    )  # fmt: skip
    assert status == 1
    report = Report.from_json(json.loads(capsys.readouterr().out))
    assert {layer.verdict for layer in report.layers} == {"plain rounding"}
    assert len(report.layers) == 5
    assert ("attention_0/query", "float weights, as in the original") in report.skipped


def test_weak_certificates_are_told_and_do_not_pass(
    folder: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Declared with a few bits of precision, the same answers leave most codes undecided."""
    assert call(folder, "--layers", "up_") == 0
    monkeypatch.setitem(certify.PRECISIONS, "float32", 2.0**-5)
    given = ["certify", str(folder / "small.keras"), str(folder / "out/model.keras")]
    given += ["--calibration", str(folder / "tokens.npy"), *SIZES, "--layers", "up_"]
    capsys.readouterr()
    assert main([*given, "--report", str(folder / "weak.html")]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "0 of 2 layers certified; 2 are weak: up to " in printed
    assert "of their codes are undecided" in printed
    assert "weak" in (folder / "weak.html").read_text("utf-8")
    assert main([*given, "--json"]) == 1
    report = Report.from_json(json.loads(capsys.readouterr().out))
    assert {layer.verdict for layer in report.layers} == {"weak"}
    assert not report.passed


# Refusals


REFUSED: list[tuple[list[str], str]] = [
    (["--bits", "5"], "weight_bits in (2, 3, 4, 8), got 5"),
    (["--layers", "nope"], "a layer that 'nope' finds among"),
    (["--samples", "1000"], "at least 12000 tokens for 1000 windows of 12, got 2000"),
    (["--workers", "0"], "workers >= 1"),
    (["--executor", "carrier-pigeon"], "threads, processes or dask://HOST:PORT"),
    (["--form", "keras"], "form dequantized loads anywhere"),
    (["--import", "no_such_module"], "a module no_such_module"),
    (["--batch", "0"], "--batch >= 1"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_is_refused_leaves_nothing_behind(
    arguments: list[str], message: str, folder: Path, capsys: Output
) -> None:
    assert call(folder, *arguments) == 1
    captured = capsys.readouterr()
    assert message in captured.err.replace("\n", " ")
    assert "Traceback" not in captured.err
    assert names(folder) == {"small.keras", "tokens.npy"}


def test_files_that_are_not_what_they_claim(folder: Path, capsys: Output) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return os.system, (f"touch {folder / 'exploded'}",)

    (folder / "bomb.npy").write_bytes(pickle.dumps(Bomb()))
    np.save(folder / "objects.npy", np.array([Bomb()], object), allow_pickle=True)
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / "cut.npz").write_bytes(b"PK\x03\x04")
    for name in ("bomb.npy", "objects.npy", "latin.txt", "cut.npz", "absent.npy"):
        assert call(folder, "--calibration", str(folder / name)) == 1
        assert name in capsys.readouterr().err
    assert not (folder / "exploded").exists()
    (folder / "small.keras").write_bytes(b"no zip")
    assert call(folder) == 1
    assert "a model of Keras in" in capsys.readouterr().err
    (folder / "small.keras").unlink()
    assert call(folder) == 1
    assert "a file " in capsys.readouterr().err
    shutil.rmtree(folder / "out.partial", ignore_errors=True)
    assert not (folder / "out").exists()


def test_what_is_there_is_replaced_by_force_alone(
    folder: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "thesis.txt").write_text("mine")
    assert call(folder) == 1
    assert "--force replaces it" in capsys.readouterr().err
    assert names(folder / "out") == {"thesis.txt"}
    assert call(folder, "--force", "--bits", "9") == 1
    assert names(folder / "out") == {"thesis.txt"}
    assert call(folder, "--force") == 0
    assert "model.keras" in names(folder / "out")
    before = (folder / "out" / "model.keras").read_bytes()
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target == folder / "out" and "old" not in self.name:
            raise OSError(5, "Input/output error")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        assert call(folder, "--force") == 1
    assert "Input/output error" in capsys.readouterr().err
    assert (folder / "out" / "model.keras").read_bytes() == before
    assert call(folder, out="no/such/folder") == 1
    assert "a folder " in capsys.readouterr().err


def test_a_full_disk_leaves_nothing_half_written(
    folder: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert call(folder) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert names(folder) <= {"small.keras", "tokens.npy", "out.partial"}
    assert call(folder) == 0
    assert names(folder) == {"small.keras", "tokens.npy", "out"}


# Stopped, killed, resumed


def start(folder: Path, out: str, *arguments: str) -> subprocess.Popen[str]:
    """Start the command on PyTorch, where it is there: it compiles nothing.

    As a terminal would: what a shell starts in the background has Ctrl-C ignored.
    """
    backend = "torch" if find_spec("torch") else "jax"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "quantref.cli", "quantize", str(folder / "small.keras"),
             "--backend", backend,
             "--calibration", str(folder / "tokens.npy"), "--out", str(folder / out), *SIZES,
             "--no-verify", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)


def layers_done(folder: Path, out: str) -> int:
    """How many there are, the one that is being written left out."""
    return len(list((folder / f"{out}.partial").glob("[!.]*.npz")))


@pytest.mark.everything
@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(folder: Path) -> None:
    """By Ctrl-C, and then by SIGKILL."""
    slowly = ("--samples", "160", "--batch", "1")  # else it ends before anybody can stop it
    whole = start(folder, "whole", *slowly)
    assert whole.communicate()[0]
    assert whole.returncode == 0
    kept = 0
    for how in (signal.SIGINT, signal.SIGKILL):
        stopped = start(folder, "out", *slowly)
        deadline, least = time.monotonic() + 120, kept + 2
        while layers_done(folder, "out") < least:
            assert time.monotonic() < deadline
            assert stopped.poll() is None, stopped.communicate()
            time.sleep(0.005)
        stopped.send_signal(how)
        _, complaint = stopped.communicate()
        kept = layers_done(folder, "out")
        assert least <= kept < 13
        assert not (folder / "out").exists()
        if how == signal.SIGINT:
            assert stopped.returncode == 130
            assert "out.partial keeps the finished layers" in complaint
    again = start(folder, "out", *slowly)
    printed, _ = again.communicate()
    assert again.returncode == 0
    assert f"continuing: {kept} layers are finished" in printed
    assert names(folder) == {"small.keras", "tokens.npy", "out", "whole"}
    one, other = (
        json.loads((folder / out / "report.json").read_text("utf-8")) for out in ("out", "whole")
    )
    for a, b in zip(one["layers"], other["layers"], strict=True):
        for record in (a, b):
            del record["figures"]["seconds"], record["figures"]["certificate_seconds"]
        assert a == b
    weights = [
        [keras.ops.convert_to_numpy(w) for w in keras.saving.load_model(path).weights]
        for path in (folder / "out" / "model.keras", folder / "whole" / "model.keras")
    ]
    for x, y in zip(*weights, strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_checkpoint_of_other_settings_is_refused(
    folder: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quantref.cli import progress

    def stop(_self: object, _record: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(progress.TerminalProgress, "layer", stop)
        assert call(folder) == 130
    assert "out.partial keeps the finished layers" in capsys.readouterr().err
    assert call(folder, "--bits", "4") == 1
    complaint = capsys.readouterr().err
    assert "bits=4" in complaint
    assert "--restart removes it" in complaint
    damaged = next((folder / "out.partial").glob("*.npz"))
    damaged.write_bytes(damaged.read_bytes()[:-30])
    assert call(folder) == 1
    assert damaged.name in capsys.readouterr().err
    assert call(folder, "--restart") == 0


# Files and tokenizers


def test_calibration_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "named.npz", token_ids=np.eye(2))
    assert set(read_calibration(tmp_path / "named.npz")) == {"token_ids"}
    (tmp_path / "lines.jsonl").write_text('{"text": "ab"}\n"cd"\n[1, 2]\n', "utf-8")
    assert read_calibration(tmp_path / "lines.jsonl") == ["ab", "cd", [1, 2]]
    (tmp_path / "text.py").write_text("x = 1\n", "utf-8")
    assert read_calibration(tmp_path / "text.py") == ["x = 1\n"]
    (tmp_path / "bad.jsonl").write_text('{"words": "ab"}\n', "utf-8")
    with pytest.raises(CalibrationError, match="KeyError"):
        read_calibration(tmp_path / "bad.jsonl")


def test_tokenizers(tmp_path: Path) -> None:
    assert read_tokenizer(None) is None
    assert isinstance(read_tokenizer("bytes"), ByteTokenizer)
    path = tmp_path / "vocabulary.json"
    path.write_text('["a", "b"]', "utf-8")
    assert read_tokenizer(str(path)).tokenize("ba").tolist() == [1, 0]
    with pytest.raises(TokenRangeError, match="'c' at character 2"):
        read_tokenizer(str(path)).tokenize("abc")
    assert read_tokenizer("python:builtins:ord") is ord
    for name in ("python:nowhere:x", "python:os:nothing", str(tmp_path / "absent.json")):
        with pytest.raises(CalibrationError, match="a tokenizer"):
            read_tokenizer(name)
    for wrong in ([], ["a", "a"], ["ab"], [1]):
        with pytest.raises(CalibrationError, match="each once"):
            CharacterTokenizer(wrong)


def test_the_page_says_what_failed() -> None:
    from quantref import GPTQConfig
    from quantref import keras as bridge

    config = GPTQConfig(samples((16,)), None, weight_bits=4, group_size=8, num_samples=64)
    other = mlp()
    answers = bridge.quantize(other, config).answers
    answers["head"].codes[3, 4] ^= 1  # the last layer: its output is nobody's calibration data
    answers["head"].codes[5, 6] ^= 3
    report = bridge.certify(mlp(), answers, config)
    assert not report.passed
    text = page(report)
    assert "2 of 3 layers certified" in text
    assert "CERT-010" in text
    assert "<details open>" in text
