"""Inputs by recipe: arrays that a vector describes in place of their data (SPEC.md, section 11)."""

from quantcheck.wire.recipes.inputs import Inputs, read, written
from quantcheck.wire.recipes.recipe import Recipe, digest, parse
from quantcheck.wire.recipes.rules import HessianRule, WeightsRule, draws, words

__all__ = [
    "HessianRule",
    "Inputs",
    "Recipe",
    "WeightsRule",
    "digest",
    "draws",
    "parse",
    "read",
    "words",
    "written",
]
