"""Both forms of the algorithm follow the same profiles, and appendix A names every rule."""

from __future__ import annotations

import inspect
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantref import (
    DEFAULT_PROFILE,
    KERAS_316_PROFILE,
    KERAS_PROFILE,
    ORIGINAL_PROFILE,
    Profile,
    gptq_quantize,
    gptq_textbook,
    rules,
)
from quantref.errors import ConfigError
from quantref.inputs import Array

from .problems import plain_config

PROFILES = (DEFAULT_PROFILE, ORIGINAL_PROFILE, KERAS_PROFILE, KERAS_316_PROFILE)
# The two rules of each point, out of appendix A.
APPENDIX = r"^\| (\w+) \|(.+)\|$"


def table(root: Path) -> dict[str, list[str]]:
    text = (root / "SPEC.md").read_text("utf-8").partition("## Appendix A")[2]
    text = text.partition("## Appendix B")[0]
    rows = re.findall(APPENDIX, text, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}


ALTERNATIVES = [
    (name, getattr(rules, other))
    for name, other in (
        ("range", "raw_range"),
        ("mirror", "mirror_where_negative"),
        ("degenerate", "widen_any_equal"),
        ("scale", "scale_rounded_twice"),
        ("zero_point", "zero_point_wrapped"),
        ("code", "add_then_round"),
        ("groups", "groups_per_block"),
        ("ragged", "ragged_padded"),
        ("base", "original_weights"),
        ("order", "order_damped_float32"),
        ("dead", "dead_kept"),
        ("tokens", "count_sequences"),
        ("rows", "rows_of_inverse"),
        ("carry", "carry_storage_precision"),
        ("g_idx", "g_idx_fractional"),
    )
]


def generic() -> tuple[Array, Array, dict[str, Any]]:
    """Return a problem with a ragged group, dead and tied columns, rows of one sign and zeros."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(64, 21)) + rng.normal(size=(64, 1))
    x[:, [4, 13]] = 0
    x[:, 7] = x[::-1, 6]
    weights = rng.normal(size=(5, 21))
    weights[1] = np.abs(weights[1]) + 1
    weights[2] = 0
    settings = {"group_size": 6, "activation_order": True, "hessian_damping": 0.01}
    return weights.astype(np.float32), x.T @ x / 32, settings | {"weight_bits": 4}


def test_every_rule_has_an_alternative_here() -> None:
    assert [name for name, _ in ALTERNATIVES] == list(DEFAULT_PROFILE.rules())
    assert all(rule is not DEFAULT_PROFILE.rules()[name] for name, rule in ALTERNATIVES)


@pytest.mark.requirement("GPTQ-130")
@pytest.mark.parametrize(("name", "rule"), ALTERNATIVES, ids=[name for name, _ in ALTERNATIVES])
@pytest.mark.parametrize("block_size", [4, 9, 128])
def test_the_fast_form_follows_the_same_rules(name: str, rule: Any, block_size: int) -> None:
    weights, hessian, settings = generic()
    profile = replace(Profile(), **{name: rule})
    config = plain_config(**settings)
    if name == "carry":
        with pytest.raises(ConfigError, match="rule carry to be carry_working") as caught:
            gptq_quantize(weights, hessian, config, profile=profile, block_size=block_size)
        assert caught.value.requirement == "GPTQ-130"
        assert caught.value.got == "carry_storage_precision"
        return
    fast = gptq_quantize(weights, hessian, config, profile=profile, block_size=block_size)
    plain = gptq_textbook(weights, hessian, config, profile=profile, block_size=block_size)
    for output in ("codes", "zero_point", "g_idx", "order"):
        np.testing.assert_array_equal(getattr(fast, output), getattr(plain, output))
    np.testing.assert_allclose(fast.scale, plain.scale, rtol=2.0**-22)
    assert fast.profile == profile


@pytest.mark.parametrize("profile", PROFILES[1:], ids=lambda p: p.name)
def test_released_profiles(profile: Profile) -> None:
    weights, hessian, settings = generic()
    fast = gptq_quantize(weights, hessian, plain_config(**settings), profile=profile)
    plain = gptq_textbook(weights, hessian, plain_config(**settings), profile=profile)
    np.testing.assert_array_equal(fast.codes, plain.codes)
    assert profile != DEFAULT_PROFILE


def test_a_profile_travels_between_processes() -> None:
    for profile in PROFILES:
        assert pickle.loads(pickle.dumps(profile)) == profile


def test_what_is_refused() -> None:
    for name in DEFAULT_PROFILE.rules():
        wrong: dict[str, Any] = {name: "raw"}
        with pytest.raises(ConfigError, match=f"rule {name} to be a function, got 'raw'"):
            replace(Profile(), **wrong)
    weights, hessian, settings = generic()
    config = plain_config(**settings)
    for size in (0, -1, True, 1.0, "128", None):
        for form in (gptq_quantize, gptq_textbook):
            with pytest.raises(ConfigError, match="block_size") as caught:
                form(weights, hessian, config, block_size=size)  # type: ignore[arg-type]
            assert caught.value.requirement == "GPTQ-130"
    own = replace(Profile(), base=lambda original, compensated: original + compensated)
    with pytest.raises(ConfigError, match="rule base to be errors_of_earlier_blocks or original"):
        gptq_quantize(weights, hessian, config, profile=own)


def test_appendix_a_names_every_rule(root: Path) -> None:
    """Each cell of the appendix begins with the name of the function that the profile has."""
    rows = table(root)
    assert [name for name in rows if name in DEFAULT_PROFILE.rules()] == list(
        DEFAULT_PROFILE.rules()
    )
    for column, profile in enumerate(PROFILES):
        for name, rule in profile.rules().items():
            assert rule.__name__ in rows[name][column], (profile.name, name)


def test_every_function_of_the_rules_is_in_a_profile() -> None:
    """No rule is there for tests alone."""
    used = {rule.__name__ for profile in PROFILES for rule in profile.rules().values()}
    functions = inspect.getmembers(rules, inspect.isfunction)
    own = {name for name, function in functions if function.__module__ == rules.__name__}
    # An option of the original code, and what Keras 3.15 does with half-precision layers.
    assert own - used == {"original_weights", "carry_storage_precision"}
