"""Mutants: copies of the reference with one mistake each, which real code has had or could have.

A vector lists the mutants that it kills, and every mutant must be killed by a vector, except those
of `kernels`, whose mistake begins at a size that no vector has. A mutant names module, function,
statement and replacement (`Edit`). It is loaded as a copy under another package name, so that the
reference is unchanged. The catalogue has one module per section, in the order of SPEC.md; `NAMES`
has the names that the suite has to give.
"""

from __future__ import annotations

from quantcheck.mutants import abs, aff, cal, cfg, four, gptq, hes, kernels, lay, pack, rnd
from quantcheck.mutants.loading import LoadedMutant, load_mutant
from quantcheck.mutants.mutant import Edit, Mutant
from quantcheck.mutants.names import NAMES

__all__ = ["MUTANTS", "NAMES", "Edit", "LoadedMutant", "Mutant", "find", "load"]

MUTANTS: tuple[Mutant, ...] = (
    *cfg.MUTANTS,
    *rnd.MUTANTS,
    *aff.MUTANTS,
    *kernels.aff.MUTANTS,
    *abs.MUTANTS,
    *kernels.abs.MUTANTS,
    *pack.MUTANTS,
    *kernels.pack.MUTANTS,
    *hes.MUTANTS,
    *kernels.hes.MUTANTS,
    *gptq.MUTANTS,
    *kernels.gptq.MUTANTS,
    *lay.MUTANTS,
    *cal.MUTANTS,
    *four.MUTANTS,
)


def find(identity: str) -> Mutant:
    """Return the mutant with an id.

    Raises
    ------
    LookupError
        There is none; the message lists all ids.

    Examples
    --------
    >>> find("pack-high-first").edits[0].function
    '_pack'
    """
    for mutant in MUTANTS:
        if mutant.id == identity:
            return mutant
    raise LookupError(f"no mutant {identity!r}; there are {', '.join(m.id for m in MUTANTS)}")


def load(mutant: Mutant | str, *, plain: bool = False) -> LoadedMutant:
    """Return a mutant as a target, which answers questions.

    Parameters
    ----------
    mutant : Mutant, or the id of one
    plain : bool, default False
        Whether the plain forms answer instead of the fast ones.

    Raises
    ------
    LookupError
        The id is unknown, or the statement of an edit does not occur exactly once in its function.

    Examples
    --------
    >>> x = {"dtype": "float32", "shape": [1], "data": [0.5]}
    >>> question = {"id": "a", "operation": "round_half_even", "parameters": {}, "inputs": {"x": x}}
    >>> load("rnd-half-up").answer(question)["outputs"]["values"]["data"]
    [1.0]
    """
    return load_mutant(find(mutant) if isinstance(mutant, str) else mutant, plain=plain)
