"""One array by recipe: dtype, shape, rule, and the hash of its bytes.  [VEC-080]"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np

from quantcheck.wire.arrays import dtype_of
from quantcheck.wire.recipes.rules import HessianRule, WeightsRule
from quantref.errors import DamagedVectorError
from quantref.inputs import Array

GENERATOR = "splitmix64"
DTYPES = ("float16", "float32", "float64")
RULES: dict[str, type[WeightsRule | HessianRule]] = {
    "weights": WeightsRule,
    "hessian": HessianRule,
}
NAMES = {"dtype", "shape", "recipe", "sha256"}


@dataclass(frozen=True)
class Recipe:
    """An array by recipe.

    Attributes
    ----------
    dtype : str
    shape : (int, int)
    rule : WeightsRule or HessianRule
    sha256 : str
        Hash of the array's bytes, see `digest`.

    Examples
    --------
    >>> recipe = Recipe("float32", (2, 3), WeightsRule(0, 9, 1, 5, 2)).hashed()
    >>> recipe.array()
    array([[ -3.5,  -2. ,  -4. ],
           [  0. , -10. ,   0. ]], dtype=float32)
    """

    dtype: str
    shape: tuple[int, int]
    rule: WeightsRule | HessianRule
    sha256: str = ""

    @property
    def kind(self) -> str:
        """The name of the rule in a vector."""
        return next(name for name, kind in RULES.items() if isinstance(self.rule, kind))

    def hashed(self) -> Recipe:
        """Return the recipe with the hash of the array that it makes."""
        return replace(self, sha256=digest(_made(self)))

    def array(self) -> Array:
        """Return the array, read-only.

        Raises
        ------
        DamagedVectorError
            The array has another hash.
        """
        return _checked(self)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as a vector has it."""
        rule = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self.rule).items()}
        return {
            "dtype": self.dtype,
            "shape": list(self.shape),
            "recipe": {"generator": GENERATOR, "kind": self.kind, **rule},
            "sha256": self.sha256,
        }


def _made(recipe: Recipe) -> Array:
    fault = recipe.rule.fault(recipe.shape)
    if fault is not None:
        raise DamagedVectorError(fault, f"{recipe.rule}, shape {recipe.shape}", "VEC-080")
    wide = recipe.rule.make(recipe.shape)
    narrow = wide.astype(dtype_of(recipe.dtype))
    if not (narrow == wide).all():
        raise DamagedVectorError(f"a recipe exact in {recipe.dtype}", "rounded values", "VEC-080")
    return np.asarray(narrow)


@lru_cache(maxsize=2)  # weights and Hessian of one case, which its judge reads several times
def _checked(recipe: Recipe) -> Array:
    array = _made(recipe)
    found = digest(array)
    if found != recipe.sha256:
        expected = f"{recipe.kind} with SHA-256 {recipe.sha256}"
        raise DamagedVectorError(expected, found, "VEC-080")
    array.flags.writeable = False
    return array


def digest(array: Array) -> str:
    """Return the SHA-256 of an array's bytes, little-endian in C order.

    Examples
    --------
    >>> digest(np.float32([1, 2])) == hashlib.sha256(bytes.fromhex("0000803f00000040")).hexdigest()
    True
    """
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(little.data).hexdigest()


def parse(data: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe that `Recipe.to_json` wrote.

    Raises
    ------
    DamagedVectorError
        A name is missing or unknown, or a value breaks a rule of the recipe.
    """
    fault = _form_fault(data)
    if fault is None:
        shape, given = (data["shape"][0], data["shape"][1]), data["recipe"]
        names = [field.name for field in fields(RULES[given["kind"]])]
        values: dict[str, Any] = {
            n: tuple(given[n]) if isinstance(given[n], list) else given[n] for n in names
        }
        recipe = Recipe(data["dtype"], shape, RULES[given["kind"]](**values), data["sha256"])
        fault = recipe.rule.fault(shape)
        if fault is None:
            return recipe
    raise DamagedVectorError(f"{where}: {fault}", f"{data!r:.200}", "VEC-080")


def _form_fault(data: Mapping[str, Any]) -> str | None:
    """Return what names and types of a recipe should be; None if all are right."""
    if set(data) != NAMES or not isinstance(data["recipe"], dict):
        return f"a recipe with {', '.join(sorted(NAMES))}"
    given, shape = data["recipe"], data["shape"]
    if data["dtype"] not in DTYPES or not isinstance(data["sha256"], str):
        return f"dtype in {', '.join(DTYPES)}, and sha256 a string"
    if not _whole(shape) or len(shape) != 2 or min(shape) < 1:
        return "a shape of two numbers from 1"
    if given.get("generator") != GENERATOR or given.get("kind") not in RULES:
        return f"generator {GENERATOR}, and kind in {', '.join(RULES)}"
    types = {field.name: field.type for field in fields(RULES[given["kind"]])}
    if set(given) != {"generator", "kind", *types}:
        return f"a recipe with generator, kind, {', '.join(types)}"
    for name, kind in types.items():
        value = given[name]
        if not (type(value) is int if kind == "int" else _whole(value)):
            return f"{name} {'an integer' if kind == 'int' else 'a list of integers'}"
    return None


def _whole(value: Any) -> bool:
    """Tell whether a value is a list of integers."""
    return isinstance(value, list) and all(type(item) is int for item in value)
