"""Builders of embedding cases: inputs from the caller, expected values from rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from quantcheck.corpus.lay.build import INT8, Weights, case_of, finished, int8_values, to_array
from quantcheck.corpus.lay.options import PLAIN, Options
from quantcheck.oracle.layers import Numbers, round_up
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import build
from quantref.equations import parse_equation, require_sizes
from quantref.inputs import Array
from quantref.layers import DENSE, TIED


def lay_embedding_case(
    identity: str,
    title: str,
    tokens: Array,
    embeddings: Array,
    *requirements: str,
    config: dict[str, Any] = INT8,
    reload: bool = False,
    reversible: bool = False,
    reverse_embeddings: Array | None = None,
    options: Options = PLAIN,
) -> Case:
    """Return the case of looking tokens up, in Embedding or the forward of ReversibleEmbedding."""
    made = build(config)
    weights = Weights(embeddings, (1,), made, options)
    outputs, judging = weights.outputs("embeddings"), weights.judging("embeddings")
    if reverse_embeddings is not None:
        back = Weights(reverse_embeddings, (0,), made, options)
        outputs |= back.outputs("reverse_embeddings")
        judging |= back.judging("reverse_embeddings")
    shape = (*tokens.shape, embeddings.shape[1])
    values: Numbers = {}
    for index in np.ndindex(*shape):
        token = int(tokens[index[:-1]])
        values[index] = Fraction(weights.codes[token, index[-1]]) / weights.scale[token,]
    expected = to_array(values, shape, options.dtypes.compute)
    bound = np.zeros(shape)
    for index, value in values.items():
        bound[index] = round_up(4 * Fraction(options.precision.unit) * abs(value))
    parameters: dict[str, Any] = {"config": config, "reload": reload, **options.parameters()}
    if reversible:
        parameters |= {"reverse": False, "tie_weights": reverse_embeddings is None}
    return case_of(
        identity,
        title,
        "reversible_embedding_int8" if reversible else "embedding_int8",
        (*requirements, *options.requirements),
        parameters,
        {"tokens": tokens, "embeddings": embeddings, "reverse_embeddings": reverse_embeddings},
        {"values": expected, **outputs},
        {"bound": bound, **judging},
    )


def lay_reverse_case(
    identity: str,
    title: str,
    x: Array,
    embeddings: Array,
    reverse_embeddings: Array | None,
    *requirements: str,
    config: dict[str, Any] = INT8,
    reload: bool = False,
    options: Options = PLAIN,
) -> Case:
    """Return the case of the reverse of ReversibleEmbedding: tied without another kernel."""
    made = build(config)
    rows = Weights(embeddings, (1,), made, options)
    outputs, judging = rows.outputs("embeddings"), rows.judging("embeddings")
    weights, kernel, equation = rows, embeddings, TIED
    if reverse_embeddings is not None:
        weights = Weights(reverse_embeddings, (0,), made, options)
        kernel, equation = reverse_embeddings, DENSE
        outputs |= weights.outputs("reverse_embeddings")
        judging |= weights.judging("reverse_embeddings")
    parsed = parse_equation(equation, x.ndim)
    sizes = require_sizes(parsed, x.shape, kernel.shape)
    values, bounds = int8_values(parsed, sizes, x, weights, made, options.precision)
    shape = tuple(sizes[c] for c in parsed.outputs)
    expected, bound = finished(values, bounds, shape, None, None, options)
    parameters = {
        "config": config,
        "reload": reload,
        "reverse": True,
        "tie_weights": reverse_embeddings is None,
        **options.parameters(),
    }
    return case_of(
        identity,
        title,
        "reversible_embedding_int8",
        (*requirements, *options.requirements),
        parameters,
        {"x": x, "embeddings": embeddings, "reverse_embeddings": reverse_embeddings},
        {"values": expected, **outputs},
        {"bound": bound, **judging},
    )
