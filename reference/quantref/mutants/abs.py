"""Mutants of section ABS: AbsMax."""

from quantref.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("abs-truncate", "absmax", "np.clip(np.rint(product), lo, hi)",
       "np.clip(np.trunc(product), lo, hi)",
       "Codes are truncated: errors of up to a whole step, towards zero.", "abs"),
    mutant("abs-half-away", "absmax", "np.clip(np.rint(product), lo, hi)",
       "np.clip(np.sign(product) * np.floor(np.abs(product) + 0.5), lo, hi)",
       "Ties go away from zero, as C's round does.", "abs"),
    mutant("abs-wrong-axis", "absmax", "axes = resolve_axis(axis, x.ndim, \"ABS-100\")",
       "axes = resolve_axis(axis if axis is None else tuple(a for a in range(x.ndim) "
       "if a not in resolve_axis(axis, x.ndim, '')), x.ndim, \"ABS-100\")",
       "The maximum is taken over the axes that should have been kept.", "abs"),
    mutant("abs-no-epsilon", "absmax", "scale = hi / (amax + epsilon)",
       "scale = hi / np.where(amax == 0, 1, amax)",
       "Epsilon is left out: small slices get another scale.", "abs"),
    mutant("abs-signed-max", "absmax", "np.max(np.abs(x.astype(np.float64)), axis=axes",
       "np.max(x.astype(np.float64), axis=axes",
       "The maximum instead of the largest magnitude: negative weights clip.", "abs"),
    mutant("abs-clip-128", "absmax", "np.clip(np.rint(product), lo, hi)",
       "np.clip(np.rint(product), -hi - 1, hi)",
       "The lower clip is −hi − 1, whatever the value range says.", "abs"),
    mutant("abs-scale-step", "absmax", "scale = hi / (amax + epsilon)  # [ABS-010]",
       "scale = (amax + epsilon) / hi",
       "The scale is a step, not a multiplier.", "abs"),
    mutant("abs-dequantize-multiplies", "absmax", "q.astype(np.float64) / s.astype(np.float64)",
       "q.astype(np.float64) * s.astype(np.float64)",
       "Dequantization multiplies by a scale that is a multiplier.", "abs"),
)  # fmt: skip
