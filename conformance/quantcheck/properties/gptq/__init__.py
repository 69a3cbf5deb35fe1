"""Section GPTQ: drawn weights, Hessians and settings, judged by exact codes and the certificate."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from quantcheck.corpus.draw import refused
from quantcheck.corpus.gptq.build import CORE, FULL, gptq_case
from quantcheck.properties import Sizes, law, single
from quantcheck.properties.gptq.laws import (
    agrees,
    moved_rows,
    other_blocks,
    scaled_hessian,
    scaled_weights,
    unchanged,
)
from quantcheck.properties.sizes import gptq as sizes
from quantcheck.properties.strategies import (
    BITS,
    ROW_KINDS,
    Draw,
    cast,
    hessians,
    matrices,
    token_arrays,
    two_sided,
    well_posed,
)
from quantcheck.wire.cases import Case
from quantref.inputs import Array

PLAIN = ("plain", "fine", "ties", "near ties", "outlier", "small", "large")
DAMPING = (2.0**-10, 1 / 64, 0.01, 0.1, 1.0)
ISOTROPIC = (0.0, 1 / 64, 1.0)


def _case(weights: Array, hessian: Array, **settings: Any) -> Case:
    title = f"generated {weights.shape[0]} × {weights.shape[1]}, {settings.get('bits', 4)} bits"
    return gptq_case("drawn", title, weights, hessian, **settings)


def _question(weights: Array, hessian: Array, **settings: Any) -> Case:
    """Return a case without an expected answer, which a law does not need."""
    given = {"weights": weights, "hessian": hessian}
    return Case("drawn", "gptq", "generated", "gptq_quantize", (), {**FULL, **settings}, given, {})


@st.composite
def problems(
    draw: Draw,
    /,
    sizes: Sizes,
    *,
    kinds: tuple[str, ...] = ROW_KINDS,
    shapes: list[tuple[int, int]] | None = None,
    dead: bool = False,
    plain: bool = False,
    answered: bool = True,
    **fixed: Any,
) -> Case:
    """Draw a problem: weights, a Hessian of drawn tokens, and the settings that are not fixed.

    A plain problem has weights of both signs in every group, and one asymmetric range per row.
    Unless `answered`, the case has no expected answer.
    """
    if plain:
        kinds, fixed = PLAIN, {"symmetric": False, "per_channel": True, **fixed}
    bits = fixed.pop("bits", None) or draw(st.sampled_from(BITS))
    settings = {
        "symmetric": draw(st.booleans()),
        "per_channel": draw(st.sampled_from((True, True, True, False))),
        "damping": draw(st.sampled_from(DAMPING)),
        **fixed,
    }
    weights = draw(matrices(shapes=shapes or sizes.matrices(), bits=bits, kinds=kinds))
    weights = two_sided(weights) if plain else weights
    hessian = draw(hessians(width=weights.shape[1], dead=dead))
    assume(well_posed(hessian, settings["damping"]))
    make = _case if answered else _question
    return make(weights, hessian, bits=bits, **settings)


def _feedback(sizes: Sizes) -> st.SearchStrategy[Case]:
    return problems(sizes, plain=True)


@st.composite
def _blocks(draw: Draw, sizes: Sizes) -> Case:
    """Draw one group with several column blocks, so that errors cross from block to block."""
    block = draw(st.sampled_from((8, 16)))
    return draw(problems(sizes, plain=True, shapes=[(4, 24)], block_size=block))


def _settings(sizes: Sizes) -> st.SearchStrategy[Case]:
    return problems(sizes)


@st.composite
def _conditioned(draw: Draw, _: Sizes) -> Case:
    """Draw Hessians of condition numbers from 1 to 10⁷: columns of very different size."""
    weights = draw(matrices(shapes=[(4, 16)], kinds=PLAIN))
    x = draw(token_arrays(width=16, count=48)).astype(np.float64)
    x *= 2.0 ** -np.round(np.linspace(0, draw(st.integers(0, 11)), 16))
    hessian = x.T @ x / 24 if draw(st.booleans()) else np.diag((x * x).sum(axis=0) / 24)
    live = np.diagonal(hessian) > 0
    hessian[live, live] *= 1 + 2.0**-8
    damping = draw(st.sampled_from((2.0**-24, 2.0**-16, 2.0**-10)))
    assume(well_posed(hessian, damping))
    return _case(two_sided(weights), hessian, damping=damping)


@st.composite
def _groups(draw: Draw, sizes: Sizes) -> Case:
    """Draw several blocks with groups shorter than a block, which need base weights."""
    block, size = draw(st.sampled_from(((8, 4), (8, 8), (8, 2), (128, 4), (128, 8))))
    return draw(problems(sizes, plain=True, block_size=block, group_size=size))


@st.composite
def _whole(draw: Draw, sizes: Sizes) -> Case:
    """Draw groups longer than a block, whose parameters are computed at their first column."""
    size = draw(st.sampled_from((-1, 12, 24)))
    return draw(problems(sizes, plain=True, shapes=[(4, 24)], block_size=8, group_size=size))


@st.composite
def _ragged(draw: Draw, sizes: Sizes) -> Case:
    block, size = draw(st.sampled_from(((8, 6), (128, 7), (8, 9), (128, 100), (128, 6))))
    return draw(problems(sizes, plain=True, block_size=block, group_size=size))


@st.composite
def _dead(draw: Draw, sizes: Sizes) -> Case:
    size, ordered = draw(st.sampled_from((-1, 4))), draw(st.booleans())
    case = draw(
        problems(sizes, plain=True,
            dead=True, group_size=size, answered=False,
                 activation_order=ordered, shapes=[(4, 16)])
    )  # fmt: skip
    weights, hessian = case.inputs["weights"], case.inputs["hessian"]
    idle = np.diagonal(hessian) == 0
    weights[:, idle] = draw(
        st.sampled_from((40.0, -40.0, 9.0))
    )  # large weights of dead columns would widen every range
    return _case(weights, hessian, **case.parameters)


@st.composite
def _ordered(draw: Draw, sizes: Sizes) -> Case:
    size = draw(st.sampled_from((-1, 4, 8)))
    return draw(
        problems(sizes, plain=True, activation_order=True, group_size=size, shapes=[(4, 16)])
    )


@st.composite
def _halves(draw: Draw, sizes: Sizes) -> Case:
    case = draw(
        problems(sizes, plain=True, shapes=[(4, 16)], group_size=-1, bits=4, answered=False)
    )
    weights = cast(case.inputs["weights"], draw(st.sampled_from(("float16", "bfloat16"))))
    return _case(weights, case.inputs["hessian"], **case.parameters)


@st.composite
def _uncoupled(draw: Draw, _: Sizes) -> Case:
    """Draw diagonal Hessians: no error propagates, ties stay exact, each rule is seen alone."""
    bits = draw(st.sampled_from(BITS))
    kinds = ("ties", "near ties", "constant", "zero", "positive")
    weights = draw(matrices(shapes=[(4, 16)], bits=bits, kinds=kinds))
    return _case(weights, np.eye(16), bits=bits, damping=draw(st.sampled_from(ISOTROPIC)))


@st.composite
def _refused(draw: Draw, _: Sizes) -> Case:
    W: Array = draw(matrices(shapes=[(2, 8)], kinds=("plain",)))
    H: Array = draw(hessians(width=8, definite=True))
    given = dict(FULL)
    fault = draw(
        st.sampled_from(("size", "rank", "value", "integers", "asymmetric", "bits", "group",
                         "damping"))
    )  # fmt: skip
    error = "ConfigError"
    if fault == "size":
        n = draw(st.integers(1, 7))
        H, error = H[:n, :n], "ShapeError"
    elif fault == "rank":
        W, error = W[0], "ShapeError"
    elif fault == "value":
        W[1, draw(st.integers(0, 7))] = draw(st.sampled_from((np.nan, np.inf)))
        error = "NonFiniteError"
    elif fault == "integers":
        W, error = W.astype("int32"), "DTypeError"
    elif fault == "asymmetric":
        H[0, 1] += np.sqrt(H[0, 0] * H[1, 1])
        error = "NotSymmetricError"
    elif fault == "bits":
        given["bits"] = draw(st.sampled_from((0, 1, 5, 6, 7, 16)))
    elif fault == "group":
        given["group_size"] = draw(st.sampled_from((0, -2, -128)))
    else:
        given["damping"] = draw(st.sampled_from((-0.5, 1.5, 2.0)))
    title = f"a generated problem that must be refused: {fault}"
    inputs = {"weights": W, "hessian": H}
    return refused("gptq", "drawn", title, "gptq_quantize", "GPTQ-110", error, given, inputs)


@st.composite
def _singular(draw: Draw, _: Sizes) -> Case:
    """Draw Hessians that stay indefinite when damped, because of two columns."""
    W = draw(matrices(shapes=[(2, 8)], kinds=("plain",)))
    H = draw(hessians(width=8, definite=True))
    place = draw(st.integers(0, 6))
    beyond = np.sqrt(H[place, place] * H[place + 1, place + 1]) * 1.25
    H[place, place + 1] = H[place + 1, place] = beyond
    title, inputs = "a generated indefinite Hessian", {"weights": W, "hessian": H}
    given = {**FULL, "damping": 0.0}
    error = "NotPositiveDefiniteError"
    return refused("gptq", "drawn", title, "gptq_quantize", "GPTQ-120", error, given, inputs)


@st.composite
def _refused_block(draw: Draw, _: Sizes) -> Case:
    """Draw a block size that is none."""
    W = draw(matrices(shapes=[(2, 8)], kinds=("plain",)))
    H = draw(hessians(width=8, definite=True))
    given = {**FULL, "block_size": draw(st.sampled_from((0, -1, -128)))}
    title, inputs = "a generated block size below 1", {"weights": W, "hessian": H}
    return refused("gptq", "drawn", title, "gptq_quantize", "GPTQ-130", "ConfigError", given,
                   inputs)  # fmt: skip


@st.composite
def _not_finite(draw: Draw, _: Sizes, *, hessian: bool) -> Case:
    """Draw NaN in a Hessian, or NaN or infinity in weights."""
    W = draw(matrices(shapes=[(5, 5)], kinds=("plain",)))
    H = draw(hessians(width=5, definite=True))
    place = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    if hessian:
        H[place] = H[place[::-1]] = np.nan
    else:
        W[place] = draw(st.sampled_from((np.nan, np.inf, -np.inf)))
    what, requirement = ("NaN in a Hessian", "GPTQ-160") if hessian else ("weights", "GPTQ-170")
    size = -1 if hessian else draw(st.sampled_from((-1, 3)))
    given = {**FULL, "group_size": size}
    inputs = {"weights": W, "hessian": H}
    return refused("gptq", "drawn", f"generated: {what} not finite", "gptq_quantize", requirement,
                   "NonFiniteError", given, inputs)  # fmt: skip


# General properties come first, then one topic after another: the first failure names the cause.
PROPERTIES = (
    single("prop-gptq-feedback", "Errors travel along the factor of the inverse.",
           CORE, _feedback, 15),
    single("prop-gptq-blocks", "Errors cross from block to block; one group keeps its scale.",
           ("GPTQ-040", *CORE), _blocks, 10),
    single("prop-gptq-order", "With activation order everything follows the same order.",
           ("GPTQ-020", *CORE), _ordered, 12),
    single("prop-gptq-dead", "Dead columns neither widen a range nor get another code than z.",
           ("GPTQ-010", *CORE, "GPTQ-140"), _dead, 10),
    single("prop-gptq-groups", "Ranges hold the errors of earlier blocks, and no others.",
           ("GPTQ-030", *CORE), _groups, 15),
    single("prop-gptq-whole", "Groups over several blocks have one scale.",
           ("GPTQ-040", *CORE), _whole, 8),
    single("prop-gptq-ragged", "The last group is shorter; a large one is whole.",
           ("GPTQ-050", *CORE), _ragged, 10),
    single("prop-gptq-settings", "All bit widths, symmetric or not, ranges shared or not.",
           CORE, _settings, 15),
    single("prop-gptq-conditioned", "Condition numbers from 1 to 10⁷.", CORE, _conditioned, 10),
    single("prop-gptq-uncoupled", "Diagonal Hessians: plain rounding, exact ties.",
           ("GPTQ-070", "GPTQ-080"), _uncoupled, 12),
    single("prop-gptq-half", "float16 and bfloat16 weights carry their compensation in more.",
           ("GPTQ-100", *CORE), _halves, 8),
    single("prop-gptq-refused", "Bad weights, Hessians and settings are refused.",
           ("GPTQ-110",), _refused, 16),
    single("prop-gptq-singular", "A Hessian without a factor is refused.",
           ("GPTQ-120",), _singular, 4),
    single("prop-gptq-refused-block", "A column block has at least one column.",
           ("GPTQ-130",), _refused_block, 3),
    law("prop-gptq-block-size", "With one group, the block size does not count.",
        ("GPTQ-040",),
        lambda s: problems(s, shapes=[(4, 24)], answered=False).map(other_blocks), agrees, 5),
    law("prop-gptq-rows", "Permuted rows have permuted answers.",
        ("GPTQ-060",),
        lambda s: problems(s, shapes=[(4, 16)], answered=False).flatmap(moved_rows), agrees, 5),
    single("prop-gptq-nan", "A Hessian with NaN is refused.",
           ("GPTQ-160",), lambda s: _not_finite(s, hessian=True), 4),
    single("prop-gptq-visible", "Weights that are not finite are refused, or seen in a scale.",
           ("GPTQ-170",), lambda s: _not_finite(s, hessian=False), 6),
    law("prop-gptq-hessian-scaling", "The Hessian times 4^k: the same answer.",
        ("GPTQ-150",),
        lambda s: problems(
            s, shapes=[(4, 16)], kinds=("plain", "negative", "outlier"), answered=False
        ).flatmap(scaled_hessian), unchanged, 8),
    law("prop-gptq-scaling", "Weights times 2^k: scales times 2^k, the same codes.",
        ("GPTQ-060",),
        lambda s: problems(
            s, shapes=[(4, 16)], kinds=("plain", "negative", "outlier"), answered=False
        ).flatmap(scaled_weights), agrees, 5),
    *sizes.PROPERTIES,
)  # fmt: skip
