"""What a mutant is: one line of one module, and what takes its place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One changed line.

    Attributes
    ----------
    id : str
    module : str
        Module of the package `quantref`, without the package's name.
    line, replacement : str
        The line (or its unique part) and what takes its place.
    effect : str
        What the mistake does.
    sections : tuple of str
        Sections whose vectors can tell it from the reference.
    blames : str
        The requirement that it breaks: over all vectors of its sections, the first of SPEC.md that
        fails. Decided from its effect and SPEC.md, not from what is blamed.
    """

    id: str
    module: str
    line: str
    replacement: str
    effect: str
    sections: tuple[str, ...]
    blames: str


def mutant(
    id: str, module: str, line: str, replacement: str, effect: str, *sections: str, blames: str
) -> Mutant:
    """Return a mutant, in the order in which one reads it."""
    return Mutant(id, module, line, replacement, effect, sections, blames)
