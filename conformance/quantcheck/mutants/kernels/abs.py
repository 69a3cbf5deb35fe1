"""Mutants of kernels of section ABS: AbsMax."""

from quantcheck.mutants.kernels.kernel import kernel
from quantcheck.mutants.mutant import Mutant

QUANTIZE = ("quantref.fast.absmax", "abs_max_quantize")
LARGEST = ("quantref.fast.absmax", "_largest")
CODES = (*QUANTIZE, "out[tile] = rounded")
SCALES = (*QUANTIZE, "scales[_within(block, scales)] = scale")
PART = (*LARGEST, "part, kept = _contiguous(x[tile], scratch), _within(tile, largest)")
ENDS = (
    *LARGEST,
    "high, low = part.max(axis=axes, keepdims=True), part.min(axis=axes, keepdims=True)",
)
FACTOR = (*QUANTIZE, "s = scale[_within(tile, scale)].astype(work, copy=False)")

MUTANTS: tuple[Mutant, ...] = (
    kernel("abs-tile-last-row", (*CODES, "rounded = rounded.copy(); rounded[63::64] = 0; out[tile] = rounded"),
           "The last row of each tile of 64 rows gets codes 0.", "abs", blames="ABS-030", size="64 rows"),
    kernel("abs-tail-row", (*CODES, "rounded = rounded.copy(); rounded[512:] = 0 if len(rounded) % 64 else rounded[512:]; out[tile] = rounded"),
           "Rows behind the last whole tile of 64 get codes 0, from 512 rows on.", "abs", blames="ABS-030", size="512 rows"),
    kernel("abs-max-tail", (*PART, ("part, kept = _contiguous(x[tile], scratch), _within(tile, largest)\n"
                                  "n = part.shape[-1]\n"
                                  "part = part[..., : n // 16 * 16] if n > 256 and axes == (part.ndim - 1,) else part")),
           "The maximum leaves out the columns behind the last whole vector of 16.", "abs", blames="ABS-010", size="256 columns"),
    kernel("abs-max-rows", (*PART, ("part, kept = _contiguous(x[tile], scratch), _within(tile, largest)\n"
                                  "part = part[: len(part) // 64 * 64] if len(part) > 64 and axes == (0,) and part.ndim > 1 else part")),
           "A maximum along the first axis leaves out the rows behind the last whole tile of 64.", "abs", blames="ABS-010", size="64 rows"),
    kernel("abs-column-byte", (*CODES, "out[tile] = rounded[..., np.arange(rounded.shape[-1]) % 256]"),
           "The index of a column is a byte: from column 256 on, codes are those of the first columns.",
           "abs", blames="ABS-030", size="256 columns"),
    kernel("abs-row-byte", (*SCALES, "scale = scale[np.arange(len(scale)) % 256]; scales[_within(block, scales)] = scale"),
           "The index of a scale is a byte: from row 256 on, scales are those of the first rows.",
           "abs", blames="ABS-010", size="256 rows"),
    kernel("abs-row-before", (*FACTOR, "s = scale[_within(tile, scale)].astype(work, copy=True)\nif len(s) > 64:\n    s[64] = s[63]"),
           "One row of many, the first behind a tile of 64, is multiplied by the scale of the row before.",
           "abs", blames="ABS-030", size="65 rows"),
    kernel("abs-negative-last", (*ENDS, ("high, low = part.max(axis=axes, keepdims=True), part.min(axis=axes, keepdims=True)\n"
                                       "if part.shape[-1] >= 512 and axes == (part.ndim - 1,):\n"
                                       "    low = part[..., :-1].min(axis=axes, keepdims=True)")),
           "Of 512 columns or more, a negative element in the last one does not count for the maximum.",
           "abs", blames="ABS-010", size="512 columns"),
    kernel("abs-half-blocks", (*CODES, """
           if x.dtype.itemsize == 2 and part.shape[-1] > 128:
               again = x[block][tile] * s.astype(x.dtype)
               late = np.rint(again[..., 128:].astype(np.float64)).clip(lo, hi)
               rounded = np.concatenate([rounded[..., :128], late], axis=-1)
           out[tile] = rounded
           """),
           "From the second block of 128 columns on, half-precision inputs are multiplied in half precision.",
           "abs", blames="ABS-060", size="several blocks of half precision"),
    kernel("abs-double-long", (*QUANTIZE,
           "wide = np.float64 if x.dtype == np.float64 else np.float32",
           "wide = np.float64 if x.dtype == np.float64 and x.size < 512 else np.float32"),
           "Long float64 inputs get float32 scales.", "abs", blames="ABS-130", size="512 elements of float64"),
    kernel("abs-zero-row-late", (*CODES, "rounded = np.where((part == 0) & (np.arange(len(part)) >= 64).reshape(-1, *[1] * (part.ndim - 1)), 1, rounded); out[tile] = rounded"),
           "Zeros in rows from 64 on get code 1.", "abs", blames="ABS-040", size="64 rows"),
    kernel("abs-ties-late", ("quantref.fast.absmax", "_rounded_product",
           "floor.flat[at] = np.rint(product)",
           "floor.flat[at] = np.where(at >= 4096, np.floor(product + 0.5), np.rint(product))"),
           "From element 4096 on, ties go up, as in a vectorized loop of another rounding.", "abs", blames="ABS-030", size="4096 elements"),
    kernel("abs-clip-late", (*QUANTIZE, "np.clip(rounded, lo, hi, out=rounded)",
                            "np.clip(rounded[..., :256], lo, hi, out=rounded[..., :256]); np.clip(rounded[..., 256:], -hi, hi, out=rounded[..., 256:])"),
           "From column 256 on, codes are clipped to −hi … hi.", "abs", blames="ABS-070", size="256 columns"),
    kernel("abs-nan-late", (*QUANTIZE, "if not np.isfinite(amax).all():\n    require_float(whole, \"inputs\", \"ABS-100\")",
                            "if not np.isfinite(amax[:64]).all():\n    require_float(whole, \"inputs\", \"ABS-100\")\namax = np.nan_to_num(amax)"),
           "NaN is looked for in the first 64 slices alone.", "abs", blames="ABS-100", size="65 rows that must be refused"),
    kernel("abs-dequantize-row-byte", ("quantref.absmax", "abs_max_dequantize",
           "q.astype(np.float64) / s.astype(np.float64)",
           "q.astype(np.float64) / (s[np.arange(len(s)) % 256] if s.ndim else s).astype(np.float64)"),
           "The index of a scale is a byte in dequantization.", "abs", blames="ABS-080", size="256 rows"),
    kernel("abs-dequantize-columns", ("quantref.absmax", "abs_max_dequantize",
           "q.astype(np.float64)",
           "np.concatenate([q[..., :256], q[..., 256:].astype(np.float16)], axis=-1).astype(np.float64) * np.where(np.arange(q.shape[-1]) < 256, 1.0, 1.0 + 2.0**-20) if q.ndim else q.astype(np.float64)"),
           "From column 256 on, values are off by 2⁻²⁰, as of an approximate reciprocal.", "abs", blames="ABS-080", size="256 columns"),
)  # fmt: skip
