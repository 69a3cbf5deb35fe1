"""Mutants: the reference with one line changed, each a bug that somebody had or could have.

A vector lists the mutants it kills; regeneration fails when a listed one survives. Loading a
mutant compiles the sources anew under another package name: the reference itself is untouched.
The catalogue has one module per section, in the order of SPEC.md.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from quantref.mutants import abs, aff, cal, cfg, gptq, hes, lay, pack, rnd
from quantref.mutants.mutant import Mutant

__all__ = ["MUTANTS", "SOURCES", "LoadedMutant", "Mutant", "find", "load", "mutated", "source_of"]

SOURCES = Path(__file__).parents[1]


MUTANTS: tuple[Mutant, ...] = (
    *cfg.MUTANTS,
    *rnd.MUTANTS,
    *aff.MUTANTS,
    *abs.MUTANTS,
    *pack.MUTANTS,
    *hes.MUTANTS,
    *gptq.MUTANTS,
    *lay.MUTANTS,
    *cal.MUTANTS,
)


def source_of(module: str) -> Path:
    """Return the file of a module or package, named without `quantref`."""
    path = SOURCES.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def mutated(mutant: Mutant) -> str:
    """Return the source of the mutant's module with its one line changed.

    Raises
    ------
    LookupError
        The line does not stand exactly once in the module.
    """
    source = source_of(mutant.module).read_text(encoding="utf-8")
    if source.count(mutant.line) != 1:
        count = source.count(mutant.line)
        raise LookupError(
            f"mutant {mutant.id}: its line stands {count} times in {source_of(mutant.module).name}"
        )
    return source.replace(mutant.line, mutant.replacement)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports this package's sources under another name, one module changed."""

    def __init__(self, alias: str, mutant: Mutant) -> None:
        self.alias, self.mutant = alias, mutant

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.alias and not name.startswith(self.alias + "."):
            return None
        source = source_of(name.removeprefix(self.alias).lstrip("."))
        return importlib.util.spec_from_loader(name, self, is_package=source.name == "__init__.py")

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.removeprefix(self.alias).lstrip(".")
        if name == self.mutant.module:
            source = mutated(self.mutant)
        else:
            source = source_of(name).read_text(encoding="utf-8")
        source = source.replace("from quantref.", f"from {self.alias}.")
        exec(compile(source, f"<{self.alias}.{name}>", "exec"), module.__dict__)


@dataclass(frozen=True)
class LoadedMutant:
    """A mutant that answers questions like the reference does."""

    mutant: Mutant
    answer: Callable[[dict[str, Any]], dict[str, Any]]


def find(identity: str) -> Mutant:
    """Return the mutant of an id.

    Examples
    --------
    >>> find("pack-high-first").module
    'fast.packing'
    """
    for mutant in MUTANTS:
        if mutant.id == identity:
            return mutant
    raise LookupError(f"no mutant {identity!r}; there are {', '.join(m.id for m in MUTANTS)}")


def load(mutant: Mutant | str) -> LoadedMutant:
    """Return the reference with one line changed, as a target.

    Examples
    --------
    >>> x = {"dtype": "float32", "shape": [1], "data": [0.5]}
    >>> question = {"id": "a", "operation": "round_half_even", "parameters": {}, "inputs": {"x": x}}
    >>> load("rnd-half-up").answer(question)["outputs"]["values"]["data"]
    [1.0]
    """
    chosen = find(mutant) if isinstance(mutant, str) else mutant
    alias = "quantref_mutant_" + chosen.id.replace("-", "_")
    finder = _Finder(alias, chosen)
    sys.meta_path.insert(0, finder)
    try:
        operations = importlib.import_module(f"{alias}.operations")
    finally:
        sys.meta_path.remove(finder)
    return LoadedMutant(chosen, operations.answer)
