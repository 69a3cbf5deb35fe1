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
ALLOWED_SINGLE = 2.0**-22  # relative error of section 0
ALLOWED_DOUBLE = 2.0**-52  # half of ABS-010 and ABS-080: the other half is for max|x| + ε, and / s


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
    tile : int
        Multiply so many tokens at a time, the last ones alone; 0: a whole batch.
    padded : bool
        Fill slices, groups and batches with zeros to a multiple of 64, as kernels do.
    jitter : numpy.random.Generator, optional
        Moves each scale and each dequantized value at random, by the relative error that section 0
        of SPEC.md allows. All that follows is computed with the moved scale.
    """

    dtype: str = "float32"
    reciprocal: bool = False
    fused: bool = False
    range_first: bool = False
    running_mean: bool = False
    tile: int = 0
    padded: bool = False
    jitter: np.random.Generator | None = None

    def moved(self, values: Array, exact: Array, *, shared: bool = False) -> Array:
        """Return values, or floats of their dtype within the allowed relative error of `exact`.

        `exact` has at least the precision of the values; `shared` moves all values alike.
        """
        if self.jitter is None:
            return values
        single = values.dtype == np.float32 or self.dtype == "float32"
        most = ALLOWED_SINGLE if single else ALLOWED_DOUBLE
        nearest = exact.astype(values.dtype)
        share = self.jitter.uniform(-most, most, () if shared else nearest.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            moved = (nearest.astype(np.float64) * (1 + share)).astype(values.dtype)
            off = np.abs(moved.astype(np.float64) - nearest.astype(np.float64))
            allowed = off <= most * np.abs(nearest.astype(np.float64))
        return np.where(allowed, moved, nearest)

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
        self, lo: Array, hi: Array, bits: int, *, symmetric: bool, shared: bool = False
    ) -> tuple[Array, Array]:
        """Return scale float32 and zero-point uint8 of ranges; `shared`: all are the same one."""
        working = np.dtype(self.dtype)
        exact = _range(lo.astype(np.float64), hi.astype(np.float64), symmetric=symmetric)
        lo, hi = _range(lo.astype(working), hi.astype(working), symmetric=symmetric)
        most = working.type(2**bits - 1)
        with np.errstate(over="ignore"):
            whole = (hi - lo).astype(np.float32 if self.range_first else working) / most
        split = hi / most - lo / most  # hi − lo may overflow
        scale = np.where(np.isfinite(whole), whole, split).astype(np.float32)
        quotient = (exact[1] - exact[0]) / most
        scale = np.maximum(self.moved(scale, quotient, shared=shared), SMALLEST)
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
        largest = np.max(np.abs(self._filled(values, *axes)), axis=axes, keepdims=True)
        below = largest + working.type(arguments["epsilon"])
        scale = self.ratio(np.full_like(below, hi), below).astype(kept)
        exact = np.max(np.abs(x.astype(np.float64)), axis=axes, keepdims=True)
        scale = self.moved(scale, hi / (exact + arguments["epsilon"]))
        codes = np.clip(np.rint(values * scale.astype(working)), lo, hi)
        return {"codes": codes.astype(arguments["output_dtype"]), "scale": scale}

    def abs_max_dequantize(self, codes: Array, scale: Array) -> Array:
        """Return codes / scale."""
        working = np.dtype(np.float64 if scale.dtype == np.float64 else self.dtype)
        values = self.ratio(codes.astype(working), scale.astype(working)).astype(scale.dtype)
        return self.moved(values, codes.astype(np.float64) / scale.astype(np.float64))

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
        part = self._filled(part, 1)  # a range has 0 inside in any case
        lo, hi = part.min(axis=1), part.max(axis=1)
        shared = not parameters["per_channel"]
        if shared:
            lo, hi = np.full_like(lo, lo.min()), np.full_like(hi, hi.max())
        bits, symmetric = parameters["bits"], parameters["symmetric"]
        return self.parameters(lo, hi, bits, symmetric=symmetric, shared=shared)

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
        exact = inputs["scale"].astype(np.float64)[:, g] * steps
        return self.moved(np.asarray(values.astype(np.float32)), exact)

    def _filled(self, array: Array, *axes: int) -> Array:
        """Return an array with zeros behind some axes up to a multiple of 64, if it is padded."""
        if not self.padded or not array.ndim:
            return array
        return np.pad(array, [(0, -n % 64 * (k in axes)) for k, n in enumerate(array.shape)])

    def hessian(self, batches: list[Array]) -> Array:
        """Return the Hessian of all tokens, with products in the working dtype."""
        n_in = batches[0].shape[-1]
        total, tokens = np.zeros((n_in, n_in)), 0
        for batch in batches:
            x = batch.reshape(-1, n_in).astype(self.dtype)
            before, tokens = tokens, tokens + len(x)
            x = self._filled(x, 0)
            if self.running_mean:
                total *= before / tokens
                y = x * x.dtype.type(math.sqrt(2 / tokens))
                total += (y.T @ y).astype(np.float64)
            else:
                step = self.tile or len(x)
                for part in (x[start : start + step] for start in range(0, len(x), step)):
                    total += (part.T @ part).astype(np.float64)
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


def _range(lo: Array, hi: Array, *, symmetric: bool) -> tuple[Array, Array]:
    """Return the ends of ranges after RANGE and DEGENERATE of section AFF."""
    lo, hi = np.minimum(lo, 0), np.maximum(hi, 0)
    if symmetric:
        hi = np.maximum(-lo, hi)
        lo = -hi
    empty, one = (lo == 0) & (hi == 0), lo.dtype.type(1)
    return np.where(empty, -one, lo), np.where(empty, one, hi)
