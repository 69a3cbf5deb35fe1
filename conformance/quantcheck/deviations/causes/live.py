"""Ranges of groups that see the errors of the column block so far: `live_groups`.

A backend that updates a block's weights in place shows them to a group that starts inside the
block. Columns of later blocks get the errors of the block only when it is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from quantcheck.deviations.causes.cause import Asked
from quantref.affine import group_layout
from quantref.certificate import expected_parameters, judge_parameters
from quantref.config import GPTQConfig
from quantref.fast.certificate.bounds import Roundoffs
from quantref.fast.certificate.gathering import gather
from quantref.fast.problem import prepare_problem
from quantref.inputs import Array
from quantref.rules import Profile


def straddle(n_in: int, parameters: Any) -> list[int]:
    """Return the groups that start inside a column block and end in a later one.

    Examples
    --------
    >>> straddle(24, {"group_size": 12, "block_size": 8})
    [1]
    """
    block = int(parameters.get("block_size", 128))
    return [
        k
        for k, group in enumerate(group_layout(n_in, parameters["group_size"]))
        if group.start % block and group.start // block < (group.end - 1) // block
    ]


def straddling_right(
    asked: Asked,
    problem: tuple[Array, Array, GPTQConfig, Profile],
    arrays: Any,
    places: Iterable[tuple[int, int]],
    block: int,
    factor_roundoff: float | None,
) -> bool:
    """Tell whether parameters are those of ranges of which a part alone is live.

    `places`: row and group of the parameters in question.
    """
    weights, hessian, config, profile = problem
    prepared = prepare_problem(weights, hessian, config, profile=profile, block_size=1)
    roundoffs = Roundoffs.declared(asked.unit_roundoff, factor_roundoff)
    evidence = gather(prepared, arrays, roundoffs)
    W, E, U = prepared.weights, evidence.E, prepared.U
    lo, hi = (ends.copy() for ends in evidence.ranges)
    for k in straddle(W.shape[1], {"group_size": config.group_size, "block_size": block}):
        group = prepared.groups[k]
        first = group.start // block * block  # of the block
        live, later = slice(group.start, first + block), slice(first + block, group.end)
        base = np.hstack([
            W[:, live] - E[:, : group.start] @ U[: group.start, live],
            W[:, later] - E[:, :first] @ U[:first, later],
        ])  # fmt: skip
        lo[:, k], hi[:, k] = base.min(axis=1), base.max(axis=1)
    if not config.per_channel:
        lo[:], hi[:] = lo.min(axis=0), hi.max(axis=0)
    expected = expected_parameters(prepared, lo, hi)
    got, u = (evidence.scale, evidence.zero_point), asked.unit_roundoff
    judged = judge_parameters(prepared, (lo, hi), expected, got, evidence.delta, u)
    return all(ratio[place] <= 1 for ratio, _ in judged for place in places)
