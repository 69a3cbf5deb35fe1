"""Both forms of the algorithm have the same profiles, and appendix A names them."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantref import (
    DEFAULT_PROFILE,
    KERAS_PROFILE,
    ORIGINAL_PROFILE,
    Profile,
    gptq_quantize,
    gptq_textbook,
)
from quantref.errors import ConfigError
from quantref.inputs import Array
from quantref.profile import (
    FeedbackDtype,
    GroupSource,
    NotPositiveDefinite,
    RaggedGroup,
    RangeRule,
)

from .problems import plain_config

ALTERNATIVES = [
    (field.name, value)
    for field in fields(Profile)
    if isinstance(field.default, StrEnum)
    for value in type(field.default)
    if value is not field.default
]
# Whatever the form, these need column by column feedback, or refuse, or mean something elsewhere.
TEXTBOOK_ONLY = (GroupSource.LIVE, FeedbackDtype.STORAGE)


def generic(value: StrEnum) -> tuple[Array, Array, dict[str, Any]]:
    """Return a problem with a ragged group, dead and tied columns, rows of one sign and zeros."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(64, 21)) + rng.normal(size=(64, 1))
    x[:, [4, 13]] = 0
    x[:, 7] = x[::-1, 6]
    weights = rng.normal(size=(5, 21))
    weights[1] = np.abs(weights[1]) + 1
    weights[2] = 0
    hessian = x.T @ x / 32
    damping = 0.0 if isinstance(value, NotPositiveDefinite) else 0.01
    if damping == 0:
        hessian = np.ones((21, 21))
    size = 7 if value is RaggedGroup.REFUSED else 6
    settings = {"group_size": size, "activation_order": True, "hessian_damping": damping}
    return weights.astype(np.float32), hessian, settings | {"weight_bits": 4}


@pytest.mark.requirement("GPTQ-130")
@pytest.mark.parametrize(("name", "value"), ALTERNATIVES, ids=str)
@pytest.mark.parametrize("block_size", [4, 9, 128])
def test_blocked_form_has_the_same_profiles(name: str, value: Any, block_size: int) -> None:
    weights, hessian, settings = generic(value)
    profile = replace(Profile(block_size=block_size), **{name: value})
    if value in TEXTBOOK_ONLY:
        with pytest.raises(ConfigError, match=f"{name} other than {value.name}") as caught:
            gptq_quantize(weights, hessian, plain_config(**settings), profile=profile)
        assert caught.value.requirement == "GPTQ-130"
        return
    config = plain_config(**settings)
    blocked = gptq_quantize(weights, hessian, config, profile=profile)
    textbook = gptq_textbook(weights, hessian, config, profile=profile)
    for output in ("codes", "zero_point", "g_idx", "order"):
        np.testing.assert_array_equal(getattr(blocked, output), getattr(textbook, output))
    np.testing.assert_allclose(blocked.scale, textbook.scale, rtol=2.0**-22)
    assert blocked.profile == profile


@pytest.mark.parametrize("profile", [ORIGINAL_PROFILE, KERAS_PROFILE], ids=lambda p: p.name)
def test_released_profiles(profile: Profile) -> None:
    weights, hessian, settings = generic(RangeRule.RAW)
    blocked = gptq_quantize(weights, hessian, plain_config(**settings), profile=profile)
    textbook = gptq_textbook(weights, hessian, plain_config(**settings), profile=profile)
    np.testing.assert_array_equal(blocked.codes, textbook.codes)
    assert profile != DEFAULT_PROFILE


@pytest.mark.requirement("GPTQ-130")
def test_fields_refuse_what_is_not_theirs() -> None:
    for field in fields(Profile):
        if isinstance(field.default, StrEnum):
            wrong: dict[str, Any] = {field.name: str(field.default)}
            with pytest.raises(ConfigError, match=f"{field.name} to be a ") as caught:
                replace(Profile(), **wrong)
            assert repr(str(field.default)) in caught.value.got
    for size in (0, -1, True, 1.0, "128", None):
        with pytest.raises(ConfigError, match="block_size to be a positive integer"):
            Profile(block_size=size)  # type: ignore[arg-type]


def test_appendix_a_names_every_field(root: Path) -> None:
    """Where a profile departs from the default, its column in the appendix does too."""
    text = (root / "SPEC.md").read_text("utf-8").partition("## Appendix A")[2]
    rows = {m[1]: m[0] for m in re.finditer(r"^\| (\w+) \| .+$", text, re.MULTILINE)}
    table = {name: [cell.strip() for cell in row.split("|")[2:5]] for name, row in rows.items()}
    del table["field"]
    assert set(table) == {field.name for field in fields(Profile)} - {"name"}
    for column, profile in ((1, ORIGINAL_PROFILE), (2, KERAS_PROFILE)):
        for name, cells in table.items():
            if getattr(profile, name) != getattr(DEFAULT_PROFILE, name):
                assert cells[column] != cells[0], name
    assert table["block_size"] == [str(DEFAULT_PROFILE.block_size)] * 3
