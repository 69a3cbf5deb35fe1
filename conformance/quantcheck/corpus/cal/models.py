"""Cases of section CAL: whole models, int8 and GPTQ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from quantcheck.corpus.absmax import absmax_case
from quantcheck.corpus.cal.exact import quantize_model_exact
from quantcheck.corpus.cal.windows import distinct_tokens
from quantcheck.corpus.draw import dyadic, floats, refused
from quantcheck.corpus.hessian import tokens
from quantcheck.wire.cases import Case
from quantref.calibration import model_of
from quantref.inputs import Array

FULL: dict[str, Any] = {
    "num_samples": 1,
    "sequence_length": 1,
    "bits": 4,
    "symmetric": False,
    "per_channel": True,
    "group_size": -1,
    "activation_order": False,
    "damping": 0.015625,
}
CORE = ("CAL-110", "CAL-090", "CAL-100", "CAL-140")
PLAIN = [{"activations": ["relu", "linear"], "residual": True}] * 2


def random_model(
    seed: int, sizes: Sequence[Sequence[int]], n_tokens: int = 32, width: int = 8
) -> dict[str, Any]:
    """Return the arrays of a model whose blocks have layers of these sizes.

    The embedding's columns are correlated, the first two most strongly. All values are short binary
    fractions. Every row of the weights has both signs.
    """
    weights, biases, n_in = [], [], width
    for k, n_out in enumerate([size for block in sizes for size in block] + [5]):
        w = dyadic(seed + 3 * k + 1, (n_out, n_in), 2000, 12)
        w[:, 0], w[:, -1] = -np.abs(w[:, 0]) - 2.0**-12, np.abs(w[:, -1]) + 2.0**-12
        weights.append(w.astype(np.float32))
        biases.append(dyadic(seed + 3 * k + 2, (n_out,), 16, 6).astype(np.float32))
        n_in = n_out
    embedding = tokens(seed, n_tokens, width)
    embedding[:, 1] += embedding[:, 0]
    return {"embedding": embedding, "weights": weights, "biases": biases}


def model_gptq_case(
    identity: str,
    title: str,
    arrays: dict[str, Any],
    dataset: list[Array],
    blocks: list[dict[str, Any]],
    *requirements: str,
    **changes: Any,
) -> Case:
    """Return the case of `quantize_model_gptq`; expected values are exact.

    The arrays' values should have few binary digits, so that exact arithmetic is fast. The dataset
    must have at least num_samples · sequence_length tokens, each a row of the embedding.
    """
    parameters = {"blocks": blocks, **FULL, **changes}
    joined = np.concatenate([piece.ravel() for piece in dataset])
    count, length = parameters["num_samples"], parameters["sequence_length"]
    starts = [k * (len(joined) - length) // max(count - 1, 1) for k in range(count)]
    windows = np.stack([joined[start : start + length] for start in starts]).astype(np.int32)
    model = model_of(blocks=blocks, **arrays)
    names = ("bits", "symmetric", "per_channel", "group_size", "activation_order")
    settings = {name: parameters[name] for name in names}
    settings["damping"] = Fraction(parameters["damping"])
    answers = quantize_model_exact(model, windows, settings)
    places = [np.argsort(answer.order) for answer in answers]
    outputs = {
        "windows": windows,
        "head": model.head,
        "codes": [np.array(a.codes, np.uint8)[:, p] for a, p in zip(answers, places, strict=True)],
        "scale": [floats(a.scale, "float32") for a in answers],
        "zero_point": [np.array(a.zero_point, np.uint8) for a in answers],
        "g_idx": [np.array(a.group, np.int32)[p] for a, p in zip(answers, places, strict=True)],
    }
    return Case(
        f"cal-{identity}",
        "cal",
        title,
        "quantize_model_gptq",
        requirements,
        parameters,
        {**arrays, "dataset": dataset},
        {"outputs": outputs},
        {"dataset_tokens": joined.astype(np.int32)},
    )


def model_int8_case(
    identity: str, title: str, arrays: dict[str, Any], blocks: list[dict[str, Any]]
) -> Case:
    """Return the case of `quantize_model_int8`; expected values are exact."""
    rows = [arrays["embedding"], *arrays["weights"]]
    parts = [absmax_case("part", title, row, "ABS-030", axis=-1) for row in rows]
    expected = [part.expected["outputs"] for part in parts]
    outputs = {
        "codes": [e["codes"] for e in expected],
        "scale": [e["scale"][:, 0] for e in expected],
    }
    judging = {"required_codes": [part.judging["required"] for part in parts]}
    return Case(
        f"cal-{identity}",
        "cal",
        title,
        "quantize_model_int8",
        ("CAL-150",),
        {"blocks": blocks},
        arrays,
        {"outputs": outputs},
        judging,
    )


def cal_model_cases() -> Iterator[Case]:
    """Yield the cases of whole models."""
    once = [distinct_tokens(840, 32)]
    whole = {"sequence_length": 32}
    square = random_model(845, [[8, 8], [8, 8]])
    arrays = random_model(850, [[32, 8], [32, 8]])
    flat = {"activations": ["relu"], "residual": False}
    chain = {"activations": ["relu", "linear"], "residual": False}
    yield model_int8_case("model-int8", "int8: embedding, two blocks, head", square, PLAIN)
    yield model_gptq_case(
        "model-one-layer", "one layer in one block", random_model(860, [[32]]), once,
        [{"activations": ["linear"], "residual": False}], *CORE, **whole,
    )  # fmt: skip
    yield model_gptq_case(
        "model-windows", "one layer, two windows: the Hessian is that of both",
        random_model(920, [[48]]), once, [{"activations": ["linear"], "residual": False}], *CORE,
        bits=2, num_samples=2, sequence_length=16,
    )  # fmt: skip
    for bits in (2, 3, 4):
        yield model_gptq_case(
            f"model-{bits}bit", f"two residual blocks of two layers, {bits} bits", arrays, once,
            PLAIN, *CORE, "CAL-120", bits=bits, **whole,
        )  # fmt: skip
    yield model_gptq_case(
        "model-square", "two residual blocks of square layers", square, once, PLAIN,
        "CAL-140", "CAL-090", "CAL-100", **whole,
    )  # fmt: skip
    yield model_gptq_case(
        "model-later-block", "two blocks of one layer: only the first can change the second",
        random_model(900, [[6], [48]]), once, [flat, flat], "CAL-120", *CORE, bits=2, **whole,
    )  # fmt: skip
    yield model_gptq_case(
        "model-one-block", "one block of two layers: the second sees the first as it was",
        random_model(880, [[10, 40]]), once, [chain], "CAL-130", *CORE, bits=2, **whole,
    )  # fmt: skip
    yield model_gptq_case(
        "model-samples", "four windows of one dataset", arrays, [distinct_tokens(841, 32)] * 2,
        PLAIN, *CORE, "CAL-120", bits=3, num_samples=4, sequence_length=12, damping=0.125,
    )  # fmt: skip
    yield model_gptq_case(
        "model-groups-order", "groups of four columns in activation order, symmetric", arrays, once,
        PLAIN, *CORE, "CAL-120", group_size=4, activation_order=True, symmetric=True, **whole,
    )  # fmt: skip
    for name, title, requirement, error, blocks, changes in (
        ("blocks", "a model without blocks", "CAL-160", "ConfigError", [], {}),
        ("bits", "5 bits", "CAL-160", "ConfigError", PLAIN, {"bits": 5}),
        ("short", "fewer tokens than the windows need", "CAL-070", "TokenCountError", PLAIN,
         {"num_samples": 4}),
    ):  # fmt: skip
        yield refused(
            "cal",
            f"cal-refuse-model-{name}",
            title,
            "quantize_model_gptq",
            requirement,
            error,
            {"blocks": blocks, **FULL, **whole, **changes},
            {**square, "dataset": once},
        )
