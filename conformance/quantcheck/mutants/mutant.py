"""A mutant: a few edits of the reference's code, the mistake that they make, and its effect."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One change of one function, in source text that is compared as parsed code.

    Attributes
    ----------
    module : str
        Full dotted name.
    function : str
        Qualified name of the function or class; "" for statements outside functions.
    statement : str
        One statement, a run of statements, one expression, or a parameter with its default
        ("size: int = 3"). It must stand exactly once in the function.
    replacement : str
        An expression in the place of an expression, any statements in the place of statements.

    Examples
    --------
    >>> Edit("quantref.rounding", "round_half_even", "np.rint(array)", "np.floor(array)").where
    'quantref.rounding, round_half_even'
    """

    module: str
    function: str
    statement: str
    replacement: str

    @property
    def where(self) -> str:
        """Module and function, for messages."""
        return f"{self.module}, {self.function or 'outside functions'}"


@dataclass(frozen=True)
class Mutant:
    """The reference with a mistake in it.

    Attributes
    ----------
    id : str
    edits : tuple of Edit
        Applied together; they change the form that the public function runs.
    effect : str
        What the mistake does.
    sections : tuple of str
        Sections whose vectors can tell it from the reference.
    blames : str
        The requirement that it breaks: over all vectors of its sections, the first of SPEC.md that
        fails. Decided from its effect and SPEC.md, not from what is blamed.
    mirror : tuple of Edit
        The same mistake in the plain form, where the public function runs another form.

    Examples
    --------
    >>> edit = Edit("quantref.rounding", "round_half_even", "np.rint(array)", "np.floor(array)")
    >>> Mutant("floor", (edit,), "Numbers are rounded down.", ("rnd",), "RND-010").mirror
    ()
    """

    id: str
    edits: tuple[Edit, ...]
    effect: str
    sections: tuple[str, ...]
    blames: str
    mirror: tuple[Edit, ...] = ()


def mutant(
    id: str,
    module: str,
    function: str,
    statement: str,
    replacement: str,
    effect: str,
    *sections: str,
    blames: str,
    mirror: Edit | tuple[Edit, ...] | None = None,
) -> Mutant:
    """Return a mutant of one edit; the arguments have the order of a sentence about it.

    Examples
    --------
    >>> made = mutant("floor", "quantref.rounding", "round_half_even", "np.rint(array)",
    ...               "np.floor(array)", "Numbers are rounded down.", "rnd", blames="RND-010")
    >>> made.edits[0].module, made.sections
    ('quantref.rounding', ('rnd',))
    """
    edits = (Edit(module, function, statement, replacement),)
    mirrors = (mirror,) if isinstance(mirror, Edit) else mirror or ()
    return Mutant(id, edits, effect, sections, blames, mirrors)
