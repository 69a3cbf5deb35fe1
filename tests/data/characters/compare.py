"""Held-out loss of the character model, float and quantized: `python compare.py --out FOLDER`.

Each row is a number of bits and a group size; the columns are plain rounding, Keras's own
`model.quantize("gptq")`, and quantref's GPTQ, without and with activation order. All of them
quantize the linear layers of the blocks, with the same calibration text. Prints the table, and
writes it as losses.json, with a picture, losses.svg. A minute or two on PyTorch, longer on JAX.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from quantref import GPTQConfig, affine_parameters, affine_quantize, group_index
from quantref.affine import affine_dequantize
from quantref.cli.calibration_files import CharacterTokenizer
from quantref.keras import quantize
from quantref.keras.layers import to_numpy
from quantref.keras.structure import linear_layers

HERE = Path(__file__).resolve().parent
LENGTH, SAMPLES = 128, 128
BITS, GROUPS = (8, 4, 3, 2), (-1, 32)
IN_BLOCKS = "^block_"
METHODS = ("plain rounding", "Keras's gptq", "GPTQ", "GPTQ, activation order")


def load() -> Any:
    """Load the float model."""
    return keras.saving.load_model(HERE / "model.keras", compile=False)


def tokens_of(name: str) -> Any:
    """Return the tokens of a text beside this file."""
    vocabulary = json.loads((HERE / "vocabulary.json").read_text(encoding="utf-8"))
    text = (HERE / name).read_text(encoding="utf-8")
    return CharacterTokenizer(vocabulary).tokenize(text)


def loss_of(model: Any, windows: int) -> float | None:
    """Return the mean cross-entropy of the held-out text, in nats a character.

    Windows of LENGTH + 1 characters, the first one given; float64 from the logits on.
    """
    if model is None:
        return None
    tokens = tokens_of("heldout.txt")
    count = min(len(tokens) // (LENGTH + 1), windows)
    cut = tokens[: count * (LENGTH + 1)].reshape(count, LENGTH + 1)
    total = 0.0
    for start in range(0, count, 25):
        part = cut[start : start + 25]
        logits = to_numpy(model(keras.ops.convert_to_tensor(part[:, :-1]))).astype(np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        picked = np.take_along_axis(logits, part[:, 1:, None].astype(np.intp), axis=-1)[..., 0]
        total += float((np.log(np.exp(logits).sum(axis=-1)) - picked).sum())
    return total / (count * LENGTH)


def config(bits: int, group: int, *, order: bool = False) -> GPTQConfig:
    """Return the settings of a row, with the calibration text."""
    return GPTQConfig(
        [tokens_of("calibration.txt")],
        None,
        weight_bits=bits,
        group_size=group,
        activation_order=order,
        num_samples=SAMPLES,
        sequence_length=LENGTH,
    )


def rounded(bits: int, group: int) -> Any:
    """Return the model with each weight rounded by itself, ranges of the original weights."""
    model = load()
    layers, _ = linear_layers(model, IN_BLOCKS)
    for layer in layers.values():
        w = layer.weights()
        scale, zero_point = affine_parameters(w, bits=bits, group_size=group)
        g_idx = group_index(w.shape[1], group)
        codes = affine_quantize(w, scale, zero_point, g_idx, bits=bits)
        layer.assign(affine_dequantize(codes, scale, zero_point, g_idx))
    return model


def keras_own(bits: int, group: int) -> Any:
    """Return the model as Keras's own `quantize("gptq")` leaves it."""
    model = load()
    blocks = [layer for layer in model.layers if layer.name.startswith("block_")]
    before = [layer for layer in model.layers if layer.name == "embeddings"]
    structure = {"pre_block_layers": before, "sequential_blocks": blocks}
    theirs = keras.quantizers.GPTQConfig(
        dataset=[tokens_of("calibration.txt")],
        tokenizer=lambda tokens: tokens,
        weight_bits=bits,
        group_size=group,
        num_samples=SAMPLES,
        sequence_length=LENGTH,
        quantization_layer_structure=structure,
    )
    inside = {id(layer.layer) for layer in linear_layers(model, IN_BLOCKS)[0].values()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of every layer that has nothing to quantize
        try:
            model.quantize("gptq", config=theirs, filters=lambda layer: id(layer) in inside)
        except ValueError as error:  # rows of more than 128 columns: see the known deviations
            sys.stderr.write(f"Keras, {bits} bits, groups of {group}: {str(error)[:100]} …\n")
            return None
    return model


def ours(bits: int, group: int, *, order: bool = False) -> Any:
    """Return the model as quantref quantizes it; every layer has to be certified."""
    model, report = quantize(load(), config(bits, group, order=order), filters=IN_BLOCKS)
    if not report.passed:
        raise SystemExit(f"not certified: {bits} bits, groups of {group}")
    return model


MAKERS: dict[Callable[[int, int], Any], str] = dict(
    zip(
        (rounded, keras_own, ours, lambda bits, group: ours(bits, group, order=True)),
        METHODS,
        strict=True,
    )
)


def measure(
    bits: Sequence[int],
    groups: Sequence[int],
    windows: int,
    makers: Sequence[Callable[[int, int], Any]],
) -> dict[str, Any]:
    """Return the losses of all rows, and that of the float model."""
    methods = [MAKERS[make] for make in makers]
    rows = []
    for b in bits:
        for group in groups:
            losses = [loss_of(make(b, group), windows) for make in makers]
            rows.append({"bits": b, "group_size": group, "losses": losses})
            told = ", ".join(f"{m} {shown(x)}" for m, x in zip(methods, losses, strict=True))
            sys.stderr.write(f"{b} bits, groups of {group}: {told}\n")
    return {
        "float": loss_of(load(), windows),
        "methods": methods,
        "rows": rows,
        "windows": windows,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }


def shown(loss: float | None) -> str:
    """Return a loss for a table."""
    return "raises" if loss is None else f"{loss:.3f}"


def table(made: dict[str, Any]) -> str:
    """Return the table in Markdown."""
    lines = [
        f"| bits | group | {' | '.join(made['methods'])} |",
        "|---|---|" + "---|" * len(made["methods"]),
    ]
    for row in made["rows"]:
        cells = " | ".join(map(shown, row["losses"]))
        group = "row" if row["group_size"] == -1 else row["group_size"]
        lines.append(f"| {row['bits']} | {group} | {cells} |")
    return "\n".join(lines)


def draw(made: dict[str, Any], path: Path) -> None:
    """Draw loss over bits, for each method and group size."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "quantref", "font.size": 9}):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.axhline(made["float"], color="#888", linestyle=":", label="float")
        for k, method in enumerate(made["methods"]):
            for group, line in zip(GROUPS, (":", "-"), strict=True):
                rows = [row for row in made["rows"] if row["group_size"] == group]
                losses = [np.nan if row["losses"][k] is None else row["losses"][k] for row in rows]
                if np.isnan(losses).all():
                    continue
                own = method == METHODS[1]  # it lies on plain rounding
                axes.plot(
                    [str(row["bits"]) for row in rows],
                    losses,
                    linestyle="" if own else line,
                    color=f"C{k}",
                    marker="x" if own else "o",
                    markersize=9 if own else 4,
                    label=f"{method}, {'rows' if group == -1 else f'groups of {group}'}",
                )
        axes.set_xlabel("bits")
        axes.set_ylabel("held-out loss, nats a character")
        figure.legend(loc="outside right upper", frameon=False, fontsize=7)
        figure.savefig(path, format="svg", metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="a folder for losses.json and losses.svg")
    parser.add_argument("--bits", type=int, nargs="+", default=BITS)
    parser.add_argument("--windows", type=int, default=1000, help="held-out windows at most")
    parser.add_argument("--groups", type=int, nargs="+", default=GROUPS)
    parser.add_argument("--quick", action="store_true", help="plain rounding and GPTQ alone")
    options = parser.parse_args(arguments)
    makers = [rounded, ours] if options.quick else list(MAKERS)
    made = measure(options.bits, options.groups, options.windows, makers)
    sys.stdout.write(f"float: {made['float']:.3f} nats a character\n\n{table(made)}\n")
    if options.out is not None:
        text = json.dumps(made, indent=1) + "\n"
        (options.out / "losses.json").write_text(text, encoding="utf-8")
        draw(made, options.out / "losses.svg")


if __name__ == "__main__":
    main()
