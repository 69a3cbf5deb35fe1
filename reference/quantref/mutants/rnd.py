"""Mutants of section RND: rounding."""

from quantref.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("rnd-half-up", "rounding", "return np.rint(array)  #",
       "return np.floor(array + array.dtype.type(0.5))  #",
       "Ties go up instead of to the even integer.", "rnd", blames="RND-010"),
    mutant("rnd-wrap", "rounding", "np.where(below, bounds.min, inside)",
       "np.where(below, bounds.max, inside)",
       "What lies below the dtype comes out at its top.", "rnd", blames="RND-020"),
    mutant("rnd-half-away", "rounding", "return np.rint(array)  #",
           "return np.copysign(np.floor(np.abs(array.astype(np.float64)) + 0.5), array).astype(array.dtype)  #",
           "Ties go away from zero, as in school.", "rnd", blames="RND-010"),
    mutant("rnd-nan-zero", "rounding", 'array = require_float(x, "x", "RND-030")\n    target =',
           "array = np.nan_to_num(np.asarray(x), posinf=0.0, neginf=0.0)\n    target =",
           "NaN and infinity become 0 without a word.", "rnd", blames="RND-030"),
)  # fmt: skip
