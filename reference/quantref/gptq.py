"""GPTQ, the textbook form: one column at a time, each error carried to all later columns.

Read beside the paper (arXiv 2210.17323, algorithm 1) and SPEC.md, section 7. The paper's letters:
W weights, U upper with H⁻¹ = Uᵀ U, Q codes, s scale, z zero-point, e error of a column.
`quantref.blocked` is the same algorithm, fast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from quantref.affine import codes_of
from quantref.config import GPTQConfig
from quantref.problem import GPTQResult, prepare_problem
from quantref.profile import DEFAULT_PROFILE, GroupSource, Profile


def gptq_textbook(
    weights: ArrayLike,
    hessian: ArrayLike,
    config: GPTQConfig,
    *,
    profile: Profile = DEFAULT_PROFILE,
    dtype: DTypeLike = np.float64,
) -> GPTQResult:
    """Quantize a weight matrix column by column.

    Parameters, result and errors are those of `quantref.gptq_quantize`.

    Examples
    --------
    >>> config = GPTQConfig(None, None, weight_bits=2, group_size=-1, hessian_damping=0.0)
    >>> gptq_textbook(np.float32([[0.0, 1.4, 3.0]]), np.eye(3), config).codes
    array([[0, 1, 3]], dtype=uint8)
    """
    problem = prepare_problem(weights, hessian, config, profile=profile, dtype=dtype)
    W, U = problem.weights.copy(), problem.rows
    original = problem.weights
    Q = np.empty_like(W)
    starts = {group.first: group for group in problem.groups}
    scales, zeros = [], []

    for j in range(W.shape[1]):
        # BLOCK
        if j % profile.block_size == 0:
            base = W.copy()  # errors of all earlier blocks applied  [GPTQ-030]

        # GROUP PARAMETERS
        if j in starts:
            sources = {
                GroupSource.EARLIER_BLOCKS: base,
                GroupSource.LIVE: W,
                GroupSource.STATIC: original,
            }
            group, source = starts[j], sources[profile.group_source]
            base_weights = source[:, group.start : group.end]
            scale, zero_point = problem.parameters(base_weights, group)  # [GPTQ-040] [GPTQ-050]
            scales.append(scale)
            zeros.append(zero_point)
            s, z = scale.astype(W.dtype), zero_point.astype(W.dtype)  # (n_out,)

        # CODE
        w = W[:, j]
        Q[:, j] = codes_of(w, s, z, maxq=problem.maxq, profile=profile)  # [GPTQ-070]

        # ERROR
        e = (w - s * (Q[:, j] - z)) / U[j, j]  # [GPTQ-060]

        # FEEDBACK
        W[:, j + 1 :] = problem.carry(W[:, j + 1 :] - np.outer(e, U[j, j + 1 :]))  # [GPTQ-060]

    place = np.argsort(problem.prepared.order)  # [GPTQ-080]: undo the permutation
    return problem.result(Q[:, place].astype(np.uint8), scales, zeros)
