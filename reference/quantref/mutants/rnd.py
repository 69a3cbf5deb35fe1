"""Mutants of section RND: rounding."""

from quantref.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("rnd-half-up", "rounding", "return np.rint(array)  #",
       "return np.floor(array + array.dtype.type(0.5))  #",
       "Ties go up instead of to the even integer.", "rnd"),
    mutant("rnd-wrap", "rounding", "np.where(below, bounds.min, inside)",
       "np.where(below, bounds.max, inside)",
       "What lies below the dtype comes out at its top.", "rnd"),
)  # fmt: skip
