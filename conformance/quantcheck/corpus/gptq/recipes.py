"""The cases of section GPTQ by recipe: too large for rational arithmetic.  [VEC-080]

The certificate alone judges their answers. Cases of 512 columns are asked by default, and larger
ones with `--large`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quantcheck.corpus.gptq.build import CORE, FULL, topics
from quantcheck.wire.cases import Case
from quantcheck.wire.recipes import HessianRule, Inputs, Recipe, WeightsRule

LARGE_COLUMNS = (5, 77, 300, 411)  # columns of large activations
# A shift of −5 or −6 makes H whole, which shortens the questions.


def independent(seed: int, tokens: int, noise: int, shift: int) -> HessianRule:
    """Return the Hessian of independent activations, which is well conditioned."""
    return HessianRule(seed, tokens, noise, 0, 0, 0, shift, (), 0, ())


def correlated(
    seed: int, tokens: int, noise: int, rank: int, factor: int, loading: int, shift: int,
    dead: tuple[int, ...] = (),
) -> HessianRule:  # fmt: skip
    """Return the Hessian of activations that share factors, four columns of which are large."""
    large = LARGE_COLUMNS
    return HessianRule(seed, tokens, noise, rank, factor, loading, shift, large, 2, dead)


def recipe_cases() -> Iterator[Case]:
    """Yield the cases by recipe: those of 512 columns, then larger ones."""
    yield from _default_cases()
    yield from _large_cases()


def _default_cases() -> Iterator[Case]:
    yield recipe_case(
        "512-plain",
        "512 columns, well conditioned, groups of 128",
        (8, 512),
        independent(100, 2048, 90, -5),
        "GPTQ-060",
        group_size=128,
    )
    yield recipe_case(
        "512-order",
        "512 columns, badly conditioned, 2 bits, groups of 32, activation order, block 64",
        (8, 512),
        correlated(200, 2048, 9, 1, 27, 3, -5),
        "GPTQ-020",
        bits=2,
        group_size=32,
        block_size=64,
        activation_order=True,
    )
    yield recipe_case(
        "512-whole-symmetric",
        "512 columns, dead ones among them, 3 bits, symmetric, one group over four blocks",
        (8, 512),
        correlated(210, 2048, 5, 1, 28, 3, -5, dead=(17, 200)),
        "GPTQ-040",
        bits=3,
        symmetric=True,
    )
    yield recipe_case(
        "512-ragged",
        "512 columns, 8 bits, ragged groups of 96, block 48",
        (8, 512),
        correlated(220, 2048, 2, 2, 11, 4, -5),
        "GPTQ-050",
        bits=8,
        group_size=96,
        block_size=48,
    )


def _large_cases() -> Iterator[Case]:
    yield recipe_case(
        "1000-ragged-float16",
        "1000 columns, float16 weights, 3 bits, ragged groups of 128",
        (32, 1000),
        correlated(230, 2048, 30, 1, 20, 3, 0),
        "GPTQ-050",
        dtype="float16",
        bits=3,
        group_size=128,
    )
    yield recipe_case(
        "1024-order",
        "1024 columns, 64 rows, groups of 128, activation order",
        (64, 1024),
        correlated(240, 2048, 30, 1, 20, 3, -5),
        "GPTQ-020",
        group_size=128,
        activation_order=True,
    )
    yield recipe_case(
        "1024-whole-8bit",
        "1024 columns, 8 bits, one group, activation order",
        (8, 1024),
        independent(270, 8192, 45, -6),
        "GPTQ-040",
        bits=8,
        activation_order=True,
    )
    yield recipe_case(
        "2048-symmetric",
        "2048 columns, dead ones among them, symmetric, groups of 32, block 256",
        (32, 2048),
        correlated(250, 8192, 30, 1, 5, 3, -6, dead=(17, 200, 1999)),
        "GPTQ-030",
        symmetric=True,
        group_size=32,
        block_size=256,
    )
    yield recipe_case(
        "4096-order",
        "4096 columns, groups of 128, activation order",
        (16, 4096),
        correlated(260, 8192, 30, 1, 5, 3, -6),
        "GPTQ-060",
        group_size=128,
        activation_order=True,
    )


def recipe_case(
    identity: str,
    title: str,
    shape: tuple[int, int],
    hessian: HessianRule,
    topic: str,
    dtype: str = "float32",
    **changes: Any,
) -> Case:
    """Return a case whose inputs are recipes; its topic comes first."""
    n_out, n_in = shape
    parameters = {**FULL, **changes}
    size = parameters["group_size"]
    groups = 1 if size == -1 else -(-n_in // size)
    weights = WeightsRule(hessian.seed + 9, spread=255, shift=8, every=97, outlier_shift=3)
    requirements = [topic, *(name for name in CORE if name != "GPTQ-070")]
    requirements += ["GPTQ-010"] if hessian.dead else []
    requirements += ["GPTQ-100"] if dtype == "float16" else []
    return Case(
        f"gptq-{identity}",
        "gptq",
        title,
        "gptq_quantize",
        tuple(dict.fromkeys((*requirements, *topics(parameters, n_in)))),
        parameters,
        Inputs(
            {
                "weights": Recipe(dtype, shape, weights).hashed(),
                "hessian": Recipe("float32", (n_in, n_in), hessian).hashed(),
            }
        ),
        {
            "forms": {
                "codes": {"dtype": "uint8", "shape": [n_out, n_in]},
                "scale": {"dtype": "float32", "shape": [n_out, groups]},
                "zero_point": {"dtype": "uint8", "shape": [n_out, groups]},
                "g_idx": {"dtype": "int32", "shape": [n_in]},
            }
        },
    )
