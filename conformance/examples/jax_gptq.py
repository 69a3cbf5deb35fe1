"""GPTQ and AbsMax in plain JAX, single precision, written from SPEC.md.

    PYTHONPATH=conformance/examples quantcheck python:jax_gptq:answer --section gptq

One loop over the columns, compiled once for each shape of weights: what differs from column to
column and from problem to problem is data, and columns that do not take part are masked.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from questions import (
    Example,
    UnsupportedError,
    check_abs_max,
    check_factor,
    check_gptq,
    group_of_position,
)


@jax.jit
def rows_of(H: Any) -> tuple[Any, Any]:
    """Return U, upper with H⁻¹ = Uᵀ U, and the pivots of H; NaN where there is no factor."""
    upper = jnp.linalg.cholesky(H[::-1, ::-1])[::-1, ::-1]
    identity = jnp.eye(len(H), dtype=H.dtype)
    rows = jax.scipy.linalg.solve_triangular(upper, identity, lower=False)
    return jnp.triu(rows), jnp.diagonal(upper) ** 2


@jax.jit
def columns(W: Any, U: Any, group: Any, settings: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Quantize all columns; return codes, and scale and zero-point as each column had them."""
    n_out, n_in = W.shape
    place, most = jnp.arange(n_in), settings["most"]

    def parameters(part: Any) -> tuple[Any, Any]:
        low, high = jnp.minimum(part.min(1), 0), jnp.maximum(part.max(1), 0)  # masked: 0
        shared = ~settings["per_channel"]
        low, high = jnp.where(shared, low.min(), low), jnp.where(shared, high.max(), high)
        m = jnp.maximum(-low, high)
        low = jnp.where(settings["symmetric"], -m, low)
        high = jnp.where(settings["symmetric"], m, high)
        empty = (low == 0) & (high == 0)
        low, high = jnp.where(empty, -1.0, low), jnp.where(empty, 1.0, high)
        scale = jnp.maximum((high - low) / most, 2.0**-126)
        zero = jnp.clip(jnp.rint(-low / scale), 0, most)
        return scale, jnp.where(settings["symmetric"], (most + 1) / 2, zero)

    def column(j: Any, state: Any) -> Any:
        W, base, scale, zero, codes, scales, zeros = state
        base = jnp.where(j % settings["block"] == 0, W, base)
        begins = (j == 0) | (group[j] != group[j - 1])
        fresh = parameters(jnp.where(group == group[j], base, 0.0))
        scale = jnp.where(begins, fresh[0], scale)
        zero = jnp.where(begins, fresh[1], zero)
        w = W[:, j]
        q = jnp.clip(jnp.rint(w / scale) + zero, 0, most)
        e = (w - scale * (q - zero)) / U[j, j]
        W -= jnp.outer(e, jnp.where(place > j, U[j], 0.0))
        codes, scales = codes.at[:, j].set(q), scales.at[:, j].set(scale)
        return W, base, scale, zero, codes, scales, zeros.at[:, j].set(zero)

    row, whole = jnp.zeros(n_out, W.dtype), jnp.zeros_like(W)
    state = (W, W, row, row, whole, whole, whole)
    return jax.lax.fori_loop(0, n_in, column, state)[4:]


def quantize(inputs: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Answer `gptq_quantize`."""
    check_gptq(inputs, settings)
    hessian = inputs["hessian"].astype(np.float64)
    hessian = (hessian + hessian.T) / 2
    dead = np.diagonal(hessian) == 0
    hessian[dead, dead] = 1.0
    n_in = len(hessian)
    order = np.arange(n_in)
    if settings["activation_order"]:  # in the precision in which the Hessian came
        order = np.argsort(-np.diagonal(hessian), kind="stable")
    H = jnp.asarray(hessian[np.ix_(order, order)], jnp.float32)
    H += settings["damping"] * jnp.diagonal(H).mean() * jnp.eye(n_in, dtype=H.dtype)
    U, pivots = rows_of(H)
    check_factor(np.diagonal(H), np.asarray(pivots))

    weights = inputs["weights"].astype(np.float32)
    weights[:, dead] = 0.0
    group = group_of_position(n_in, settings["group_size"])
    data = {
        "most": 2.0 ** settings["bits"] - 1,
        "block": settings["block_size"],
        "per_channel": jnp.asarray(settings["per_channel"]),
        "symmetric": jnp.asarray(settings["symmetric"]),
    }
    codes, scales, zeros = map(np.asarray, columns(weights[:, order], U, group, data))
    firsts, place = np.unique(group, return_index=True)[1], np.argsort(order)
    return {
        "codes": codes[:, place].astype(np.uint8),
        "scale": scales[:, firsts],
        "zero_point": zeros[:, firsts].astype(np.uint8),
        "g_idx": group[place],
    }


@partial(jax.jit, static_argnames="axes")
def _abs_max(x: Any, epsilon: Any, low: Any, high: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    scale = high / (jnp.abs(x).max(axes, keepdims=True) + epsilon)
    return jnp.clip(jnp.rint(x * scale), low, high), scale


def abs_max(inputs: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Answer `abs_max_quantize`; double precision is left to whoever enables it in JAX."""
    axes = check_abs_max(inputs, settings)
    if inputs["x"].dtype == np.float64:
        raise UnsupportedError("float64 inputs")
    low, high = (np.float32(bound) for bound in settings["value_range"])
    x = inputs["x"].astype(np.float32)
    codes, scale = _abs_max(x, np.float32(settings["epsilon"]), low, high, axes)
    return {
        "codes": np.asarray(codes).astype(settings["output_dtype"]),
        "scale": np.asarray(scale),
    }


answer = Example("jax-gptq", {"gptq_quantize": quantize, "abs_max_quantize": abs_max})
