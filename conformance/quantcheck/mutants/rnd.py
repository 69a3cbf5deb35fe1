"""Mutants of section RND: rounding."""

from quantcheck.mutants.kernels.kernel import kernel
from quantcheck.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("rnd-half-up", "quantref.rounding", "round_half_even",
           "np.rint(array)",
           "np.floor(array + array.dtype.type(0.5))",
           "Ties go up instead of to the even integer.", "rnd", blames="RND-010"),
    mutant("rnd-wrap", "quantref.rounding", "saturating_cast",
           "np.where(below, bounds.min, inside)",
           "np.where(below, bounds.max, inside)",
           "Values below the dtype's minimum become its maximum.", "rnd", blames="RND-020"),
    mutant("rnd-half-away", "quantref.rounding", "round_half_even",
           "np.rint(array)",
           "np.copysign(np.floor(np.abs(array.astype(np.float64)) + 0.5), array).astype(array.dtype)",
           "Ties are rounded away from zero.", "rnd", blames="RND-010"),
    mutant("rnd-nan-zero", "quantref.rounding", "saturating_cast",
           'require_float(x, "x", "RND-030")',
           "np.nan_to_num(np.asarray(x), posinf=0.0, neginf=0.0)",
           "NaN and infinity become 0 instead of being refused.", "rnd", blames="RND-030"),
    kernel("rnd-single", ("quantref.rounding", "round_half_even",
           "np.rint(array)",
           "np.rint(array.astype(np.float32)).astype(array.dtype)"),
           "float64 numbers are rounded to float32 first: ties appear, and large numbers change.", "rnd", blames="RND-040",
           size="a float64 number that float32 moves to another integer"),
)  # fmt: skip
