"""Mutants of section HES: the Hessian."""

from quantref.mutants.mutant import Mutant, mutant

MUTANTS: tuple[Mutant, ...] = (
    mutant("hes-mean-not-doubled", "hessian", "self._sum * (2.0 / self._count)",
       "self._sum * (1.0 / self._count)",
       "The factor 2 is left out.", "hes"),
    mutant("hes-sequences", "hessian", "if by_sequence and x.ndim > 1 else len(tokens)",
       "if x.ndim > 1 else len(tokens)",
       "N counts sequences instead of tokens.", "hes"),
    mutant("hes-order-ascending", "hessian", "return np.argsort(-diagonal, kind=\"stable\")",
       "return np.argsort(diagonal, kind=\"stable\")",
       "The least active columns come first.", "hes", "gptq"),
    mutant("hes-order-ties", "hessian", "return np.argsort(-diagonal, kind=\"stable\")",
       "return np.argsort(diagonal, kind=\"stable\")[::-1]",
       "A reversed ascending sort: ties come in descending order.", "hes", "gptq"),
    mutant("hes-damping-sum", "hessian", "fraction * float(np.mean(diagonal))",
       "fraction * float(np.sum(diagonal))",
       "Damping by the trace instead of the mean.", "hes", "gptq"),
    mutant("hes-damping-max", "hessian", "fraction * float(np.mean(diagonal))",
       "fraction * float(np.max(diagonal))",
       "Damping by the largest diagonal element.", "hes", "gptq"),
)  # fmt: skip
