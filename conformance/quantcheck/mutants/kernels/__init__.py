"""Mutants of kernels: right for small arrays, wrong from a size on, or at a seam of tiles.

Real kernels work in tiles of rows, blocks of columns and vectors of bytes, with another path for
what is left over. Each mutant is such a path with a mistake. Vectors are small, so the generated
cases of every size detect them.
"""

from quantcheck.mutants.kernels import abs, aff, gptq, hes, pack

__all__ = ["abs", "aff", "gptq", "hes", "pack"]
