"""A mutant: edits of the reference's code that make one mistake, and the effect of the mistake."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One change of one function. Its source text is compared as parsed code.

    Attributes
    ----------
    module : str
        Full dotted name of the module.
    function : str
        Qualified name of the function or class; "" for statements outside functions.
    statement : str
        One statement, consecutive statements, one expression, or a parameter with its default
        ("size: int = 3"). It must occur exactly once in the function.
    replacement : str
        Statements if `statement` is statements, an expression if it is an expression.

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
    """The reference with one mistake.

    Attributes
    ----------
    id : str
    edits : tuple of Edit
        Edits that are applied together. They change the form that the public function runs.
    effect : str
        The effect of the mistake.
    sections : tuple of str
        Sections whose vectors can detect it.
    blames : str
        The requirement that it breaks. Over all vectors of its sections, this must be the first
        requirement of SPEC.md that fails. It is derived from the effect and SPEC.md, and not from
        the suite's verdicts.
    mirror : tuple of Edit
        The same mistake in the plain form, if the public function runs a fast form.
    generated : str
        Why no vector has to kill it, so that the generated cases alone must. Empty for mutants that
        both must kill.

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
    generated: str = ""


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
    """Return a mutant with one edit.

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
