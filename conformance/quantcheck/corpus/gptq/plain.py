"""The cases of section GPTQ that vary bits, groups and orders."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantcheck.corpus.draw import alternating
from quantcheck.corpus.gptq.build import CORE, gptq_case, problem
from quantcheck.corpus.gptq.recipes import recipe_cases
from quantcheck.corpus.gptq.special import special_cases
from quantcheck.wire.cases import Case


def gptq_cases() -> Iterator[Case]:
    """Yield the cases of section GPTQ."""
    yield from _plain_cases()
    yield from _group_cases()
    yield from _order_cases()
    yield from special_cases()
    yield from recipe_cases()


def _plain_cases() -> Iterator[Case]:
    W, H = problem(600, 4, 16)
    for bits in (2, 3, 4, 8):
        for symmetric in (False, True):
            kind = "symmetric" if symmetric else "asymmetric"
            yield gptq_case(
                f"{bits}bit-{kind}",
                f"{bits} bits, {kind}, one group",
                W,
                H,
                *CORE,
                bits=bits,
                symmetric=symmetric,
            )
    for bits in (2, 4, 8):
        yield gptq_case(
            f"{bits}bit-per-tensor",
            f"{bits} bits, all rows share one range",
            W,
            H,
            *CORE,
            bits=bits,
            per_channel=False,
        )
    yield gptq_case("damping-none", "no damping", W, H, *CORE, damping=0.0)
    yield gptq_case("damping-default", "damping 0.01", W, H, *CORE, damping=0.01)
    yield gptq_case("damping-one", "damping 1", W, H, *CORE, damping=1.0)
    yield gptq_case("one-row", "a single row", W[:1], H, *CORE)
    yield gptq_case("one-column", "a single column", W[:, :1], H[:1, :1], *CORE)


def _group_cases() -> Iterator[Case]:
    W, H = problem(610, 4, 24)
    W = alternating(W)
    groups = ("GPTQ-050", *CORE)
    for size, name in (
        (8, "equal to the block"),
        (4, "smaller than the block"),
        (12, "across blocks"),
        (16, "larger than the block, ragged"),
        (24, "all columns"),
        (100, "larger than n_in"),
        (5, "ragged, across blocks"),
        (1, "of one column"),
    ):
        yield gptq_case(
            f"group-{size}-block-8",
            f"groups {name}: {size} of 24 columns, block 8",
            W,
            H,
            *groups,
            group_size=size,
            block_size=8,
        )
    yield gptq_case(
        "whole-block-8",
        "one group over three blocks: parameters taken once",
        W,
        H,
        "GPTQ-040",
        *CORE,
        block_size=8,
    )
    yield gptq_case(
        "group-8-block-128",
        "groups within one block: ranges of the original weights",
        W,
        H,
        *groups,
        group_size=8,
    )
    yield gptq_case(
        "group-8-symmetric",
        "symmetric groups, block 8",
        W,
        H,
        *groups,
        group_size=8,
        block_size=8,
        symmetric=True,
        bits=3,
    )
    yield gptq_case(
        "group-12-per-tensor",
        "groups across blocks, rows share ranges",
        W,
        H,
        *groups,
        group_size=12,
        block_size=8,
        per_channel=False,
    )
    for bits in (2, 3, 8):
        yield gptq_case(
            f"group-8-{bits}bit",
            f"groups of 8, {bits} bits, block 8",
            W,
            H,
            *groups,
            group_size=8,
            block_size=8,
            bits=bits,
        )


def _order_cases() -> Iterator[Case]:
    ordered = ("GPTQ-020", *CORE)
    W, H = problem(620, 4, 16)
    yield gptq_case("order", "activation order, one group", W, H, *ordered, activation_order=True)
    yield gptq_case(
        "order-groups",
        "activation order: groups of the ordered columns",
        W,
        H,
        *ordered,
        activation_order=True,
        group_size=4,
    )
    yield gptq_case(
        "order-ragged",
        "activation order, ragged groups, block 8",
        W,
        H,
        *ordered,
        activation_order=True,
        group_size=6,
        block_size=8,
    )
    yield gptq_case(
        "order-symmetric",
        "activation order, symmetric, 3 bits",
        W,
        H,
        *ordered,
        activation_order=True,
        symmetric=True,
        bits=3,
    )
    tied = H.copy()
    mean = float(np.diagonal(tied).mean())
    tied[np.diag_indices(16)] = [mean * 2, mean * 4] * 8
    yield gptq_case(
        "order-ties",
        "tied metrics: ascending index decides the groups",
        W,
        tied,
        *ordered,
        activation_order=True,
        group_size=4,
        damping=1.0,
    )
    near = np.diag([1.0 + (k % 4) * 2.0**-40 for k in range(16)])
    yield gptq_case(
        "order-near-ties",
        "metrics that differ by less than float32 sees",
        W,
        near,
        "GPTQ-020",
        "GPTQ-070",
        "GPTQ-090",
        activation_order=True,
        group_size=4,
    )
