"""Arithmetic of sections AFF, ABS and HES that differs from the reference's in rounding alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.affine import group_layout
from quantref.inputs import resolve_axis

Array = NDArray[Any]
SMALLEST = np.float32(2.0**-126)
LARGE = 2.0**120  # the reciprocal of a larger number may be subnormal


@dataclass(frozen=True)
class Arithmetic:
    """The arithmetic of a correct implementation.

    Attributes
    ----------
    dtype : "float32" or "float64"
        Dtype of every product, quotient and sum.
    reciprocal : bool
        Multiply by 1 / s where SPEC.md divides by s, and divide by 1 / s where it multiplies.
    fused : bool
        Compute w − s·(q − z) with one rounding, as a fused multiply-add does.
    range_first : bool
        Round the range to the working dtype before dividing it.
    running_mean : bool
        Compute the Hessian as a mean that each batch rescales.
    """

    dtype: str = "float32"
    reciprocal: bool = False
    fused: bool = False
    range_first: bool = False
    running_mean: bool = False

    def ratio(self, a: Array, b: Array) -> Array:
        """Return a / b."""
        if not self.reciprocal:
            return np.asarray(a / b)
        one = b.dtype.type(1)
        with np.errstate(over="ignore"):
            product = a * (one / b)
        return np.where((b < LARGE) & np.isfinite(product), product, a / b)

    def residual(self, w: Array, s: Array, steps: Array) -> Array:
        """Return w − s·steps."""
        if not self.fused:
            return np.asarray(w - s * steps)
        # float64 holds the product of two float32 numbers exactly
        wide = w.astype(np.float64) - s.astype(np.float64) * steps.astype(np.float64)
        return wide.astype(w.dtype)

    def codes(self, w: Array, s: Array, z: Array, most: int) -> Array:
        """Return clip(rint(w / s) + z, 0, most) as floats."""
        return np.asarray(np.clip(np.rint(self.ratio(w, s)) + z, 0, most))

    def parameters(
        self, lo: Array, hi: Array, bits: int, *, symmetric: bool
    ) -> tuple[Array, Array]:
        """Return scale float32 and zero-point uint8 of ranges."""
        working = np.dtype(self.dtype)
        lo, hi = lo.astype(working), hi.astype(working)
        lo, hi = np.minimum(lo, 0), np.maximum(hi, 0)
        if symmetric:
            hi = np.maximum(-lo, hi)
            lo = -hi
        empty = (lo == 0) & (hi == 0)
        lo, hi = np.where(empty, working.type(-1), lo), np.where(empty, working.type(1), hi)
        most = working.type(2**bits - 1)
        with np.errstate(over="ignore"):
            whole = (hi - lo).astype(np.float32 if self.range_first else working) / most
        split = hi / most - lo / most  # hi − lo may overflow
        scale = np.where(np.isfinite(whole), whole, split).astype(np.float32)
        scale = np.maximum(scale, SMALLEST)
        zero = np.clip(np.rint(self.ratio(-lo, scale.astype(working))), 0, most)
        if symmetric:
            zero = np.full_like(zero, 2 ** (bits - 1))
        return scale, zero.astype(np.uint8)

    def abs_max(self, x: Array, arguments: dict[str, Any], axis: Any) -> dict[str, Array]:
        """Return codes and scale of section ABS."""
        wide = x.dtype == np.float64
        working = np.dtype(np.float64 if wide else self.dtype)
        kept = np.float64 if wide else np.float32
        lo, hi = arguments["value_range"]
        values = x.astype(working)
        axes = resolve_axis(axis, x.ndim, "ABS-050")
        largest = np.max(np.abs(values), axis=axes, keepdims=True)
        below = largest + working.type(arguments["epsilon"])
        scale = self.ratio(np.full_like(below, hi), below).astype(kept)
        codes = np.clip(np.rint(values * scale.astype(working)), lo, hi)
        return {"codes": codes.astype(arguments["output_dtype"]), "scale": scale}

    def abs_max_dequantize(self, codes: Array, scale: Array) -> Array:
        """Return codes / scale."""
        working = np.dtype(np.float64 if scale.dtype == np.float64 else self.dtype)
        return self.ratio(codes.astype(working), scale.astype(working)).astype(scale.dtype)

    def affine_parameters(self, weights: Array, parameters: dict[str, Any]) -> dict[str, Array]:
        """Return scale and zero-point of section AFF."""
        scales, zeros = [], []
        for group in group_layout(weights.shape[1], parameters["group_size"]):
            part = weights[:, group.start : group.end]
            s, z = self.group(part, parameters)
            scales.append(s)
            zeros.append(z)
        return {"scale": np.stack(scales, axis=1), "zero_point": np.stack(zeros, axis=1)}

    def group(self, part: Array, parameters: dict[str, Any]) -> tuple[Array, Array]:
        """Return scale and zero-point (n_out,) of one group's weights."""
        lo, hi = part.min(axis=1), part.max(axis=1)
        if not parameters["per_channel"]:
            lo, hi = np.full_like(lo, lo.min()), np.full_like(hi, hi.max())
        return self.parameters(lo, hi, parameters["bits"], symmetric=parameters["symmetric"])

    def affine_quantize(self, inputs: dict[str, Array], bits: int) -> Array:
        """Return codes of section AFF."""
        g, working = inputs["g_idx"], np.dtype(self.dtype)
        s = inputs["scale"].astype(working)[:, g]
        z = inputs["zero_point"].astype(working)[:, g]
        with np.errstate(over="ignore"):
            codes = self.codes(inputs["weights"].astype(working), s, z, 2**bits - 1)
        return codes.astype(np.uint8)

    def affine_dequantize(self, inputs: dict[str, Array]) -> Array:
        """Return weights from codes."""
        g, working = inputs["g_idx"], np.dtype(self.dtype)
        steps = inputs["codes"].astype(working) - inputs["zero_point"].astype(working)[:, g]
        s = inputs["scale"].astype(working)[:, g]
        values = s * steps
        if self.reciprocal:
            one = s.dtype.type(1)
            values = np.where(s < LARGE, steps / (one / s), values)
        return np.asarray(values.astype(np.float32))

    def hessian(self, batches: list[Array]) -> Array:
        """Return the Hessian of all tokens, with products in the working dtype."""
        n_in = batches[0].shape[-1]
        total, tokens = np.zeros((n_in, n_in)), 0
        for batch in batches:
            x = batch.reshape(-1, n_in).astype(self.dtype)
            before, tokens = tokens, tokens + len(x)
            if self.running_mean:
                total *= before / tokens
                y = x * x.dtype.type(math.sqrt(2 / tokens))
                total += (y.T @ y).astype(np.float64)
            else:
                total += (x.T @ x).astype(np.float64)
        mean = total if self.running_mean else total * (2.0 / tokens)
        return np.asarray((mean + mean.T) / 2)

    def prepare(self, hessian: Array, damping: float, *, ordered: bool) -> dict[str, Array]:
        """Return damped Hessian, dead columns and order, which the undamped diagonal decides."""
        dead = np.diagonal(hessian) == 0
        exact = hessian.astype(np.float64)
        exact[dead, dead] = 1.0
        diagonal = np.diagonal(exact).copy()
        order = np.argsort(-diagonal, kind="stable") if ordered else np.arange(len(diagonal))
        h = ((exact + exact.T) / 2).astype(self.dtype)
        h[np.diag_indices_from(h)] += h.dtype.type(damping) * np.diagonal(h).mean(dtype=h.dtype)
        return {"damped": h, "dead": dead.astype(np.uint8), "order": order.astype(np.int32)}
