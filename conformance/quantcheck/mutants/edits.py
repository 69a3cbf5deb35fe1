"""Applies edits to parsed code, so that comments, strings and layout never match."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from quantcheck.mutants.mutant import Edit

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (*FUNCTIONS, ast.ClassDef)


@dataclass(frozen=True)
class _Place:
    """A place that matches a pattern: some statements of a list, or an expression in a node."""

    first: ast.AST
    holder: ast.AST | list[Any]
    key: str | int | slice

    def put(self, new: list[ast.stmt]) -> None:
        """Replace the code: statements by statements, an expression by an expression."""
        for node in (node for statement in new for node in ast.walk(statement)):
            ast.copy_location(node, self.first)
        value: Any = new if isinstance(self.key, slice) else vars(new[0])["value"]
        if isinstance(self.holder, list):
            self.holder[self.key] = value  # type: ignore[index]
        else:
            setattr(self.holder, str(self.key), value)


def edited(source: str, edits: Iterable[Edit]) -> ast.Module:
    r"""Return the syntax tree of a module's source with edits applied, one after the other.

    Parameters
    ----------
    source : str
    edits : iterable of Edit
        All of this module.

    Raises
    ------
    LookupError
        The module has no such function, or the statement does not occur exactly once in it.

    Examples
    --------
    >>> source = "def double(x):\n    return 2 * x  # not 3 * x"
    >>> print(ast.unparse(edited(source, [Edit("m", "double", "2 * x", "3 * x")])))
    def double(x):
        return 3 * x
    >>> edited(source, [Edit("m", "double", "3 * x", "4 * x")])
    Traceback (most recent call last):
    LookupError: '3 * x' occurs 0 times in m, double; expected once
    """
    tree = ast.parse(source)
    for edit in edits:
        old, new = _parsed(edit.statement), _parsed(edit.replacement)
        places = list(_places(_scope(tree, edit), old, new))
        if len(places) != 1:
            times = f"{len(places)} times in {edit.where}"
            raise LookupError(f"{edit.statement!r} occurs {times}; expected once")
        places[0].put(new)
    return tree


def _parsed(text: str) -> list[ast.stmt]:
    return ast.parse(dedent(text).strip()).body


def _scope(tree: ast.Module, edit: Edit) -> ast.AST:
    """Return the function or class of an edit, or the module."""
    scopes: list[ast.AST] = [tree]
    for name in edit.function.split(".") if edit.function else ():
        inner = (child for scope in scopes for child in _definitions(scope))
        scopes = [child for child in inner if getattr(child, "name", "") == name]
    if len(scopes) != 1:
        raise LookupError(
            f"{edit.module} has {len(scopes)} functions {edit.function!r}; expected one"
        )
    return scopes[0]


def _definitions(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the functions and classes of a scope, without nested ones."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, SCOPES):
            yield child
        else:
            yield from _definitions(child)


def _nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function; of a module or a class, those outside functions."""
    yield scope
    for child in ast.iter_child_nodes(scope):
        if isinstance(scope, FUNCTIONS):
            yield from ast.walk(child)
        elif not isinstance(child, FUNCTIONS):
            yield from _nodes(child)


def _places(scope: ast.AST, old: list[ast.stmt], new: list[ast.stmt]) -> Iterator[_Place]:
    """Yield all places in a scope that match a pattern."""
    if len(old) == len(new) == 1 and isinstance(old[0], ast.Expr) and isinstance(new[0], ast.Expr):
        for node in _nodes(scope):
            yield from _expressions(node, old[0].value)
        return
    for node in _nodes(scope):
        for _, field in ast.iter_fields(node):
            yield from _statements(field, old) if isinstance(field, list) else ()
        if isinstance(node, ast.arguments) and len(old) == 1:
            yield from _parameters(node, old[0])


def _expressions(node: ast.AST, pattern: ast.expr) -> Iterator[_Place]:
    """Yield the children of a node that equal an expression."""
    for name, field in ast.iter_fields(node):
        if isinstance(field, list):
            yield from (_Place(c, field, k) for k, c in enumerate(field) if _equal(c, pattern))
        elif _equal(field, pattern):
            yield _Place(field, node, name)


def _statements(block: list[Any], pattern: list[ast.stmt]) -> Iterator[_Place]:
    """Yield the places of a block whose statements equal the pattern."""
    for start in range(len(block) - len(pattern) + 1):
        run = slice(start, start + len(pattern))
        if all(_equal(a, b) for a, b in zip(block[run], pattern, strict=True)):
            yield _Place(block[start], block, run)


def _parameters(arguments: ast.arguments, pattern: ast.stmt) -> Iterator[_Place]:
    """Yield the defaults of parameters that equal an annotated assignment."""
    both = [*arguments.posonlyargs, *arguments.args]
    named: list[tuple[list[ast.arg], list[Any]]] = [
        (both[len(both) - len(arguments.defaults) :], arguments.defaults),
        (arguments.kwonlyargs, arguments.kw_defaults),
    ]
    for parameters, defaults in named:
        for k, (parameter, default) in enumerate(zip(parameters, defaults, strict=True)):
            if default is None or parameter.annotation is None:
                continue
            name = ast.Name(parameter.arg, ast.Store())
            if _equal(ast.AnnAssign(name, parameter.annotation, default, 1), pattern):
                yield _Place(default, defaults, k)


def _equal(code: Any, pattern: ast.AST) -> bool:
    """Tell whether two pieces of code are the same, apart from their position."""
    return type(code) is type(pattern) and ast.dump(code) == ast.dump(pattern)
