"""Targets that are libraries: what is said where one is missing or broken, and how one answers."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from quantcheck.errors import TargetCrashed, UnknownTargetError
from quantcheck.targets import list_targets, open_process, open_target
from quantcheck.targets.libraries import LIBRARIES, __main__, is_installed
from quantcheck.targets.libraries import library as shared
from quantcheck.targets.libraries.library import Library, Unsupported
from quantcheck.wire.arrays import encode
from quantcheck.wire.schema import schema

X = encode({"x": np.array([2.5], np.float32)})
QUESTION = {"id": "a", "operation": "round_half_even", "parameters": {}, "inputs": X}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_is_a_target_with_an_adapter(name: str) -> None:
    target = open_process(name)
    assert target.command[-2:] == ["quantcheck.targets.libraries", name]
    assert target.environment["CUDA_VISIBLE_DEVICES"] == ""  # no GPU
    assert target.environment["HF_HUB_OFFLINE"] == "1"  # and no download
    assert name in {listed for listed, _ in list_targets()}
    with pytest.raises(UnknownTargetError):
        open_target(f"{name}:more")


def test_a_library_that_is_not_installed_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(__main__, "is_installed", lambda _: False)
    with pytest.raises(SystemExit) as ending:
        __main__.load("nncf")
    assert str(ending.value) == (
        "nncf is not installed: python3 conformance nncf makes an environment with it"
    )


@pytest.mark.parametrize("name", [name for name in LIBRARIES if not is_installed(name)][:1])
def test_the_target_then_ends_with_this_line(name: str) -> None:
    with pytest.raises(TargetCrashed) as caught, open_target(name):
        pass
    (line,) = caught.value.stderr.strip().splitlines()
    assert line.startswith(f"{name} is not installed: ")


def test_a_library_whose_import_fails_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_: str) -> Any:
        raise OSError("libcudart.so:\nno such file")

    monkeypatch.setattr(__main__, "is_installed", lambda _: True)
    monkeypatch.setattr(importlib, "import_module", fails)
    with pytest.raises(SystemExit) as ending:
        __main__.load("nncf")
    assert str(ending.value) == (
        "nncf cannot be imported (OSError: libcudart.so: no such file): remove .venv-nncf, and let "
        "python3 conformance nncf make it"
    )


PRINTS = """
import sys, types
from quantcheck.targets import libraries
from quantcheck.targets.libraries import __main__ as target
from quantcheck.targets.libraries.library import Library
module = types.ModuleType("quantcheck.targets.libraries.loud")
def load(name):
    print("a banner of the library")
    def operation(inputs, parameters):
        print("a line of progress")
        return {"values": inputs["x"]}
    return Library("numpy", {"round_half_even": operation})
target.load = load
target.main(["loud"])
"""


def test_a_library_that_prints_leaves_the_protocol_alone() -> None:
    lines = b'{"start": {"protocol": 1}}\n' + (str(QUESTION).replace("'", '"') + "\n").encode()
    done = subprocess.run(
        [sys.executable, "-c", PRINTS], input=lines, capture_output=True, check=True
    )
    assert [line[:8] for line in done.stdout.splitlines()] == [b'{"ready"', b'{"output']
    assert b"a banner of the library" in done.stderr
    assert b"a line of progress" in done.stderr


def library_that(call: Any, **options: Any) -> Library:
    return Library("numpy", {"round_half_even": call}, **options)


def raising(error: Exception) -> Any:
    def operation(*_: Any) -> Any:
        raise error

    return operation


def test_answers_of_a_library() -> None:
    given = library_that(lambda inputs, _: {"values": inputs["x"]})
    assert given.answer(QUESTION)["outputs"]["values"]["data"] == [2.5]
    assert given.answer({**QUESTION, "operation": "pack"}) == {"unsupported": "numpy has no pack"}
    absent = library_that(None, absent={"pack": "it packs nothing"})
    assert absent.answer({**QUESTION, "operation": "pack"}) == {"unsupported": "it packs nothing"}
    refusing = library_that(raising(ValueError("not\nthis")))
    assert refusing.answer(QUESTION) == {"refused": "not this", "type": "ValueError"}
    assert library_that(raising(Unsupported("no"))).answer(QUESTION) == {"unsupported": "no"}
    own = type("OwnError", (Exception,), {"__module__": "own.errors"})
    assert "refused" in library_that(raising(own()), refusals=(("own", "OwnError"),)).answer(
        QUESTION
    )
    assert "unsupported" in library_that(raising(own()), lacks=(("own", "OwnError"),)).answer(
        QUESTION
    )
    with pytest.raises(own):
        library_that(raising(own())).answer(QUESTION)


def test_groups_that_a_library_has() -> None:
    assert shared.size_of_groups(np.array([0, 0, 0, 1]), 2) == 3
    for groups, count in (([0, 1, 0, 1], 2), ([1, 1, 0, 0], 2), ([0, 0, 1, 1], 3)):
        with pytest.raises(Unsupported, match="equal length"):
            shared.size_of_groups(np.array(groups), count)
    with pytest.raises(Unsupported, match="symmetric"):
        shared.require_symmetric(np.array([[1.0, 2.0], [3.0, 1.0]]))
    shared.require_symmetric(np.array([[np.nan, 2.0], [2.0, 1.0]]))
    with pytest.raises(Unsupported, match="equal diagonals"):
        shared.require_order(np.diag([1.0, 2.0, 1.0 + 1e-12]))
    with pytest.raises(Unsupported, match="float16"):
        shared.require_single(np.ones((1, 1), np.float16))


def test_the_handshake_has_what_the_schema_says(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(__main__, "load", lambda _: library_that(None, rules=("raw_range",)))
    monkeypatch.setattr(__main__, "claim_stdout", SimpleNamespace)
    monkeypatch.setattr(__main__, "serve", lambda _, ready, __: seen.update(ready))
    __main__.main(["numpy"])
    known = schema()["$defs"]["handshake"]["properties"]["ready"]["properties"]
    assert set(seen) <= set(known)
    assert (seen["name"], seen["rules"]) == ("numpy", ["raw_range"])
    assert seen["version"] == np.__version__
