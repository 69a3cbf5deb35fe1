"""What quantized models are written as: read back by new processes, on every backend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from quantref import GPTQConfig, Int8QuantizationConfig
from quantref import keras as bridge
from quantref.errors import OutputError, ReportError
from quantref.formats.codes import read_codes
from quantref.keras.forms import require_form, save
from quantref.keras.layers import to_numpy
from quantref.layers import DENSE, GPTQDense, Int8Dense, Int8Embedding
from quantref.packing import pack_codes

from .keras_models import VOCABULARY, mlp, samples, seeded, token_text, transformer


def on(backend: str, *others: Any) -> Any:
    """Parameters of a test that needs a backend."""
    needed = "jax" if backend == "numpy" else backend  # Keras's NumPy backend calls JAX
    absent = find_spec(needed) is None
    marks = [pytest.mark.skipif(absent, reason=f"{needed} is not installed")]
    marks += [] if backend == "torch" else [pytest.mark.everything]
    return pytest.param(*others, backend, marks=marks)


BACKENDS = [on(name) for name in ("jax", "tensorflow", "torch", "numpy", "openvino")]
PROGRAM = """
import sys
import numpy as np
import keras
folder, *names = sys.argv[1:]
for name in names:
    if name == "codes":  # into the float model
        from pathlib import Path
        from quantref.formats.codes import read_codes
        model = keras.saving.load_model(f"{folder}/float.keras", compile=False)
        for layer, answer in read_codes(Path(folder, "codes.safetensors"))[1].items():
            model.get_layer(layer).kernel.assign(answer.dequantized().T)
    else:
        model = keras.saving.load_model(f"{folder}/{name}.keras", compile=False)
    x = keras.ops.convert_to_tensor(np.load(f"{folder}/{name}-{keras.backend.backend()}.npy"))
    np.save(f"{folder}/{name}-{keras.backend.backend()}.npy", keras.ops.convert_to_numpy(model(x)))
"""


def outputs_on(backend: str, folder: Path, inputs: dict[str, Any]) -> list[Any]:
    """What a process of its own, on this backend, computes with the models of a folder."""
    paths = [folder / f"{name}-{backend}.npy" for name in inputs]
    for path, array in zip(paths, inputs.values(), strict=True):
        np.save(path, array)
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(folder), *inputs],
        env={**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [np.load(path) for path in paths]


def gptq(shape: tuple[int, ...] = (16,), **changes: Any) -> GPTQConfig:
    fields = {"dataset": samples(shape), "tokenizer": None, "group_size": 8, "num_samples": 64}
    return GPTQConfig(**{**fields, **changes})


def numpy_layers(quantized: Any) -> list[GPTQDense]:
    """The layers of an MLP in NumPy, with packed kernels."""
    config = quantized.config
    made = []
    for layer in quantized.model.layers:
        answer = quantized.answers[layer.name]
        packed = pack_codes(answer.codes, config.weight_bits, axis=0).astype(np.uint8)
        made.append(
            GPTQDense(
                DENSE, tuple(layer.kernel.shape), packed, answer.scale, answer.zero_point,
                answer.g_idx, config, to_numpy(layer.bias),
                "relu" if layer.activation is keras.activations.relu else None,
            )
        )  # fmt: skip
    return made


def expected_outputs(layers: list[GPTQDense], x: Any) -> tuple[Any, Any]:
    """Outputs in NumPy, and a bound on the error of float32: SPEC.md, section 10, LAYER."""
    error = np.zeros(x.shape)
    for layer in layers:
        zero, scale = layer.zero_point[:, layer.g_idx], layer.scale[:, layer.g_idx]
        weights = np.abs(scale.astype(np.float64) * (layer.codes().astype(float) - zero)).T
        steps = (weights.shape[0] + 6) * 2.0**-24
        growth = steps / (1 - steps)
        assert layer.bias is not None
        size = (np.abs(x) + error) @ weights + np.abs(layer.bias)
        error = error @ weights + growth * size
        x = layer(x)
    return x, error + np.abs(x) * 2.0**-23


@dataclass
class Written:
    """Models in files: GPTQ as dequantized weights and as codes, int8 as Keras's own layers."""

    folder: Path
    gptq: Any
    kernel: Any
    bias: Any


EQUATION = "abc,cde->abde"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("forms")
    four = bridge.quantize(mlp(), gptq(weight_bits=4, activation_order=True))
    save(four, folder / "dequantized.keras")
    save(four, folder / "codes.safetensors", "codes")
    mlp().save(folder / "float.keras")
    inputs = keras.Input((3, 6))
    layer = keras.layers.EinsumDense(EQUATION, output_shape=(3, 2, 5), bias_axes="de", name="heads")
    model = seeded(keras.Model(inputs, layer(inputs)))
    kernel, bias = to_numpy(layer.kernel), to_numpy(layer.bias)
    eight = bridge.quantize(model, Int8QuantizationConfig())
    save(eight, folder / "int8.keras", "keras")
    assert eight.model.layers[-1].quantization_mode == "int8"
    files = {"dequantized.keras", "codes.safetensors", "float.keras", "int8.keras"}
    assert {p.name for p in folder.iterdir()} == files
    return Written(folder, four, kernel, bias)


@pytest.mark.everything
@pytest.mark.parametrize("backend", BACKENDS)
def test_models_load_on_every_backend(backend: str, written: Written) -> None:
    floats = samples((16,), count=7, seed=9)
    # Integers up to 127, whose codes every backend gets right.
    integers = np.random.default_rng(0).integers(-127, 128, (4, 3, 6)).astype(np.float32)
    integers[..., 0] = 127
    dequantized, codes, int8 = outputs_on(
        backend, written.folder, {"dequantized": floats, "codes": floats, "int8": integers}
    )
    expected, bound = expected_outputs(numpy_layers(written.gptq), floats)
    assert (np.abs(dequantized - expected) <= bound).all()
    assert (np.abs(codes - expected) <= bound).all()
    assert np.abs(dequantized - to_numpy(mlp()(floats))).max() > bound.max()  # another model
    ours = Int8Dense.quantize(written.kernel, written.bias, equation=EQUATION)(integers)
    np.testing.assert_allclose(int8, ours, rtol=1e-5, atol=1e-5 * np.abs(ours).max())


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_other_bits_are_what_numpy_computes(bits: int, tmp_path: Path) -> None:
    quantized = bridge.quantize(mlp(), gptq(weight_bits=bits, activation_order=True))
    save(quantized, tmp_path / "model.keras", verify=False)
    x = samples((16,), count=7, seed=9)
    expected, bound = expected_outputs(numpy_layers(quantized), x)
    found = to_numpy(keras.saving.load_model(tmp_path / "model.keras")(x))
    assert (np.abs(found - expected) <= bound).all()


@pytest.mark.everything
def test_int8_embeddings_of_keras_are_ours(tmp_path: Path) -> None:
    tokens = keras.Input((6,), dtype="int32")
    layer = keras.layers.ReversibleEmbedding(20, 8, tie_weights=False, name="rows")
    model = seeded(keras.Model(tokens, layer(tokens)))
    rows, back = to_numpy(layer.embeddings), to_numpy(layer.reverse_embeddings)
    quantized = bridge.quantize(model, Int8QuantizationConfig())
    path = tmp_path / "model.keras"
    save(quantized, path, "keras")
    given = np.arange(12).reshape(2, 6).astype(np.int32)
    expected = Int8Embedding.quantize(rows, back)
    again = keras.saving.load_model(path)
    np.testing.assert_allclose(to_numpy(again(given)), expected(given), rtol=1e-6)
    stored = quantized.model.layers[-1]
    np.testing.assert_array_equal(to_numpy(stored.reverse_embeddings), expected.reverse_embeddings)


def test_gptq_layers_of_keras_are_refused_where_they_read_back_wrong(tmp_path: Path) -> None:
    """3.15.0 and 3.15.1 leave the zero-points out of the file, and then cannot load it."""
    assert keras.__version__ in {"3.15.0", "3.15.1"}, (
        "see what this release does, and write it down"
    )
    with pytest.raises(
        OutputError, match=rf"form dequantized loads anywhere, got Keras {keras.__version__}"
    ):
        require_form("keras", "gptq")
    quantized = bridge.quantize(mlp(), gptq())
    with pytest.raises(OutputError, match="saves and loads its gptq layers"):
        save(quantized, tmp_path / "model.keras", "keras")
    assert not list(tmp_path.iterdir())
    require_form("keras", "int8")
    require_form("dequantized", "gptq")
    require_form("codes", "gptq")


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_codes_in_a_file_are_those_in_memory(bits: int, tmp_path: Path) -> None:
    config = GPTQConfig(
        [token_text()], None, weight_bits=bits, group_size=5, num_samples=8, sequence_length=12,
        activation_order=True, symmetric=True,
    )  # fmt: skip
    quantized = bridge.quantize(transformer(), config)
    path = tmp_path / "codes.safetensors"
    save(quantized, path, "codes")
    found, answers = read_codes(path)
    assert isinstance(found, GPTQConfig)
    assert found.get_config() == config.get_config()
    assert answers.keys() == quantized.answers.keys()
    for name, answer in quantized.answers.items():
        for field in ("codes", "scale", "zero_point", "g_idx"):
            got, expected = getattr(answers[name], field), getattr(answer, field)
            np.testing.assert_array_equal(got, expected)
            assert got.dtype == expected.dtype
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        layers = json.loads(file.metadata()["layers"])
    assert layers["attention_0/query"]["equation"] == "abc,cde->abde"
    assert layers["attention_0/query"]["kernel_shape"] == [16, 2, 8]
    again = bridge.certify(transformer(), answers, config)
    assert again.passed
    assert len(again.layers) == len(quantized.answers)


def test_codes_of_int8(tmp_path: Path) -> None:
    quantized = bridge.quantize(transformer(), Int8QuantizationConfig())
    path = tmp_path / "codes.safetensors"
    save(quantized, path, "codes")
    config, answers = read_codes(path)
    assert isinstance(config, Int8QuantizationConfig)
    np.testing.assert_array_equal(answers["embedding"].codes, quantized.answers["embedding"].codes)
    assert answers["embedding"].codes.shape == (VOCABULARY, 16)


def test_files_that_are_not_what_they_claim_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "codes.safetensors"
    for content in (b"", b"\x80\x04K\x01.", b"\x08\0\0\0\0\0\0\0{}      "):
        path.write_bytes(content)
        with pytest.raises(ReportError, match=r"codes\.safetensors"):
            read_codes(path)
    save(bridge.quantize(mlp(), gptq()), path, "codes")
    data = bytearray(path.read_bytes())
    place = data.index(b"quantref codes 1")
    data[place : place + 8] = b"somebody"
    path.write_bytes(data)
    with pytest.raises(ReportError, match="somebody"):
        read_codes(path)
    path.write_bytes(data[:-50])
    with pytest.raises(ReportError):
        read_codes(path)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_bfloat16"])
def test_models_of_half_precision(dtype: str, tmp_path: Path) -> None:
    """Dequantized weights would be rounded; codes are as exact as ever, and so is a mixed model."""
    quantized = bridge.quantize(of_policy(dtype), gptq())
    assert quantized.report.passed
    if dtype == "mixed_bfloat16":
        save(quantized, tmp_path / "model.keras", verify=False)
        other = keras.saving.load_model(tmp_path / "model.keras")
        judged = bridge.certify(of_policy(dtype), other, gptq())
        assert [layer.verdict for layer in judged.layers] == ["certified"] * 3
        return
    with pytest.raises(OutputError, match=rf"float32 in layer .*{dtype}, which would round them"):
        save(quantized, tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())
    save(quantized, tmp_path / "model.safetensors", "codes")
    _, read = read_codes(tmp_path / "model.safetensors")
    for name, answer in quantized.answers.items():
        np.testing.assert_array_equal(read[name].codes, answer.codes)


def of_policy(dtype: str) -> Any:
    keras.config.set_dtype_policy(dtype)
    try:
        return mlp()
    finally:
        keras.config.set_dtype_policy("float32")


def test_names_and_forms_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    quantized = bridge.quantize(mlp(), gptq())
    with pytest.raises(OutputError, match=r"a file \.keras for form dequantized"):
        save(quantized, tmp_path / "model.h5")
    with pytest.raises(OutputError, match=r"a file \.safetensors"):
        save(quantized, tmp_path / "model.keras", "codes")
    with pytest.raises(OutputError, match="form in"):
        require_form("pickle", "gptq")
    assert not list(tmp_path.iterdir())


class Odd(keras.layers.Layer):  # type: ignore[misc]
    """A layer without registration, which a new process does not know."""

    def call(self, x: Any) -> Any:
        return 2 * x


@pytest.mark.everything
def test_a_file_that_a_new_process_cannot_load_is_not_left_behind(tmp_path: Path) -> None:
    model = seeded(keras.Sequential([keras.Input((16,)), keras.layers.Dense(3), Odd()]))
    quantized = bridge.quantize(model, gptq())
    with pytest.raises(OutputError, match="a new process loads"):
        save(quantized, tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())
    save(quantized, tmp_path / "model.keras", verify=False)
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]
