"""Loads a mutant: a copy of both packages under another name, in which some modules are edited.

A module of the copy runs with its own `__builtins__`, whose `__import__` redirects `quantref` and
`quantcheck` to the copy, in functions too. So modules run unchanged, including packages and
relative imports. Two copies share only the compiled code of unedited modules.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from quantcheck.mutants.edits import edited
from quantcheck.mutants.mutant import Edit, Mutant

# The module and its function that answer questions.
ENTRY, ANSWER = "quantcheck.targets.reference.operations", "answer"
COPIED = ("quantref", "quantcheck")
PREFIX = "mutant_of_the_reference_"
PLAIN = tuple(
    Edit(
        "quantref",
        "",
        f"from quantref.fast.{name} import {names}",
        f"from quantref.{name} import {names}",
    )
    for name, names in (
        ("absmax", "abs_max_quantize"),
        ("packing", "pack_codes, unpack_codes"),
        ("hessian", "HessianAccumulator, accumulate_hessian, prepare_hessian"),
        ("gptq", "gptq_quantize"),
    )
)
"""Imports that make the plain forms public."""

Answer = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class LoadedMutant:
    """A mutant that answers questions as the reference does.

    Attributes
    ----------
    mutant : Mutant
    answer : callable
        Returns the answer to a question.
    package : str
        Name of the package that contains both copies, `PACKAGE.quantref` and `PACKAGE.quantcheck`.

    Examples
    --------
    >>> loaded = load_mutant(Mutant("none", (), "Nothing is changed.", (), ""))
    >>> loaded.answer({"id": "a", "operation": "guess"})
    {'id': 'a', 'unsupported': "no operation 'guess'"}
    """

    mutant: Mutant
    answer: Answer
    package: str


@dataclass(frozen=True)
class _Copy:
    """A package of copies: compiled code of edited modules, and the builtins of all modules."""

    edited: Mapping[str, CodeType]
    builtins: dict[str, Any]


_COPIES: dict[str, _Copy] = {}  # by name
_COUNTER = itertools.count()


def load_mutant(mutant: Mutant, *, plain: bool = False) -> LoadedMutant:
    """Return a mutant as a target; each mutant is loaded only once.

    Parameters
    ----------
    mutant : Mutant
    plain : bool, default False
        Whether the plain forms answer instead of the fast ones.

    Raises
    ------
    LookupError
        The statement of an edit does not occur exactly once in the function of the edit.

    Examples
    --------
    >>> edit = Edit("quantref.rounding", "round_half_even", "np.rint(array)", "np.floor(array)")
    >>> floor = load_mutant(Mutant("floor", (edit,), "Rounds down.", ("rnd",), "RND-010"))
    >>> x = {"dtype": "float32", "shape": [1], "data": [0.75]}
    >>> question = {"id": "a", "operation": "round_half_even", "parameters": {}, "inputs": {"x": x}}
    >>> floor.answer(question)["outputs"]["values"]["data"]
    [0.0]
    """
    return _loaded(mutant, plain)


@cache
def _loaded(mutant: Mutant, plain: bool) -> LoadedMutant:
    edits = (*mutant.edits, *mutant.mirror, *(PLAIN if plain else ()))
    modules = dict.fromkeys(edit.module for edit in edits)
    try:
        code = {name: _edited_code(mutant, name, edits) for name in modules}
    except LookupError as error:
        raise LookupError(f"mutant {mutant.id}: {error.args[0]}") from None
    package = f"{PREFIX}{next(_COUNTER)}_{mutant.id.replace('-', '_')}"
    _COPIES[package] = _Copy(code, {**vars(builtins), "__import__": _importer(package)})
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)  # before the finder of the originals
    try:
        entry = importlib.import_module(f"{package}.{ENTRY}")
    except BaseException:
        del _COPIES[package]
        for name in [n for n in sys.modules if f"{n}.".startswith(f"{package}.")]:
            del sys.modules[name]
        raise
    return LoadedMutant(mutant, getattr(entry, ANSWER), package)


def _edited_code(mutant: Mutant, module: str, edits: Iterable[Edit]) -> CodeType:
    """Return the compiled code of a module with its edits.

    Its file name is not that of the original, so that tracebacks show no lines of the original.
    """
    tree = edited(source(module), [edit for edit in edits if edit.module == module])
    return compile(tree, f"<mutant {mutant.id}: {module}>", "exec", dont_inherit=True)


def source(module: str) -> str:
    """Return the source of a module of the reference.

    Raises
    ------
    LookupError
        There is no such module.

    Examples
    --------
    >>> source("quantref.rounding").count("def round_half_even")
    1
    """
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    file = _file(spec)
    if file is None:
        raise LookupError(f"no module {module!r}")
    return importlib.util.decode_source(Path(file).read_bytes())


def _file(spec: ModuleSpec | None) -> str | None:
    """Return the source file of a module; with any loader, since pytest has a loader of its own."""
    origin = None if spec is None else spec.origin
    return origin if origin is not None and origin.endswith(".py") else None


def _importer(package: str) -> Callable[..., ModuleType]:
    """Return the `__import__` of a copy's modules."""

    def redirected(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or top not in COPIED:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        if fromlist:
            return builtins.__import__(f"{package}.{name}", globals, locals, fromlist)
        importlib.import_module(f"{package}.{name}")
        return sys.modules[f"{package}.{top}"]  # `import a.b` binds a

    return redirected


@cache
def _code(path: str) -> CodeType:
    """Return the compiled code of an unedited file, which all copies share."""
    code = SourceFileLoader("", path).get_code("")
    assert code is not None  # noqa: S101
    return code


class _Loader(SourceFileLoader):
    """Runs a source file as a module of a copy."""

    def get_code(self, fullname: str) -> CodeType:
        package, _, original = fullname.partition(".")
        code = _COPIES[package].edited.get(original)
        return _code(str(self.path)) if code is None else code

    def exec_module(self, module: ModuleType) -> None:
        package = module.__name__.partition(".")[0]
        vars(module)["__builtins__"] = _COPIES[package].builtins
        super().exec_module(module)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of all copies in the folders of the originals.

    It stays on `sys.meta_path`, since functions of a copy may import modules when they are called.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, original = fullname.partition(".")
        if package not in _COPIES:
            return None
        if not original:
            return ModuleSpec(fullname, None, is_package=True)
        if "." in original:
            spec = PathFinder.find_spec(fullname, path, target)
        else:
            spec = importlib.util.find_spec(original)
        file = _file(spec)
        if spec is None or file is None:
            return spec
        inside = spec.submodule_search_locations
        return importlib.util.spec_from_file_location(
            fullname, file, loader=_Loader(fullname, file), submodule_search_locations=inside
        )


_FINDER = _Finder()
