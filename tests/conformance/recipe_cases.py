"""The vectors by recipe, for the tests of recipes."""

from __future__ import annotations

import pytest
from tests.reference.problems import cases

from quantcheck.wire.cases import Case
from quantcheck.wire.recipes import Inputs, Recipe

RECIPES = [case for case in cases() if case.by_recipe]
DEFAULT = [case for case in RECIPES if not case.large]
LONG = [pytest.mark.everything, pytest.mark.slow]
SIZES = [pytest.param(case, marks=LONG if case.large else []) for case in RECIPES]


def recipes(case: Case) -> dict[str, Recipe]:
    """Return the recipes of a case by name."""
    assert isinstance(case.inputs, Inputs)
    return case.inputs.given
