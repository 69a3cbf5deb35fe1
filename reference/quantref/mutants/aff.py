"""Mutants of section AFF: affine quantization."""

from quantref.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("aff-raw-range", "affine", "lo, hi = np.minimum(lo, 0.0), np.maximum(hi, 0.0)  # [AFF-010]",
       "lo, hi = lo, hi",
       "The range does not include zero: one-sign groups lose their zero-point.", "aff", "gptq"),
    mutant("aff-symmetric-low", "affine", "m = np.maximum(np.abs(lo), hi)", "m = np.abs(lo)",
       "The symmetric range looks at the smallest weight alone.", "aff", "gptq"),
    mutant("aff-maxq", "affine", "maxq = 2**bits - 1\n    lo, hi = np.asarray",
       "maxq = 2**bits\n    lo, hi = np.asarray",
       "2^b steps instead of 2^b − 1: scales too small.", "aff", "gptq"),
    mutant("aff-symmetric-zero", "affine", "float(2 ** (bits - 1))", "float(2 ** (bits - 1) - 1)",
       "The symmetric zero-point is off by one.", "aff", "gptq"),
    mutant("aff-zero-floor", "affine", "zero_point = np.rint(-lo / scale", "zero_point = np.floor(-lo / scale",
       "The zero-point is rounded down: off by one in half of all groups.", "aff", "gptq"),
    mutant("aff-add-then-round", "affine", "np.clip(np.rint(w / scale) + zero_point, 0, maxq)",
       "np.clip(np.rint(w / scale + zero_point), 0, maxq)",
       "The zero-point is added before rounding: ties with an odd zero-point differ.",
       "aff", "gptq"),
    mutant("aff-dequantize-no-zero", "affine", "q.astype(np.float64) - z.astype(np.float64)[:, g]",
       "q.astype(np.float64)",
       "The zero-point is forgotten on the way back.", "aff"),
    mutant("aff-per-tensor", "affine", "    if not per_channel:\n        lo, hi = np.full_like",
       "    if True:\n        lo, hi = np.full_like",
       "All rows share one range though each should have its own.", "aff", "gptq"),
    mutant("aff-group-tail", "affine", "end = min(start + size, n_in)  #",
       "end = n_in if n_in - start < 2 * size else start + size  #",
       "A short last group is merged into the range of the one before.", "aff", "gptq"),
)  # fmt: skip
