"""The inputs of a case of which some are recipes.  [VEC-080]"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from quantcheck.wire.arrays import decode, encode
from quantcheck.wire.recipes.recipe import Recipe, parse

ASKED_BY_DEFAULT = 512  # columns; cases with more are asked with --large alone


class Inputs(Mapping[str, Any]):
    """Inputs of which some are recipes. An array is made when it is read.

    Parameters
    ----------
    given : mapping
        Recipes, arrays and lists of arrays by name.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = dict(given)

    def __getitem__(self, name: str) -> Any:
        value = self.given[name]
        return value.array() if isinstance(value, Recipe) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self.given)

    def __len__(self) -> int:
        return len(self.given)

    @property
    def large(self) -> bool:
        """Whether the case is asked with `--large` alone."""
        recipes = [value for value in self.given.values() if isinstance(value, Recipe)]
        return any(max(recipe.shape) > ASKED_BY_DEFAULT for recipe in recipes)


def written(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs as a vector has them: recipes, and arrays with their data."""
    given = inputs.given if isinstance(inputs, Inputs) else inputs
    return {k: v.to_json() if isinstance(v, Recipe) else encode(v) for k, v in given.items()}


def read(data: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return the inputs that `written` wrote.

    Raises
    ------
    DamagedVectorError
        An array or a recipe breaks a rule.
    """
    found = {
        name: parse(value, f"{where}.{name}")
        if isinstance(value, dict) and "recipe" in value
        else decode(value, f"{where}.{name}")
        for name, value in data.items()
    }
    return Inputs(found) if any(isinstance(v, Recipe) for v in found.values()) else found
