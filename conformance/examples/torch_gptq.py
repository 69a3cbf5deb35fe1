"""GPTQ and AbsMax in plain torch, single precision, written from SPEC.md.

    PYTHONPATH=conformance/examples quantcheck python:torch_gptq:answer --section gptq

Errors are carried to the rest of their block at once, and to all later blocks in one product.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from questions import Example, check_abs_max, check_factor, check_gptq, group_of_position


def parameters_of(part: torch.Tensor, settings: dict[str, Any]) -> tuple[Any, Any]:
    """Return scale and zero-point (n_out,) of one group of weights (n_out, columns)."""
    low, high = part.amin(1).clamp(max=0), part.amax(1).clamp(min=0)
    if not settings["per_channel"]:
        low, high = low.min().expand_as(low), high.max().expand_as(high)
    if settings["symmetric"]:
        high = torch.maximum(-low, high)
        low = -high
    empty = (low == 0) & (high == 0)
    low, high = low.masked_fill(empty, -1.0), high.masked_fill(empty, 1.0)
    most = 2 ** settings["bits"] - 1
    scale = ((high - low) / most).clamp(min=2.0**-126)
    zero = torch.round(-low / scale).clamp(0, most)
    if settings["symmetric"]:
        zero = torch.full_like(zero, 2 ** (settings["bits"] - 1))
    return scale, zero


def quantize(inputs: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Answer `gptq_quantize`."""
    check_gptq(inputs, settings)
    hessian = torch.from_numpy(inputs["hessian"].astype(np.float64))
    hessian = (hessian + hessian.T) / 2
    dead = hessian.diagonal() == 0
    hessian[dead, dead] = 1.0
    n_in = len(hessian)
    order = torch.arange(n_in)
    if settings["activation_order"]:
        order = torch.sort(hessian.diagonal(), descending=True, stable=True).indices
    H = hessian.float()
    H.diagonal().add_(settings["damping"] * H.diagonal().mean())
    H = H[order][:, order]
    lower, failed = torch.linalg.cholesky_ex(H)
    pivots = lower.diagonal() ** 2 if not failed else torch.zeros(n_in)
    check_factor(H.diagonal().numpy(), pivots.numpy())
    U = torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)

    W = torch.from_numpy(inputs["weights"].astype(np.float32))
    W = W.masked_fill(dead, 0.0)[:, order]
    group = group_of_position(n_in, settings["group_size"])
    most, block = 2 ** settings["bits"] - 1, settings["block_size"]
    Q, scales, zeros = torch.zeros_like(W), [], []
    for start in range(0, n_in, block):
        stop = min(start + block, n_in)
        base, E = W.clone(), torch.zeros_like(W[:, start:stop])
        for j in range(start, stop):
            if j == 0 or group[j] != group[j - 1]:
                scale, zero = parameters_of(base[:, torch.from_numpy(group == group[j])], settings)
                scales.append(scale)
                zeros.append(zero)
            w = W[:, j]
            Q[:, j] = (torch.round(w / scale) + zero).clamp(0, most)
            e = (w - scale * (Q[:, j] - zero)) / U[j, j]
            W[:, j + 1 : stop] -= torch.outer(e, U[j, j + 1 : stop])
            E[:, j - start] = e
        W[:, stop:] -= E @ U[start:stop, stop:]

    place = torch.argsort(order)
    return {
        "codes": Q[:, place].to(torch.uint8).numpy(),
        "scale": torch.stack(scales, 1).numpy(),
        "zero_point": torch.stack(zeros, 1).to(torch.uint8).numpy(),
        "g_idx": group[place.numpy()],
    }


def abs_max(inputs: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Answer `abs_max_quantize`."""
    axes = check_abs_max(inputs, settings)
    given = inputs["x"]
    wide = np.float64 if given.dtype == np.float64 else np.float32
    x = torch.from_numpy(np.array(given.astype(wide)))
    largest = x.abs()
    for axis in axes:
        largest = largest.amax(axis, keepdim=True)
    low, high = settings["value_range"]
    scale = high / (largest + settings["epsilon"])
    codes = torch.round(x * scale).clamp(low, high)
    return {"codes": codes.numpy().astype(settings["output_dtype"]), "scale": scale.numpy()}


answer = Example("torch-gptq", {"gptq_quantize": quantize, "abs_max_quantize": abs_max})
