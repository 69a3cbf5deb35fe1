"""Makes a mutant that bites where no vector asks, such as from a size on."""

from quantcheck.mutants.mutant import Edit, Mutant

Change = tuple[str, str, str, str]  # module, function, statement, replacement


def kernel(
    id: str,
    change: Change | tuple[Change, ...],
    effect: str,
    *sections: str,
    blames: str,
    size: str,
) -> Mutant:
    """Return a mutant that no vector has to kill; `size`: the size or input that vectors lack.

    Examples
    --------
    >>> change = ("quantref.rounding", "round_half_even", "np.rint(array)", "np.floor(array)")
    >>> kernel("floor", change, "Rounds down.", "rnd", blames="RND-010", size="64 rows").generated
    'no vector has 64 rows'
    """
    changes = change if isinstance(change[0], tuple) else (change,)
    edits = tuple(Edit(*one) for one in changes)
    return Mutant(id, edits, effect, sections, blames, generated=f"no vector has {size}")
